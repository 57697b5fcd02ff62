"""What routes, reactions and timers find for the deciders: what is known of an account, and of a contract's pools."""

from datetime import date
from typing import Final

from services.entitlements.domain.credits import seat_on
from services.entitlements.domain.policy import Policy
from services.entitlements.domain.seat_pool import SEAT_POOL, OpenedSeatPool, Step
from services.entitlements.domain.users import Account
from shared.eventlog.write.log import Log
from shared.events import AccountClosed, AccountOpened
from shared.runtime.policies import policy_of
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)


async def account(db: Queryable, account_id: str) -> Account | None:
    """The last word about the account, without what is personal about it."""
    row = await db.fetchrow(SQL["account"], account_id)
    if row is None:
        return None
    who = {"account_id": account_id, "organisation_id": row["organisation_id"]}
    kind = AccountClosed if row["closed"] else AccountOpened
    said: Account = kind.model_construct(**who)
    return said.recorded(row["event_id"])


async def usable(db: Queryable, contract_id: str, *, unknown: bool) -> bool:
    """Whether the contract has a pool whose seats can be used, or will be; `unknown` where no pool of it is known."""
    found: bool = await db.fetchval(SQL["usable"], contract_id, unknown)
    return found


async def last_steps(db: Queryable, log: Log, contract_id: str) -> tuple[Step, ...]:
    """The steps that the contract's pools have come to, where none of them can be used any more. Else nothing."""
    if await usable(db, contract_id, unknown=True):
        return ()
    rows = await db.fetch(SQL["pools_of_contract"], contract_id)
    states = [await log.state(SEAT_POOL, row["subscription_id"]) for row in rows]
    return tuple(state.over for state in states if isinstance(state, OpenedSeatPool) and state.over is not None)


async def pools_for(
    db: Queryable, log: Log, contract_id: str, account_id: str, today: date
) -> tuple[OpenedSeatPool, ...]:
    """The contract's pools, up to the first in which the user has a seat that can be used. As of now: a seat that was
    given a moment ago counts."""
    rows = await db.fetch(SQL["pools_for"], contract_id, account_id)
    found: list[OpenedSeatPool] = []
    for row in rows:
        state = await log.state(SEAT_POOL, row["subscription_id"])
        if isinstance(state, OpenedSeatPool):
            found.append(state)
            if seat_on(state, account_id, today) is not None:
                break
    return tuple(found)


async def policy_for(log: Log, subscription_id: str) -> Policy:
    """The policy of the pool's publisher."""
    state = await log.state(SEAT_POOL, subscription_id)
    return policy_of(Policy, state.opened.publisher if isinstance(state, OpenedSeatPool) else None)
