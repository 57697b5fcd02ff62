"""The state of a contract and its fold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar, assert_never

from shared.events import (
    AgreementEnded,
    AgreementScheduled,
    AgreementStarted,
    ContractOpened,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
)
from shared.events.identity import AgreementKind, Role

Event: TypeAlias = (
    ContractOpened
    | RoleAssigned
    | RoleRequested
    | RoleRequestDeclined
    | RoleRevoked
    | AgreementScheduled
    | AgreementStarted
    | AgreementEnded
)

V = TypeVar("V")

MANAGER: Final[Role] = "contract_manager"
COORDINATOR: Final[Role] = "software_coordinator"

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    """A contract without any event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedContract:
    """An open contract, with its roles, requests and agreements."""

    opened: ContractOpened
    manager: RoleAssigned | None
    """None only between the events of one decision: an opening or a handover."""
    coordinators: Mapping[str, RoleAssigned]
    requests: Mapping[str, RoleRequested]
    """The open requests, by account: at most one for each."""
    revoked: Mapping[str, RoleRevoked]
    """The latest revocation, by account, for accounts that were given no role since."""
    scheduled: Mapping[str, AgreementScheduled]
    """The agreements whose first day is still to come, by subscription."""
    agreements: Mapping[str, AgreementStarted]
    """The running agreements, by subscription."""
    ended: Mapping[str, AgreementEnded]
    """The ended agreements, by subscription."""
    kinds: Mapping[str, AgreementKind]
    """The kinds of all agreements, including ended ones, by subscription."""


State: TypeAlias = Unopened | OpenedContract
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    if isinstance(event, ContractOpened):
        return OpenedContract(
            opened=event,
            manager=None,
            coordinators={},
            requests={},
            revoked={},
            scheduled={},
            agreements={},
            ended={},
            kinds={},
        )
    if isinstance(state, Unopened):
        return state
    match event:
        case RoleAssigned():
            return _given(state, event)
        case RoleRequested(account_id=account):
            return replace(state, requests={**state.requests, account: event})
        case RoleRequestDeclined(account_id=account):
            return replace(state, requests=_without(state.requests, account))
        case RoleRevoked(account_id=account):
            revoked = {**state.revoked, account: event}
            if event.role == MANAGER:
                return replace(state, manager=None, revoked=revoked)
            return replace(state, coordinators=_without(state.coordinators, account), revoked=revoked)
        case AgreementScheduled(subscription_id=subscription):
            kinds = {**state.kinds, subscription: event.kind}
            return replace(state, scheduled={**state.scheduled, subscription: event}, kinds=kinds)
        case AgreementStarted(subscription_id=subscription):
            scheduled = _without(state.scheduled, subscription)
            agreements = {**state.agreements, subscription: event}
            kinds = {**state.kinds, subscription: event.kind}
            return replace(state, scheduled=scheduled, agreements=agreements, kinds=kinds)
        case AgreementEnded(subscription_id=subscription):
            return replace(
                state,
                scheduled=_without(state.scheduled, subscription),
                agreements=_without(state.agreements, subscription),
                ended={**state.ended, subscription: event},
            )
        case unreachable:
            assert_never(unreachable)


def answered_by(given: Role) -> tuple[Role, ...]:
    """Return the roles whose open requests are answered when this role is given."""
    return (MANAGER, COORDINATOR) if given == MANAGER else (given,)


def _given(state: OpenedContract, role: RoleAssigned) -> OpenedContract:
    """Return the state with the role.

    It answers the account's request for that role; the role of Contract Manager answers any request.
    """
    account, request = role.account_id, state.requests.get(role.account_id)
    answered = request is not None and request.role in answered_by(role.role)
    state = replace(
        state,
        requests=_without(state.requests, account) if answered else state.requests,
        revoked=_without(state.revoked, account),
    )
    if role.role == MANAGER:
        return replace(state, manager=role)
    return replace(state, coordinators={**state.coordinators, account: role})


def _without(mapping: Mapping[str, V], key: str) -> Mapping[str, V]:
    return {k: v for k, v in mapping.items() if k != key}
