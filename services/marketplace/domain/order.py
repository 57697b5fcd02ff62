"""An order, until the publisher answers it: the first part of a subscription's stream.

The publisher's answer is an event. Late and repeated answers change nothing. `subscription.py` declares the stream and
decides about confirmed orders.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, TypeAlias, assert_never
from uuid import UUID, uuid5

from services.marketplace.domain import rules
from services.marketplace.domain.calendar import Calendar, cancel_by
from services.marketplace.domain.checkout import seats_out_of_range, start_refused
from services.marketplace.domain.engagement import partner_released
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens, valid_csn
from services.marketplace.domain.terms import instalments, term_ends, zone_of
from shared import days
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import (
    CartCheckedOut,
    PartnerReleased,
    SubscriptionConfirmed,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
)
from shared.events.fields import Count, Day, Text
from shared.rules import FOREIGN_PUBLISHER

_CONTRACTS = UUID("6f0c1c1e-5a53-5f0e-9a0b-3f1b7a0d8c52")
"""The namespace of contract ids. It never changes."""

Event: TypeAlias = SubscriptionOrdered | SubscriptionConfirmed | SubscriptionOrderFailed | SubscriptionOrderAbandoned


def contract_id(customer: str, publisher: str, programme: str) -> str:
    """Return the id of the customer's contract with the publisher under the programme."""
    return str(uuid5(_CONTRACTS, json.dumps((customer, publisher, programme))))


# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unordered:
    """A subscription without any event."""


@dataclass(frozen=True, slots=True)
class Awaiting:
    """An order that the publisher has not answered."""

    order: SubscriptionOrdered
    sent: tuple[SubscriptionOrdered, ...]
    """The order as each of its sendings, `order` last. An answer to any of them counts."""
    replaced: tuple[SubscriptionOrdered, ...] = ()
    """Former orders that were corrected before the publisher answered them."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An order that the publisher declined."""

    order: SubscriptionOrdered
    failure: SubscriptionOrderFailed


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A declined order that the partner gave up."""

    order: SubscriptionOrdered
    abandonment: SubscriptionOrderAbandoned


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that the publisher accepted."""

    confirmed: SubscriptionConfirmed


Pending: TypeAlias = Awaiting | Failed
"""An order that the publisher has not accepted and that may still be accepted."""
Unconfirmed: TypeAlias = Pending | Abandoned
State: TypeAlias = Unordered | Unconfirmed | Accepted
INITIAL: Unordered = Unordered()


def ordered(state: Unordered | Pending, event: SubscriptionOrdered) -> Awaiting:
    """Return the state after the order was sent or sent again."""
    if not isinstance(state, Awaiting):
        return Awaiting(event, (event,))
    if event == state.order.model_copy(update={"ordered_at": event.ordered_at}):
        return replace(state, order=event, sent=(*state.sent, event))
    return Awaiting(event, (event,), (*state.replaced, *state.sent))


def declined(state: Awaiting, event: SubscriptionOrderFailed) -> Failed:
    """Return the state after the publisher declined the order."""
    return Failed(state.order, event)


def abandoned(state: Failed, event: SubscriptionOrderAbandoned) -> Abandoned:
    """Return the state after the partner gave the order up."""
    return Abandoned(state.order, event)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Order:
    """Send a line of a checked-out cart to the publisher as an order.

    Args:
        line: the index of the cart's line, from 0.
        now: the customer's time.
    """

    cart: CartCheckedOut
    line: int
    now: datetime


def orders(cart: CartCheckedOut, now: datetime) -> tuple[Order, ...]:
    """Return one command for each line of a checked-out cart, in the cart's sequence."""
    return tuple(Order(cart, line, now) for line in range(len(cart.lines)))


@dataclass(frozen=True, slots=True)
class OrderAgain:
    """Send an order again that the publisher has not answered for `policy.order_again_after`.

    Args:
        order: the id of the event that sent it last.
    """

    order: str
    now: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmOrder:
    """Record that the publisher accepted the order.

    Args:
        reported_by: the publisher whose system sent the answer.
        calendar: the business days that the deadline counts.
        order: the id of the event that is answered; "" where the answer does not name one.
    """

    reference: str
    reported_by: str
    calendar: Calendar
    order: str = ""
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class FailOrder:
    """Record that the publisher declined the order."""

    reason: str
    reported_by: str
    order: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resubmit:
    """Send an order again, unchanged or with another start or number of seats.

    The order was declined, or the publisher has not answered it for `policy.order_again_after`. An unanswered order can
    be corrected only once its start is in the past.
    """

    ordered_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    starts: Day | None = None
    seats: Count | None = None
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    released: Annotated[PartnerReleased | None, SUPPLIED] = None
    """The event by which the customer released the partner, if it did."""
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class AbandonOrder:
    """Give up an order that the publisher declined."""

    abandoned_by: Annotated[str, SUPPLIED]
    reason: Text = ""


Command: TypeAlias = Order | OrderAgain | ConfirmOrder | FailOrder | Resubmit | AbandonOrder


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    if isinstance(command, Order):
        return _order(command, state)
    if isinstance(state, Unordered):
        return subscription_unknown()
    match command:
        case OrderAgain():
            return _order_again(command, state)
        case ConfirmOrder():
            return _confirm(command, state)
        case FailOrder():
            return _fail(command, state)
        case Resubmit():
            return _resubmit(command, state)
        case AbandonOrder():
            return _abandon(command, state)
        case unreachable:
            assert_never(unreachable)


def subscription_unknown() -> Rejected:
    """Return the refusal of a command about a subscription that was never ordered."""
    return Rejected(rules.SUBSCRIPTION_UNKNOWN, "There is no such subscription.", "Check its id.")


def not_confirmed(state: Unconfirmed) -> Rejected:
    """Return the refusal of a command or preview that needs a confirmed order."""
    if isinstance(state, Abandoned):
        return _order_abandoned(state)
    return Rejected(
        rules.NOT_CONFIRMED,
        "The publisher has not accepted this order, so there is no subscription yet.",
        "Wait for the publisher's answer.",
        because=(state.order,),
    )


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
            time_zone=zone_of(cart),
            ordered_at=command.now,
        ),
    )


def _confirm(command: ConfirmOrder, state: Unconfirmed | Accepted) -> Decision[Event]:
    foreign = _foreign(command.reported_by, state)
    if foreign is not None:
        return foreign
    match state:
        case Awaiting(order, sent, replaced):
            if (superseded := next((o for o in replaced if command.order == o.ref), None)) is not None:
                return Rejected(
                    rules.ORDER_REPLACED,
                    "The publisher confirmed an order that the partner has corrected since.",
                    "Confirm the corrected order, which was sent as well.",
                    because=(superseded, order),
                )
            if command.order and command.order not in {o.ref for o in sent}:
                return ()
            return (_confirmed(order, command),)
        case Failed(_, failure):
            return Rejected(
                rules.ORDER_FAILED,
                "The publisher confirmed an order that it had declined.",
                "Ask the partner to send the order again, and confirm that one.",
                because=(failure,),
            )
        case Abandoned(_, abandonment):
            return Rejected(
                rules.ORDER_ABANDONED,
                "The publisher confirmed an order that it had declined, and that the partner has abandoned since.",
                "Cancel the order. The partner places a new one if it still wants the plan.",
                because=(abandonment,),
            )
        case Accepted(confirmed):
            if command.reference == confirmed.publisher_reference:
                return ()
            return Rejected(
                rules.ALREADY_CONFIRMED,
                f"The order was confirmed as {confirmed.publisher_reference}, and now again as "
                f"{command.reference[:60]}.",
                "Ask the publisher to check this order: it was confirmed under two references.",
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
        time_zone=zone_of(order),
    )


def _fail(command: FailOrder, state: Unconfirmed | Accepted) -> Decision[Event]:
    foreign = _foreign(command.reported_by, state)
    if foreign is not None:
        return foreign
    match state:
        case Awaiting(order, sent):
            if command.order and command.order not in {o.ref for o in sent}:
                return ()
            failed = SubscriptionOrderFailed(
                subscription_id=order.subscription_id, partner=order.partner, reason=command.reason
            )
            return (failed,)
        case Failed() | Abandoned():
            return ()
        case Accepted(confirmed):
            return Rejected(
                rules.ALREADY_CONFIRMED,
                "The publisher declined an order that it had confirmed. The subscription runs.",
                "Ask the publisher to check this order: it was answered twice, differently.",
                because=(confirmed,),
            )
        case unreachable:
            assert_never(unreachable)


def _foreign(reported_by: str, state: Unconfirmed | Accepted) -> Rejected | None:
    order = state.confirmed if isinstance(state, Accepted) else state.order
    if reported_by == order.plan.publisher:
        return None
    return Rejected(
        FOREIGN_PUBLISHER,
        f"The system of {reported_by or 'an unknown publisher'} answered an order to {order.plan.publisher}.",
        "Answer the orders of your own publisher only.",
        because=(order,),
    )


def _resubmit(command: Resubmit, state: Unconfirmed | Accepted) -> Decision[Event]:
    if isinstance(state, Accepted):
        return _already_accepted(state)
    if isinstance(state, Abandoned):
        return _order_abandoned(state)
    if command.released is not None:
        return partner_released(command.released)
    order = state.order
    seats = order.seats if command.seats is None else command.seats
    starts = order.starts if command.starts is None else command.starts
    if isinstance(state, Awaiting):
        overdue = _answer_overdue(order, command.now, command.policy)
        if (seats, starts) == (order.seats, order.starts) and not (overdue and _start_passed(order, command.now)):
            return _unchanged(order, command.now) if overdue else ()
        if not (overdue and _start_passed(order, command.now)):
            return _order_awaited(order)
    if not 1 <= seats <= command.policy.seats_at_most:
        return seats_out_of_range(command.policy)
    if not opens(command.standing, order.plan):
        return needs_csn(command.standing, order.plan)
    refusal = start_refused(starts, command.now, zone_of(order), command.policy)
    if refusal is not None:
        return refusal
    csn = valid_csn(command.standing, order.plan.publisher)
    corrected = {
        "seats": seats,
        "starts": starts,
        "total": order.plan.price.times(seats),
        "ordered_by": command.ordered_by,
        "csn": csn.csn if csn else None,
        "ordered_at": command.now,
    }
    return (order.model_copy(update=corrected),)


def _abandon(command: AbandonOrder, state: Unconfirmed | Accepted) -> Decision[Event]:
    match state:
        case Awaiting(order):
            return _order_awaited(order)
        case Failed(order):
            given_up = SubscriptionOrderAbandoned(
                subscription_id=order.subscription_id,
                partner=order.partner,
                customer=order.customer,
                abandoned_by=command.abandoned_by,
                reason=command.reason,
            )
            return (given_up,)
        case Abandoned():
            return ()
        case Accepted():
            return _already_accepted(state)
        case unreachable:
            assert_never(unreachable)


def _order_awaited(order: SubscriptionOrdered) -> Rejected:
    return Rejected(
        rules.ORDER_AWAITED,
        "The publisher has not answered this order yet.",
        "Wait for the publisher's answer.",
        because=(order,),
    )


def _already_accepted(state: Accepted) -> Rejected:
    return Rejected(
        rules.ALREADY_CONFIRMED,
        "The publisher has already accepted this order.",
        "Place a new order.",
        because=(state.confirmed,),
    )


def _order_abandoned(state: Abandoned) -> Rejected:
    return Rejected(
        rules.ORDER_ABANDONED,
        "The partner abandoned this order after the publisher had declined it.",
        "Place a new order.",
        because=(state.abandonment,),
    )


def _order_again(command: OrderAgain, state: Unconfirmed | Accepted) -> Decision[Event]:
    """Return an overdue order again, unchanged, as long as its start is not in the past."""
    if not isinstance(state, Awaiting) or command.order != state.order.ref:
        return ()
    order = state.order
    if not _answer_overdue(order, command.now, command.policy) or _start_passed(order, command.now):
        return ()
    return _unchanged(order, command.now)


def _answer_overdue(order: SubscriptionOrdered, now: datetime, policy: Policy) -> bool:
    return order.ordered_at is None or now - order.ordered_at >= policy.order_again_after


def _start_passed(order: SubscriptionOrdered, now: datetime) -> bool:
    return order.starts < days.day_of(now, zone_of(order))


def _unchanged(order: SubscriptionOrdered, now: datetime) -> tuple[SubscriptionOrdered]:
    return (order.model_copy(update={"ordered_at": now}),)
