"""A customer's contract with a publisher: who manages it, who coordinates software, and whether that opens doors.

One stream per contract. Exactly one Contract Manager, from the first event of its life on: never none, never two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final, TypeAlias, TypeVar, assert_never

from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    AgreementEnded,
    AgreementStarted,
    ContractOpened,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
)
from shared.events.identity import AgreementKind, Role

Event: TypeAlias = (
    ContractOpened | RoleAssigned | RoleRequested | RoleRequestDeclined | RoleRevoked | AgreementStarted
    | AgreementEnded
)  # fmt: skip

Kept = TypeVar("Kept")

MANAGER: Final[Role] = "contract_manager"
COORDINATOR: Final[Role] = "software_coordinator"
ADMINISTRATIVE: Final = ("desktop", "maintenance")
"""The agreements that open administrative access."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    pass


@dataclass(frozen=True, slots=True)
class Open:
    opened: ContractOpened
    manager: RoleAssigned | None
    """None only between the two events of the opening decision, or of a handover."""
    coordinators: Mapping[str, RoleAssigned]
    requests: Mapping[str, RoleRequested]
    agreements: Mapping[str, AgreementStarted]
    """The running ones, by subscription."""
    ended: Mapping[str, AgreementEnded]


State: TypeAlias = Unopened | Open
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
    if isinstance(event, ContractOpened):
        return Open(event, None, {}, {}, {}, {})
    if isinstance(state, Unopened):
        return state
    match event:
        case RoleAssigned(role="contract_manager"):
            return replace(state, manager=event)
        case RoleAssigned(account_id=account):
            requests = _without(state.requests, account)
            return replace(state, coordinators={**state.coordinators, account: event}, requests=requests)
        case RoleRequested(account_id=account):
            return replace(state, requests={**state.requests, account: event})
        case RoleRequestDeclined(account_id=account):
            return replace(state, requests=_without(state.requests, account))
        case RoleRevoked(role="contract_manager"):
            return replace(state, manager=None)
        case RoleRevoked(account_id=account):
            return replace(state, coordinators=_without(state.coordinators, account))
        case AgreementStarted(subscription_id=subscription):
            return replace(state, agreements={**state.agreements, subscription: event})
        case AgreementEnded(subscription_id=subscription):
            return replace(
                state, agreements=_without(state.agreements, subscription), ended={**state.ended, subscription: event}
            )
        case unreachable:
            assert_never(unreachable)


def _without(those: Mapping[str, Kept], key: str) -> Mapping[str, Kept]:
    return {k: v for k, v in those.items() if k != key}


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RecordSubscription:
    """The publisher confirmed a subscription: its contract opens with the purchaser as Contract Manager, if it was not
    open, and the subscription's agreement starts."""

    contract_id: str
    customer: str
    publisher: str
    programme: str
    subscription_id: str
    purchaser: str
    agreement: AgreementKind
    product: str


@dataclass(frozen=True, slots=True)
class RecordSubscriptionEnd:
    """The subscription ran out, and its agreement with it. Roles stay."""

    subscription_id: str


@dataclass(frozen=True, slots=True)
class RequestRole:
    """Ask the contract's Contract Manager for the role of Software Coordinator."""

    account_id: Annotated[str, SUPPLIED]
    organisation_id: Annotated[str, SUPPLIED]
    role: Role = COORDINATOR
    message: str = ""


@dataclass(frozen=True, slots=True)
class ApproveRoleRequest:
    """Give the asked-for role, with or without the right to assign seats. The Contract Manager's to decide."""

    account_id: str
    approver: Annotated[str, SUPPLIED]
    may_assign_seats: bool = False


@dataclass(frozen=True, slots=True)
class DeclineRoleRequest:
    """Say no to a request for a role. The Contract Manager's to decide."""

    account_id: str
    decliner: Annotated[str, SUPPLIED]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NameCoordinator:
    """Make somebody of the organisation a Software Coordinator, asked or not, with or without the right to assign
    seats; for one who is it already, give or take that right. The Contract Manager's to decide."""

    account_id: str
    organisation_id: Annotated[str, SUPPLIED]
    """The organisation that the account belongs to; "" for an unknown one."""
    named_by: Annotated[str, SUPPLIED]
    may_assign_seats: bool = False


@dataclass(frozen=True, slots=True)
class RevokeRole:
    """Take the role of Software Coordinator back. The Contract Manager's to decide."""

    account_id: str
    revoker: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class HandOverContract:
    """Make somebody else of the organisation the Contract Manager, in one decision. The operator may do it for one who
    has left."""

    to: str
    giver: Annotated[str, SUPPLIED]
    to_organisation: Annotated[str, SUPPLIED]
    """The organisation that `to` belongs to; "" for an unknown account."""
    by_operator: Annotated[bool, SUPPLIED] = False


@dataclass(frozen=True, slots=True)
class RecordAccountClosed:
    """The account is closed: its role of Software Coordinator and its request end. Should it have become Contract
    Manager in the very moment of closing, `successor` takes over; with none, the operator hands the contract over."""

    account_id: str
    closed_by: str
    successor: str = ""


Command: TypeAlias = (
    RecordSubscription | RecordSubscriptionEnd | RequestRole | ApproveRoleRequest | DeclineRoleRequest
    | NameCoordinator | RevokeRole | HandOverContract | RecordAccountClosed
)  # fmt: skip

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`."""
    if isinstance(command, RecordSubscription):
        return _record(command, state)
    if isinstance(state, Unopened):
        return Rejected("contract-unknown", "There is no such contract.", "It opens with its first confirmed order.")
    match command:
        case RecordSubscriptionEnd(subscription):
            if subscription not in state.agreements:
                return ()
            return (AgreementEnded(contract_id=state.opened.contract_id, subscription_id=subscription),)
        case RequestRole():
            return _request(command, state)
        case ApproveRoleRequest():
            return _approve(command, state)
        case DeclineRoleRequest():
            return _decline(command, state)
        case NameCoordinator():
            return _name(command, state)
        case RevokeRole():
            return _revoke(command, state)
        case HandOverContract():
            return _hand_over(command, state)
        case RecordAccountClosed():
            return _account_closed(command, state)
        case unreachable:
            assert_never(unreachable)


def _record(command: RecordSubscription, state: State) -> Decision[Event]:
    started = AgreementStarted(
        contract_id=command.contract_id, subscription_id=command.subscription_id, kind=command.agreement,
        product=command.product,
    )  # fmt: skip
    if isinstance(state, Open):
        known = command.subscription_id in state.agreements or command.subscription_id in state.ended
        return () if known else (started,)
    opened = ContractOpened(
        contract_id=command.contract_id, customer=command.customer, publisher=command.publisher,
        programme=command.programme, opened_by_subscription=command.subscription_id,
    )  # fmt: skip
    return (opened, _managed_by(command.contract_id, command.purchaser, command.purchaser), started)


def _managed_by(contract_id: str, account_id: str, assigned_by: str) -> RoleAssigned:
    return RoleAssigned(
        contract_id=contract_id, account_id=account_id, role=MANAGER, may_assign_seats=True, assigned_by=assigned_by
    )


def _request(command: RequestRole, state: Open) -> Decision[Event]:
    if command.organisation_id != state.opened.customer:
        return _not_of_customer("Roles on a contract are for people of the customer's organisation.", state)
    if command.role == MANAGER:
        return Rejected(
            "manager-not-requestable", "There is exactly one Contract Manager; the role is handed over, not requested.",
            "Ask the Contract Manager to hand the contract over.", _manager_fact(state),
        )  # fmt: skip
    if command.account_id in state.requests or command.account_id in state.coordinators:
        return ()
    return (
        RoleRequested(
            contract_id=state.opened.contract_id, account_id=command.account_id, role=command.role,
            message=command.message,
        ),
    )  # fmt: skip


def _approve(command: ApproveRoleRequest, state: Open) -> Decision[Event]:
    if refused := _managers_only(command.approver, state):
        return refused
    held = state.coordinators.get(command.account_id)
    if held is not None and held.may_assign_seats == command.may_assign_seats:
        return ()
    if held is None and command.account_id not in state.requests:
        return _no_request(command.account_id)
    return (_coordinated_by(state, command.account_id, command.approver, seats=command.may_assign_seats),)


def _coordinated_by(state: Open, account_id: str, assigned_by: str, *, seats: bool) -> RoleAssigned:
    return RoleAssigned(
        contract_id=state.opened.contract_id, account_id=account_id, role=COORDINATOR, may_assign_seats=seats,
        assigned_by=assigned_by,
    )  # fmt: skip


def _name(command: NameCoordinator, state: Open) -> Decision[Event]:
    if refused := _managers_only(command.named_by, state):
        return refused
    held = state.coordinators.get(command.account_id)
    if held is not None and held.may_assign_seats == command.may_assign_seats:
        return ()
    if command.organisation_id != state.opened.customer:
        return _not_of_customer("Software is coordinated by somebody of the customer's organisation.", state)
    return (_coordinated_by(state, command.account_id, command.named_by, seats=command.may_assign_seats),)


def _decline(command: DeclineRoleRequest, state: Open) -> Decision[Event]:
    if refused := _managers_only(command.decliner, state):
        return refused
    request = state.requests.get(command.account_id)
    if request is None:
        return ()
    return (
        RoleRequestDeclined(
            contract_id=state.opened.contract_id, account_id=command.account_id, role=request.role,
            reason=command.reason, declined_by=command.decliner,
        ),
    )  # fmt: skip


def _revoke(command: RevokeRole, state: Open) -> Decision[Event]:
    if refused := _managers_only(command.revoker, state):
        return refused
    if command.account_id not in state.coordinators:
        return ()
    return (_revoked(state, command.account_id, COORDINATOR, command.revoker),)


def _revoked(state: Open, account_id: str, role: Role, revoked_by: str) -> RoleRevoked:
    return RoleRevoked(contract_id=state.opened.contract_id, account_id=account_id, role=role, revoked_by=revoked_by)


def _hand_over(command: HandOverContract, state: Open) -> Decision[Event]:
    manager = state.manager
    if manager is not None and manager.account_id == command.to and manager.assigned_by == command.giver:
        return ()  # it was handed over like this before
    if not command.by_operator and (refused := _managers_only(command.giver, state)):
        return refused
    if manager is not None and command.to == manager.account_id:
        return ()
    if command.to_organisation != state.opened.customer:
        return _not_of_customer("A contract is managed by somebody of the customer's organisation.", state)
    return _taken_over(state, command.to, command.giver)


def _taken_over(state: Open, to: str, by: str) -> tuple[Event, ...]:
    """One loses the role and another gains it, both or neither."""
    given_up = () if state.manager is None else (_revoked(state, state.manager.account_id, MANAGER, by),)
    return (*given_up, _managed_by(state.opened.contract_id, to, by))


def _account_closed(command: RecordAccountClosed, state: Open) -> Decision[Event]:
    gone, events = command.account_id, list[Event]()
    if gone in state.coordinators:
        events.append(_revoked(state, gone, COORDINATOR, command.closed_by))
    if request := state.requests.get(gone):
        events.append(
            RoleRequestDeclined(
                contract_id=state.opened.contract_id, account_id=gone, role=request.role,
                reason="The account was closed.", declined_by=command.closed_by,
            )
        )  # fmt: skip
    managing = state.manager is not None and state.manager.account_id == gone
    if managing and command.successor not in ("", gone):
        events += _taken_over(state, command.successor, command.closed_by)
    return tuple(events)


def _managers_only(account_id: str, state: Open) -> Rejected | None:
    if state.manager is not None and state.manager.account_id == account_id:
        return None
    return Rejected(
        "role-missing", "Only the contract's Contract Manager decides this.", "Ask the Contract Manager.",
        _manager_fact(state),
    )  # fmt: skip


def _not_of_customer(reason: str, state: Open) -> Rejected:
    return Rejected("not-of-customer", reason, "Use an account of that organisation.", (state.opened,))


def _manager_fact(state: Open) -> tuple[RoleAssigned, ...]:
    return () if state.manager is None else (state.manager,)


def _no_request(account_id: str) -> Rejected:
    return Rejected(
        "no-request", f"Account {account_id} has not asked for a role on this contract.",
        "Have the person request the role first.",
    )  # fmt: skip


def coordinating(state: Open) -> tuple[str, ...]:
    """Who does a Software Coordinator's work: those who are named, and with none named the Contract Manager."""
    acting = () if state.manager is None else (state.manager.account_id,)
    return tuple(state.coordinators) or acting


def administrative_access(state: State, account_id: str) -> tuple[Event, ...] | Rejected:
    """The facts that open administrative features to the account, or what is missing: the role, or an agreement.

    Source: administrative features open only while the products are on an active desktop or maintenance agreement.
    """
    role = None
    if isinstance(state, Open):
        managed = state.manager if state.manager is not None and state.manager.account_id == account_id else None
        role = managed or state.coordinators.get(account_id)
    if role is None or isinstance(state, Unopened):
        return Rejected(
            "role-missing", "This account holds no administrative role on the contract.",
            "Ask its Contract Manager for the role of Software Coordinator.",
        )  # fmt: skip
    running = next((a for a in state.agreements.values() if a.kind in ADMINISTRATIVE), None)
    if running is None:
        return Rejected(
            "agreement-missing", "The role is held, but no product of this contract is on an active desktop or "
            "maintenance subscription.", "Administrative features open again with such a subscription.",
            (role, *state.ended.values()),
        )  # fmt: skip
    return (role, running)


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, ContractOpened) else ""


CONTRACT: Final = Stream("contract", INITIAL, evolve, decide, tenant=_tenant)
