"""An organisation's people: the first account, one that manages people by its leave, and a member."""

from datetime import UTC, datetime
from functools import reduce
from typing import Any

from services.identity.domain import account
from services.identity.domain.account import organisation_of
from shared.events import AccountOpened, PeopleAdministratorNamed

FOUNDER_ID = "8f4e6f1e-0c5a-4a55-9a7b-0d4f6b9c1a10"
ORG = organisation_of(FOUNDER_ID)


def opened(account_id: str, **changed: Any) -> AccountOpened:
    same: dict[str, Any] = {
        "account_id": account_id,
        "organisation_id": ORG,
        "organisation_name": "Northhaus",
        "organisation_kind": "customer",
        "email": "somebody@x.example",
        "name": "Somebody",
        "country": "DE",
        "time_zone": "UTC",
        "locale": "en",
        "opened_at": datetime(2026, 11, 21, 12, tzinfo=UTC),
    }
    return AccountOpened(**same | changed)


def somebody(*events: account.Event) -> account.State:
    return reduce(account.evolve, events, account.INITIAL)


FOUNDER = somebody(opened(FOUNDER_ID))
MEMBER = somebody(opened("member"))
NAMED = PeopleAdministratorNamed(account_id="member", organisation_id=ORG, named_by=FOUNDER_ID)
ADMINISTRATOR = somebody(opened("member"), NAMED)
OPERATORS = somebody(opened("kim", organisation_id="ops", organisation_kind="operator"))
