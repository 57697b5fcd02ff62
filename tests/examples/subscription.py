"""A subscription of three seats: ordered, confirmed or declined, and its auto-renew turned off."""

from services.marketplace.domain.auto_renew import DisableAutoRenew
from services.marketplace.domain.calendar import Calendar
from services.marketplace.domain.order import ConfirmOrder, FailOrder, Order
from services.marketplace.domain.subscription import SUBSCRIPTION, Event
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRequested,
    CartCheckedOut,
    HeldSeat,
    Money,
    OrderLine,
    SubscriptionConfirmed,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
)
from tests.examples.marketplace import (
    AUTOCAD,
    AUTOCAD_MONTHLY,
    AUTODESK,
    CLERK,
    CUSTOMER,
    NOON,
    PARTNER,
    PURCHASER,
    TODAY,
)
from tests.spec import given

CART = CartCheckedOut(
    cart_id="cart-1",
    partner=PARTNER,
    ordered_by=CLERK,
    customer=CUSTOMER,
    purchaser=PURCHASER,
    starts=TODAY,
    csn=None,
    lines=(
        OrderLine(subscription_id="sub-1", plan=AUTOCAD_MONTHLY, seats=3, total=AUTOCAD_MONTHLY.price.times(3)),
        OrderLine(subscription_id="sub-2", plan=AUTOCAD, seats=1, total=AUTOCAD.price),
    ),
    total=Money(amount=947_503, currency="EUR"),
    country="DE",
    time_zone="Europe/Berlin",
)

BERLIN = Calendar(id="DE", version="0.1", time_zone="Europe/Berlin")

CONFIRM = ConfirmOrder(reference="ADSK-77", reported_by=AUTODESK, calendar=BERLIN)

DECLINE = FailOrder("The customer's address is incomplete.", AUTODESK)

HELD = (HeldSeat(seat=1, account_id="designer-1", because="seat-assigned-1"),)


def recorded(decision: tuple[Event, ...], ref: str) -> Event:
    (event,) = decision
    event.recorded(ref)
    return event


def kept_ordered() -> SubscriptionOrdered:
    event = recorded(given(SUBSCRIPTION).when(Order(CART, 0, NOON)).then_accepted(), "ordered-1")
    assert isinstance(event, SubscriptionOrdered)
    return event


def kept_confirmed() -> SubscriptionConfirmed:
    event = recorded(given(SUBSCRIPTION, ORDERED).when(CONFIRM).then_accepted(), "confirmed-1")
    assert isinstance(event, SubscriptionConfirmed)
    return event


ORDERED = kept_ordered()

CONFIRMED = kept_confirmed()

FAILED = SubscriptionOrderFailed(subscription_id="sub-1", partner=PARTNER, reason=DECLINE.reason).recorded("failed-1")

RUNNING: tuple[Event, ...] = (ORDERED, CONFIRMED)

DEADLINE = CONFIRMED.cancel_by.deadline

ASK = DisableAutoRenew(PURCHASER, NOON)

ASKED = AutoRenewDisableRequested(
    subscription_id="sub-1",
    requested_by=PURCHASER,
    requested_at=NOON,
    term_ends=CONFIRMED.ends,
    deadline=DEADLINE,
    publisher=AUTODESK,
    time_zone="Europe/Berlin",
).recorded("asked-1")

OFF = AutoRenewDisabled(
    subscription_id="sub-1", ends=CONFIRMED.ends, requested_by=PURCHASER, time_zone="Europe/Berlin"
).recorded("off-1")
