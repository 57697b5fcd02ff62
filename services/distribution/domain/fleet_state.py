"""What is known of a contract's fleet: its users' groups, what they are entitled to, the updates for its products, and
what was decided about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeAlias, assert_never

from services.distribution.domain.policy import occasion
from shared.events import (
    ApprovalLapsed,
    EntitlementNoted,
    FleetOpened,
    GroupCreated,
    GroupPolicySet,
    NextDecisionDue,
    UpdateApproved,
    UpdateHeld,
    UpdateOffered,
    UpdateRecalled,
    UpdateScheduled,
    UserPutInGroup,
    UserRemovedFromGroup,
)

FleetEvent: TypeAlias = (
    FleetOpened
    | GroupCreated
    | UserPutInGroup
    | UserRemovedFromGroup
    | GroupPolicySet
    | EntitlementNoted
    | UpdateOffered
    | UpdateRecalled
    | UpdateApproved
    | UpdateHeld
    | UpdateScheduled
    | ApprovalLapsed
    | NextDecisionDue
)
Deciding: TypeAlias = UpdateApproved | UpdateHeld | UpdateScheduled
Key: TypeAlias = tuple[str, str]
"""An update: its publisher and its id."""

DEFAULT_GROUP: Final = "default"
"""Holds every user that is in no other."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A subscription of the contract, as far as entitlements has told. Its facts come from several streams."""

    product: str = ""
    publisher: str = ""
    starts: date | None = None
    in_term: bool = False
    right: bool = False
    no_term: EntitlementNoted | None = None
    """What says so, where the term has not begun or is over."""
    holders: frozenset[str] = frozenset()
    lost: Mapping[str, EntitlementNoted] = field(default_factory=dict)
    """What took the seats of users who hold none any more."""
    ended: EntitlementNoted | None = None
    """That its seats have ended, which is for good: the product is not the contract's by this subscription."""

    def serves(self, update: UpdateOffered) -> bool:
        """Whether the update is one for this subscription's product."""
        return self.product == update.product and self.publisher in ("", update.publisher)


@dataclass(frozen=True, slots=True)
class Fleet:
    customer: str = ""
    groups: Mapping[str, GroupCreated] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)
    """From account to group; who isn't in here is in the default group."""
    policies: Mapping[str, GroupPolicySet] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    offered: Mapping[Key, UpdateOffered] = field(default_factory=dict)
    recalled: Mapping[Key, UpdateRecalled] = field(default_factory=dict)
    decided: Mapping[tuple[Key, str], Deciding] = field(default_factory=dict)
    """What was decided last about an update for a group."""
    rollouts: Mapping[int, UpdateApproved] = field(default_factory=dict)
    """The approvals whose rollouts are not stopped, by number."""
    numbers: int = 0
    wake: datetime | None = None
    """When the timer is set to."""

    def group_of(self, account_id: str) -> str:
        return self.members.get(account_id, DEFAULT_GROUP)

    @property
    def publisher(self) -> str | None:
        """Whom the contract is with: whoever sold its first product that is known here; None, where none is."""
        return next((pool.publisher for pool in self.pools.values() if pool.publisher), None)

    def serving(self, update: UpdateOffered) -> tuple[Pool, ...]:
        """The subscriptions for the update's product, also those that have ended."""
        return tuple(pool for pool in self.pools.values() if pool.serves(update))

    def owns(self, update: UpdateOffered) -> bool:
        """Whether the update is one for a product that the contract owns now."""
        return any(pool.ended is None for pool in self.serving(update))

    def shows(self, update: UpdateOffered) -> bool:
        """Whether the contract's administrators see the update: extensions are for subscribers only."""
        return self.owns(update) and (update.kind != "extension" or any(pool.in_term for pool in self.serving(update)))

    def managed(self, account_id: str) -> bool:
        """Whether the user holds a seat of the contract's."""
        return any(account_id in pool.holders for pool in self.pools.values())

    def lost(self, account_id: str) -> tuple[EntitlementNoted, ...]:
        """What took the user's seats of the contract."""
        return tuple(pool.lost[account_id] for pool in self.pools.values() if account_id in pool.lost)


State: TypeAlias = Fleet
INITIAL: Final[State] = Fleet()


def key_of(event: UpdateOffered | UpdateRecalled | Deciding) -> Key:
    return event.publisher, event.update_id


def evolve(state: State, event: FleetEvent) -> State:
    """The state after `event`."""
    match event:
        case FleetOpened(customer=customer):
            return replace(state, customer=customer)
        case GroupCreated(group_id=group_id):
            return replace(state, groups={**state.groups, group_id: event})
        case UserPutInGroup(account_id=account_id, group_id=group_id):
            return replace(state, members={**state.members, account_id: group_id})
        case UserRemovedFromGroup(account_id=removed):
            return replace(state, members={who: group for who, group in state.members.items() if who != removed})
        case GroupPolicySet(group_id=group_id):
            return replace(state, policies={**state.policies, group_id: event})
        case EntitlementNoted(subscription_id=subscription_id):
            pool = _noted(state.pools.get(subscription_id, Pool()), event)
            return replace(state, pools={**state.pools, subscription_id: pool})
        case UpdateOffered():
            return replace(state, offered={**state.offered, key_of(event): event})
        case UpdateRecalled():
            return replace(state, recalled={**state.recalled, key_of(event): event})
        case UpdateApproved(number=number):
            decided = _decided(state, event)
            return replace(state, decided=decided, rollouts={**state.rollouts, number: event}, numbers=number)
        case UpdateHeld() | UpdateScheduled():
            return replace(state, decided=_decided(state, event))
        case ApprovalLapsed(number=lapsed):
            return replace(state, rollouts={n: each for n, each in state.rollouts.items() if n != lapsed})
        case NextDecisionDue(due=due):
            return replace(state, wake=due)
        case unreachable:
            assert_never(unreachable)


def _decided(state: State, event: Deciding) -> Mapping[tuple[Key, str], Deciding]:
    return {**state.decided, **{(key_of(event), group): event for group in event.groups}}


def _noted(pool: Pool, event: EntitlementNoted) -> Pool:
    match event.fact:
        case "pool_opened":
            return replace(pool, product=event.product, publisher=event.publisher, starts=event.starts, no_term=event)
        case "term_started":
            return replace(pool, starts=None, in_term=True)
        case "term_renewed":
            return replace(pool, in_term=True)
        case "term_over":
            news = pool.in_term or pool.starts is not None
            return replace(pool, starts=None, in_term=False, no_term=event if news else pool.no_term)
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


# ── Who gets what ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an approved rollout stands with its fleet."""

    targets: Mapping[str, str]
    """The users who are to get the update, and each one's group."""
    reasons: Mapping[str, str]
    """Why other holders of a seat are not."""
    over: str = ""
    """Why nobody is ever to get it again by this rollout, if that is so."""
    over_by: str = ""


def groups_of(state: State, number: int) -> tuple[str, ...]:
    """The groups that a rollout still is for: about which nothing else was decided since."""
    approved = state.rollouts[number]
    decided = ((group, state.decided.get((key_of(approved), group))) for group in approved.groups)
    return tuple(group for group, by in decided if isinstance(by, UpdateApproved) and by.number == number)


def standing(state: State, number: int) -> Standing:
    """Who is to get the update by this rollout: of its groups, who holds a seat of the product, in an active term, with
    the update right."""
    approved = state.rollouts.get(number)
    if approved is None:
        return Standing({}, {}, "The rollout was stopped.")
    recalled = state.recalled.get(key_of(approved))
    if recalled is not None:
        reason = f"{recalled.publisher} withdrew the update: {recalled.reason}"
        return Standing({}, {}, reason, recalled.publisher)
    groups = groups_of(state, number)
    if not groups:
        by = _by(state.decided[key_of(approved), approved.groups[-1]])
        return Standing({}, {}, "Something else was decided since for every group that it was for.", by)
    targets: dict[str, str] = {}
    reasons: dict[str, str] = {}
    offered = state.offered[key_of(approved)]
    for pool in state.pools.values():
        for account_id in pool.holders if pool.serves(offered) else ():
            group = state.group_of(account_id)
            if group not in groups:
                reasons[account_id] = "The user is in none of the groups that the rollout is for."
            elif not pool.in_term:
                reasons.setdefault(account_id, "The term of the user's subscription is not active.")
            elif not pool.right:
                reasons.setdefault(account_id, "The user's subscription has no update right.")
            else:
                targets[account_id] = group
    return Standing(targets, {who: why for who, why in reasons.items() if who not in targets})


def _by(decided: Deciding) -> str:
    match decided:
        case UpdateApproved(approved_by=by) | UpdateHeld(held_by=by) | UpdateScheduled(scheduled_by=by):
            return by
        case unreachable:
            assert_never(unreachable)


def concerned(
    state: State, *, product: str | None = None, groups: frozenset[str] | None = None, key: Key | None = None
) -> tuple[int, ...]:
    """The rollouts of this product, for any of these groups, of this update: whatever is given."""
    return tuple(
        number
        for number, approved in state.rollouts.items()
        if (product is None or state.offered[key_of(approved)].product == product)
        and (groups is None or groups & frozenset(approved.groups))
        and (key is None or key == key_of(approved))
    )


# ── What time will bring ───────────────────────────────────────────────────────────────────────────────


def start_of(pool: Pool) -> datetime | None:
    """When the pool's first term begins, if it hasn't: at the start of that day in UTC."""
    return None if pool.starts is None or pool.in_term else datetime.combine(pool.starts, time(), UTC)


def installs(state: State) -> Iterator[tuple[datetime, Key, str]]:
    """Which update a policy or a schedule gives to which group, from when on: of those that administrators see. Others
    wait, should the product be bought again, or an extension's term be renewed."""
    shown = {key: update for key, update in state.offered.items() if key not in state.recalled and state.shows(update)}
    for (key, group), decided in state.decided.items():
        if isinstance(decided, UpdateScheduled) and key in shown:
            yield decided.starts_at, key, group
    for group, policy in state.policies.items():
        for key, update in shown.items() if policy.cadence != "off" else ():
            if update.kind == "update" and (key, group) not in state.decided:
                critical = update.severity == "critical"
                days = policy.critical_days if critical else policy.days
                ready = max(update.published_at + timedelta(days), update.offered_at, policy.since)
                yield occasion(policy.critical_period if critical else policy.period, ready), key, group


def next_due(state: State) -> datetime | None:
    """When the next of it is due."""
    starts = (start for pool in state.pools.values() if (start := start_of(pool)) is not None)
    return min((*starts, *(due for due, _, _ in installs(state))), default=None)
