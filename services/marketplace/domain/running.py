"""A confirmed subscription's terms: its seats, its renewal, turning that off, its end. Part of `subscription.py`.

Turning auto-renew off is decided in two steps: here whether it is in time, by the seat pool whether the way is clear.
A term ends by a timer; what must happen then follows from the state alone, however late the timer comes.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, TypeAlias, TypeVar, assert_never
from zoneinfo import ZoneInfo

from services.marketplace.domain import rules
from services.marketplace.domain.calendar import Calendar, cancel_by, end_of
from services.marketplace.domain.cart import seats_out_of_range
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens
from services.marketplace.domain.terms import instalments, term_ends
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CancelBy,
    HeldSeat,
    Instalment,
    Money,
    Plan,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatsAdded,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionRenewed,
)
from shared.events.fields import Count

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Term:
    number: int
    starts: date
    ends: date
    cancel_by: CancelBy
    plan: Plan
    """With the price that this term has."""
    seats: int
    instalments: tuple[Instalment, ...]
    next_seats: int
    """How many seats the next term begins with."""
    reminded: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Running:
    """Auto-renew is on."""

    confirmed: SubscriptionConfirmed
    term: Term


@dataclass(frozen=True, slots=True)
class Asking:
    """Auto-renew is on; the seat pool was asked whether it may be turned off."""

    confirmed: SubscriptionConfirmed
    term: Term
    asked: AutoRenewDisableRequested


@dataclass(frozen=True, slots=True)
class Ending:
    """Auto-renew is off."""

    confirmed: SubscriptionConfirmed
    term: Term
    off: AutoRenewDisabled


@dataclass(frozen=True, slots=True)
class Ended:
    confirmed: SubscriptionConfirmed
    term: Term
    end: SubscriptionEnded


Live: TypeAlias = Running | Asking | Ending
Confirmed: TypeAlias = Running | Asking | Ending | Ended
L = TypeVar("L", bound="Running | Asking | Ending")


def first_term(event: SubscriptionConfirmed) -> Term:
    return Term(
        1,
        event.starts,
        event.ends,
        event.cancel_by,
        event.plan,
        event.seats,
        event.instalments,
        event.seats,
    )


def in_next_term(state: L, event: SubscriptionRenewed) -> L:
    term = Term(
        event.term,
        event.starts,
        event.ends,
        event.cancel_by,
        event.plan,
        event.seats,
        event.instalments,
        event.seats,
    )
    return replace(state, term=term)


def with_seats(state: L, event: SeatsAdded) -> L:
    term = state.term
    owed = (*term.instalments, event.instalment)
    added = replace(term, seats=event.seats, next_seats=event.seats, instalments=owed)
    return replace(state, term=added)


def with_fewer_seats(state: L, event: SeatDecreaseScheduled) -> L:
    return replace(state, term=replace(state.term, next_seats=event.seats))


def reminded(state: L, event: RenewalReminded) -> L:
    return replace(state, term=replace(state.term, reminded=state.term.reminded | {event.days_before}))


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RequestAutoRenewOff:
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


@dataclass(frozen=True, slots=True)
class ChangeSeats:
    """Have so many seats. More join at once, up to the term's end, and are charged for the rest of it; of a specialised
    plan they take a valid CSN, as its order did. Fewer take effect when it renews."""

    seats: Count
    changed_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, slots=True)
class Remind:
    """Announce the end of this term (by number), where that is due."""

    term: int
    now: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class CloseTerm:
    """The end of this term (by number) has come: renew, or end. `price` is the catalogue's of that day for a seat,
    None where the plan was withdrawn; `calendar` counts the customer's business days up to the next term's end."""

    term: int
    now: datetime
    calendar: Calendar
    price: Money | None
    policy: Policy = DEFAULT


# ── Auto-renew ─────────────────────────────────────────────────────────────────────────────────────────


def request_off(command: RequestAutoRenewOff, state: Confirmed) -> Decision[AutoRenewDisableRequested]:
    if isinstance(state, Asking):
        return ask_again(AskAgain(state.asked.ref, command.now, command.policy), state)
    if not isinstance(state, Running):
        return ()
    confirmed, term = state.confirmed, state.term
    in_time = command.now < term.cancel_by.deadline
    if not in_time and command.policy.late_auto_renew_off == "refuse":
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


def ask_again(command: AskAgain, state: Confirmed) -> Decision[AutoRenewDisableRequested]:
    """A question that the pool left open for long is asked again, as it was."""
    if not isinstance(state, Asking) or command.request != state.asked.ref:
        return ()
    if command.now - state.asked.requested_at < command.policy.ask_again_after:
        return ()
    return (state.asked.model_copy(update={"requested_at": command.now}),)


def cleared(request: str, state: Confirmed) -> Decision[AutoRenewDisabled]:
    if not isinstance(state, Asking) or request != state.asked.ref:
        return ()
    off = AutoRenewDisabled(
        subscription_id=state.confirmed.subscription_id,
        ends=_ends_with(state),
        requested_by=state.asked.requested_by,
    )
    return (off,)


def _ends_with(state: Asking) -> date:
    """The last day when the request is granted: of the term that it was made in, or of the one after that."""
    asked = state.asked
    if asked.binds == "this_term":
        return asked.term_ends
    following = state.term.number if asked.term_ends < state.term.ends else state.term.number + 1
    return term_ends(state.confirmed.starts, following)


NAMED_AT_MOST = 10
"""Of the seats in the way a refusal's text names so many; its `held` has them all."""


def held(command: RecordPoolHeld, state: Confirmed) -> Decision[AutoRenewDisableRefused]:
    if not isinstance(state, Asking) or command.request != state.asked.ref:
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


# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


def change_seats(command: ChangeSeats, state: Confirmed) -> Decision[SeatsAdded | SeatDecreaseScheduled]:
    confirmed, term = state.confirmed, state.term
    if isinstance(state, Ended) or command.now >= _end(term):
        return _over(state)
    if not 1 <= command.seats <= command.policy.seats_at_most:
        return seats_out_of_range(command.policy)
    if command.seats > term.seats:
        if not opens(command.standing, term.plan):
            return needs_csn(command.standing, term.plan)
        return (_added(command, confirmed, term),)
    if command.seats == term.next_seats:
        return ()
    if isinstance(state, Ending) and state.off.ends <= term.ends:
        return Rejected(
            rules.NO_NEXT_TERM,
            f"The subscription ends on {state.off.ends}; fewer seats would begin with the next term.",
            "Nothing has to be done.",
            because=(state.off,),
        )
    fewer = SeatDecreaseScheduled(
        subscription_id=confirmed.subscription_id,
        seats=command.seats,
        takes_effect=term.ends + timedelta(days=1),
        requested_by=command.changed_by,
    )
    return (fewer,)


def _over(state: Confirmed) -> Rejected:
    """The term's last day is over; what follows is decided by its timer, a moment later."""
    match state:
        case Ended(_, term, end):
            return Rejected(rules.SUBSCRIPTION_ENDED, f"The term ended on {term.ends}.", "Order anew.", because=(end,))
        case Ending(_, term, off) if off.ends <= term.ends:
            return Rejected(rules.SUBSCRIPTION_ENDED, f"The term ended on {term.ends}.", "Order anew.", because=(off,))
        case Running(confirmed, term) | Asking(confirmed, term) | Ending(confirmed, term):
            return Rejected(
                rules.TERM_CHANGING,
                f"The term ended on {term.ends}; the next one has not begun yet.",
                "Look at the subscription in a moment, and send a new request.",
                because=(state.asked if isinstance(state, Asking) else confirmed,),
            )
        case unreachable:
            assert_never(unreachable)


def _added(command: ChangeSeats, confirmed: SubscriptionConfirmed, term: Term) -> SeatsAdded:
    added = command.seats - term.seats
    today = max(command.now.astimezone(ZoneInfo(term.cancel_by.time_zone)).date(), term.starts)
    days, left = (term.ends - term.starts).days + 1, (term.ends - today).days + 1
    # The rest of the term's price by the day, half a minor unit and more rounded up.
    amount = (2 * term.plan.price.amount * added * left + days) // (2 * days)
    charge = Instalment(
        number=len(term.instalments) + 1,
        due=today,
        amount=Money(amount=amount, currency=term.plan.price.currency),
    )
    return SeatsAdded(
        subscription_id=confirmed.subscription_id,
        contract_id=confirmed.contract_id,
        customer=confirmed.customer,
        added=added,
        seats=command.seats,
        term=term.number,
        instalment=charge,
        added_by=command.changed_by,
    )


# ── The end of a term ──────────────────────────────────────────────────────────────────────────────────


def _end(term: Term) -> datetime:
    return end_of(term.ends, term.cancel_by.time_zone)


def remind(command: Remind, state: Confirmed) -> Decision[RenewalReminded]:
    """The reminders that are due, late ones as well, and only while the subscription would renew."""
    term = state.term
    if not isinstance(state, Running | Asking) or term.number != command.term:
        return ()
    today = command.now.astimezone(ZoneInfo(term.cancel_by.time_zone)).date()
    due = [days for days in command.policy.reminder_days if (term.ends - today).days <= days]
    return tuple(
        RenewalReminded(
            subscription_id=state.confirmed.subscription_id,
            contract_id=state.confirmed.contract_id,
            partner=state.confirmed.partner,
            customer=state.confirmed.customer,
            term=term.number,
            days_before=days,
            ends=term.ends,
            cancel_by=term.cancel_by,
        )
        for days in sorted(due, reverse=True)
        if days not in term.reminded
    )


def close_term(
    command: CloseTerm, state: Confirmed
) -> Decision[SubscriptionRenewed | SubscriptionEnded | AutoRenewDisableRequested]:
    term = state.term
    if isinstance(state, Ended) or term.number != command.term or command.now < _end(term):
        return ()
    if isinstance(state, Ending) and state.off.ends <= term.ends:
        end = SubscriptionEnded(
            subscription_id=state.confirmed.subscription_id,
            contract_id=state.confirmed.contract_id,
            customer=state.confirmed.customer,
            ended=term.ends,
        )
        return (end,)
    if isinstance(state, Asking) and state.asked.binds == "this_term" and state.asked.term_ends == term.ends:
        return ask_again(AskAgain(state.asked.ref, command.now, command.policy), state)  # its answer decides
    return (_renewed(command, state.confirmed, term),)


def _renewed(command: CloseTerm, confirmed: SubscriptionConfirmed, term: Term) -> SubscriptionRenewed:
    plan = term.plan
    if command.price is not None and command.price.currency == plan.price.currency:
        plan = plan.model_copy(update={"price": command.price})
    starts, ends = term.ends + timedelta(days=1), term_ends(confirmed.starts, term.number + 1)
    total = plan.price.times(term.next_seats)
    return SubscriptionRenewed(
        subscription_id=confirmed.subscription_id,
        contract_id=confirmed.contract_id,
        partner=confirmed.partner,
        customer=confirmed.customer,
        term=term.number + 1,
        plan=plan,
        seats=term.next_seats,
        total=total,
        starts=starts,
        ends=ends,
        instalments=instalments(total, starts, plan.billing),
        cancel_by=cancel_by(ends, command.calendar, command.policy.cancel_business_days),
    )
