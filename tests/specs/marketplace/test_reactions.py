"""What other systems' events make marketplace do. Given what its log holds, when an event comes, then commands."""

from datetime import UTC, date, datetime

from services.marketplace.domain.auto_renew import Running
from services.marketplace.domain.order import Order
from services.marketplace.domain.subscription import SUBSCRIPTION
from services.marketplace.reactions import PROCESS, PUBLISHER
from shared.eventlog.deliver.projection import Dispatch
from shared.events import (
    CsnIssued,
    CsnRevoked,
    Event,
    OrderConfirmed,
    OrderDeclined,
    PlanListed,
    PlanWithdrawn,
    SeatPoolCleared,
    SeatPoolHeld,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
)
from tests.examples.marketplace import AUTOCAD, AUTODESK, CSN, NOON, PARTNER, plan
from tests.examples.subscription import CART, HELD
from tests.spec import Reaction, Service, given_service

AUTODESKS = "urn:publisher:autodesk"
POOLS = "urn:tenure:entitlements"


def marketplace() -> Service:
    return given_service("marketplace", NOON)


async def ordered() -> Service:
    service = marketplace()
    await service.when(PROCESS, CART).then(SubscriptionOrdered, SubscriptionOrdered)
    return service


def reported(service: Service, event: Event) -> Reaction:
    """Let the publisher's system report the event."""
    return service.when(PUBLISHER, event, source=AUTODESKS)


async def test_a_publishers_words_are_recorded_on_our_own_streams_with_its_time() -> None:
    service = marketplace()
    listed = await reported(service, PlanListed(plan=plan("C1RK1-WW1762-L158"))).then_accepted()
    assert listed == [("plan-autodesk-C1RK1WW1762L158", PlanListed(plan=AUTOCAD, said_at=NOON))]
    issued = await reported(
        service, CsnIssued(csn=CSN.csn, organisation_id=PARTNER, publisher=AUTODESK)
    ).then_accepted()
    assert issued == [("partner-partner-1", CSN)]
    revoked = CsnRevoked(csn=CSN.csn, organisation_id=PARTNER, publisher=AUTODESK, reason="r")
    assert [stream for stream, _ in await reported(service, revoked).then_accepted()] == ["partner-partner-1"]
    withdrawn = PlanWithdrawn(product_id="c1rk1-ww1762-l158", publisher=AUTODESK)
    assert [stream for stream, _ in await reported(service, withdrawn).then_accepted()] == [listed[0][0]]


async def test_a_source_that_is_not_that_publishers_system_is_refused() -> None:
    issued = CsnIssued(csn=CSN.csn, organisation_id=PARTNER, publisher=AUTODESK)
    for source in ("urn:publisher:acme", "autodesk", "urn:publisher:autodesk "):
        await marketplace().when(PUBLISHER, issued, source=source).then_refused("foreign-publisher")


async def test_each_line_of_a_cart_is_ordered_in_sequence() -> None:
    lines = [Dispatch(SUBSCRIPTION, f"sub-{n + 1}", Order(CART, n, NOON)) for n in (0, 1)]
    await marketplace().when(PROCESS, CART).then_dispatched(*lines)


async def test_the_publishers_yes_starts_the_term_by_the_customers_calendar() -> None:
    service = await ordered()
    await reported(service, OrderConfirmed(subscription_id="sub-1", reference="A-1")).then_accepted()
    state = await service.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running)
    assert state.term.cancel_by.calendar == "DE"
    assert state.term.cancel_by.time_zone == "Europe/Berlin"
    assert state.term.cancel_by.last_day == date(2027, 11, 15)
    assert state.term.cancel_by.deadline == datetime(2027, 11, 15, 23, tzinfo=UTC)


async def test_an_answer_for_an_unknown_order_is_a_kept_refusal() -> None:
    confirmed = OrderConfirmed(subscription_id="nobody's", reference="A-1")
    await reported(marketplace(), confirmed).then_refused("subscription-unknown")
    declined = OrderDeclined(subscription_id="nobody's", reason="no")
    await reported(marketplace(), declined).then_refused("subscription-unknown")


async def test_the_pools_answers_reach_the_subscription_that_asked() -> None:
    service = await ordered()
    await reported(service, OrderConfirmed(subscription_id="sub-1", reference="A-1")).then_accepted()
    cleared = SeatPoolCleared(subscription_id="sub-1", request="nobody-asked")
    await service.when(PROCESS, cleared, source=POOLS).then_nothing()
    held = SeatPoolHeld(subscription_id="sub-1", request="nobody-asked", held=HELD)
    await service.when(PROCESS, held, source=POOLS).then_nothing()


async def test_the_publishers_no_names_its_reason() -> None:
    service = await ordered()
    await reported(service, OrderDeclined(subscription_id="sub-2", reason="no credit")).then(SubscriptionOrderFailed)
    late = OrderConfirmed(subscription_id="sub-2", reference="A-2")
    await reported(service, late).then_refused("order-failed")
