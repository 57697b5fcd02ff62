"""entitlements' lists: pools, seats, and the ledger of a contract's credits."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from shared import days
from shared.events.fields import Address, Identifier, OptionalCode
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, Database, Now
from shared.runtime.lists import By, Listing, ListOf, Page, Search, searched
from shared.runtime.people import person_of_list
from shared.runtime.problems import unknown
from shared.runtime.visibility import listed, sees, supports
from shared.sql import Row, statements

SQL: Final = statements(__file__)

LISTS: Final = APIRouter(route_class=ListRoute)

Phase: TypeAlias = Literal["upcoming", "active", "expired", "suspended", "ended"]
"""The phases of a seat pool.

- upcoming: bought, but its first term has not begun
- active: in a term
- expired: the last term is over, but the seats can still be used
- suspended: the seats can't be used, but are kept for their users
- ended: the seats were taken back
"""


def shown(row: Row, now: datetime) -> dict[str, object]:
    """Return the row of a pool with its phase at `now`.

    No event marks the beginning of the first term, so that the table has an upcoming pool as active.
    """
    if is_upcoming(row["phase"], row["starts"], row["time_zone"], now):
        return dict(row) | {"phase": "upcoming", "until": row["starts"] - timedelta(days=1)}
    return dict(row)


def is_upcoming(phase: str, starts: date, time_zone: str, now: datetime) -> bool:
    """Return whether the first term of a pool that is in a term has not begun at `now`."""
    return phase == "active" and now < days.begins(starts, time_zone)


class SeatView(BaseModel):
    seat: int
    account_id: str
    assigned_by: str
    assigned_at: datetime
    event_id: str


class PoolSummary(BaseModel):
    subscription_id: str
    contract_id: str
    customer: str
    partner: str
    """The partner that ordered the subscription, and supports the customer."""
    product: str
    product_name: str
    seats: int
    assigned: int
    free: int
    starts: date
    ends: date
    time_zone: str
    """The customer's zone, which the order fixed: that of all dates here."""
    phase: Phase
    until: date | None
    """The phase's last day; for an active pool the term's last day, after which it may renew."""
    updates: bool
    """Whether its users have the right to updates and upgrades, from the first day on."""


class PoolView(PoolSummary):
    holders: list[SeatView]


class MySeat(BaseModel):
    subscription_id: str
    product: str
    product_name: str
    seat: int
    starts: date
    ends: date
    time_zone: str
    phase: Phase
    until: date | None
    access: bool
    """Whether the seat can be used now."""
    updates: bool
    """Whether it can be used now, with updates."""


EntryKind: TypeAlias = Literal["granted", "consumed", "expired"]


class EntryView(BaseModel):
    kind: EntryKind
    grant_id: str
    account_id: str | None
    amount: int
    """Positive for a grant, negative for a consumption or an expiry."""
    balance: int
    """The contract's whole balance after this entry."""
    reference: str
    """The grant's or the consumption's id; for an expiry the reason, `time` or `contract`."""
    purpose: str
    at: datetime
    event_id: str
    version: int


class LedgerEntry(EntryView):
    entry: str
    """The entry's place in the ledger, in the order of texts."""


# ── Pools and seats ────────────────────────────────────────────────────────────────────────────────────

POOLS: Final = Listing(
    SQL["pools"],
    key="subscription_id",
    sorts={
        "subscription_id": By(),
        "product": By(),
        "product_name": By(),
        "phase": By(),
        "starts": By(date),
        "ends": By(date),
        "seats": By(int),
        "assigned": By(int),
        "free": By(int),
    },
    order="subscription_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFilters:
    """The filters of the list of pools."""

    contract_id: Identifier | None = None
    customer: Identifier | None = None
    product: OptionalCode = ""
    phase: Phase | None = None
    free: Literal["true", "false"] | None = None
    q: Search = ""

    def arguments(
        self,
        *,
        owner: str | None = None,
        publisher: str | None = None,
        partner: str | None = None,
        now: datetime | None = None,
        subscription_id: str | None = None,
    ) -> tuple[str | datetime | bool | None, ...]:
        """Return the values of the statement's parameters.

        Args:
            now: The time for which phases are filtered.
        """
        has_free = None if self.free is None else self.free == "true"
        what = (self.contract_id, self.product or None, self.phase, now, has_free, searched(self.q))
        return (owner, publisher, *what, partner, self.customer, subscription_id)


@LISTS.get("/pools")
async def pools(
    actor: CurrentActor,
    db: Database,
    request: Request,
    page: Annotated[Page, Depends(POOLS.page)],
    filters: Annotated[PoolFilters, Depends()],
) -> ListOf[PoolSummary]:
    """List the pools of the caller's organisation by subscription id.

    For people of a partner, list the pools of what the partner ordered, of one `customer` or of all; for people of a
    publisher, the pools of the publisher's contracts; for the operator, all. A filter by phase is for the
    caller's time.
    """
    time_of = request.app.state.parts.clocks.time_of
    partner, (owner, publisher) = None, listed(actor)
    if actor.organisation_kind == "partner":
        partner, owner = actor.organisation_id, None
    now = time_of(actor.organisation_id)
    where = filters.arguments(owner=owner, publisher=publisher, partner=partner, now=now)

    def summary(row: Row) -> PoolSummary:
        return PoolSummary.model_validate(shown(row, time_of(row["customer"])))

    return await POOLS.show(db, page, summary, *where)


def sees_pool(actor: Actor, row: Row) -> bool:
    """Return whether the caller may see the pool of a row."""
    return sees(actor, customer=row["customer"], publisher=row["publisher"]) or supports(actor, row["partner"])


HOLDERS: Final = Listing(
    SQL["holders"],
    key="account_id",
    sorts={"seat": By(int), "account_id": By(), "assigned_at": By(datetime)},
    order="seat",
)


@LISTS.get("/pools/{subscription_id}/seats")
async def holders(
    subscription_id: Identifier,
    actor: CurrentActor,
    db: Database,
    request: Request,
    page: Annotated[Page, Depends(HOLDERS.page)],
    account_id: Identifier | None = None,
    email: Address | None = None,
) -> ListOf[SeatView]:
    """List the seats of a pool that are assigned, and to whom.

    A user is found by account id or by e-mail address.
    """
    customer = await customer_of(db, actor, subscription_id)
    holder = await person_of_list(request, account_id, email, customer)
    return await HOLDERS.show(db, page, SeatView, subscription_id, holder)


async def customer_of(db: Pool, actor: Actor, subscription_id: str) -> str:
    """Return the customer whose pool it is.

    Raises:
        Problem: 404 unless the caller may see the pool.
    """
    row = await db.fetchrow(SQL["pool_of"], subscription_id)
    if row is None or not sees_pool(actor, row):
        raise unknown("pool of seats")
    customer: str = row["customer"]
    return customer


MY_SEATS: Final = Listing(
    key="subscription_id",
    sorts={"product": By(), "product_name": By(), "phase": By(), "ends": By(date), "subscription_id": By()},
    order="product",
    limit=200,  # who reads no `next` got all of them
)


@LISTS.get("/me/seats")
async def my_seats(
    actor: CurrentActor,
    db: Database,
    now: Now,
    page: Annotated[Page, Depends(MY_SEATS.page)],
    phase: Phase | None = None,
) -> ListOf[MySeat]:
    """List the seats that the caller holds: whether and until when they can be used."""
    rows = await db.fetch(SQL["my_seats"], actor.account_id)
    seats = [_my_seat(shown(row, now)) for row in rows]
    return MY_SEATS.select(page, [seat for seat in seats if phase in (None, seat.phase)])


def _my_seat(pool: dict[str, object]) -> MySeat:
    access = pool["phase"] in ("active", "expired")
    return MySeat.model_validate(pool | {"access": access, "updates": access and pool["has_right"]})


# ── Credits ────────────────────────────────────────────────────────────────────────────────────────────


class Contract(NamedTuple):
    """A contract's customer and publisher."""

    customer: str
    publisher: str


async def visible_contract(db: Pool, actor: Actor, contract_id: str) -> Contract:
    """Return the contract. Raises Problem 404 unless the caller may see it."""
    row = await db.fetchrow(SQL["contract"], contract_id)
    if row is None or not sees(actor, customer=row["customer"], publisher=row["publisher"]):
        raise unknown("contract")
    return Contract(row["customer"], row["publisher"])


ENTRIES: Final = Listing(
    SQL["entries"],
    key="entry",
    sorts={"entry": By(), "at": By(datetime), "amount": By(int), "kind": By()},
    order="entry",
)


@LISTS.get("/contracts/{contract_id}/credits/entries")
async def credit_entries(
    contract_id: Identifier,
    actor: CurrentActor,
    db: Database,
    request: Request,
    page: Annotated[Page, Depends(ENTRIES.page)],
    kind: EntryKind | None = None,
    grant_id: Identifier | None = None,
    account_id: Identifier | None = None,
    email: Address | None = None,
    q: Search = "",
) -> ListOf[LedgerEntry]:
    """List the ledger of the contract's credits, with the balance after each entry.

    The user of an entry is found by account id or by e-mail address.
    """
    contract = await visible_contract(db, actor, contract_id)
    user = await person_of_list(request, account_id, email, contract.customer)
    return await ENTRIES.show(db, page, LedgerEntry, contract_id, kind, grant_id, user, searched(q))
