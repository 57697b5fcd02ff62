"""A contract's fleet: its users and what their machines get. One stream per contract, `fleet-<contract>`.

Three parts, each complete in itself: `groups.py`, the groups of users and their policies; `entitlements.py`, what
entitlements says of users, noted here so that one order says whom a rollout targets; `decisions.py`, what was decided
about updates. Here they meet: time, and whom a rollout targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Final, TypeAlias, assert_never

from services.distribution.domain import decisions, entitlements, groups
from services.distribution.domain.decisions import Deciding, Decisions, key_of
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

Event: TypeAlias = FleetOpened | groups.Event | entitlements.Event | decisions.Event | NextDecisionDue

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    customer: str = ""
    groups: Groups = groups.INITIAL
    entitlements: Entitlements = entitlements.INITIAL
    decisions: Decisions = decisions.INITIAL
    wake: datetime | None = None
    """When the timer is set to."""


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
            return replace(state, decisions=decisions.evolve(state.decisions, event))
        case NextDecisionDue(due=due):
            return replace(state, wake=due)
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ActOnWhatIsDue:
    """Time has come, in the customer's time: for schedules, policies and terms that begin."""

    contract_id: str
    now: datetime


Command: TypeAlias = groups.Command | entitlements.Command | decisions.Command | ActOnWhatIsDue


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return what follows from `command` in `state`, and when to look again."""
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
            approved = decisions.approve_due(contract_id, state.decisions, state.groups, state.entitlements, now)
            return (*begun, *approved)
        case unreachable:
            assert_never(unreachable)


def _concerned_by_groups(state: State) -> groups.Concerned:
    return lambda those: state.decisions.concerned(groups=those)


def _concerned_by_product(state: State) -> entitlements.Concerned:
    return lambda product: state.decisions.concerned(product=product)


def next_due(state: State) -> datetime | None:
    """Return when a term begins or something is to be installed next."""
    begins = (pool.begins for pool in state.entitlements.pools.values())
    installs = decisions.installs(state.decisions, state.groups, state.entitlements)
    return min((*(each for each in begins if each is not None), *(due for due, _, _ in installs)), default=None)


# ── Who gets what ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RolloutStanding:
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
    approved = state.decisions.rollouts[number]
    decided = ((group, state.decisions.decided.get((key_of(approved), group))) for group in approved.groups)
    return tuple(group for group, by in decided if isinstance(by, UpdateApproved) and by.number == number)


def standing(state: State, number: int) -> RolloutStanding:
    """Who is to get the update by this rollout: of its groups, who holds a seat of the product, in an active term, with
    the update right."""
    approved = state.decisions.rollouts.get(number)
    if approved is None:
        return RolloutStanding({}, {}, "The rollout was stopped.")
    recalled = state.decisions.recalled.get(key_of(approved))
    if recalled is not None:
        reason = f"{recalled.publisher} withdrew the update: {recalled.reason}"
        return RolloutStanding({}, {}, reason, recalled.publisher)
    chosen = groups_of(state, number)
    if not chosen:
        by = _by(state.decisions.decided[key_of(approved), approved.groups[-1]])
        return RolloutStanding({}, {}, "Something else was decided since for every group that it was for.", by)
    targets: dict[str, str] = {}
    reasons: dict[str, str] = {}
    offered = state.decisions.offered[key_of(approved)]
    for pool in state.entitlements.pools.values():
        for account_id in pool.holders if pool.serves(offered) else ():
            group = state.groups.group_of(account_id)
            if group not in chosen:
                reasons[account_id] = "The user is in none of the groups that the rollout is for."
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


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, FleetOpened) else ""


FLEET: Final = Stream(category="fleet", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
