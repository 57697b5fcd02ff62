"""A contract with two users of one product, and an update for it."""

from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from services.distribution.domain import decisions, fleet, groups
from services.distribution.domain.decisions import (
    ScheduleUpdate,
)
from services.distribution.domain.entitlements import Fact, NoteEntitlement
from services.distribution.domain.policy import DEFAULT
from shared.events import Event, SeatPoolOpened, UpdatePublished
from shared.events.distribution import Cadence

E = TypeVar("E", bound=Event)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MONDAY = datetime(2026, 11, 30, tzinfo=UTC)
"""When the update below, which is four days old on a Wednesday, is installed weekly."""
UPDATE = UpdatePublished(
    update_id="u",
    publisher="autodesk",
    product="autocad",
    kind="update",
    title="AutoCAD 2027.1",
    version="2027.1",
    platform="win64",
    severity="normal",
    sha256="0" * 64,
    size_bytes=1,
    location="https://updates.example/u",
    published_at=NOON,
)
OPENED = SeatPoolOpened(
    subscription_id="s",
    contract_id="c",
    customer="org",
    product="autocad",
    publisher="autodesk",
    product_name="AutoCAD",
    seats=9,
    starts=NOON.date(),
    ends=date(2027, 11, 20),
)


def note(
    fact: Fact,
    account: str = "",
    *,
    sub: str = "s",
    now: datetime = NOON,
    starts: date | None = None,
    publisher: str = "autodesk",
) -> NoteEntitlement:
    if fact != "pool_opened":
        return NoteEntitlement(
            contract_id="c", subscription_id=sub, fact=fact, because="because", now=now, account_id=account
        )
    return NoteEntitlement(
        contract_id="c",
        subscription_id=sub,
        fact=fact,
        because="because",
        now=now,
        customer="org",
        product="autocad",
        publisher=publisher,
        starts=starts or NOON.date(),
    )


SERVED: tuple[fleet.Command, ...] = (
    note("pool_opened"),
    note("right_granted"),
    note("seat_assigned", "ana"),
    note("seat_assigned", "ben"),
    decisions.OfferUpdate("c", UPDATE, NOON),
    groups.CreateGroup(name="pilots", contract_id="c", group_id="g", customer="org", by="mina"),
)
"""ana and ben may have the update; there is a group beside the default one."""


def approve(*groups: str, by: str = "mina") -> decisions.ApproveUpdate:
    return decisions.ApproveUpdate(
        contract_id="c", publisher="autodesk", update_id="u", groups=groups or ("default",), by=by, policy=DEFAULT
    )


def recall(update_id: str, now: datetime = NOON) -> decisions.RecallUpdate:
    return decisions.RecallUpdate(
        contract_id="c", publisher="autodesk", update_id=update_id, reason="it breaks printing", now=now
    )


def weekly(group: str = "default", *, now: datetime = NOON, cadence: Cadence = "weekly") -> groups.SetGroupPolicy:
    return groups.SetGroupPolicy(
        contract_id="c", group_id=group, cadence=cadence, customer="org", by="mina", now=now, policy=DEFAULT
    )


def schedule(starts_at: datetime, *groups: str) -> ScheduleUpdate:
    return ScheduleUpdate(
        contract_id="c",
        publisher="autodesk",
        update_id="u",
        groups=groups or ("default",),
        starts_at=starts_at,
        by="mina",
        now=NOON,
        policy=DEFAULT,
    )
