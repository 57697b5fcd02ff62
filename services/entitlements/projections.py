"""entitlements' read models."""

from datetime import date
from typing import Final

from shared import days
from shared.eventlog.deliver.bundles import InBulk
from shared.eventlog.deliver.projection import Connection, Projection
from shared.events import (
    AccountClosed,
    AccountOpened,
    ClockMoved,
    ContractOpened,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CsnIssued,
    CsnRevoked,
    PoolCsnNoted,
    ProfileUpdated,
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
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS, IDENTITY, MARKETPLACE
from shared.runtime.access import access_projection
from shared.sql import statements

SQL: Final = statements(__file__)

POOLS: Final = Projection(
    "pools",
    topics=(ENTITLEMENTS,),
    ignores=(*subjects.OPERATIONS, *subjects.CREDITS, *subjects.POOL_ANSWERS, PoolCsnNoted),
    tables=("pools", "seats"),
    in_bulk={
        SQL["assign_seat"]: InBulk(each=SQL["add_seat"], last=SQL["count_seats"]),
        SQL["unassign_seat"]: InBulk(each=SQL["remove_seat"], last=SQL["count_seats"]),
    },
)
LEDGER: Final = Projection(
    "ledger",
    topics=(ENTITLEMENTS,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.POOLS,
        *subjects.POOL_ANSWERS,
        *subjects.SEATS,
        *subjects.UPDATE_RIGHTS,
        PoolCsnNoted,
    ),
    tables=("credit_lots", "credit_entries"),
)
PEOPLE: Final = Projection(
    "people",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AGREEMENTS,
        *subjects.ROLES,
        *subjects.SIGN_IN,
        ClockMoved,
        ProfileUpdated,
    ),
    tables=("people", "contracts"),
)
NUMBERS: Final = Projection(
    "numbers", topics=(MARKETPLACE,), ignores=(*subjects.OPERATIONS, *subjects.PLANS, *subjects.SALES), tables=("csns",)
)
ACCESS: Final = access_projection()

# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


@POOLS.on(SeatPoolOpened)
async def _opened(tx: Connection, event: SeatPoolOpened, envelope: Envelope) -> None:
    await tx.execute(
        SQL["open_pool"],
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
        envelope.id,
        envelope.version,
        event.time_zone,
        days.begins(event.starts, event.time_zone),
    )


@POOLS.on(SeatPoolResized)
async def _resized(tx: Connection, event: SeatPoolResized, _envelope: Envelope) -> None:
    await tx.execute(SQL["resize_pool"], event.subscription_id, event.seats)


@POOLS.on(SeatPoolRenewed)
async def _renewed(tx: Connection, event: SeatPoolRenewed, _envelope: Envelope) -> None:
    await tx.execute(SQL["renew_pool"], event.subscription_id, event.seats, event.ends, event.time_zone)


@POOLS.on(SeatPoolExpired)
async def _phase_expired(tx: Connection, event: SeatPoolExpired, _envelope: Envelope) -> None:
    await _set_phase(tx, event.subscription_id, "expired", event.access_until)


@POOLS.on(SeatPoolSuspended)
async def _phase_suspended(tx: Connection, event: SeatPoolSuspended, _envelope: Envelope) -> None:
    await _set_phase(tx, event.subscription_id, "suspended", event.kept_until)


@POOLS.on(SeatPoolEnded)
async def _phase_ended(tx: Connection, event: SeatPoolEnded, _envelope: Envelope) -> None:
    await _set_phase(tx, event.subscription_id, "ended", None)


async def _set_phase(tx: Connection, subscription_id: str, phase: str, until: date | None) -> None:
    await tx.execute(SQL["set_phase"], subscription_id, phase, until)


@POOLS.on(UpdateRightGranted)
async def _right_granted(tx: Connection, event: UpdateRightGranted, _envelope: Envelope) -> None:
    await tx.execute(SQL["give_updates"], event.subscription_id, event.csn)


@POOLS.on(UpdateRightLost)
async def _right_lost(tx: Connection, event: UpdateRightLost, _envelope: Envelope) -> None:
    await tx.execute(SQL["take_updates"], event.subscription_id)


@POOLS.on(SeatAssigned)
async def _assigned(tx: Connection, event: SeatAssigned, envelope: Envelope) -> None:
    await tx.execute(
        SQL["assign_seat"],
        event.subscription_id,
        event.seat,
        event.account_id,
        event.assigned_by,
        envelope.time,
        envelope.id,
    )


@POOLS.on(SeatUnassigned)
async def _unassigned(tx: Connection, event: SeatUnassigned, _envelope: Envelope) -> None:
    await tx.execute(SQL["unassign_seat"], event.subscription_id, event.seat)


# ── Credits ────────────────────────────────────────────────────────────────────────────────────────────


@LEDGER.on(CreditsGranted)
async def _granted(tx: Connection, event: CreditsGranted, envelope: Envelope) -> None:
    await tx.execute(
        SQL["grant_credits"], event.contract_id, event.grant_id, event.account_id, event.amount, event.expires_on
    )
    await _entry(tx, event, envelope, 1, "granted", event.grant_id, event.amount, event.grant_id)


@LEDGER.on(CreditsConsumed)
async def _consumed(tx: Connection, event: CreditsConsumed, envelope: Envelope) -> None:
    for line, draw in enumerate(event.drawn, start=1):
        await _entry(
            tx, event, envelope, line, "consumed", draw.grant_id, -draw.amount, event.consumption_id, event.purpose
        )
        await _take(tx, event.contract_id, draw.grant_id, draw.amount)


@LEDGER.on(CreditsExpired)
async def _expired(tx: Connection, event: CreditsExpired, envelope: Envelope) -> None:
    await _entry(tx, event, envelope, 1, "expired", event.grant_id, -event.amount, event.reason)
    await _take(tx, event.contract_id, event.grant_id, event.amount)


async def _take(tx: Connection, contract_id: str, grant_id: str, amount: int) -> None:
    await tx.execute(SQL["take_credits"], contract_id, grant_id, amount)


async def _entry(
    tx: Connection,
    event: CreditsGranted | CreditsConsumed | CreditsExpired,
    envelope: Envelope,
    line: int,
    kind: str,
    grant_id: str,
    amount: int,
    reference: str,
    purpose: str = "",
) -> None:
    await tx.execute(
        SQL["add_entry"],
        event.contract_id,
        envelope.version,
        line,
        kind,
        grant_id,
        event.account_id,
        amount,
        reference,
        purpose,
        envelope.time,
        envelope.id,
    )


# ── Facts of other services ────────────────────────────────────────────────────────────────────────────


@PEOPLE.on(AccountOpened)
async def _person(tx: Connection, event: AccountOpened, envelope: Envelope) -> None:
    await tx.execute(SQL["open_account"], event.account_id, event.organisation_id, event.organisation_name, envelope.id)


@PEOPLE.on(AccountClosed)
async def _closed(tx: Connection, event: AccountClosed, envelope: Envelope) -> None:
    await tx.execute(SQL["close_account"], event.account_id, envelope.id)


@PEOPLE.on(ContractOpened)
async def _contract(tx: Connection, event: ContractOpened, envelope: Envelope) -> None:
    await tx.execute(SQL["open_contract"], event.contract_id, event.customer, event.publisher, envelope.id)


@NUMBERS.on(CsnIssued)
async def _issued(tx: Connection, event: CsnIssued, envelope: Envelope) -> None:
    await _number(tx, event, envelope)


@NUMBERS.on(CsnRevoked)
async def _revoked(tx: Connection, event: CsnRevoked, envelope: Envelope) -> None:
    await _number(tx, event, envelope)


async def _number(tx: Connection, event: CsnIssued | CsnRevoked, envelope: Envelope) -> None:
    await tx.execute(
        SQL["set_csn"],
        event.organisation_id,
        event.publisher,
        event.csn,
        isinstance(event, CsnIssued),
        envelope.version,
    )
