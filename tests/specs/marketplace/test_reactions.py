"""What other systems' events make marketplace do. Given what its log holds, when an event comes, then commands."""

from datetime import UTC, date, datetime

from services.marketplace.domain.auto_renew import Running
from services.marketplace.domain.order import Order
from services.marketplace.domain.subscription import SUBSCRIPTION
from services.marketplace.reactions import PROCESS, PUBLISHER
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.projection import ReactionContext, Reactions
from shared.eventlog.write.log import Accepted, Log, Meta, Refused
from shared.eventlog.write.memory import MemoryStore
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
)
from shared.events.envelope import Envelope
from tests.examples.marketplace import AUTOCAD, AUTODESK, CSN, NOON, PARTNER, plan
from tests.examples.subscription import CART, HELD


def new_log() -> Log:
    return Log(MemoryStore(), "marketplace")


async def when(
    event: Event, *, given: Log, by: Reactions = PUBLISHER, source: str = "urn:publisher:autodesk"
) -> list[Accepted | Refused]:
    """The answers to what the event makes marketplace do."""
    envelope = Envelope("event-1", source, event.type(), "x", NOON)
    reach = ReactionContext(db=None, log=given, now=NOON, clocks=Clocks(lambda: NOON))
    commands = await by.react(event, envelope, reach)
    return [
        await given.execute(do.stream, do.key, do.command, Meta(f"{event.type()}:{n}", "publisher", NOON))
        for n, do in enumerate(commands)
    ]


def events(answers: list[Accepted | Refused]) -> list[tuple[str, Event]]:
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    return [(a.stream, r.event) for a in answers if isinstance(a, Accepted) for r in a.events]


async def ordered() -> Log:
    log = new_log()
    assert len(events(await when(CART, given=log, by=PROCESS, source="urn:tenure:marketplace"))) == 2
    return log


async def test_a_publishers_words_are_recorded_on_our_own_streams_with_its_time() -> None:
    listed = PlanListed(plan=plan("C1RK1-WW1762-L158"))
    log = new_log()
    assert events(await when(listed, given=log)) == [
        ("plan-autodesk-C1RK1WW1762L158", PlanListed(plan=AUTOCAD, said_at=NOON))
    ]
    issued = CsnIssued(csn=CSN.csn, organisation_id=PARTNER, publisher=AUTODESK)
    assert events(await when(issued, given=log)) == [("partner-partner-1", CSN)]
    revoked = CsnRevoked(csn=CSN.csn, organisation_id=PARTNER, publisher=AUTODESK, reason="r")
    assert [stream for stream, _ in events(await when(revoked, given=log))] == ["partner-partner-1"]
    withdrawn = PlanWithdrawn(product_id="c1rk1-ww1762-l158", publisher=AUTODESK)
    assert [stream for stream, _ in events(await when(withdrawn, given=log))] == ["plan-autodesk-C1RK1WW1762L158"]


async def test_a_source_that_is_not_that_publishers_system_is_refused() -> None:
    issued = CsnIssued(csn=CSN.csn, organisation_id=PARTNER, publisher=AUTODESK)
    for source in ("urn:publisher:acme", "autodesk", "urn:publisher:autodesk "):
        (answer,) = await when(issued, given=new_log(), source=source)
        assert isinstance(answer, Refused)
        assert answer.rule == "foreign-publisher"


async def test_each_line_of_a_cart_is_ordered_in_sequence() -> None:
    reach = ReactionContext(None, new_log(), NOON, Clocks(lambda: NOON))
    commands = await PROCESS.react(CART, Envelope("e", "s", CART.type(), "cart-1", NOON), reach)
    assert [(do.key, do.command) for do in commands] == [
        ("sub-1", Order(CART, 0, NOON)),
        ("sub-2", Order(CART, 1, NOON)),
    ]


async def test_the_publishers_yes_starts_the_term_by_the_customers_calendar() -> None:
    log = await ordered()
    await when(OrderConfirmed(subscription_id="sub-1", reference="A-1"), given=log)
    state = await log.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running)
    assert state.term.cancel_by.calendar == "DE"
    assert state.term.cancel_by.time_zone == "Europe/Berlin"
    assert state.term.cancel_by.last_day == date(2027, 11, 15)
    assert state.term.cancel_by.deadline == datetime(2027, 11, 15, 23, tzinfo=UTC)


async def test_an_answer_for_an_unknown_order_is_a_kept_refusal() -> None:
    for answer in (
        OrderConfirmed(subscription_id="nobody's", reference="A-1"),
        OrderDeclined(subscription_id="nobody's", reason="no"),
    ):
        (refusal,) = await when(answer, given=new_log())
        assert isinstance(refusal, Refused)
        assert refusal.rule == "subscription-unknown"


async def test_the_pools_answers_reach_the_subscription_that_asked() -> None:
    log = await ordered()
    await when(OrderConfirmed(subscription_id="sub-1", reference="A-1"), given=log)
    cleared = SeatPoolCleared(subscription_id="sub-1", request="nobody-asked")
    assert events(await when(cleared, given=log, by=PROCESS, source="urn:tenure:entitlements")) == []
    held = SeatPoolHeld(subscription_id="sub-1", request="nobody-asked", held=HELD)
    assert events(await when(held, given=log, by=PROCESS, source="urn:tenure:entitlements")) == []


async def test_the_publishers_no_names_its_reason() -> None:
    log = await ordered()
    ((stream, failed),) = events(await when(OrderDeclined(subscription_id="sub-2", reason="no credit"), given=log))
    assert stream == "subscription-sub-2"
    assert failed.type() == "SubscriptionOrderFailed"
    late = OrderConfirmed(subscription_id="sub-2", reference="A-2")
    (refusal,) = await when(late, given=log)
    assert isinstance(refusal, Refused)
    assert refusal.rule == "order-failed"
