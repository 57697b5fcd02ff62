"""Auto-renew of a confirmed subscription: on, asked to be turned off, off. Part of a subscription's stream.

Turning it off is decided in two steps: here whether the request is in time, by the seat pool whether no seat is
assigned. What a cancel preview shows is what these same decisions make of a request.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, TypeAlias, assert_never

from services.marketplace.domain import rules
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.terms import Term, still_owed, term_ends
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CancelBy,
    HeldSeat,
    Money,
    SubscriptionConfirmed,
)

Event: TypeAlias = AutoRenewDisableRequested | AutoRenewDisabled | AutoRenewDisableRefused

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Running:
    """Auto-renew is on."""

    confirmed: SubscriptionConfirmed
    term: Term


@dataclass(frozen=True, slots=True)
class DisableRequested:
    """Auto-renew is on; the seat pool was asked whether it may be turned off."""

    confirmed: SubscriptionConfirmed
    term: Term
    asked: AutoRenewDisableRequested


@dataclass(frozen=True, slots=True)
class NonRenewing:
    """Auto-renew is off."""

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
    """Let the subscription end with its term. In time, and with no seat assigned to anyone: the seat pool is asked, and
    its answer follows. Final once it is off; the charges run to the end all the same."""

    requested_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Ask the seat pool once more what it has not answered for long. `request` is the event that asked."""

    request: str
    now: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class RecordPoolCleared:
    """The seat pool's answer: nobody holds a seat. `request` is the event that asked."""

    request: str


@dataclass(frozen=True, slots=True)
class RecordPoolHeld:
    """The seat pool's answer: these seats are assigned. `request` is the event that asked."""

    request: str
    held: tuple[HeldSeat, ...]


Command: TypeAlias = DisableAutoRenew | AskAgain | RecordPoolCleared | RecordPoolHeld


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return what follows from `command` in `state`."""
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
            f"{command.policy.cancel_business_days} business days before the term ends on {term.ends}.",
            "Ask again in the next term.",
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
        ),
    )


def ask_again(command: AskAgain, state: State) -> Decision[AutoRenewDisableRequested]:
    """A question that the pool left open for long is asked again, as it was."""
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
    )
    return (off,)


def _ends_with(state: DisableRequested) -> date:
    """The last day when the request is granted: of the term that it was made in, or of the one after that."""
    asked = state.asked
    if asked.binds == "this_term":
        return asked.term_ends
    following = state.term.number if asked.term_ends < state.term.ends else state.term.number + 1
    return term_ends(state.confirmed.starts, following)


NAMED_AT_MOST = 10
"""Of the seats in the way a refusal's text names so many; its `held` has them all."""


def _held(command: RecordPoolHeld, state: State) -> Decision[AutoRenewDisableRefused]:
    if not isinstance(state, DisableRequested) or command.request != state.asked.ref:
        return ()
    named = [f"seat {seat.seat} (account {seat.account_id})" for seat in command.held[:NAMED_AT_MOST]]
    more = len(command.held) - len(named)
    who = ", ".join(named) + (f" and {more} more" if more else "")
    refused = AutoRenewDisableRefused(
        subscription_id=state.confirmed.subscription_id,
        rule=rules.SEATS_ASSIGNED,
        reason=f"Auto-renew stays on while seats are assigned. Un-assign first: {who}.",
        held=command.held,
    )
    return (refused,)


# ── Rules that are shown as well as decided ────────────────────────────────────────────────────────────


def is_in_time(cancel_by: CancelBy, now: datetime) -> bool:
    """Return whether a request now binds the term that has this deadline."""
    return now < cancel_by.deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPreview:
    """What turning auto-renew off would do now; where it was requested or is off, what that does."""

    possible_now: bool
    too_late: bool
    """Whether a request now is refused for the deadline."""
    in_time: bool
    last_day: date | None
    """The subscription's last day if the request is granted; None where it is refused."""
    still_owed: Money
    """All that falls due after today, up to that last day."""
    next_term: Money | None
    """How much of it is for the term after the running one, where the subscription would run that, too."""


def cancel_preview(command: DisableAutoRenew, state: State, *, held: bool, price: Money | None) -> CancelPreview:
    """Return what `command` would do in `state`.

    Args:
        held: Whether a seat is assigned, as far as is known here; the seat pool decides.
        price: The catalogue's for a seat on the next term's first day; None where the plan was withdrawn.
    """
    term = state.term
    decision = disable_auto_renew(command, state)
    refused = isinstance(decision, Rejected)
    last_day = None if isinstance(decision, Rejected) else _last_day(decision, state)
    owed = still_owed(term.instalments, term.plan.price.currency, command.now)
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
    """Return the last day once these requests, if any, and the one that is open are granted."""
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
