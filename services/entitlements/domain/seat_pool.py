"""A subscription's pool of seats: how many there are, and who holds which. One stream per subscription."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Final, TypeAlias, assert_never

from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import HeldSeat, SeatAssigned, SeatPoolCleared, SeatPoolHeld, SeatPoolOpened, SeatUnassigned

Event: TypeAlias = SeatPoolOpened | SeatAssigned | SeatUnassigned | SeatPoolCleared | SeatPoolHeld

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    """No confirmed subscription stands behind it (yet). It may have been asked about all the same."""

    answered: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Open:
    opened: SeatPoolOpened
    held: Mapping[int, SeatAssigned]
    """By seat number, from 1."""
    answered: frozenset[str]
    """The questions about auto-renew that were answered, by the ids of the events that asked."""


State: TypeAlias = Unopened | Open
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
    match event:
        case SeatPoolOpened():
            return Open(event, {}, state.answered)
        case SeatAssigned(seat=seat):
            return replace(state, held={**state.held, seat: event}) if isinstance(state, Open) else state
        case SeatUnassigned(seat=freed):
            if not isinstance(state, Open):
                return state
            return replace(state, held={seat: held for seat, held in state.held.items() if seat != freed})
        case SeatPoolCleared(request=request) | SeatPoolHeld(request=request):
            return replace(state, answered=state.answered | {request})
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpenPool:
    """The subscription was confirmed: its customer gets the seats."""

    subscription_id: str
    contract_id: str
    customer: str
    product: str
    product_name: str
    seats: int
    starts: date
    ends: date


@dataclass(frozen=True, slots=True)
class AssignSeat:
    """Give the user the lowest free seat.

    A user holds one seat of a pool at most; asked again for a user who has one, nothing changes.
    """

    account_id: str
    assigned_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class UnassignSeat:
    """Take the user's seat back; it is free for somebody else at once."""

    account_id: str
    unassigned_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class AnswerAutoRenewRequest:
    """May auto-renew be turned off? Only with no seat assigned to anyone; the pool knows, so the pool answers."""

    subscription_id: str
    request: str
    """The id of the event that asks: a question is answered once."""


Command: TypeAlias = OpenPool | AssignSeat | UnassignSeat | AnswerAutoRenewRequest

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`."""
    match command:
        case OpenPool():
            return _open(command, state)
        case AnswerAutoRenewRequest():
            return _answer(command, state)
        case AssignSeat() | UnassignSeat():
            pass
        case unreachable:
            assert_never(unreachable)
    if isinstance(state, Unopened):
        return Rejected(
            "pool-not-open", "This subscription has no seats yet: the publisher has not confirmed it.",
            "Wait for the confirmation.",
        )  # fmt: skip
    return _assign(command, state) if isinstance(command, AssignSeat) else _unassign(command, state)


def _open(command: OpenPool, state: State) -> Decision[Event]:
    if isinstance(state, Open):
        return ()
    return (
        SeatPoolOpened(
            subscription_id=command.subscription_id, contract_id=command.contract_id, customer=command.customer,
            product=command.product, product_name=command.product_name, seats=command.seats, starts=command.starts,
            ends=command.ends,
        ),
    )  # fmt: skip


def _assign(command: AssignSeat, state: Open) -> Decision[Event]:
    if _seat_of(command.account_id, state) is not None:
        return ()
    free = next((seat for seat in range(1, state.opened.seats + 1) if seat not in state.held), None)
    if free is None:
        return Rejected(
            "seats-exhausted", f"All {state.opened.seats} seats of {state.opened.product_name} are assigned.",
            "Un-assign a seat, or have the partner order more.", tuple(state.held[seat] for seat in sorted(state.held)),
        )  # fmt: skip
    return (
        SeatAssigned(
            subscription_id=state.opened.subscription_id, contract_id=state.opened.contract_id, seat=free,
            account_id=command.account_id, assigned_by=command.assigned_by,
        ),
    )  # fmt: skip


def _unassign(command: UnassignSeat, state: Open) -> Decision[Event]:
    held = _seat_of(command.account_id, state)
    if held is None:
        return ()
    return (
        SeatUnassigned(
            subscription_id=held.subscription_id, contract_id=held.contract_id, seat=held.seat,
            account_id=held.account_id, unassigned_by=command.unassigned_by,
        ),
    )  # fmt: skip


def _answer(command: AnswerAutoRenewRequest, state: State) -> Decision[Event]:
    if command.request in state.answered:
        return ()
    if isinstance(state, Unopened) or not state.held:  # a pool that never opened has nobody in it
        return (SeatPoolCleared(subscription_id=command.subscription_id, request=command.request),)
    held = tuple(
        HeldSeat(seat=seat, account_id=by.account_id, because=by.ref) for seat, by in sorted(state.held.items())
    )
    return (SeatPoolHeld(subscription_id=command.subscription_id, request=command.request, held=held),)


def _seat_of(account_id: str, state: Open) -> SeatAssigned | None:
    return next((held for held in state.held.values() if held.account_id == account_id), None)


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, SeatPoolOpened) else ""


SEAT_POOL: Final = Stream("pool", INITIAL, evolve, decide, tenant=_tenant)
