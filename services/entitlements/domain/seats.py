"""The seats of a pool: commands that assign, take back and move them, and their decisions."""

from dataclasses import dataclass
from typing import Annotated

from services.entitlements.domain import rules
from services.entitlements.domain.seat_pool_state import Event, OpenedSeatPool, Step
from services.entitlements.domain.users import NOBODY, Account, address_of_nobody, not_a_user
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import SeatAssigned, SeatUnassigned
from shared.events.fields import Identifier

# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AssignSeat:
    """Assign the lowest free seat to the user, unless the user holds a seat of the pool already."""

    account_id: Identifier
    assigned_by: Annotated[str, SUPPLIED]
    user: Annotated[Account | None, SUPPLIED]
    """The latest event about the account."""


@dataclass(frozen=True, slots=True)
class UnassignSeat:
    """Take the user's seat back. It can be assigned to another user at once."""

    account_id: Identifier
    unassigned_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferSeat:
    """Move the user's seat to another user, in one decision."""

    account_id: Identifier
    """The user who holds the seat."""
    to_account_id: Identifier
    transferred_by: Annotated[str, SUPPLIED]
    to: Annotated[Account | None, SUPPLIED]
    """The latest event about the account that gets the seat."""


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def assign(command: AssignSeat, state: OpenedSeatPool) -> Decision[Event]:
    """Return the event that assigns the lowest free seat to the user, or the refusal."""
    if refused := not_a_user(command.user, command.account_id, state.opened.customer):
        return refused
    if state.seat_of(command.account_id) is not None:
        return ()
    if state.over is not None:
        return term_ended(state, state.over)
    free = lowest_free(state)
    if free is None:
        return Rejected(
            rules.SEATS_EXHAUSTED,
            f"All {state.seats} seats of {state.opened.product_name} are assigned.",
            "Un-assign a seat, or ask the partner to order more.",
            tuple(state.held[seat] for seat in sorted(state.held)),
        )
    return (assigned(state, free, command.account_id, command.assigned_by),)


def unassign(command: UnassignSeat, state: OpenedSeatPool) -> Decision[Event]:
    """Return the event that takes the user's seat back; none if the user has no seat.

    An address of nobody is refused, because it is a mistake, unlike a user whose seat was taken back before.
    """
    if command.account_id == NOBODY:
        return address_of_nobody()
    held = state.seat_of(command.account_id)
    return () if held is None else (unassigned(held, command.unassigned_by),)


def transfer(command: TransferSeat, state: OpenedSeatPool) -> Decision[Event]:
    """Return the events that move the seat, whose number stays, or the refusal."""
    if refused := not_a_user(command.to, command.to_account_id, state.opened.customer):
        return refused
    if command.account_id == NOBODY:
        return address_of_nobody()
    if state.over is not None:
        return term_ended(state, state.over)
    held = state.seat_of(command.account_id)
    if held is None:
        return Rejected(
            rules.SEAT_NOT_HELD,
            f"The user holds no seat of {state.opened.product_name} that could be moved.",
            "Name a user who holds one, or assign a free seat.",
            (state.opened,),
        )
    if other := state.seat_of(command.to_account_id):
        return Rejected(
            rules.SEAT_HELD_ALREADY,
            f"The user who is to get the seat holds seat {other.seat} of {state.opened.product_name} already.",
            "Un-assign the seat that is not needed, or name another user.",
            (other,),
        )
    by = command.transferred_by
    return (unassigned(held, by), assigned(state, held.seat, command.to_account_id, by))


def term_ended(state: OpenedSeatPool, over: Step) -> Rejected:
    """Return the refusal of a command that needs a running or a coming term."""
    return Rejected(
        rules.TERM_ENDED,
        f"The last term of this subscription of {state.opened.product_name} is over. Its seats can't be assigned any "
        "more.",
        "Ask the partner to order a new subscription.",
        (over,),
    )


# ── Parts ──────────────────────────────────────────────────────────────────────────────────────────────


def lowest_free(state: OpenedSeatPool) -> int | None:
    """Return the number of the lowest free seat, or None if all are assigned."""
    return next((seat for seat in range(1, state.seats + 1) if seat not in state.held), None)


def assigned(state: OpenedSeatPool, seat: int, account_id: str, by: str) -> SeatAssigned:
    """Make the event that the seat was assigned to the user."""
    opened = state.opened
    return SeatAssigned(
        subscription_id=opened.subscription_id,
        contract_id=opened.contract_id,
        seat=seat,
        account_id=account_id,
        assigned_by=by,
    )


def unassigned(held: SeatAssigned, by: str) -> SeatUnassigned:
    """Make the event that the seat was taken from its user."""
    return SeatUnassigned(
        subscription_id=held.subscription_id,
        contract_id=held.contract_id,
        seat=held.seat,
        account_id=held.account_id,
        unassigned_by=by,
    )
