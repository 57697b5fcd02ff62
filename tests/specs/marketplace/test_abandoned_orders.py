"""An order that the publisher declined is given up."""

import pytest

from services.marketplace.domain.auto_renew import DisableAutoRenew
from services.marketplace.domain.order import AbandonOrder, Order, OrderAgain, Resubmit
from services.marketplace.domain.subscription import SUBSCRIPTION, ChangeSeats, Command, RequestRefund
from shared.events import SubscriptionOrderAbandoned
from tests.examples.marketplace import CLERK, CUSTOMER, NOON, PARTNER
from tests.examples.subscription import CART, CONFIRM, CONFIRMED, DECLINE, FAILED, ORDERED
from tests.spec import given

ABANDON = AbandonOrder(abandoned_by=CLERK, reason="The customer buys elsewhere.")
ABANDONED = SubscriptionOrderAbandoned(
    subscription_id="sub-1",
    partner=PARTNER,
    customer=CUSTOMER,
    abandoned_by=CLERK,
    reason="The customer buys elsewhere.",
).recorded("abandoned-1")
GIVEN_UP = (ORDERED, FAILED, ABANDONED)


def test_a_declined_order_is_abandoned() -> None:
    given(SUBSCRIPTION, ORDERED, FAILED).when(ABANDON).then(ABANDONED)
    given(SUBSCRIPTION, *GIVEN_UP).when(AbandonOrder(abandoned_by="another")).then_nothing()


def test_an_order_that_the_publisher_may_still_confirm_is_not_abandoned() -> None:
    given(SUBSCRIPTION, ORDERED).when(ABANDON).then_refused("order-awaited", because=[ORDERED])
    given(SUBSCRIPTION, ORDERED, CONFIRMED).when(ABANDON).then_refused("already-confirmed", because=[CONFIRMED])
    given(SUBSCRIPTION).when(ABANDON).then_refused("subscription-unknown")


@pytest.mark.parametrize(
    "command",
    [
        Resubmit(ordered_by=CLERK, now=NOON, seats=4),
        CONFIRM,
        DisableAutoRenew(CLERK, NOON),
        ChangeSeats(seats=4, changed_by=CLERK, now=NOON),
    ],
)
def test_an_abandoned_order_stays_so(command: Command) -> None:
    given(SUBSCRIPTION, *GIVEN_UP).when(command).then_refused("order-abandoned", because=[ABANDONED])


@pytest.mark.parametrize("command", [DECLINE, OrderAgain(ORDERED.ref, NOON), Order(CART, 0, NOON)])
def test_what_comes_late_to_an_abandoned_order_changes_nothing(command: Command) -> None:
    given(SUBSCRIPTION, *GIVEN_UP).when(command).then_nothing()


def test_an_abandoned_order_is_not_refunded() -> None:
    given(SUBSCRIPTION, *GIVEN_UP).when(RequestRefund()).then_refused("no-refunds", because=[ORDERED])
