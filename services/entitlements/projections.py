"""entitlements' tables, folded from events."""

from typing import Final

from shared.eventlog.projection import Connection, Projection
from shared.events import AccountOpened, SeatAssigned, SeatPoolOpened, SeatUnassigned
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS, IDENTITY
from shared.runtime.access import access_projection

POOLS: Final = Projection("pools", topics=(ENTITLEMENTS,))
PEOPLE: Final = Projection("people", topics=(IDENTITY,))
ACCESS: Final = access_projection()


@POOLS.on(SeatPoolOpened)
async def _opened(tx: Connection, event: SeatPoolOpened, of: Envelope) -> None:
    await tx.execute(
        "insert into pools (subscription_id, contract_id, customer, product, product_name, seats, starts, ends, "
        "event_id, version) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        event.subscription_id, event.contract_id, event.customer, event.product, event.product_name, event.seats,
        event.starts, event.ends, of.id, of.version,
    )  # fmt: skip


@POOLS.on(SeatAssigned)
async def _assigned(tx: Connection, event: SeatAssigned, of: Envelope) -> None:
    await tx.execute(
        "insert into seats (subscription_id, seat, account_id, assigned_by, assigned_at, event_id) "
        "values ($1, $2, $3, $4, $5, $6)",
        event.subscription_id, event.seat, event.account_id, event.assigned_by, of.time, of.id,
    )  # fmt: skip


@POOLS.on(SeatUnassigned)
async def _unassigned(tx: Connection, event: SeatUnassigned, _of: Envelope) -> None:
    await tx.execute(
        "delete from seats where subscription_id = $1 and seat = $2", event.subscription_id, event.seat
    )  # fmt: skip


@PEOPLE.on(AccountOpened)
async def _person(tx: Connection, event: AccountOpened, _of: Envelope) -> None:
    await tx.execute(
        "insert into people (account_id, organisation_id) values ($1, $2)", event.account_id, event.organisation_id
    )
