"""A contract's fleet: its users and the updates of their machines, one stream per contract.

The stream `fleet-<contract>` has three parts with a decider and a fold of their own:

- `groups.py`: the groups of users and their policies;
- `entitlements.py`: the facts of entitlements about users, noted here so that one order decides whom a rollout targets;
- `decisions.py`: what was decided about updates; its state is in `decision_state.py`, and what schedules and policies
  approve in `installs.py`.

This module combines them, acts on what is due, and computes whom a rollout targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Final, TypeAlias, assert_never

from services.distribution.domain import decision_state, decisions, entitlements, groups, installs
from services.distribution.domain.decision_state import Deciding, Decisions, key_of
from services.distribution.domain.entitlements import Entitlements
from services.distribution.domain.groups import Groups
from shared.eventlog.decision import Decision, Rejected, Stream
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

Event: TypeAlias = FleetOpened | groups.Event | entitlements.Event | decision_state.Event | NextDecisionDue

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """The state of a fleet: its three parts, and the time that its timer is set to."""

    customer: str = ""
    groups: Groups = groups.INITIAL
    entitlements: Entitlements = entitlements.INITIAL
    decisions: Decisions = decision_state.INITIAL
    wake: datetime | None = None
    """The time that the fleet's timer is set to; None where nothing will become due."""


State: TypeAlias = Fleet
INITIAL: Final[State] = Fleet()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case FleetOpened(customer=customer):
            return replace(state, customer=customer)
        case GroupCreated() | UserPutInGroup() | UserRemovedFromGroup() | GroupPolicySet():
            return replace(state, groups=groups.evolve(state.groups, event))
        case EntitlementNoted():
            return replace(state, entitlements=entitlements.evolve(state.entitlements, event))
        case (
            UpdateOffered() | UpdateRecalled() | UpdateApproved() | UpdateHeld() | UpdateScheduled() | ApprovalLapsed()
        ):
            return replace(state, decisions=decision_state.evolve(state.decisions, event))
        case NextDecisionDue(due=due):
            return replace(state, wake=due)
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ActOnWhatIsDue:
    """Act on the schedules, policies and first terms that are due by `now`.

    Args:
        now: the customer's time.
    """

    contract_id: str
    now: datetime


Command: TypeAlias = groups.Command | entitlements.Command | decisions.Command | ActOnWhatIsDue


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal.

    NextDecisionDue is among them whenever the time of the next due decision changes.
    """
    decision = _decide(command, state)
    if isinstance(decision, Rejected):
        return decision
    customer = getattr(command, "customer", "")
    if customer and not state.customer:
        decision = (FleetOpened(contract_id=command.contract_id, customer=customer), *decision)
    after = reduce(evolve, decision, state)
    due = next_due(after)
    if due == after.wake:
        return decision
    return (*decision, NextDecisionDue(contract_id=command.contract_id, customer=after.customer, due=due))


def _decide(command: Command, state: State) -> Decision[Event]:
    if isinstance(command, groups.Command):
        return groups.decide(command, state.groups, state.entitlements, _concerned_by_groups(state))
    if isinstance(command, decisions.Command):
        return decisions.decide(command, state.decisions, state.groups, state.entitlements)
    match command:
        case entitlements.NoteEntitlement():
            return entitlements.decide(command, state.entitlements, _concerned_by_product(state))
        case ActOnWhatIsDue(contract_id, now):
            begun = entitlements.terms_begun(contract_id, state.entitlements, _concerned_by_product(state), now)
            approved = installs.approve_due(contract_id, state.decisions, state.groups, state.entitlements, now)
            return (*begun, *approved)
        case unreachable:
            assert_never(unreachable)


def _concerned_by_groups(state: State) -> groups.Concerned:
    return lambda changed: state.decisions.concerned(groups=changed)


def _concerned_by_product(state: State) -> entitlements.Concerned:
    return lambda product: state.decisions.concerned(product=product)


def next_due(state: State) -> datetime | None:
    """Return when the next first term begins or approval is due; None if there is neither."""
    begins = (pool.begins for pool in state.entitlements.pools.values())
    due_installs = installs.installs(state.decisions, state.groups, state.entitlements)
    return min((*(start for start in begins if start is not None), *(due for due, _, _ in due_installs)), default=None)


# ── Targets of rollouts ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RolloutStanding:
    """Whom an approved rollout targets, according to its fleet."""

    targets: Mapping[str, str]
    """From the account of each user who gets the update to the user's group."""
    reasons: Mapping[str, str]
    """From the account of each other holder of a seat to the reason why the user is not a target."""
    over: str = ""
    """Why the rollout has ended for good; "" where it has not."""
    over_by: str = ""
    """The actor whose decision ended it."""


def groups_of(state: State, number: int) -> tuple[str, ...]:
    """Return the rollout's groups whose latest decision about the update is still this approval."""
    approved = state.decisions.rollouts[number]
    latest = ((group, state.decisions.decided.get((key_of(approved), group))) for group in approved.groups)
    return tuple(
        group for group, decision in latest if isinstance(decision, UpdateApproved) and decision.number == number
    )


def standing(state: State, number: int) -> RolloutStanding:
    """Return whom the rollout targets.

    Its targets are the users of its groups who hold a seat of the product, in an active term, with the update right.
    """
    approved = state.decisions.rollouts.get(number)
    if approved is None:
        return RolloutStanding({}, {}, "The rollout was stopped.")
    recalled = state.decisions.recalled.get(key_of(approved))
    if recalled is not None:
        reason = f"{recalled.publisher} withdrew the update: {recalled.reason}"
        return RolloutStanding({}, {}, reason, recalled.publisher)
    newer = state.decisions.ended.get(number)
    if newer is not None:
        reason = f"Version {newer.version} supersedes the update: see {newer.update_id}."
        return RolloutStanding({}, {}, reason, newer.publisher)
    chosen = groups_of(state, number)
    if not chosen:
        by = _by(state.decisions.decided[key_of(approved), approved.groups[-1]])
        return RolloutStanding({}, {}, "A later decision replaced the approval for each of its groups.", by)
    targets: dict[str, str] = {}
    reasons: dict[str, str] = {}
    offered = state.decisions.offered[key_of(approved)]
    for pool in state.entitlements.pools.values():
        for account_id in pool.holders if pool.serves(offered) else ():
            group = state.groups.group_of(account_id)
            if group not in chosen:
                reasons[account_id] = "The user is in none of the rollout's groups."
            elif not pool.in_term:
                reasons.setdefault(account_id, "The term of the user's subscription is not active.")
            elif not pool.right:
                reasons.setdefault(account_id, "The user's subscription has no update right.")
            else:
                targets[account_id] = group
    return RolloutStanding(targets, {who: why for who, why in reasons.items() if who not in targets})


def _by(decided: Deciding) -> str:
    match decided:
        case UpdateApproved(approved_by=by) | UpdateHeld(held_by=by) | UpdateScheduled(scheduled_by=by):
            return by
        case unreachable:
            assert_never(unreachable)


def _actor(event: Event) -> str:
    return _by(event) if isinstance(event, UpdateApproved | UpdateHeld | UpdateScheduled) else ""


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, FleetOpened) else ""


FLEET: Final = Stream(category="fleet", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant, actor=_actor)
