"""What entitlements' reactions ask, in memory."""

import json
from collections.abc import Sequence
from typing import Any, Final

from services.entitlements.domain.users import Account
from services.entitlements.lookups import LatestCsn, Progress, account_of, consumer_of
from shared.eventlog.deliver.projection import Projection
from shared.events import (
    AccountClosed,
    AccountOpened,
    ClockMoved,
    ContractOpened,
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
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS, IDENTITY, MARKETPLACE
from tests.simulation.database import Pool, Row, Transaction

POOLS: Final = Projection(
    "pools",
    topics=(ENTITLEMENTS,),
    tables=("pool", "seat"),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.CREDITS,
        *subjects.POOL_ANSWERS,
        *subjects.UPDATE_RIGHTS,
        PoolCsnNoted,
        SeatPoolRenewed,
        SeatPoolResized,
    ),
)
PEOPLE: Final = Projection(
    "people",
    topics=(IDENTITY,),
    tables=("person", "contract"),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AGREEMENTS,
        *subjects.ROLES,
        *subjects.SIGN_IN,
        ClockMoved,
        ProfileUpdated,
    ),
)
NUMBERS: Final = Projection(
    "numbers",
    topics=(MARKETPLACE,),
    tables=("csn",),
    ignores=(*subjects.OPERATIONS, *subjects.PLANS, *subjects.SALES),
)


@POOLS.on(SeatPoolOpened)
async def pool_opened(tx: Transaction, event: SeatPoolOpened, _envelope: Envelope) -> None:
    tx.put(
        ("pool", event.subscription_id),
        subscription_id=event.subscription_id,
        contract_id=event.contract_id,
        customer=event.customer,
        partner=event.partner,
        publisher=event.publisher,
        phase="active",
    )


@POOLS.on(SeatPoolExpired)
async def pool_expired(tx: Transaction, event: SeatPoolExpired, _envelope: Envelope) -> None:
    tx.put(("pool", event.subscription_id), phase="expired")


@POOLS.on(SeatPoolSuspended)
async def pool_suspended(tx: Transaction, event: SeatPoolSuspended, _envelope: Envelope) -> None:
    tx.put(("pool", event.subscription_id), phase="suspended")


@POOLS.on(SeatPoolEnded)
async def pool_ended(tx: Transaction, event: SeatPoolEnded, _envelope: Envelope) -> None:
    tx.put(("pool", event.subscription_id), phase="ended")


@POOLS.on(SeatAssigned)
async def seat_assigned(tx: Transaction, event: SeatAssigned, _envelope: Envelope) -> None:
    key = ("seat", event.subscription_id, event.seat)
    assert tx.get(*key) is None, f"seat {event.seat} of {event.subscription_id} is held already"
    tx.put(key, subscription_id=event.subscription_id, account_id=event.account_id)


@POOLS.on(SeatUnassigned)
async def seat_unassigned(tx: Transaction, event: SeatUnassigned, _envelope: Envelope) -> None:
    tx.delete("seat", event.subscription_id, event.seat)


@PEOPLE.on(AccountOpened)
async def account_opened(tx: Transaction, event: AccountOpened, envelope: Envelope) -> None:
    tx.put(
        ("person", event.account_id),
        account_id=event.account_id,
        organisation_id=event.organisation_id,
        event_id=envelope.id,
        closed=False,
    )


@PEOPLE.on(AccountClosed)
async def account_closed(tx: Transaction, event: AccountClosed, envelope: Envelope) -> None:
    tx.put(("person", event.account_id), event_id=envelope.id, closed=True)


@PEOPLE.on(ContractOpened)
async def contract_opened(tx: Transaction, event: ContractOpened, _envelope: Envelope) -> None:
    tx.put(("contract", event.contract_id), customer=event.customer, publisher=event.publisher)


@NUMBERS.on(CsnIssued)
@NUMBERS.on(CsnRevoked)
async def number(tx: Transaction, event: CsnIssued | CsnRevoked, envelope: Envelope) -> None:
    tx.put(
        ("csn", event.organisation_id, event.publisher, event.csn),
        organisation_id=event.organisation_id,
        publisher=event.publisher,
        csn=event.csn,
        valid=isinstance(event, CsnIssued),
        version=envelope.version,
    )


class MemoryLookups:
    """entitlements' `Lookups`, in a simulated database."""

    def __init__(self, db: Pool) -> None:
        self._db = db

    async def account(self, account_id: str) -> Account | None:
        async with self._db.statement() as rows:
            row: Any = rows.get("person", account_id)
        return None if row is None else account_of(row)

    async def customer(self, contract_id: str, publisher: str) -> str | None:
        async with self._db.statement() as rows:
            row = rows.get("contract", contract_id)
        return row["customer"] if row is not None and row["publisher"] == publisher else None

    async def latest_csn(self, organisation_id: str, publisher: str) -> LatestCsn | None:
        async with self._db.statement() as rows:
            numbers = [
                r for r in rows.all("csn") if (r["organisation_id"], r["publisher"]) == (organisation_id, publisher)
            ]
        numbers.sort(key=lambda row: int(row["version"]), reverse=True)
        valid = next((row["csn"] for row in numbers if row["valid"]), None)
        return LatestCsn(valid, numbers[0]["version"]) if numbers else None

    async def usable(self, contract_id: str, *, unknown: bool) -> bool:
        pools = await self._pools_of(contract_id)
        return any(map(_usable, pools)) if pools else unknown

    async def pools_of_contract(self, contract_id: str) -> Sequence[str]:
        return [pool["subscription_id"] for pool in await self._pools_of(contract_id)]

    async def pools_for_user(self, contract_id: str, account_id: str) -> Sequence[str]:
        async with self._db.statement() as rows:
            pools = [pool["subscription_id"] for pool in rows.all("pool") if pool["contract_id"] == contract_id]
            seated = {seat["subscription_id"] for seat in rows.all("seat") if seat["account_id"] == account_id}
        return sorted(pools, key=lambda pool: (pool not in seated, pool))

    async def pools_of_organisation(self, organisation_id: str, publisher: str) -> Sequence[str]:
        async with self._db.statement() as rows:
            return sorted(
                pool["subscription_id"]
                for pool in rows.all("pool")
                if organisation_id in (pool["customer"], pool["partner"])
                and pool["publisher"] == publisher
                and _usable(pool)
            )

    async def seats_of(self, account_id: str) -> Sequence[str]:
        async with self._db.statement() as rows:
            return sorted(row["subscription_id"] for row in rows.all("seat") if row["account_id"] == account_id)

    async def _pools_of(self, contract_id: str) -> list[Row]:
        async with self._db.statement() as rows:
            pools = [pool for pool in rows.all("pool") if pool["contract_id"] == contract_id]
        return sorted(pools, key=lambda pool: str(pool["subscription_id"]))

    async def progress(self, projection: Projection, envelope: Envelope) -> Progress:
        consumer, version = consumer_of(projection), envelope.version
        assert version is not None, "only events of a stream are waited for"
        async with self._db.statement() as rows:
            seen = rows.get("seen", consumer, envelope.stream)
            parked = [row for row in rows.parked(consumer) if row["stream"] == envelope.stream]
        folded = seen is not None and seen["version"] >= version
        return Progress(folded, any(row["version"] <= version for row in parked))

    async def has_parked(self, projection: Projection, stream: str) -> bool:
        async with self._db.statement() as rows:
            return any(row["stream"] == stream for row in rows.parked(consumer_of(projection)))

    async def unseen_pool(self, contract_id: str) -> str | None:
        async with self._db.statement() as rows:
            for row in rows.parked(consumer_of(POOLS)):
                stored = rows.stored(row["stream"], row["version"])
                if stored is None or stored.envelope.type != SeatPoolOpened.type():
                    continue
                if json.loads(stored.data)["contract_id"] == contract_id:
                    return stored.envelope.stream
        return None


def _usable(pool: Row) -> bool:
    return pool["phase"] in ("active", "expired")
