"""What a publisher's system needs of a running system: the console, and a machine account."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

from deploy.data import PUBLISHER
from deploy.invite import invite
from deploy.stack import ServicePart
from tests.system.people import Someone
from tests.system.running import System, as_its_operator


@contextmanager
def console_of(system: System, folder: Path) -> Iterator[str]:
    """The console beside the system, until the block ends; its address."""
    env = {**system.env, **system.kafka.access_of("console").environment()}
    with ServicePart("console", folder, env=env) as started:
        yield started.url


def machine_of(system: System) -> tuple[str, str]:
    """The credentials of a machine account of the publisher's system, which the operator has registered."""
    with as_its_operator(system):
        email = f"{token_hex(6)}@operator.example"
        operator = Someone(system, {"invitation": asyncio.run(invite("operator", "Operator", email, ""))}, email)
    form = {
        "name": "Publisher's system",
        "scopes": ["read", "events:publish"],
        "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "organisation": {"organisation_id": "publishers", "kind": "publisher", "publisher": PUBLISHER},
    }
    made = operator.ask("POST", "/machines", form)
    return made["client_id"], made["client_secret"]
