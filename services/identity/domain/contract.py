"""A customer's contract with a publisher: its roles and agreements, one stream per contract.

After each decision a contract has exactly one Contract Manager.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Final, TypeAlias, assert_never

from services.identity.domain import rules
from services.identity.domain.contract_state import (
    COORDINATOR,
    INITIAL,
    MANAGER,
    Event,
    OpenedContract,
    State,
    Unopened,
    evolve,
)
from shared import days
from shared.administrative_access import Agreement, Denied, Granted, HeldRole, administrative_access
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
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
from shared.events.fields import Identifier, Text
from shared.events.identity import AgreementKind, Role
from shared.rules import CONTRACT_UNKNOWN, ROLE_MISSING

# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordSubscription:
    """Record a confirmed subscription's agreement, and open its contract if it is not open.

    The purchaser becomes Contract Manager of a new contract. The agreement starts now, or on the term's first day if
    that is still to come.
    """

    contract_id: str
    customer: str
    publisher: str
    programme: str
    subscription_id: str
    purchaser: str
    agreement: AgreementKind
    product: str
    starts: date | None = None
    """The term's first day if it is still to come."""
    time_zone: str = "UTC"
    """The zone of that day."""


@dataclass(frozen=True, slots=True)
class StartAgreements:
    """Start the scheduled agreements whose first day has come."""

    now: datetime
    """The customer's time."""


@dataclass(frozen=True, slots=True)
class RecordSubscriptionEnd:
    """End the agreement of a subscription that ended. Roles stay."""

    subscription_id: str


@dataclass(frozen=True, slots=True)
class RequestRole:
    """Request a role on the contract from its Contract Manager.

    The role is Software Coordinator, or Contract Manager (`contract_manager`), which asks for a handover. A person has
    one open request at a time.
    """

    account_id: Annotated[str, SUPPLIED]
    organisation_id: Annotated[str, SUPPLIED]
    role: Role = COORDINATOR
    message: Text = ""


@dataclass(frozen=True, slots=True)
class ApproveRoleRequest:
    """Approve a request for a role. Only the Contract Manager may.

    A Software Coordinator gets the role with or without the right to assign seats. A person who requested the role of
    Contract Manager takes over from the one who approves.
    """

    account_id: Identifier
    approver: Annotated[str, SUPPLIED]
    may_assign_seats: bool = False
    organisation_id: Annotated[str, SUPPLIED] = ""
    """The account's organisation; "" for an unknown account."""


@dataclass(frozen=True, slots=True)
class DeclineRoleRequest:
    """Decline a request for a role. Only the Contract Manager may."""

    account_id: Identifier
    decliner: Annotated[str, SUPPLIED]
    reason: Text = ""


@dataclass(frozen=True, slots=True)
class NameCoordinator:
    """Make a person of the customer a Software Coordinator, with or without a request.

    For a Software Coordinator it gives or takes the right to assign seats. Only the Contract Manager may.
    """

    account_id: Identifier
    organisation_id: Annotated[str, SUPPLIED]
    """The account's organisation; "" for an unknown account."""
    named_by: Annotated[str, SUPPLIED]
    may_assign_seats: bool = False


@dataclass(frozen=True, slots=True)
class RevokeRole:
    """Revoke the role of Software Coordinator. Only the Contract Manager may."""

    account_id: Identifier
    revoker: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class HandOverContract:
    """Hand the contract over to another person of the customer, in one decision.

    The operator may do it for a Contract Manager who has left.
    """

    to: Identifier
    giver: Annotated[str, SUPPLIED]
    to_organisation: Annotated[str, SUPPLIED]
    """The organisation of `to`; "" for an unknown account."""
    by_operator: Annotated[bool, SUPPLIED] = False


@dataclass(frozen=True, slots=True)
class RecordAccountClosed:
    """End the role of Software Coordinator and the request of a closed account.

    If the account became Contract Manager while it was being closed, `successor` takes over. Without a successor the
    operator has to hand the contract over.
    """

    account_id: str
    closed_by: str
    successor: str = ""


Command: TypeAlias = (
    RecordSubscription
    | StartAgreements
    | RecordSubscriptionEnd
    | RequestRole
    | ApproveRoleRequest
    | DeclineRoleRequest
    | NameCoordinator
    | RevokeRole
    | HandOverContract
    | RecordAccountClosed
)

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    if isinstance(command, RecordSubscription):
        return _record(command, state)
    if isinstance(state, Unopened):
        return Rejected(
            CONTRACT_UNKNOWN, "There is no such contract.", "A contract opens with its first confirmed order."
        )
    match command:
        case StartAgreements(now):
            due = [a for a in state.scheduled.values() if days.begins(a.starts, a.time_zone) <= now]
            return tuple(_started(a.contract_id, a.subscription_id, a.kind, a.product) for a in due)
        case RecordSubscriptionEnd(subscription):
            if subscription not in state.agreements and subscription not in state.scheduled:
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
    agreement: Event = _started(command.contract_id, command.subscription_id, command.agreement, command.product)
    if command.starts is not None:
        agreement = AgreementScheduled(
            contract_id=command.contract_id,
            customer=command.customer,
            subscription_id=command.subscription_id,
            kind=command.agreement,
            product=command.product,
            starts=command.starts,
            time_zone=command.time_zone,
        )
    if isinstance(state, OpenedContract):
        recorded = (state.scheduled, state.agreements, state.ended)
        return () if any(command.subscription_id in agreements for agreements in recorded) else (agreement,)
    opened = ContractOpened(
        contract_id=command.contract_id,
        customer=command.customer,
        publisher=command.publisher,
        programme=command.programme,
        opened_by_subscription=command.subscription_id,
    )
    return (opened, _managed_by(command.contract_id, command.purchaser, command.purchaser), agreement)


def _started(contract_id: str, subscription_id: str, kind: AgreementKind, product: str) -> AgreementStarted:
    return AgreementStarted(contract_id=contract_id, subscription_id=subscription_id, kind=kind, product=product)


def _managed_by(contract_id: str, account_id: str, assigned_by: str) -> RoleAssigned:
    return RoleAssigned(
        contract_id=contract_id, account_id=account_id, role=MANAGER, may_assign_seats=True, assigned_by=assigned_by
    )


def _request(command: RequestRole, state: OpenedContract) -> Decision[Event]:
    if command.organisation_id != state.opened.customer:
        return _not_of_customer("Roles on a contract are for people of the customer's organisation.", state)
    request = state.requests.get(command.account_id)
    held = command.role == COORDINATOR and command.account_id in state.coordinators
    if held or _manages(command.account_id, state) or (request is not None and request.role == command.role):
        return ()
    if request is not None:
        return Rejected(
            rules.REQUEST_WAITING,
            "This account has requested another role on this contract and has no answer yet.",
            "Ask the Contract Manager to approve or decline that request first.",
            (request,),
        )
    return (
        RoleRequested(
            contract_id=state.opened.contract_id,
            account_id=command.account_id,
            role=command.role,
            message=command.message,
        ),
    )


def _approve(command: ApproveRoleRequest, state: OpenedContract) -> Decision[Event]:
    request = state.requests.get(command.account_id)
    if command.account_id != command.approver and _handed_over(command.account_id, command.approver, state):
        return ()  # a repeat of the approval
    if refused := _managers_only(command.approver, state):
        return refused
    if request is not None and request.role == MANAGER:
        if command.organisation_id != state.opened.customer:
            return _not_of_customer("A Contract Manager belongs to the customer's organisation.", state)
        return _taken_over(state, command.account_id, command.approver)
    held = state.coordinators.get(command.account_id)
    if held is not None and held.may_assign_seats == command.may_assign_seats:
        return ()
    if held is None and request is None:
        return _no_request(command.account_id)
    return (_coordinated_by(state, command.account_id, command.approver, seats=command.may_assign_seats),)


def _coordinated_by(state: OpenedContract, account_id: str, assigned_by: str, *, seats: bool) -> RoleAssigned:
    return RoleAssigned(
        contract_id=state.opened.contract_id,
        account_id=account_id,
        role=COORDINATOR,
        may_assign_seats=seats,
        assigned_by=assigned_by,
    )


def _name(command: NameCoordinator, state: OpenedContract) -> Decision[Event]:
    if refused := _managers_only(command.named_by, state):
        return refused
    held = state.coordinators.get(command.account_id)
    if held is not None and held.may_assign_seats == command.may_assign_seats:
        return ()
    if command.organisation_id != state.opened.customer:
        return _not_of_customer("A Software Coordinator belongs to the customer's organisation.", state)
    return (_coordinated_by(state, command.account_id, command.named_by, seats=command.may_assign_seats),)


def _decline(command: DeclineRoleRequest, state: OpenedContract) -> Decision[Event]:
    if refused := _managers_only(command.decliner, state):
        return refused
    request = state.requests.get(command.account_id)
    if request is None:
        return ()
    return (
        RoleRequestDeclined(
            contract_id=state.opened.contract_id,
            account_id=command.account_id,
            role=request.role,
            reason=command.reason,
            declined_by=command.decliner,
        ),
    )


def _revoke(command: RevokeRole, state: OpenedContract) -> Decision[Event]:
    if refused := _managers_only(command.revoker, state):
        return refused
    if command.account_id not in state.coordinators:
        return ()
    return (_revoked(state, command.account_id, COORDINATOR, command.revoker),)


def _revoked(state: OpenedContract, account_id: str, role: Role, revoked_by: str) -> RoleRevoked:
    return RoleRevoked(contract_id=state.opened.contract_id, account_id=account_id, role=role, revoked_by=revoked_by)


def _hand_over(command: HandOverContract, state: OpenedContract) -> Decision[Event]:
    if _handed_over(command.to, command.giver, state):
        return ()  # a repeat of the handover
    if not command.by_operator and (refused := _managers_only(command.giver, state)):
        return refused
    if _manages(command.to, state):
        return ()
    if command.to_organisation != state.opened.customer:
        return _not_of_customer("A Contract Manager belongs to the customer's organisation.", state)
    return _taken_over(state, command.to, command.giver)


def _handed_over(to: str, by: str, state: OpenedContract) -> bool:
    manager = state.manager
    return manager is not None and (manager.account_id, manager.assigned_by) == (to, by)


def _taken_over(state: OpenedContract, to: str, by: str) -> tuple[Event, ...]:
    """Return the events that move the role of Contract Manager to another person."""
    given_up = () if state.manager is None else (_revoked(state, state.manager.account_id, MANAGER, by),)
    return (*given_up, _managed_by(state.opened.contract_id, to, by))


def _account_closed(command: RecordAccountClosed, state: OpenedContract) -> Decision[Event]:
    closed, events = command.account_id, list[Event]()
    if closed in state.coordinators:
        events.append(_revoked(state, closed, COORDINATOR, command.closed_by))
    if request := state.requests.get(closed):
        events.append(
            RoleRequestDeclined(
                contract_id=state.opened.contract_id,
                account_id=closed,
                role=request.role,
                reason="The account was closed.",
                declined_by=command.closed_by,
            )
        )
    if _manages(closed, state) and command.successor not in ("", closed):
        events += _taken_over(state, command.successor, command.closed_by)
    return tuple(events)


def _managers_only(account_id: str, state: OpenedContract) -> Rejected | None:
    if _manages(account_id, state):
        return None
    return Rejected(
        ROLE_MISSING,
        "Only the contract's Contract Manager may decide this.",
        "Ask the Contract Manager.",
        (*_manager_fact(state), *_taken_from(account_id, state)),
    )


def _manages(account_id: str, state: OpenedContract) -> bool:
    return state.manager is not None and state.manager.account_id == account_id


def _taken_from(account_id: str, state: OpenedContract) -> tuple[RoleRevoked, ...]:
    """Return the event that took the account's latest role, if it has none now."""
    revoked = state.revoked.get(account_id)
    return () if revoked is None else (revoked,)


def _not_of_customer(reason: str, state: OpenedContract) -> Rejected:
    return Rejected(rules.NOT_OF_CUSTOMER, reason, "Name an account of that organisation.", (state.opened,))


def _manager_fact(state: OpenedContract) -> tuple[RoleAssigned, ...]:
    return () if state.manager is None else (state.manager,)


def _no_request(account_id: str) -> Rejected:
    return Rejected(
        rules.NO_REQUEST,
        f"Account {account_id} has not requested a role on this contract.",
        "Ask the person to request the role first.",
    )


def coordinating(state: OpenedContract) -> tuple[str, ...]:
    """Return the Software Coordinators; if there are none, the Contract Manager acts as one."""
    acting = () if state.manager is None else (state.manager.account_id,)
    return tuple(state.coordinators) or acting


def access_of(state: State, account_id: str) -> Granted[Event] | Denied[Event]:
    """Return the administrative access that the account has to the contract, or what is missing."""
    if isinstance(state, Unopened):
        return administrative_access([], [], [])
    held = (state.manager if _manages(account_id, state) else None, state.coordinators.get(account_id))
    agreements: list[Agreement[Event]] = [
        Agreement(kind=a.kind, phase="running", fact=a) for a in state.agreements.values()
    ]
    agreements += [Agreement(kind=state.kinds[key], phase="ended", fact=ended) for key, ended in state.ended.items()]
    agreements += [
        Agreement(kind=a.kind, phase="scheduled", fact=a, starts=a.starts, time_zone=a.time_zone)
        for a in state.scheduled.values()
    ]
    roles: list[HeldRole[Event]] = [HeldRole(r.role, r.may_assign_seats, r) for r in held if r is not None]
    return administrative_access(roles, _taken_from(account_id, state), agreements)


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, ContractOpened) else ""


CONTRACT: Final = Stream(category="contract", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
