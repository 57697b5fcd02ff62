"""What is known of a contract: its state, and how its events change it."""

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

Kept = TypeVar("Kept")

MANAGER: Final[Role] = "contract_manager"
COORDINATOR: Final[Role] = "software_coordinator"

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedContract:
    opened: ContractOpened
    manager: RoleAssigned | None
    """None only between the two events of the opening decision, or of a handover."""
    coordinators: Mapping[str, RoleAssigned]
    requests: Mapping[str, RoleRequested]
    """One a person at a time."""
    revoked: Mapping[str, RoleRevoked]
    """The last role that was taken from whoever has not been given one since."""
    scheduled: Mapping[str, AgreementScheduled]
    """Those whose first day is still to come, by subscription."""
    agreements: Mapping[str, AgreementStarted]
    """The running ones, by subscription."""
    ended: Mapping[str, AgreementEnded]
    kinds: Mapping[str, AgreementKind]
    """Of all agreements that ever were, by subscription."""


State: TypeAlias = Unopened | OpenedContract
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
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


def _given(state: OpenedContract, role: RoleAssigned) -> OpenedContract:
    """A role answers the request for it; a Contract Manager has nothing left to ask for."""
    account, asked = role.account_id, state.requests.get(role.account_id)
    answered = asked is not None and role.role in (MANAGER, asked.role)
    state = replace(
        state,
        requests=_without(state.requests, account) if answered else state.requests,
        revoked=_without(state.revoked, account),
    )
    if role.role == MANAGER:
        return replace(state, manager=role)
    return replace(state, coordinators={**state.coordinators, account: role})


def _without(those: Mapping[str, Kept], key: str) -> Mapping[str, Kept]:
    return {k: v for k, v in those.items() if k != key}
