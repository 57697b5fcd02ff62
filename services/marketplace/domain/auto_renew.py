"""Auto-renew of a confirmed subscription, a part of the subscription's stream.

Turning it off is decided in two steps: this module decides whether the request is in time, and the seat pool whether no
seat is assigned. A cancel preview is computed by the same decider.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, TypeAlias, assert_never

from services.marketplace.domain import rules
from services.marketplace.domain.engagement import partner_released
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.terms import Term, term_ends
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CancelBy,
    HeldSeat,
    Money,
    PartnerReleased,
    SubscriptionConfirmed,
)

Event: TypeAlias = AutoRenewDisableRequested | AutoRenewDisabled | AutoRenewDisableRefused

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Running:
    """A subscription whose auto-renew is on."""

    confirmed: SubscriptionConfirmed
    term: Term


@dataclass(frozen=True, slots=True)
class DisableRequested:
    """A subscription with auto-renew on and an open request to the seat pool to turn it off."""

    confirmed: SubscriptionConfirmed
    term: Term
    asked: AutoRenewDisableRequested


@dataclass(frozen=True, slots=True)
class NonRenewing:
    """A subscription whose auto-renew is off."""

    confirmed: SubscriptionConfirmed
    term: Term
    off: AutoRenewDisabled


State: TypeAlias = Running | DisableRequested | NonRenewing


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case AutoRenewDisableRequested():
            return state if isinstance(state, NonRenewing) else DisableRequested(state.confirmed, state.term, event)
        case AutoRenewDisabled():
            return NonRenewing(state.confirmed, state.term, event)
        case AutoRenewDisableRefused():
            return Running(state.confirmed, state.term) if isinstance(state, DisableRequested) else state
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DisableAutoRenew:
    """Turn auto-renew off, so that the subscription ends with its term.

    The request has to be in time, and no seat may be assigned: the seat pool is asked, and its answer follows. Turning
    auto-renew off is final. The charges run to the term's end nevertheless.
    """

    requested_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED] = DEFAULT
    released: Annotated[PartnerReleased | None, SUPPLIED] = None
    """The event by which the customer released the partner, if a person of that partner sends the command."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Ask the seat pool again after it has not answered for `policy.ask_again_after`.

    Args:
        request: the id of the event that asked.
    """

    request: str
    now: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class RecordPoolCleared:
    """Record the seat pool's answer that no seat is assigned.

    Args:
        request: the id of the event that asked.
    """

    request: str


@dataclass(frozen=True, slots=True)
class RecordPoolHeld:
    """Record the seat pool's answer that these seats are assigned.

    Args:
        request: the id of the event that asked.
    """

    request: str
    held: tuple[HeldSeat, ...]


Command: TypeAlias = DisableAutoRenew | AskAgain | RecordPoolCleared | RecordPoolHeld


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case DisableAutoRenew():
            return disable_auto_renew(command, state)
        case AskAgain():
            return ask_again(command, state)
        case RecordPoolCleared():
            return _cleared(command, state)
        case RecordPoolHeld():
            return _held(command, state)
        case unreachable:
            assert_never(unreachable)


def disable_auto_renew(command: DisableAutoRenew, state: State) -> Decision[AutoRenewDisableRequested]:
    """Return the request to the seat pool, or the refusal.

    A request after the deadline is refused if the policy says so; otherwise it binds the next term. An open request is
    asked again if the seat pool's answer is overdue. Where auto-renew is off, nothing follows.
    """
    if command.released is not None:
        return partner_released(command.released)
    if isinstance(state, DisableRequested):
        return ask_again(AskAgain(state.asked.ref, command.now, command.policy), state)
    if not isinstance(state, Running):
        return ()
    confirmed, term = state.confirmed, state.term
    in_time = is_in_time(term.cancel_by, command.now)
    if not in_time and command.policy.late_disable_auto_renew == "refuse":
        return Rejected(
            rules.AUTO_RENEW_CUTOFF_PASSED,
            f"Auto-renew could be turned off until {term.cancel_by.last_day} ({term.cancel_by.time_zone}), "
            f"{command.policy.cancel_business_days} business days before the term ends on {term.ends} "
            f"({term.time_zone}).",
            "Send a new request in the next term.",
            because=(confirmed,),
        )
    return (
        AutoRenewDisableRequested(
            subscription_id=confirmed.subscription_id,
            requested_by=command.requested_by,
            requested_at=command.now,
            term_ends=term.ends,
            deadline=term.cancel_by.deadline,
            binds="this_term" if in_time else "next_term",
            publisher=term.plan.publisher,
            time_zone=term.time_zone,
        ),
    )


def ask_again(command: AskAgain, state: State) -> Decision[AutoRenewDisableRequested]:
    """Return the same request again if it is unanswered for `policy.ask_again_after`."""
    if not isinstance(state, DisableRequested) or command.request != state.asked.ref:
        return ()
    if command.now - state.asked.requested_at < command.policy.ask_again_after:
        return ()
    return (state.asked.model_copy(update={"requested_at": command.now}),)


def _cleared(command: RecordPoolCleared, state: State) -> Decision[AutoRenewDisabled]:
    if not isinstance(state, DisableRequested) or command.request != state.asked.ref:
        return ()
    off = AutoRenewDisabled(
        subscription_id=state.confirmed.subscription_id,
        ends=_ends_with(state),
        requested_by=state.asked.requested_by,
        time_zone=state.term.time_zone,
    )
    return (off,)


def _ends_with(state: DisableRequested) -> date:
    """Return the subscription's last day if the open request is granted.

    It is the last day of the term of the request, or of the term after that.
    """
    asked = state.asked
    if asked.binds == "this_term":
        return asked.term_ends
    following = state.term.number if asked.term_ends < state.term.ends else state.term.number + 1
    return term_ends(state.confirmed.starts, following)


NAMED_AT_MOST = 10
"""The number of assigned seats that a refusal's text names. Its field `held` has all of them."""


def _held(command: RecordPoolHeld, state: State) -> Decision[AutoRenewDisableRefused]:
    if not isinstance(state, DisableRequested) or command.request != state.asked.ref:
        return ()
    named = [f"seat {seat.seat} (account {seat.account_id})" for seat in command.held[:NAMED_AT_MOST]]
    more = len(command.held) - len(named)
    seats = ", ".join(named) + (f" and {more} more" if more else "")
    refused = AutoRenewDisableRefused(
        subscription_id=state.confirmed.subscription_id,
        rule=rules.SEATS_ASSIGNED,
        reason=f"Auto-renew stays on while seats are assigned. Un-assign first: {seats}.",
        held=command.held,
    )
    return (refused,)


# ── Rules that are shown as well as decided ────────────────────────────────────────────────────────────


def is_in_time(cancel_by: CancelBy, now: datetime) -> bool:
    """Return whether a request now binds the term that has this deadline."""
    return now < cancel_by.deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPreview:
    """The effect of turning auto-renew off now, or of an earlier request to turn it off."""

    possible_now: bool
    too_late: bool
    """Whether a request now is refused because the deadline has passed."""
    in_time: bool
    """Whether a request now binds the running term."""
    last_day: date | None
    """The subscription's last day if the request is granted; None where it is refused."""
    still_owed: Money
    """The sum that falls due after today, up to that last day."""
    next_term: Money | None
    """The part of it for the term after the running one; None where the subscription ends before that."""


def cancel_preview(command: DisableAutoRenew, state: State, *, held: bool, price: Money | None) -> CancelPreview:
    """Return what `command` would do in `state`.

    Args:
        held: whether a seat is assigned, as far as is known here. The seat pool decides.
        price: the catalogue's price of a seat on the next term's first day; None where the plan was withdrawn.
    """
    term = state.term
    decision = disable_auto_renew(command, state)
    refused = isinstance(decision, Rejected)
    last_day = None if isinstance(decision, Rejected) else _last_day(decision, state)
    owed = term.still_owed(command.now)
    next_term = None
    if last_day is not None and last_day > term.ends:
        next_term = term.next_plan(price).price.times(term.next_seats)
        owed = Money(amount=owed.amount + next_term.amount, currency=owed.currency)
    return CancelPreview(
        possible_now=isinstance(state, Running) and not refused and not held,
        too_late=refused,
        in_time=is_in_time(term.cancel_by, command.now),
        last_day=last_day,
        still_owed=owed,
        next_term=next_term,
    )


def _last_day(requests: tuple[AutoRenewDisableRequested, ...], state: State) -> date:
    """Return the subscription's last day once the given or the open request is granted."""
    for request in requests:
        state = evolve(state, request)
    match state:
        case NonRenewing(_, _, off):
            return off.ends
        case DisableRequested():
            return _ends_with(state)
        case Running():
            raise ValueError("auto-renew stays on without a request")
        case unreachable:
            assert_never(unreachable)
