"""Mina's account: opened, changed, closed."""

from datetime import UTC, datetime

from services.identity.domain.account import (
    OpenAccount,
)
from shared.events import AccountClosed, AccountOpened, ProfileUpdated

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

OPEN = OpenAccount(
    account_id="account-1",
    organisation_id="org-1",
    organisation_name="Northhaus",
    organisation_kind="customer",
    email="Mina@Northhaus.example ",
    name="Mina Okafor",
    country="de",
    time_zone="Europe/Berlin",
    locale="en-GB",
    now=NOON,
)

OPENED = AccountOpened(
    account_id="account-1",
    organisation_id="org-1",
    organisation_name="Northhaus",
    organisation_kind="customer",
    email="mina@northhaus.example",
    name="Mina Okafor",
    country="DE",
    time_zone="Europe/Berlin",
    locale="en-GB",
    opened_at=NOON,
)

UPDATED = ProfileUpdated(
    account_id="account-1",
    email="m.okafor@northhaus.example",
    name="Mina Okafor",
    country="DE",
    time_zone="Europe/Berlin",
    locale="en-GB",
)

CLOSED = AccountClosed(account_id="account-1", organisation_id="org-1", closed_by="account-1")
