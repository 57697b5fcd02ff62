"""A subscription, from its order to its end, one stream per subscription.

The stream is `subscription-<id>`. `order.py` decides until the publisher confirms the order, `auto_renew.py` decides
about auto-renew, and this module about seats, renewals and the end. A timer closes a term; the result depends on the
state alone, however late the timer fires.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final, TypeAlias, assert_never

from services.marketplace.domain import auto_renew, order, rules, seats_request
from services.marketplace.domain.auto_renew import CancelPreview, DisableRequested, NonRenewing, Running
from services.marketplace.domain.calendar import Calendar, cancel_by
from services.marketplace.domain.checkout import seats_out_of_range
from services.marketplace.domain.engagement import partner_released
from services.marketplace.domain.order import Awaiting, Failed, Unconfirmed, Unordered
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens
from services.marketplace.domain.terms import Term, instalments, term_ends, term_of, zone_of
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    Instalment,
    Money,
    PartnerReleased,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatsAdded,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
)
from shared.events.fields import Count, Text
from shared.money import written

Event: TypeAlias = (
    order.Event
    | auto_renew.Event
    | SeatsAdded
    | SeatDecreaseScheduled
    | seats_request.Event
    | RenewalReminded
    | SubscriptionRenewed
    | SubscriptionEnded
)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ended:
    """A subscription that ended for good."""

    confirmed: SubscriptionConfirmed
    term: Term
    end: SubscriptionEnded


Live: TypeAlias = Running | DisableRequested | NonRenewing
Confirmed: TypeAlias = Live | Ended
Ordered: TypeAlias = Unconfirmed | Confirmed
"""Any state but the initial one."""
State: TypeAlias = Unordered | Ordered
INITIAL: State = Unordered()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case SubscriptionOrdered():
            return order.ordered(state, event) if isinstance(state, Unordered | Awaiting | Failed) else state
        case SubscriptionOrderFailed():
            return order.declined(state, event) if isinstance(state, Awaiting) else state
        case SubscriptionOrderAbandoned():
            return order.abandoned(state, event) if isinstance(state, Failed) else state
        case SubscriptionConfirmed():
            return Running(event, term_of(event))
        case _ if not isinstance(state, Running | DisableRequested | NonRenewing):
            return state
        case AutoRenewDisableRequested() | AutoRenewDisabled() | AutoRenewDisableRefused():
            return auto_renew.evolve(state, event)
        case SubscriptionEnded():
            return Ended(state.confirmed, state.term, event)
        case SeatsRequested() | SeatsRequestConfirmed() | SeatsRequestDeclined():
            return replace(state, term=seats_request.evolve(state.term, event))
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
            return replace(term_of(event), seats_request=term.seats_request)
        case unreachable:
            assert_never(unreachable)


def fact_of(state: Ordered) -> SubscriptionOrdered | SubscriptionConfirmed:
    """Return the confirmation, or the order where it is not confirmed."""
    return state.order if isinstance(state, Unconfirmed) else state.confirmed


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeSeats:
    """Change the number of seats to `seats`.

    More seats join at once, up to the term's end, and are charged for the rest of it. More seats of a specialised plan
    need a valid CSN, as its order did. Fewer seats take effect at the renewal.
    """

    seats: Count
    changed_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    released: Annotated[PartnerReleased | None, SUPPLIED] = None
    """The event by which the customer released the partner, if it did."""
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, slots=True)
class Remind:
    """Announce the end of a term, if a reminder is due.

    Args:
        term: the term's number.
    """

    term: int
    now: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseTerm:
    """Renew or end the subscription after a term's last day.

    Args:
        term: the term's number.
        calendar: the business days that the deadline counts, up to the next term's end.
        price: the catalogue's price of a seat on the next term's first day; None where the plan was withdrawn.
    """

    term: int
    now: datetime
    calendar: Calendar
    price: Money | None
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class RequestRefund:
    """Ask for a return or a refund, which is always refused."""

    reason: Text = ""


Command: TypeAlias = (
    order.Command | auto_renew.Command | seats_request.Command | ChangeSeats | Remind | CloseTerm | RequestRefund
)


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    if isinstance(command, order.Command):
        return order.decide(command, order.Accepted(state.confirmed) if isinstance(state, Confirmed) else state)
    if isinstance(state, Unordered):
        return order.subscription_unknown()
    if isinstance(command, RequestRefund):
        return _no_refunds(state)
    if isinstance(state, Unconfirmed):
        by_a_person = isinstance(command, auto_renew.DisableAutoRenew | ChangeSeats | seats_request.Command)
        return order.not_confirmed(state) if by_a_person else ()
    match command:
        case ChangeSeats():
            return _change_seats(command, state)
        case seats_request.RequestSeats():
            over = isinstance(state, Ended) or command.now >= state.term.over_at
            return _over(state) if over else seats_request.request_seats(command, state.confirmed, state.term)
        case seats_request.ConfirmSeatsRequest():
            return _confirm_seats_request(command, state)
        case seats_request.DeclineSeatsRequest():
            return _over(state) if isinstance(state, Ended) else seats_request.decline(command, state.term)
        case Remind():
            return _remind(command, state)
        case CloseTerm():
            return _close_term(command, state)
        case _:
            return auto_renew.decide(command, state) if isinstance(state, Live) else ()


# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


def _change_seats(
    command: ChangeSeats, state: Confirmed
) -> Decision[SeatsAdded | SeatDecreaseScheduled | SeatsRequestConfirmed]:
    confirmed, term = state.confirmed, state.term
    if command.released is not None:
        return partner_released(command.released)
    if isinstance(state, Ended) or command.now >= term.over_at:
        return _over(state)
    if not 1 <= command.seats <= command.policy.seats_at_most:
        return seats_out_of_range(command.policy)
    if command.seats > term.seats:
        if not opens(command.standing, term.plan):
            return needs_csn(command.standing, term.plan)
        return seats_request.with_confirmation(_added(command, confirmed, term), term)
    if command.seats == term.next_seats:
        return ()
    if isinstance(state, NonRenewing) and state.off.ends <= term.ends:
        return Rejected(
            rules.NO_NEXT_TERM,
            f"Fewer seats would take effect with the next term, and the subscription ends on {state.off.ends} "
            f"({term.time_zone}).",
            "There is nothing to do: the subscription ends with this term.",
            because=(state.off,),
        )
    fewer = SeatDecreaseScheduled(
        subscription_id=confirmed.subscription_id,
        seats=command.seats,
        takes_effect=term.next_starts,
        requested_by=command.changed_by,
        time_zone=term.time_zone,
    )
    return (fewer,)


def _confirm_seats_request(
    command: seats_request.ConfirmSeatsRequest, state: Confirmed
) -> Decision[SeatsAdded | SeatDecreaseScheduled | SeatsRequestConfirmed]:
    """Return the added seats and the confirmation of the request, or why it is refused."""
    request = seats_request.requested(command, state.term)
    if not isinstance(request, SeatsRequested):
        return () if request is None else request
    if request.seats <= state.term.seats:
        return (seats_request.confirmation(request, state.term.seats, command.confirmed_by),)
    change = ChangeSeats(
        seats=request.seats,
        changed_by=command.confirmed_by,
        now=command.now,
        standing=command.standing,
        released=command.released,
        policy=command.policy,
    )
    return _change_seats(change, state)


def _over(state: Confirmed) -> Rejected:
    """Return the refusal of a change after the term's last day.

    The term's timer decides a moment later whether another term follows.
    """
    match state:
        case Ended(_, term, end):
            return _ended(term, end)
        case NonRenewing(_, term, off) if off.ends <= term.ends:
            return _ended(term, off)
        case Running(confirmed, term) | DisableRequested(confirmed, term) | NonRenewing(confirmed, term):
            return Rejected(
                rules.TERM_CHANGING,
                f"The term ended on {term.ends} ({term.time_zone}), and the next term has not begun yet.",
                "The next term begins in a moment. Send a new request then.",
                because=(state.asked if isinstance(state, DisableRequested) else confirmed,),
            )
        case unreachable:
            assert_never(unreachable)


def _ended(term: Term, because: SubscriptionEnded | AutoRenewDisabled) -> Rejected:
    return Rejected(
        rules.SUBSCRIPTION_ENDED,
        f"The term ended on {term.ends} ({term.time_zone}).",
        "Place a new order.",
        because=(because,),
    )


def _added(command: ChangeSeats, confirmed: SubscriptionConfirmed, term: Term) -> SeatsAdded:
    added = command.seats - term.seats
    today = max(term.today(command.now), term.starts)
    length, remaining = (term.ends - term.starts).days + 1, (term.ends - today).days + 1
    # The price of the remaining days, today included, rounded half up.
    amount = (2 * term.plan.price.amount * added * remaining + length) // (2 * length)
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
        time_zone=term.time_zone,
    )


# ── The end of a term ──────────────────────────────────────────────────────────────────────────────────


def _remind(command: Remind, state: Confirmed) -> Decision[RenewalReminded]:
    """Return the reminders that are due, including late ones, if the subscription would renew."""
    term = state.term
    if not isinstance(state, Running | DisableRequested) or term.number != command.term:
        return ()
    today = term.today(command.now)
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
            time_zone=term.time_zone,
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
            time_zone=term.time_zone,
        )
        return (end,)
    if isinstance(state, DisableRequested) and state.asked.binds == "this_term" and state.asked.term_ends == term.ends:
        # The seat pool's answer decides whether the term is renewed, so the term stays open until it comes.
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
        time_zone=term.time_zone,
    )


NO_REFUNDS: Final = "Subscription orders are not returned and not refunded."
"""Shown with a cart before it is ordered, and given as the reason of a refused refund."""


def _no_refunds(state: Ordered) -> Rejected:
    record = fact_of(state)
    zone = zone_of(record) if isinstance(record, SubscriptionOrdered) else term_of(record).time_zone
    return Rejected(
        rules.NO_REFUNDS,
        f"{NO_REFUNDS} This order is for {record.seats} seats of {record.plan.product_name} from {record.starts} "
        f"({zone}) on, at {written(record.total.amount, record.total.currency)}.",
        "Turn auto-renew off in time, so that the subscription ends with its term.",
        because=(record,),
    )


# ── Rules that are shown as well as decided ────────────────────────────────────────────────────────────


def cancel_preview(
    command: auto_renew.DisableAutoRenew, state: Confirmed, *, held: bool, price: Money | None
) -> CancelPreview:
    """Return the effect of turning auto-renew off, also for a subscription that has ended."""
    if not isinstance(state, Ended):
        return auto_renew.cancel_preview(command, state, held=held, price=price)
    return CancelPreview(
        possible_now=False,
        too_late=False,
        in_time=auto_renew.is_in_time(state.term.cancel_by, command.now),
        last_day=state.end.ended,
        still_owed=state.term.still_owed(command.now),
        next_term=None,
    )


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, SubscriptionOrdered | SubscriptionConfirmed) else ""


SUBSCRIPTION = Stream(category="subscription", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
