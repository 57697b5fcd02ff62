"""A contract's subscriptions and their users, a part of its fleet's stream.

The facts come from the entitlements service. They are noted in the fleet's stream so that one order of events decides
whom a rollout targets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final, Literal, TypeAlias, assert_never

from shared import days
from shared.eventlog.decision import Decision
from shared.events import EntitlementNoted, UpdateOffered
from shared.events.distribution import UpdateKind

Event: TypeAlias = EntitlementNoted
Concerned: TypeAlias = Callable[[str], tuple[int, ...]]
"""Returns the numbers of the rollouts of a product."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class EntitledPool:
    """A subscription of the contract, as far as it is known here.

    Its facts come from several streams of entitlements, in any order.
    """

    product: str = ""
    publisher: str = ""
    starts: date | None = None
    time_zone: str = "UTC"
    """The zone of `starts`."""
    in_term: bool = False
    right: bool = False
    no_term: EntitlementNoted | None = None
    """The event that says that no term is active: the first has not begun, or the last is over."""
    holders: frozenset[str] = frozenset()
    lost: Mapping[str, EntitlementNoted] = field(default_factory=dict)
    """For each user who no longer holds a seat, the event that took it."""
    ended: EntitlementNoted | None = None
    """The event that ended the pool for good. From then on the contract does not own the product by it."""

    def serves(self, update: UpdateOffered) -> bool:
        """Return whether the update is one for this subscription's product."""
        return self.product == update.product and self.publisher in ("", update.publisher)

    @property
    def kinds_shown(self) -> tuple[UpdateKind, ...]:
        """The kinds of updates that this subscription shows to the contract's administrators.

        Extensions are for subscribers only, so they are shown only during a term. Source: domain rules, distribution.
        """
        if self.ended is not None:
            return ()
        return ("update", "extension") if self.in_term else ("update",)

    @property
    def begins(self) -> datetime | None:
        """When the first term begins; None once it has begun or where it is unknown."""
        return None if self.starts is None or self.in_term else days.begins(self.starts, self.time_zone)

    def begun_by(self, now: datetime) -> bool:
        """Return whether the first term has begun by `now` without a `term_started` event."""
        return self.begins is not None and self.begins <= now


@dataclass(frozen=True, slots=True)
class Entitlements:
    """The contract's subscriptions, by id."""

    pools: Mapping[str, EntitledPool] = field(default_factory=dict)

    @property
    def publisher(self) -> str | None:
        """The publisher of the contract's first known product; None where no product is known."""
        return next((pool.publisher for pool in self.pools.values() if pool.publisher), None)

    def serving(self, update: UpdateOffered) -> tuple[EntitledPool, ...]:
        """Return the subscriptions for the update's product, including ended ones."""
        return tuple(pool for pool in self.pools.values() if pool.serves(update))

    def owns(self, update: UpdateOffered) -> bool:
        """Return whether the contract owns the update's product now."""
        return any(pool.ended is None for pool in self.serving(update))

    def shows(self, update: UpdateOffered) -> bool:
        """Return whether the contract's administrators see the update."""
        return any(update.kind in pool.kinds_shown for pool in self.serving(update))

    def managed(self, account_id: str) -> bool:
        """Return whether the user holds a seat of the contract."""
        return any(account_id in pool.holders for pool in self.pools.values())

    def lost(self, account_id: str) -> tuple[EntitlementNoted, ...]:
        """Return the events that took the user's seats of the contract."""
        return tuple(pool.lost[account_id] for pool in self.pools.values() if account_id in pool.lost)


State: TypeAlias = Entitlements
INITIAL: Final[State] = Entitlements()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    pool = _noted(state.pools.get(event.subscription_id, EntitledPool()), event)
    return Entitlements({**state.pools, event.subscription_id: pool})


def _noted(pool: EntitledPool, event: EntitlementNoted) -> EntitledPool:
    match event.fact:
        case "pool_opened":
            return replace(
                pool,
                product=event.product,
                publisher=event.publisher,
                starts=event.starts,
                time_zone=event.time_zone,
                no_term=event,
            )
        case "term_started":
            return replace(pool, starts=None, in_term=True)
        case "term_renewed":
            return replace(pool, in_term=True)
        case "term_over":
            was_open = pool.in_term or pool.starts is not None
            return replace(pool, starts=None, in_term=False, no_term=event if was_open else pool.no_term)
        case "pool_ended":
            lost = {**pool.lost, **dict.fromkeys(pool.holders, event)}
            return replace(pool, starts=None, in_term=False, holders=frozenset(), lost=lost, ended=pool.ended or event)
        case "seat_assigned":
            lost = {who: by for who, by in pool.lost.items() if who != event.account_id}
            return replace(pool, holders=pool.holders | {event.account_id}, lost=lost)
        case "seat_unassigned":
            lost = {**pool.lost, **dict.fromkeys(pool.holders & {event.account_id}, event)}
            return replace(pool, holders=pool.holders - {event.account_id}, lost=lost)
        case "right_granted":
            return replace(pool, right=True)
        case "right_lost":
            return replace(pool, right=False)
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


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


@dataclass(frozen=True, kw_only=True, slots=True)
class NoteEntitlement:
    """Note a fact of the entitlements service about a subscription of the contract."""

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
    time_zone: str = "UTC"


Command: TypeAlias = NoteEntitlement


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State, concerned: Concerned) -> Decision[Event]:
    """Return the events that follow from `command` in `state`: none where it changes nothing.

    A pool whose first term has already begun is opened and starts its term in one decision.
    """
    pool = state.pools.get(command.subscription_id, EntitledPool())
    noted = EntitlementNoted(
        contract_id=command.contract_id,
        subscription_id=command.subscription_id,
        fact=command.fact,
        account_id=command.account_id,
        product=command.product,
        publisher=command.publisher,
        starts=command.starts,
        time_zone=command.time_zone,
        because=command.because,
        rollouts=concerned(pool.product),
    )
    if command.fact == "pool_opened" and pool.product:
        return ()
    after = evolve(state, noted)
    if after.pools == {command.subscription_id: EntitledPool(), **state.pools}:
        return ()
    opened = after.pools[command.subscription_id]
    if command.fact != "pool_opened" or not opened.begun_by(command.now):
        return (noted,)
    return (noted, _term_started(command.contract_id, command.subscription_id, opened, concerned))


def terms_begun(contract_id: str, state: State, concerned: Concerned, now: datetime) -> tuple[EntitlementNoted, ...]:
    """Return a `term_started` event for each first term that has begun by `now` without one."""
    return tuple(
        _term_started(contract_id, subscription_id, pool, concerned)
        for subscription_id, pool in state.pools.items()
        if pool.begun_by(now)
    )


def _term_started(contract_id: str, subscription_id: str, pool: EntitledPool, concerned: Concerned) -> EntitlementNoted:
    return EntitlementNoted(
        contract_id=contract_id,
        subscription_id=subscription_id,
        fact="term_started",
        rollouts=concerned(pool.product),
    )
