"""What entitlements says of a contract's users, noted in its fleet: one order says whom a rollout targets."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from services.distribution.domain.fleet_state import (
    FleetEvent,
    Pool,
    State,
    concerned,
    evolve,
    start_of,
)
from shared.eventlog.decision import Decision
from shared.events import (
    EntitlementNoted,
)

Fact: TypeAlias = Literal[
    "pool_opened",
    "term_renewed",
    "term_over",
    "pool_ended",
    "seat_assigned",
    "seat_unassigned",
    "right_granted",
    "right_lost",
]


@dataclass(frozen=True, slots=True)
class NoteEntitlement:
    """entitlements says this about a subscription of the contract."""

    contract_id: str
    subscription_id: str
    fact: Fact
    because: str
    now: datetime
    account_id: str = ""
    customer: str = ""
    product: str = ""
    publisher: str = ""
    starts: date | None = None


def note(command: NoteEntitlement, state: State) -> Decision[FleetEvent]:
    pool = state.pools.get(command.subscription_id, Pool())
    noted = EntitlementNoted(
        contract_id=command.contract_id,
        subscription_id=command.subscription_id,
        fact=command.fact,
        account_id=command.account_id,
        product=command.product,
        publisher=command.publisher,
        starts=command.starts,
        because=command.because,
        rollouts=concerned(state, product=pool.product),
    )
    if command.fact == "pool_opened" and pool.product:
        return ()
    after = evolve(state, noted)
    if after.pools == {command.subscription_id: Pool(), **state.pools}:
        return ()
    opened = after.pools[command.subscription_id]
    begins = start_of(opened)
    if command.fact != "pool_opened" or begins is None or begins > command.now:
        return (noted,)
    return (noted, begun(command.contract_id, command.subscription_id, opened, state))


def begun(contract_id: str, subscription_id: str, pool: Pool, state: State) -> EntitlementNoted:
    rollouts = concerned(state, product=pool.product)
    return EntitlementNoted(
        contract_id=contract_id, subscription_id=subscription_id, fact="term_started", rollouts=rollouts
    )
