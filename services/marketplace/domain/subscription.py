"""A subscription: ordered, confirmed by the publisher, running, and once ended for good. Stream `subscription-<id>`.

Two of its steps are other people's to decide, and their answers are events: the publisher confirms or declines an
order; the seat pool says whether auto-renew may be turned off. Late and repeated answers change nothing.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, TypeAlias, assert_never
from uuid import UUID, uuid5

from services.marketplace.domain.calendar import Calendar, cancel_by
from services.marketplace.domain.cart import seats_out_of_range, start_refused
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens, valid_csn
from services.marketplace.domain.terms import instalments, term_ends
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CancelBy,
    CartCheckedOut,
    HeldSeat,
    SubscriptionConfirmed,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
)

_CONTRACTS = UUID("6f0c1c1e-5a53-5f0e-9a0b-3f1b7a0d8c52")
"""The namespace of contract ids, for ever."""

Event: TypeAlias = (
    SubscriptionOrdered
    | SubscriptionConfirmed
    | SubscriptionOrderFailed
    | AutoRenewDisableRequested
    | AutoRenewDisabled
    | AutoRenewDisableRefused
)


def contract_id(customer: str, publisher: str, programme: str) -> str:
    """The one contract that a customer has with a publisher under a programme."""
    return str(uuid5(_CONTRACTS, json.dumps((customer, publisher, programme))))


# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unordered:
    pass


@dataclass(frozen=True, slots=True)
class Awaiting:
    """The publisher's word."""

    order: SubscriptionOrdered


@dataclass(frozen=True, slots=True)
class Failed:
    order: SubscriptionOrdered
    failure: SubscriptionOrderFailed


@dataclass(frozen=True, slots=True)
class Term:
    number: int
    starts: date
    ends: date
    cancel_by: CancelBy


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


State: TypeAlias = Unordered | Awaiting | Failed | Running | Asking | Ending
INITIAL: State = Unordered()


def evolve(state: State, event: Event) -> State:
    match event:
        case SubscriptionOrdered():
            return Awaiting(event)
        case SubscriptionOrderFailed():
            return Failed(state.order, event) if isinstance(state, Awaiting) else state
        case SubscriptionConfirmed(starts=starts, ends=ends):
            return Running(event, Term(1, starts, ends, event.cancel_by))
        case AutoRenewDisableRequested():
            return Asking(state.confirmed, state.term, event) if isinstance(state, Running | Asking) else state
        case AutoRenewDisabled():
            return Ending(state.confirmed, state.term, event) if isinstance(state, Running | Asking) else state
        case AutoRenewDisableRefused():
            return Running(state.confirmed, state.term) if isinstance(state, Asking) else state
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Order:
    """Send a checked-out cart's line, `line` from 0, to the publisher."""

    cart: CartCheckedOut
    line: int


def orders(cart: CartCheckedOut) -> tuple[Order, ...]:
    """What follows from a checked-out cart: one order a line, in the cart's sequence."""
    return tuple(Order(cart, line) for line in range(len(cart.lines)))


@dataclass(frozen=True, slots=True)
class ConfirmOrder:
    """Record that the publisher accepted the order. `order` is the event that it answers, "" where it doesn't say;
    `calendar` counts the customer's business days."""

    reference: str
    said_by: str
    calendar: Calendar
    order: str = ""
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class FailOrder:
    """Record that the publisher turned the order down."""

    reason: str
    said_by: str
    order: str = ""


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Send a declined order again, corrected: another start, another number of seats, or neither."""

    ordered_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    starts: date | None = None
    seats: int | None = None
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, slots=True)
class RequestAutoRenewOff:
    """Let the subscription end with its term. In time, and with no seat assigned to anyone: the seat pool is asked, and
    its answer follows. Final once it is off; the charges run to the end all the same."""

    requested_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


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
class RequestRefund:
    """Ask for a return or a refund: there is none, and the answer says why."""

    reason: str = ""


Command: TypeAlias = (
    Order
    | ConfirmOrder
    | FailOrder
    | Resubmit
    | RequestAutoRenewOff
    | RecordPoolCleared
    | RecordPoolHeld
    | RequestRefund
)


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    if isinstance(command, Order):
        return _order(command, state)
    if isinstance(state, Unordered):
        return Rejected("subscription-unknown", "There is no such subscription.", "Check its id.")
    match command:
        case ConfirmOrder():
            return _confirm(command, state)
        case FailOrder():
            return _fail(command, state)
        case Resubmit():
            return _resubmit(command, state)
        case RequestAutoRenewOff():
            return _request_auto_renew_off(command, state)
        case RecordPoolCleared(request):
            return _cleared(request, state)
        case RecordPoolHeld(request, held):
            return _held(request, held, state)
        case RequestRefund():
            return _no_refunds(state)
        case unreachable:
            assert_never(unreachable)


Ordered: TypeAlias = Awaiting | Failed | Running | Asking | Ending
"""Any state but the first."""


def _order(command: Order, state: State) -> Decision[Event]:
    cart, line = command.cart, command.cart.lines[command.line]
    if not isinstance(state, Unordered):
        return ()
    return (
        SubscriptionOrdered(
            subscription_id=line.subscription_id,
            cart_id=cart.cart_id,
            contract_id=contract_id(cart.customer, line.plan.publisher, line.plan.programme),
            partner=cart.partner,
            ordered_by=cart.ordered_by,
            customer=cart.customer,
            purchaser=cart.purchaser,
            plan=line.plan,
            seats=line.seats,
            total=line.total,
            starts=cart.starts,
            csn=cart.csn,
            country=cart.country,
            time_zone=cart.time_zone,
        ),
    )


def _confirm(command: ConfirmOrder, state: Ordered) -> Decision[Event]:
    foreign = _foreign(command.said_by, state)
    if foreign is not None:
        return foreign
    match state:
        case Awaiting(order):
            if command.order not in ("", order.ref):
                return ()
            return (_confirmed(order, command),)
        case Failed(_, failure):
            return Rejected(
                "order-failed",
                "The publisher confirms an order that it declined before.",
                "The partner may send the order again; the publisher then confirms that one.",
                because=(failure,),
            )
        case Running(confirmed) | Asking(confirmed) | Ending(confirmed):
            if command.reference == confirmed.publisher_reference:
                return ()
            return Rejected(
                "already-confirmed",
                f"The order was confirmed as {confirmed.publisher_reference}, not as {command.reference[:60]}.",
                "The publisher's books need a look.",
                because=(confirmed,),
            )
        case unreachable:
            assert_never(unreachable)


def _confirmed(order: SubscriptionOrdered, command: ConfirmOrder) -> SubscriptionConfirmed:
    ends = term_ends(order.starts)
    return SubscriptionConfirmed(
        subscription_id=order.subscription_id,
        publisher_reference=command.reference,
        contract_id=order.contract_id,
        partner=order.partner,
        customer=order.customer,
        purchaser=order.purchaser,
        plan=order.plan,
        seats=order.seats,
        total=order.total,
        starts=order.starts,
        ends=ends,
        instalments=instalments(order.total, order.starts, order.plan.billing),
        cancel_by=cancel_by(ends, command.calendar, command.policy.cancel_business_days),
    )


def _fail(command: FailOrder, state: Ordered) -> Decision[Event]:
    foreign = _foreign(command.said_by, state)
    if foreign is not None:
        return foreign
    match state:
        case Awaiting(order):
            if command.order not in ("", order.ref):
                return ()
            failed = SubscriptionOrderFailed(
                subscription_id=order.subscription_id, partner=order.partner, reason=command.reason
            )
            return (failed,)
        case Failed():
            return ()
        case Running(confirmed) | Asking(confirmed) | Ending(confirmed):
            return Rejected(
                "already-confirmed",
                "The publisher declines an order that it confirmed before.",
                "The publisher's books need a look; the subscription runs.",
                because=(confirmed,),
            )
        case unreachable:
            assert_never(unreachable)


def _foreign(said_by: str, state: Ordered) -> Rejected | None:
    order = fact_of(state)
    if said_by == order.plan.publisher:
        return None
    return Rejected(
        "foreign-publisher",
        f"The system of {said_by or 'nobody known'} answers an order that went to {order.plan.publisher}.",
        "Only that publisher's own system can answer it.",
        because=(order,),
    )


def fact_of(state: Ordered) -> SubscriptionOrdered | SubscriptionConfirmed:
    """The fact that the subscription stands on."""
    return state.order if isinstance(state, Awaiting | Failed) else state.confirmed


def _resubmit(command: Resubmit, state: Ordered) -> Decision[Event]:
    if not isinstance(state, Awaiting | Failed):
        return Rejected(
            "already-confirmed", "The publisher accepted this order.", "Order anew.", because=(state.confirmed,)
        )
    order = state.order
    seats = order.seats if command.seats is None else command.seats
    starts = order.starts if command.starts is None else command.starts
    if isinstance(state, Awaiting):
        if (seats, starts) == (order.seats, order.starts):
            return ()
        return Rejected(
            "order-awaited", "The publisher has not answered yet.", "Wait for its answer.", because=(order,)
        )
    if not 1 <= seats <= command.policy.seats_at_most:
        return seats_out_of_range(command.policy)
    if not opens(command.standing, order.plan):
        return needs_csn(command.standing, order.plan)
    refusal = start_refused(starts, command.now, command.policy)
    if refusal is not None:
        return refusal
    csn = valid_csn(command.standing, order.plan.publisher)
    again = {
        "seats": seats,
        "starts": starts,
        "total": order.plan.price.times(seats),
        "ordered_by": command.ordered_by,
        "csn": csn.csn if csn else None,
    }
    return (order.model_copy(update=again),)


# ── Auto-renew ─────────────────────────────────────────────────────────────────────────────────────────


def _request_auto_renew_off(command: RequestAutoRenewOff, state: Ordered) -> Decision[Event]:
    match state:
        case Awaiting(order) | Failed(order):
            return Rejected(
                "not-confirmed",
                "The publisher has not accepted this order; nothing runs, and nothing renews.",
                "Wait for its answer.",
                because=(order,),
            )
        case Asking():
            again = next_step(state, command.now, command.policy)
            return (again,) if again is not None else ()
        case Ending():
            return ()
        case Running(confirmed, term):
            pass
        case unreachable:
            assert_never(unreachable)
    in_time = command.now < term.cancel_by.deadline
    if not in_time and command.policy.late_auto_renew_off == "refuse":
        return Rejected(
            "auto-renew-cutoff-passed",
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
        ),
    )


def next_step(state: State, now: datetime, policy: Policy) -> AutoRenewDisableRequested | None:
    """What the process does by itself: a question that the pool left open for long is asked again, as it was."""
    if isinstance(state, Asking) and now - state.asked.requested_at >= policy.ask_again_after:
        return state.asked.model_copy(update={"requested_at": now})
    return None


def _cleared(request: str, state: Ordered) -> Decision[Event]:
    if not isinstance(state, Asking) or request != state.asked.ref:
        return ()
    off = AutoRenewDisabled(
        subscription_id=state.confirmed.subscription_id,
        ends=ends_with(state.confirmed, state.term, state.asked),
        requested_by=state.asked.requested_by,
    )
    return (off,)


def ends_with(confirmed: SubscriptionConfirmed, term: Term, asked: AutoRenewDisableRequested) -> date:
    """The day that the subscription ends on when this request is granted."""
    return asked.term_ends if asked.binds == "this_term" else term_ends(confirmed.starts, term.number + 1)


def _held(request: str, held: tuple[HeldSeat, ...], state: Ordered) -> Decision[Event]:
    if not isinstance(state, Asking) or request != state.asked.ref:
        return ()
    who = ", ".join(f"seat {seat.seat} (account {seat.account_id})" for seat in held)
    refused = AutoRenewDisableRefused(
        subscription_id=state.confirmed.subscription_id,
        rule="seats-assigned",
        reason=f"Auto-renew stays on while seats are assigned. Un-assign first: {who}.",
        held=held,
    )
    return (refused,)


def _no_refunds(state: Ordered) -> Rejected:
    record = fact_of(state)
    return Rejected(
        "no-refunds",
        "Subscription orders are not returned and not refunded. This one is for "
        f"{record.seats} seats of {record.plan.product_name} from {record.starts} on, at {record.total.amount} "
        f"{record.total.currency} minor units.",
        "Turn auto-renew off in time, so that it ends with its term.",
        because=(record,),
    )


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, SubscriptionOrdered | SubscriptionConfirmed) else ""


SUBSCRIPTION = Stream("subscription", INITIAL, evolve, decide, tenant=_tenant)
