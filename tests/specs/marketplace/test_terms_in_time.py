"""What time does to a running subscription and to prices. Given what the log holds, when a timer fires, then facts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.marketplace.domain.auto_renew import DisableAutoRenew, RecordPoolCleared, RecordPoolHeld, Running
from services.marketplace.domain.plan import PLAN, AnnouncePrice, ListPlan, WithdrawPlan, plan_key
from services.marketplace.domain.subscription import SUBSCRIPTION
from tests.examples.marketplace import AUTOCAD_MONTHLY, AUTODESK, NOON, PURCHASER, euros
from tests.examples.subscription import CONFIRM, HELD
from tests.specs.marketplace.test_timers import System, ordered

OVER = datetime(2027, 11, 22, 23, tzinfo=UTC)
"""Midnight in Berlin, after the term's last day."""
NEXT_OVER = datetime(2028, 11, 22, 23, tzinfo=UTC)
KEY = plan_key(AUTODESK, AUTOCAD_MONTHLY.product_id)
DAY = timedelta(days=1)


async def running() -> System:
    system = await ordered()
    await system.given(SUBSCRIPTION, "sub-1", CONFIRM)
    return system


async def listed(system: System) -> System:
    await system.given(PLAN, KEY, ListPlan(AUTOCAD_MONTHLY, AUTODESK, NOON))
    return system


async def announced(system: System, amount: int, day: date) -> None:
    said = AnnouncePrice(
        product_id=AUTOCAD_MONTHLY.product_id,
        publisher=AUTODESK,
        price=euros(amount),
        valid_from=day,
        said_by=AUTODESK,
        said_at=NOON,
    )
    await system.given(PLAN, KEY, said)


async def ask(system: System, now: datetime = NOON) -> str:
    """Asks for auto-renew off; the id of the question."""
    await system.given(SUBSCRIPTION, "sub-1", DisableAutoRenew(PURCHASER, now))
    state: Any = await system.log.state(SUBSCRIPTION, "sub-1")
    question: str = state.asked.ref
    return question


async def test_a_term_sets_its_reminders_and_its_end_in_the_customers_time_zone() -> None:
    system = await running()
    assert system.table.due == {
        "remind:90": datetime(2027, 8, 23, 22, tzinfo=UTC),
        "remind:60": datetime(2027, 9, 22, 22, tzinfo=UTC),
        "remind:30": datetime(2027, 10, 22, 22, tzinfo=UTC),
        "close-term": OVER,
    }
    for days in (90, 60, 30):
        due = system.table.due[f"remind:{days}"]
        assert await system.when(f"remind:{days}", due) == ["RenewalReminded"]
        assert await system.when(f"remind:{days}", due) == [], "once"


async def test_reminders_that_come_together_say_each_what_is_theirs_once() -> None:
    system = await running()
    assert await system.when("remind:90", OVER - DAY) == ["RenewalReminded"] * 3
    assert await system.when("remind:60", OVER - DAY) == await system.when("remind:30", OVER - DAY) == []


async def test_each_term_sets_the_next_ones_end() -> None:
    system = await running()
    assert await system.when("close-term", OVER - timedelta(microseconds=1)) == []
    assert await system.when("close-term", OVER) == ["SubscriptionRenewed"]
    assert system.table.due["close-term"] == NEXT_OVER
    assert system.table.due["remind:90"] == datetime(2028, 8, 23, 22, tzinfo=UTC)
    assert await system.when("close-term", OVER) == [], "the second term is not over"


async def test_once_it_is_off_the_term_closes_it_and_nothing_reminds() -> None:
    system = await running()
    await system.given(SUBSCRIPTION, "sub-1", RecordPoolCleared(await ask(system)))
    assert "ask-again" not in system.table.due
    assert await system.when("settle", NOON) == await system.when("remind:90", OVER - DAY) == []
    assert await system.when("close-term", OVER) == ["SubscriptionEnded"]
    assert not system.table.due.keys() & {"close-term", "ask-again", "settle"}


@pytest.mark.parametrize(
    ("cleared", "then"), [(True, ["SubscriptionEnded"]), (False, ["SubscriptionRenewed"])], ids=["cleared", "held"]
)
async def test_a_term_whose_end_waited_for_an_answer_is_closed_with_it(cleared: bool, then: list[str]) -> None:
    system = await running()
    question = await ask(system, OVER - 20 * DAY)
    assert await system.when("close-term", OVER) == ["AutoRenewDisableRequested"], "asked in time, not answered yet"
    state: Any = await system.log.state(SUBSCRIPTION, "sub-1")
    assert state.asked.ref != question
    answer = RecordPoolCleared(state.asked.ref) if cleared else RecordPoolHeld(state.asked.ref, HELD)
    await system.given(SUBSCRIPTION, "sub-1", answer)
    assert system.table.due["settle"] == NOON, "at once"
    assert await system.when("settle", OVER + DAY) == then


async def test_timers_of_what_is_not_there_bring_nothing() -> None:
    for timer in ("remind:90", "ask-again", "close-term", "settle"):
        assert await (await ordered()).when(timer, OVER) == [], "it awaits the publisher"


async def test_an_announced_price_is_the_catalogues_from_its_first_day_in_utc() -> None:
    system = await listed(System())
    await announced(system, 250_000, date(2027, 3, 1))
    assert system.table.due == {"new-price:2027-03-01": datetime(2027, 3, 1, tzinfo=UTC)}
    before = datetime(2027, 2, 28, 23, 59, tzinfo=UTC)
    assert await system.when("new-price:2027-03-01", before, KEY) == []
    assert await system.when("new-price:2027-03-01", before + timedelta(minutes=1), KEY) == ["PlanListed"]


@pytest.mark.parametrize(
    ("day", "price"), [(date(2027, 11, 23), 250_000), (date(2027, 11, 24), 240_001)], ids=["first day", "day after"]
)
async def test_a_renewal_costs_the_price_of_its_first_day(day: date, price: int) -> None:
    system = await listed(await running())
    await announced(system, 250_000, day)
    assert await system.when("close-term", OVER) == ["SubscriptionRenewed"]
    state = await system.log.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running) and state.term.plan.price == euros(price)
    assert sum(part.amount.amount for part in state.term.instalments) == 3 * price


async def test_a_withdrawn_plan_renews_at_the_price_it_had() -> None:
    system = await listed(await running())
    await system.given(PLAN, KEY, WithdrawPlan(AUTOCAD_MONTHLY.product_id, AUTODESK, AUTODESK, NOON))
    assert await system.when("close-term", OVER) == ["SubscriptionRenewed"]
    state = await system.log.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running) and state.term.plan.price == AUTOCAD_MONTHLY.price
