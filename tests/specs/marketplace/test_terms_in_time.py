"""What time does to a running subscription and to prices. Given what the log holds, when a timer fires, then facts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.marketplace.domain.auto_renew import DisableAutoRenew, RecordPoolCleared, RecordPoolHeld, Running
from services.marketplace.domain.plan import PLAN, AnnouncePrice, ListPlan, WithdrawPlan, plan_key
from services.marketplace.domain.subscription import SUBSCRIPTION
from shared.events import (
    AutoRenewDisableRequested,
    Event,
    PlanListed,
    RenewalReminded,
    SubscriptionEnded,
    SubscriptionRenewed,
)
from tests.examples.marketplace import AUTOCAD_MONTHLY, AUTODESK, NOON, PURCHASER, euros
from tests.examples.marketplace_service import marketplace, ordered, running
from tests.examples.subscription import HELD
from tests.spec import Service

OVER = datetime(2027, 11, 22, 23, tzinfo=UTC)
"""Midnight in Berlin, after the term's last day."""
NEXT_OVER = datetime(2028, 11, 22, 23, tzinfo=UTC)
KEY = plan_key(AUTODESK, AUTOCAD_MONTHLY.product_id)
DAY = timedelta(days=1)


async def listed(service: Service) -> Service:
    await service.given(PLAN, KEY, ListPlan(AUTOCAD_MONTHLY, AUTODESK, NOON))
    return service


async def announced(service: Service, amount: int, day: date) -> None:
    said = AnnouncePrice(
        product_id=AUTOCAD_MONTHLY.product_id,
        publisher=AUTODESK,
        price=euros(amount),
        valid_from=day,
        reported_by=AUTODESK,
        said_at=NOON,
    )
    await service.given(PLAN, KEY, said)


async def ask(service: Service, now: datetime = NOON) -> str:
    """Asks for auto-renew off; the id of the question."""
    await service.given(SUBSCRIPTION, "sub-1", DisableAutoRenew(PURCHASER, now))
    state: Any = await service.state(SUBSCRIPTION, "sub-1")
    question: str = state.asked.ref
    return question


async def test_a_term_sets_its_reminders_and_its_end_in_the_customers_time_zone() -> None:
    service = await running()
    assert service.due == {
        "remind:90": datetime(2027, 8, 23, 22, tzinfo=UTC),
        "remind:60": datetime(2027, 9, 22, 22, tzinfo=UTC),
        "remind:30": datetime(2027, 10, 22, 22, tzinfo=UTC),
        "close-term": OVER,
    }
    for days in (90, 60, 30):
        due = service.due[f"remind:{days}"]
        await service.when_due(f"remind:{days}", "sub-1", due).then(RenewalReminded)
        await service.when_due(f"remind:{days}", "sub-1", due).then_nothing()  # once


async def test_reminders_that_come_together_say_each_what_is_theirs_once() -> None:
    service = await running()
    await service.when_due("remind:90", "sub-1", OVER - DAY).then(RenewalReminded, RenewalReminded, RenewalReminded)
    for days in (60, 30):
        await service.when_due(f"remind:{days}", "sub-1", OVER - DAY).then_nothing()


async def test_each_term_sets_the_next_ones_end() -> None:
    service = await running()
    await service.when_due("close-term", "sub-1", OVER - timedelta(microseconds=1)).then_nothing()
    await service.when_due("close-term", "sub-1", OVER).then(SubscriptionRenewed)
    assert service.due["close-term"] == NEXT_OVER
    assert service.due["remind:90"] == datetime(2028, 8, 23, 22, tzinfo=UTC)
    await service.when_due("close-term", "sub-1", OVER).then_nothing()  # the second term is not over


async def test_once_it_is_off_the_term_closes_it_and_nothing_reminds() -> None:
    service = await running()
    await service.given(SUBSCRIPTION, "sub-1", RecordPoolCleared(await ask(service)))
    assert "ask-again" not in service.due
    await service.when_due("settle", "sub-1", NOON).then_nothing()
    await service.when_due("remind:90", "sub-1", OVER - DAY).then_nothing()
    await service.when_due("close-term", "sub-1", OVER).then(SubscriptionEnded)
    assert not service.due.keys() & {"close-term", "ask-again", "settle"}


@pytest.mark.parametrize(
    ("cleared", "then"), [(True, SubscriptionEnded), (False, SubscriptionRenewed)], ids=["cleared", "held"]
)
async def test_a_term_whose_end_waited_for_an_answer_is_closed_with_it(cleared: bool, then: type[Event]) -> None:
    service = await running()
    question = await ask(service, OVER - 20 * DAY)
    await service.when_due("close-term", "sub-1", OVER).then(
        AutoRenewDisableRequested
    )  # asked in time, not answered yet
    state: Any = await service.state(SUBSCRIPTION, "sub-1")
    assert state.asked.ref != question
    answer = RecordPoolCleared(state.asked.ref) if cleared else RecordPoolHeld(state.asked.ref, HELD)
    await service.given(SUBSCRIPTION, "sub-1", answer)
    assert service.due["settle"] == NOON, "at once"
    await service.when_due("settle", "sub-1", OVER + DAY).then(then)


async def test_timers_of_what_is_not_there_bring_nothing() -> None:
    for timer in ("remind:90", "ask-again", "close-term", "settle"):
        service = await ordered()  # it awaits the publisher
        await service.when_due(timer, "sub-1", OVER).then_nothing()


async def test_an_announced_price_is_the_catalogues_from_its_first_day_in_utc() -> None:
    service = await listed(marketplace())
    await announced(service, 250_000, date(2027, 3, 1))
    assert service.due == {"new-price:2027-03-01": datetime(2027, 3, 1, tzinfo=UTC)}
    before = datetime(2027, 2, 28, 23, 59, tzinfo=UTC)
    await service.when_due("new-price:2027-03-01", KEY, before).then_nothing()
    await service.when_due("new-price:2027-03-01", KEY, before + timedelta(minutes=1)).then(PlanListed)


@pytest.mark.parametrize(
    ("day", "price"), [(date(2027, 11, 23), 250_000), (date(2027, 11, 24), 240_001)], ids=["first day", "day after"]
)
async def test_a_renewal_costs_the_price_of_its_first_day(day: date, price: int) -> None:
    service = await listed(await running())
    await announced(service, 250_000, day)
    await service.when_due("close-term", "sub-1", OVER).then(SubscriptionRenewed)
    state = await service.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running) and state.term.plan.price == euros(price)
    assert sum(part.amount.amount for part in state.term.instalments) == 3 * price


async def test_a_withdrawn_plan_renews_at_the_price_it_had() -> None:
    service = await listed(await running())
    await service.given(PLAN, KEY, WithdrawPlan(AUTOCAD_MONTHLY.product_id, AUTODESK, AUTODESK, NOON))
    await service.when_due("close-term", "sub-1", OVER).then(SubscriptionRenewed)
    state = await service.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running) and state.term.plan.price == AUTOCAD_MONTHLY.price
