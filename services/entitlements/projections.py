"""entitlements' tables, folded from events."""

from datetime import date
from typing import Final

from shared.eventlog.projection import Connection, Projection
from shared.events import (
    AccountClosed,
    AccountOpened,
    ContractOpened,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CsnIssued,
    CsnRevoked,
    SeatAssigned,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    SeatUnassigned,
    UpdateRightGranted,
    UpdateRightLost,
)
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS, IDENTITY, MARKETPLACE
from shared.runtime.access import access_projection

POOLS: Final = Projection("pools", topics=(ENTITLEMENTS,), tables=("pools", "seats"))
LEDGER: Final = Projection("ledger", topics=(ENTITLEMENTS,), tables=("credit_lots", "credit_entries"))
PEOPLE: Final = Projection("people", topics=(IDENTITY,), tables=("people", "contracts"))
NUMBERS: Final = Projection("numbers", topics=(MARKETPLACE,), tables=("csns",))
ACCESS: Final = access_projection()

# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


@POOLS.on(SeatPoolOpened)
async def _opened(tx: Connection, event: SeatPoolOpened, of: Envelope) -> None:
    await tx.execute(
        "insert into pools (subscription_id, contract_id, customer, partner, publisher, product, product_name, seats, "
        "starts, ends, phase, until, event_id, version) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'active', $10, $11, $12)",
        event.subscription_id,
        event.contract_id,
        event.customer,
        event.partner,
        event.publisher,
        event.product,
        event.product_name,
        event.seats,
        event.starts,
        event.ends,
        of.id,
        of.version,
    )


@POOLS.on(SeatPoolResized)
async def _resized(tx: Connection, event: SeatPoolResized, _of: Envelope) -> None:
    await tx.execute("update pools set seats = $2 where subscription_id = $1", event.subscription_id, event.seats)


@POOLS.on(SeatPoolRenewed)
async def _renewed(tx: Connection, event: SeatPoolRenewed, _of: Envelope) -> None:
    await tx.execute(
        "update pools set seats = $2, ends = $3, until = $3 where subscription_id = $1",
        event.subscription_id,
        event.seats,
        event.ends,
    )


@POOLS.on(SeatPoolExpired)
async def _phase_expired(tx: Connection, event: SeatPoolExpired, _of: Envelope) -> None:
    await _step(tx, event.subscription_id, "expired", event.access_until)


@POOLS.on(SeatPoolSuspended)
async def _phase_suspended(tx: Connection, event: SeatPoolSuspended, _of: Envelope) -> None:
    await _step(tx, event.subscription_id, "suspended", event.kept_until)


@POOLS.on(SeatPoolEnded)
async def _phase_ended(tx: Connection, event: SeatPoolEnded, _of: Envelope) -> None:
    await _step(tx, event.subscription_id, "ended", None)


async def _step(tx: Connection, subscription_id: str, phase: str, until: date | None) -> None:
    await tx.execute(
        "update pools set phase = $2, until = $3 where subscription_id = $1", subscription_id, phase, until
    )


@POOLS.on(UpdateRightGranted)
async def _right_granted(tx: Connection, event: UpdateRightGranted, _of: Envelope) -> None:
    await tx.execute("update pools set update_csn = $2 where subscription_id = $1", event.subscription_id, event.csn)


@POOLS.on(UpdateRightLost)
async def _right_lost(tx: Connection, event: UpdateRightLost, _of: Envelope) -> None:
    await tx.execute("update pools set update_csn = null where subscription_id = $1", event.subscription_id)


@POOLS.on(SeatAssigned)
async def _assigned(tx: Connection, event: SeatAssigned, of: Envelope) -> None:
    await tx.execute(
        "insert into seats (subscription_id, seat, account_id, assigned_by, assigned_at, event_id) "
        "values ($1, $2, $3, $4, $5, $6)",
        event.subscription_id,
        event.seat,
        event.account_id,
        event.assigned_by,
        of.time,
        of.id,
    )


@POOLS.on(SeatUnassigned)
async def _unassigned(tx: Connection, event: SeatUnassigned, _of: Envelope) -> None:
    await tx.execute("delete from seats where subscription_id = $1 and seat = $2", event.subscription_id, event.seat)


# ── Credits ────────────────────────────────────────────────────────────────────────────────────────────


@LEDGER.on(CreditsGranted)
async def _granted(tx: Connection, event: CreditsGranted, of: Envelope) -> None:
    await tx.execute(
        "insert into credit_lots (contract_id, grant_id, account_id, granted, remaining, expires_on) "
        "values ($1, $2, $3, $4, $4, $5)",
        event.contract_id,
        event.grant_id,
        event.account_id,
        event.amount,
        event.expires_on,
    )
    await _entry(tx, event, of, 1, "granted", event.grant_id, event.amount, event.grant_id)


@LEDGER.on(CreditsConsumed)
async def _consumed(tx: Connection, event: CreditsConsumed, of: Envelope) -> None:
    for line, draw in enumerate(event.drawn, start=1):
        await _entry(tx, event, of, line, "consumed", draw.grant_id, -draw.amount, event.consumption_id, event.purpose)
        await _take(tx, event.contract_id, draw.grant_id, draw.amount)


@LEDGER.on(CreditsExpired)
async def _expired(tx: Connection, event: CreditsExpired, of: Envelope) -> None:
    await _entry(tx, event, of, 1, "expired", event.grant_id, -event.amount, event.reason)
    await _take(tx, event.contract_id, event.grant_id, event.amount)


async def _take(tx: Connection, contract_id: str, grant_id: str, amount: int) -> None:
    await tx.execute(
        "update credit_lots set remaining = remaining - $3 where contract_id = $1 and grant_id = $2",
        contract_id,
        grant_id,
        amount,
    )


async def _entry(
    tx: Connection,
    event: CreditsGranted | CreditsConsumed | CreditsExpired,
    of: Envelope,
    line: int,
    kind: str,
    grant_id: str,
    amount: int,
    reference: str,
    purpose: str = "",
) -> None:
    await tx.execute(
        "insert into credit_entries (contract_id, version, line, kind, grant_id, account_id, amount, reference, "
        "purpose, at, event_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        event.contract_id,
        of.version,
        line,
        kind,
        grant_id,
        event.account_id,
        amount,
        reference,
        purpose,
        of.time,
        of.id,
    )


# ── What other services say ────────────────────────────────────────────────────────────────────────────


@PEOPLE.on(AccountOpened)
async def _person(tx: Connection, event: AccountOpened, of: Envelope) -> None:
    await tx.execute(
        "insert into people (account_id, organisation_id, organisation_name, event_id) values ($1, $2, $3, $4)",
        event.account_id,
        event.organisation_id,
        event.organisation_name,
        of.id,
    )


@PEOPLE.on(AccountClosed)
async def _closed(tx: Connection, event: AccountClosed, of: Envelope) -> None:
    await tx.execute("update people set closed = true, event_id = $2 where account_id = $1", event.account_id, of.id)


@PEOPLE.on(ContractOpened)
async def _contract(tx: Connection, event: ContractOpened, of: Envelope) -> None:
    await tx.execute(
        "insert into contracts (contract_id, customer, publisher, event_id) values ($1, $2, $3, $4)",
        event.contract_id,
        event.customer,
        event.publisher,
        of.id,
    )


@NUMBERS.on(CsnIssued)
async def _issued(tx: Connection, event: CsnIssued, of: Envelope) -> None:
    await _number(tx, event, of)


@NUMBERS.on(CsnRevoked)
async def _revoked(tx: Connection, event: CsnRevoked, of: Envelope) -> None:
    await _number(tx, event, of)


async def _number(tx: Connection, event: CsnIssued | CsnRevoked, of: Envelope) -> None:
    await tx.execute(
        "insert into csns (organisation_id, publisher, csn, valid, version) values ($1, $2, $3, $4, $5) "
        "on conflict (organisation_id, publisher, csn) do update set valid = excluded.valid, "
        "version = excluded.version",
        event.organisation_id,
        event.publisher,
        event.csn,
        isinstance(event, CsnIssued),
        of.version,
    )
