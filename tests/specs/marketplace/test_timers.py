"""What marketplace does when time has come. Given what its log holds, when a timer fires, then the command's events."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.marketplace.domain.auto_renew import Running
from services.marketplace.domain.plan import PLAN, AnnouncePrice, ListPlan, plan_key
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import SUBSCRIPTION
from shared.events import AutoRenewDisableRequested, PlanListed, SubscriptionOrdered, SubscriptionRenewed
from shared.runtime.policies import BY_KIND, Policies, policies_of
from tests.examples.marketplace import AUTOCAD_MONTHLY, AUTODESK, NOON, euros
from tests.examples.marketplace_service import asked, ordered
from tests.examples.subscription import CONFIRM, DECLINE

HOUR = timedelta(hours=1)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Autodesk is waited for longer than others."""
    own = "publisher.autodesk = {ask_again_after = 7200, order_again_after = 14400}\n"
    (tmp_path / "marketplace.toml").write_text(own)
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    monkeypatch.setitem(BY_KIND, Policy, Policies("marketplace", Policy, policies_of(Policy).file))


async def test_an_order_that_is_left_open_is_sent_again_every_hour() -> None:
    service = await ordered()
    assert service.due == {"order-again": NOON + HOUR}
    await service.when_due("order-again", "sub-1", NOON + HOUR).then(SubscriptionOrdered)
    assert service.due == {"order-again": NOON + 2 * HOUR}
    await service.when_due("order-again", "sub-1", NOON + 2 * HOUR).then(SubscriptionOrdered)
    await service.when_due(
        "order-again", "sub-1", datetime(2026, 11, 24, tzinfo=UTC)
    ).then_nothing()  # its start is over


@pytest.mark.parametrize("answer", [CONFIRM, DECLINE])
async def test_an_order_that_was_answered_is_left_alone(answer: Any) -> None:
    service = await ordered()
    await service.given(SUBSCRIPTION, "sub-1", answer)
    assert "order-again" not in service.due
    await service.when_due("order-again", "sub-1", NOON + HOUR).then_nothing()


async def test_the_seat_pool_is_asked_again_after_ten_minutes() -> None:
    service = await asked()
    assert service.due["ask-again"] == NOON + HOUR / 6
    await service.when_due("ask-again", "sub-1", NOON + HOUR / 6).then(AutoRenewDisableRequested)


LAST_DAY = date(2027, 11, 22)


async def test_a_late_renewal_costs_what_its_first_day_cost() -> None:
    service = await ordered()
    await service.given(SUBSCRIPTION, "sub-1", CONFIRM)
    key = plan_key(AUTODESK, AUTOCAD_MONTHLY.product_id)
    await service.given(PLAN, key, ListPlan(AUTOCAD_MONTHLY, AUTODESK, NOON))
    for days, cents in ((1, 1_200), (3, 1)):
        first = LAST_DAY + timedelta(days=days)
        price = AnnouncePrice(
            product_id=AUTOCAD_MONTHLY.product_id,
            publisher=AUTODESK,
            price=euros(cents),
            valid_from=first,
            reported_by=AUTODESK,
            said_at=NOON,
        )
        await service.given(PLAN, key, price)
    late = datetime(2027, 11, 27, tzinfo=UTC)
    await service.when_due("new-price", key, late).then(PlanListed)
    await service.when_due("close-term", "sub-1", late).then(SubscriptionRenewed)
    state = await service.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running)
    assert state.term.plan.price == euros(1_200)


@pytest.mark.usefixtures("slow")
async def test_a_publisher_may_set_other_waits() -> None:
    service = await ordered()
    assert service.due == {"order-again": NOON + 4 * HOUR}
    await service.when_due("order-again", "sub-1", NOON + HOUR).then_nothing()
    service = await asked()
    assert service.due["ask-again"] == NOON + 2 * HOUR
    await service.when_due("ask-again", "sub-1", NOON + HOUR).then_nothing()
    await service.when_due("ask-again", "sub-1", NOON + 2 * HOUR).then(AutoRenewDisableRequested)
