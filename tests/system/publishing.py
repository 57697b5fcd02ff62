"""What a publisher's system needs of a running system: a machine account."""

from datetime import UTC, datetime, timedelta

from deploy.cast import PUBLISHER
from tests.system.people import invited
from tests.system.running import System


def machine_of(system: System) -> tuple[str, str]:
    """The credentials of a machine account of the publisher's system, which the operator has registered."""
    operator = invited(system, "operator", "Operator")
    form = {
        "name": "Publisher's system",
        "scopes": ["read", "events:publish"],
        "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "organisation": {"organisation_id": "publishers", "kind": "publisher", "publisher": PUBLISHER},
    }
    made = operator.ask("POST", "/machines", form)
    return made["client_id"], made["client_secret"]
