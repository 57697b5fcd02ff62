"""What reactions and routes of entitlements look up for the deciders.

`Lookups` is what they ask, `PostgresLookups` answers from the tables. The simulation has a twin in memory, and
`tests/services/test_lookups.py` holds the two to the same answers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from services.entitlements.domain.credits import usable_seat
from services.entitlements.domain.policy import Policy
from services.entitlements.domain.seat_pool import SEAT_POOL, OpenedSeatPool, Step
from services.entitlements.domain.users import Account
from services.entitlements.projections import POOLS
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.write.log import Log
from shared.events import AccountClosed, AccountOpened
from shared.events.envelope import Envelope
from shared.runtime.policies import policy_of
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)


class Progress(NamedTuple):
    """How far a projection has come with a stream."""

    folded: bool
    """Whether it has folded the event that was asked for."""
    parked: bool
    """Whether it has parked that event or one before it: until somebody resumes it, it folds no further."""


class LatestCsn(NamedTuple):
    """What is known of an organisation's customer numbers with a publisher."""

    csn: str | None
    """Of the valid ones the newest; None where none is valid."""
    as_of: int
    """The version of the organisation's stream that says so."""


class Lookups(Protocol):
    """What deciders are told that their own stream does not say.

    Answers are as of the projections, a moment behind the streams; lists are in the order of subscription ids."""

    async def account(self, account_id: str) -> Account | None:
        """Return the last event about the account, without what is personal about it."""

    async def customer(self, contract_id: str, publisher: str) -> str | None:
        """Return whose contract with this publisher it is."""

    async def latest_csn(self, organisation_id: str, publisher: str) -> LatestCsn | None:
        """Return what is known of the organisation's numbers, None where it never had one."""

    async def usable(self, contract_id: str, *, unknown: bool) -> bool:
        """Return whether a pool of the contract is or will be usable, `unknown` if it has no pool."""

    async def pools_of_contract(self, contract_id: str) -> Sequence[str]:
        """List the contract's pools."""

    async def pools_for_user(self, contract_id: str, account_id: str) -> Sequence[str]:
        """List the contract's pools, those in which the account has a seat first."""

    async def pools_of_organisation(self, organisation_id: str, publisher: str) -> Sequence[str]:
        """List the usable pools with this publisher whose customer or partner the organisation is."""

    async def seats_of(self, account_id: str) -> Sequence[str]:
        """List the pools in which the account has a seat."""

    async def progress(self, projection: Projection, envelope: Envelope) -> Progress:
        """Tell how far a projection of entitlements has come with the event's stream."""

    async def has_parked(self, projection: Projection, stream: str) -> bool:
        """Tell whether a projection of entitlements has parked the stream."""

    async def unseen_pool(self, contract_id: str) -> str | None:
        """Return the stream of a pool of the contract that is parked at its opening."""


def consumer_of(projection: Projection) -> str:
    """Return the name that the engine knows the projection by."""
    return f"entitlements.{projection.name}"


def account_of(row: Row) -> Account:
    """Make the last event about an account from what the table `people` keeps of it."""
    who = {"account_id": row["account_id"], "organisation_id": row["organisation_id"]}
    kind = AccountClosed if row["closed"] else AccountOpened
    event: Account = kind.model_construct(**who)
    return event.recorded(row["event_id"])


class PostgresLookups:
    """Lookups in the tables of the service's database."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def account(self, account_id: str) -> Account | None:
        row = await self._db.fetchrow(SQL["account"], account_id)
        return None if row is None else account_of(row)

    async def customer(self, contract_id: str, publisher: str) -> str | None:
        customer: str | None = await self._db.fetchval(SQL["customer"], contract_id, publisher)
        return customer

    async def latest_csn(self, organisation_id: str, publisher: str) -> LatestCsn | None:
        (row,) = await self._db.fetch(SQL["csn"], organisation_id, publisher)
        return None if row["as_of"] is None else LatestCsn(row["csn"], row["as_of"])

    async def usable(self, contract_id: str, *, unknown: bool) -> bool:
        usable: bool = await self._db.fetchval(SQL["usable"], contract_id, unknown)
        return usable

    async def pools_of_contract(self, contract_id: str) -> Sequence[str]:
        return await self._pools(SQL["pools_of_contract"], contract_id)

    async def pools_for_user(self, contract_id: str, account_id: str) -> Sequence[str]:
        return await self._pools(SQL["pools_for_user"], contract_id, account_id)

    async def pools_of_organisation(self, organisation_id: str, publisher: str) -> Sequence[str]:
        return await self._pools(SQL["pools_of_organisation"], organisation_id, publisher)

    async def seats_of(self, account_id: str) -> Sequence[str]:
        return await self._pools(SQL["seats_of"], account_id)

    async def _pools(self, query: str, *arguments: str) -> Sequence[str]:
        return [row["subscription_id"] for row in await self._db.fetch(query, *arguments)]

    async def progress(self, projection: Projection, envelope: Envelope) -> Progress:
        consumer = consumer_of(projection)
        (row,) = await self._db.fetch(SQL["progress"], consumer, envelope.stream, envelope.version)
        return Progress(row["folded"], row["parked"])

    async def has_parked(self, projection: Projection, stream: str) -> bool:
        parked: bool = await self._db.fetchval(SQL["parked"], consumer_of(projection), stream)
        return parked

    async def unseen_pool(self, contract_id: str) -> str | None:
        stream: str | None = await self._db.fetchval(SQL["unseen_pool"], consumer_of(POOLS), contract_id)
        return stream


async def last_steps(lookups: Lookups, log: Log, contract_id: str) -> tuple[Step, ...]:
    """Return the last step of each of the contract's pools, if none can be used any more."""
    if await lookups.usable(contract_id, unknown=True):
        return ()
    states = [await log.state(SEAT_POOL, pool) for pool in await lookups.pools_of_contract(contract_id)]
    return tuple(state.over for state in states if isinstance(state, OpenedSeatPool) and state.over is not None)


async def pools_for(
    lookups: Lookups, log: Log, contract_id: str, account_id: str, now: datetime
) -> tuple[OpenedSeatPool, ...]:
    """Return the contract's pools up to the first in which the user has a usable seat.

    They are read from their streams: a seat that was given a moment ago counts."""
    found: list[OpenedSeatPool] = []
    for pool in await lookups.pools_for_user(contract_id, account_id):
        state = await log.state(SEAT_POOL, pool)
        if isinstance(state, OpenedSeatPool):
            found.append(state)
            if usable_seat(state, account_id, now) is not None:
                break
    return tuple(found)


async def policy_for(log: Log, subscription_id: str) -> Policy:
    """Return the policy of the pool's publisher."""
    state = await log.state(SEAT_POOL, subscription_id)
    return policy_of(Policy, state.opened.publisher if isinstance(state, OpenedSeatPool) else None)
