"""Groups of a contract's users and their update policies, a part of a fleet's stream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Final, TypeAlias, assert_never

from services.distribution.domain import rules
from services.distribution.domain.entitlements import Entitlements
from services.distribution.domain.policy import Policy
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import GroupCreated, GroupPolicySet, UserPutInGroup, UserRemovedFromGroup
from shared.events.distribution import Cadence, MaintenanceWindows
from shared.events.fields import Identifier, Name

Event: TypeAlias = GroupCreated | UserPutInGroup | UserRemovedFromGroup | GroupPolicySet
Concerned: TypeAlias = Callable[[frozenset[str]], tuple[int, ...]]
"""Returns the numbers of the rollouts for any of these groups."""

DEFAULT_GROUP: Final = "default"
"""The group of every user who is in no other."""
NOBODY: Final = ""
"""The account id of an e-mail address that no account of the customer's organisation has."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a contract, their members and their policies."""

    groups: Mapping[str, GroupCreated] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)
    """From account to group. Users without an entry are in the default group."""
    policies: Mapping[str, GroupPolicySet] = field(default_factory=dict)

    def group_of(self, account_id: str) -> str:
        """Return the group that the user is in."""
        return self.members.get(account_id, DEFAULT_GROUP)


State: TypeAlias = Groups
INITIAL: Final[State] = Groups()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case GroupCreated(group_id=group_id):
            return replace(state, groups={**state.groups, group_id: event})
        case UserPutInGroup(account_id=account_id, group_id=group_id):
            return replace(state, members={**state.members, account_id: group_id})
        case UserRemovedFromGroup(account_id=removed):
            return replace(state, members={who: group for who, group in state.members.items() if who != removed})
        case GroupPolicySet(group_id=group_id):
            return replace(state, policies={**state.policies, group_id: event})
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateGroup:
    """Create a group of users, about whose updates decisions are made together."""

    name: Name
    contract_id: Identifier
    group_id: Annotated[str, SUPPLIED]
    customer: Annotated[str, SUPPLIED]
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class PutUserInGroup:
    """Move a user who holds a seat of the contract into the group."""

    account_id: Identifier
    contract_id: Identifier
    group_id: Identifier
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class RemoveUserFromGroup:
    """Move the user back into the default group."""

    contract_id: Identifier
    group_id: Identifier
    account_id: Identifier
    by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class SetGroupPolicy:
    """Set the cadence at which updates are approved for the group automatically.

    They are offered in the maintenance windows only; without any, at all times.
    """

    contract_id: Identifier
    group_id: Identifier
    cadence: Cadence
    customer: Annotated[str, SUPPLIED]
    by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED]
    windows: MaintenanceWindows = ()


Command: TypeAlias = CreateGroup | PutUserInGroup | RemoveUserFromGroup | SetGroupPolicy


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State, entitlements: Entitlements, concerned: Concerned) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case CreateGroup():
            return _create(command, state)
        case PutUserInGroup():
            return _put(command, state, entitlements, concerned)
        case RemoveUserFromGroup(group_id=group_id, account_id=account_id):
            return _remove(command, state, concerned) if state.group_of(account_id) == group_id else ()
        case SetGroupPolicy():
            return _set_policy(command, state)
        case unreachable:
            assert_never(unreachable)


def _create(command: CreateGroup, state: State) -> Decision[Event]:
    if command.group_id in state.groups:
        return ()
    name = command.name
    namesake = next((group for group in state.groups.values() if group.name == name), None)
    if namesake is not None:
        return Rejected(
            rules.GROUP_NAME_TAKEN, f"A group named {name} already exists.", "Choose another name.", (namesake,)
        )
    return (GroupCreated(contract_id=command.contract_id, group_id=command.group_id, name=name, created_by=command.by),)


def _put(command: PutUserInGroup, state: State, entitlements: Entitlements, concerned: Concerned) -> Decision[Event]:
    refusal = unknown_groups((command.group_id,), state)
    if refusal is not None:
        return refusal
    if command.account_id == NOBODY:
        return Rejected(
            rules.USER_NOT_MANAGED,
            "No account of the customer's organisation has this e-mail address.",
            "Check the address, or invite the person.",
        )
    if not entitlements.managed(command.account_id):
        lost = entitlements.lost(command.account_id)
        return Rejected(
            rules.USER_NOT_MANAGED,
            "The user holds no seat of this contract" + (" any more." if lost else "."),
            "Assign a seat first. A new seat appears here a moment after its assignment.",
            lost,
        )
    if state.group_of(command.account_id) == command.group_id:
        return ()
    if command.group_id == DEFAULT_GROUP:
        return _remove(command, state, concerned)
    groups = frozenset((state.group_of(command.account_id), command.group_id))
    return (
        UserPutInGroup(
            contract_id=command.contract_id,
            group_id=command.group_id,
            account_id=command.account_id,
            put_by=command.by,
            rollouts=concerned(groups),
        ),
    )


def _remove(command: PutUserInGroup | RemoveUserFromGroup, state: State, concerned: Concerned) -> Decision[Event]:
    group = state.group_of(command.account_id)
    if group == DEFAULT_GROUP:
        return ()
    return (
        UserRemovedFromGroup(
            contract_id=command.contract_id,
            group_id=group,
            account_id=command.account_id,
            removed_by=command.by,
            rollouts=concerned(frozenset((group, DEFAULT_GROUP))),
        ),
    )


def _set_policy(command: SetGroupPolicy, state: State) -> Decision[Event]:
    refusal = unknown_groups((command.group_id,), state)
    if refusal is not None:
        return refusal
    figures, current = command.policy.figures(command.cadence), state.policies.get(command.group_id)
    wanted = GroupPolicySet(
        contract_id=command.contract_id,
        group_id=command.group_id,
        cadence=command.cadence,
        days=figures.days,
        critical_days=figures.critical_days,
        success_percent=command.policy.success_percent,
        error_percent=command.policy.error_percent,
        windows=command.windows,
        since=command.now,
        set_by=command.by,
        period=figures.period,
        critical_period=figures.critical_period,
    )
    same = current is not None and wanted == current.model_copy(update={"since": command.now, "set_by": command.by})
    return () if same else (wanted,)


def unknown_groups(groups: tuple[str, ...], state: State) -> Rejected | None:
    """Return why these are not groups of the contract; None when they are."""
    if not groups:
        return Rejected(rules.GROUPS_MALFORMED, "The request names no group.", "Name a group.")
    missing = [group for group in groups if group != DEFAULT_GROUP and group not in state.groups]
    if not missing:
        return None
    return Rejected(rules.GROUP_UNKNOWN, f"There is no group {', '.join(missing)[:200]}.", "Create it first.")
