"""A subscription: ordered, confirmed by the publisher, running, and once ended for good. Stream `subscription-<id>`.

Three parts, each complete in itself: `order.py` until the publisher confirms, `auto_renew.py` while somebody may turn
that off, and here seats, renewal and the end. A term ends by a timer; what happens then follows from the state alone,
however late the timer comes.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final, TypeAlias, assert_never
from zoneinfo import ZoneInfo

from services.marketplace.domain import auto_renew, order, rules
from services.marketplace.domain.auto_renew import CancelPreview, DisableRequested, NonRenewing, Running
from services.marketplace.domain.calendar import Calendar, cancel_by
from services.marketplace.domain.cart import seats_out_of_range
from services.marketplace.domain.order import Awaiting, Failed, Unordered
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens
from services.marketplace.domain.terms import Term, instalments, still_owed, term_ends, term_of
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    Instalment,
    Money,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatsAdded,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
)
from shared.events.fields import Count, Text

Event: TypeAlias = (
    order.Event
    | auto_renew.Event
    | SeatsAdded
    | SeatDecreaseScheduled
    | RenewalReminded
    | SubscriptionRenewed
    | SubscriptionEnded
)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ended:
    confirmed: SubscriptionConfirmed
    term: Term
    end: SubscriptionEnded


Live: TypeAlias = Running | DisableRequested | NonRenewing
Confirmed: TypeAlias = Live | Ended
Ordered: TypeAlias = Awaiting | Failed | Confirmed
"""Any state but the first."""
State: TypeAlias = Unordered | Ordered
INITIAL: State = Unordered()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case SubscriptionOrdered():
            return order.ordered(state, event) if isinstance(state, Unordered | Awaiting | Failed) else state
        case SubscriptionOrderFailed():
            return order.declined(state, event) if isinstance(state, Awaiting) else state
        case SubscriptionConfirmed():
            return Running(event, term_of(event))
        case _ if not isinstance(state, Running | DisableRequested | NonRenewing):
            return state
        case AutoRenewDisableRequested() | AutoRenewDisabled() | AutoRenewDisableRefused():
            return auto_renew.evolve(state, event)
        case SubscriptionEnded():
            return Ended(state.confirmed, state.term, event)
        case SeatsAdded() | SeatDecreaseScheduled() | RenewalReminded() | SubscriptionRenewed():
            return replace(state, term=_evolve_term(state.term, event))
        case unreachable:
            assert_never(unreachable)


def _evolve_term(term: Term, event: SeatsAdded | SeatDecreaseScheduled | RenewalReminded | SubscriptionRenewed) -> Term:
    match event:
        case SeatsAdded(seats=seats, instalment=added):
            return replace(term, seats=seats, next_seats=seats, instalments=(*term.instalments, added))
        case SeatDecreaseScheduled(seats=seats):
            return replace(term, next_seats=seats)
        case RenewalReminded(days_before=days):
            return replace(term, reminded=term.reminded | {days})
        case SubscriptionRenewed():
            return term_of(event)
        case unreachable:
            assert_never(unreachable)


def fact_of(state: Ordered) -> SubscriptionOrdered | SubscriptionConfirmed:
    """Return the fact that the subscription stands on."""
    return state.order if isinstance(state, Awaiting | Failed) else state.confirmed


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseTerm:
    """The end of this term (by number) has come: renew, or end. `price` is the catalogue's of that day for a seat,
    None where the plan was withdrawn; `calendar` counts the customer's business days up to the next term's end."""

    term: int
    now: datetime
    calendar: Calendar
    price: Money | None
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class RequestRefund:
    """Ask for a return or a refund: there is none, and the answer says why."""

    reason: Text = ""


Command: TypeAlias = order.Command | auto_renew.Command | ChangeSeats | Remind | CloseTerm | RequestRefund


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return what follows from `command` in `state`."""
    if isinstance(command, order.Command):
        return order.decide(command, order.Accepted(state.confirmed) if isinstance(state, Confirmed) else state)
    if isinstance(state, Unordered):
        return order.subscription_unknown()
    if isinstance(command, RequestRefund):
        return _no_refunds(state)
    if isinstance(state, Awaiting | Failed):
        asked = isinstance(command, auto_renew.DisableAutoRenew | ChangeSeats)
        return order.not_confirmed(state) if asked else ()
    match command:
        case ChangeSeats():
            return _change_seats(command, state)
        case Remind():
            return _remind(command, state)
        case CloseTerm():
            return _close_term(command, state)
        case _:
            return auto_renew.decide(command, state) if isinstance(state, Live) else ()


# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


def _change_seats(command: ChangeSeats, state: Confirmed) -> Decision[SeatsAdded | SeatDecreaseScheduled]:
    confirmed, term = state.confirmed, state.term
    if isinstance(state, Ended) or command.now >= term.over_at:
        return _over(state)
    if not 1 <= command.seats <= command.policy.seats_at_most:
        return seats_out_of_range(command.policy)
    if command.seats > term.seats:
        if not opens(command.standing, term.plan):
            return needs_csn(command.standing, term.plan)
        return (_added(command, confirmed, term),)
    if command.seats == term.next_seats:
        return ()
    if isinstance(state, NonRenewing) and state.off.ends <= term.ends:
        return Rejected(
            rules.NO_NEXT_TERM,
            f"The subscription ends on {state.off.ends}; fewer seats would begin with the next term.",
            "Nothing has to be done.",
            because=(state.off,),
        )
    fewer = SeatDecreaseScheduled(
        subscription_id=confirmed.subscription_id,
        seats=command.seats,
        takes_effect=term.next_starts,
        requested_by=command.changed_by,
    )
    return (fewer,)


def _over(state: Confirmed) -> Rejected:
    """The term's last day is over; what follows is decided by its timer, a moment later."""
    match state:
        case Ended(_, term, end):
            return Rejected(rules.SUBSCRIPTION_ENDED, f"The term ended on {term.ends}.", "Order anew.", because=(end,))
        case NonRenewing(_, term, off) if off.ends <= term.ends:
            return Rejected(rules.SUBSCRIPTION_ENDED, f"The term ended on {term.ends}.", "Order anew.", because=(off,))
        case Running(confirmed, term) | DisableRequested(confirmed, term) | NonRenewing(confirmed, term):
            return Rejected(
                rules.TERM_CHANGING,
                f"The term ended on {term.ends}; the next one has not begun yet.",
                "Look at the subscription in a moment, and send a new request.",
                because=(state.asked if isinstance(state, DisableRequested) else confirmed,),
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


def _remind(command: Remind, state: Confirmed) -> Decision[RenewalReminded]:
    """The reminders that are due, late ones as well, and only while the subscription would renew."""
    term = state.term
    if not isinstance(state, Running | DisableRequested) or term.number != command.term:
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


def _close_term(
    command: CloseTerm, state: Confirmed
) -> Decision[SubscriptionRenewed | SubscriptionEnded | AutoRenewDisableRequested]:
    term = state.term
    if isinstance(state, Ended) or term.number != command.term or command.now < term.over_at:
        return ()
    if isinstance(state, NonRenewing) and state.off.ends <= term.ends:
        end = SubscriptionEnded(
            subscription_id=state.confirmed.subscription_id,
            contract_id=state.confirmed.contract_id,
            customer=state.confirmed.customer,
            ended=term.ends,
        )
        return (end,)
    if isinstance(state, DisableRequested) and state.asked.binds == "this_term" and state.asked.term_ends == term.ends:
        # The term waits for the answer, which decides whether it is renewed.
        return auto_renew.ask_again(auto_renew.AskAgain(state.asked.ref, command.now, command.policy), state)
    return (_renewed(command, state.confirmed, term),)


def _renewed(command: CloseTerm, confirmed: SubscriptionConfirmed, term: Term) -> SubscriptionRenewed:
    plan = term.next_plan(command.price)
    starts, ends = term.next_starts, term_ends(confirmed.starts, term.number + 1)
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


NO_REFUNDS: Final = "Subscription orders are not returned and not refunded."
"""Shown with a cart before it is ordered, and the reason of a refused refund."""


def _no_refunds(state: Ordered) -> Rejected:
    record = fact_of(state)
    return Rejected(
        rules.NO_REFUNDS,
        f"{NO_REFUNDS} This one is for {record.seats} seats of {record.plan.product_name} from {record.starts} on, "
        f"at {record.total.amount} {record.total.currency} minor units.",
        "Turn auto-renew off in time, so that it ends with its term.",
        because=(record,),
    )


# ── Rules that are shown as well as decided ────────────────────────────────────────────────────────────


def cancel_preview(
    command: auto_renew.DisableAutoRenew, state: Confirmed, *, held: bool, price: Money | None
) -> CancelPreview:
    """Return what turning auto-renew off would do, also of a subscription that has ended."""
    if not isinstance(state, Ended):
        return auto_renew.cancel_preview(command, state, held=held, price=price)
    return CancelPreview(
        possible_now=False,
        too_late=False,
        in_time=auto_renew.is_in_time(state.term.cancel_by, command.now),
        last_day=state.end.ended,
        still_owed=still_owed(state.term.instalments, state.term.plan.price.currency, command.now),
        next_term=None,
    )


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, SubscriptionOrdered | SubscriptionConfirmed) else ""


SUBSCRIPTION = Stream(category="subscription", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
