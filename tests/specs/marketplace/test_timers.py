"""What marketplace does when time has come. Given what its log holds, when a timer fires, then the command's events."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.marketplace import timers
from services.marketplace.domain.auto_renew import DisableAutoRenew, Running
from services.marketplace.domain.order import Order
from services.marketplace.domain.plan import PLAN, AnnouncePrice, ListPlan, plan_key
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import SUBSCRIPTION
from services.marketplace.policies import POLICIES
from services.marketplace.timers import TIMERS
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.events.envelope import Envelope
from shared.runtime.policies import Policies
from tests.examples.marketplace import AUTOCAD_MONTHLY, AUTODESK, NOON, PURCHASER, euros
from tests.examples.subscription import CART, CONFIRM, DECLINE

HOUR = timedelta(hours=1)


class Table:
    """Takes the statements of `engine.timers` for a dictionary of what is set: (name, key) and when."""

    def __init__(self) -> None:
        self.due: dict[str, datetime] = {}

    async def execute(self, sql: str, name: str, _key: str, *rest: Any) -> None:
        if sql.startswith("delete"):
            self.due.pop(name, None)
        else:
            self.due[name] = rest[0]


class System:
    """marketplace's log and timers, without a database."""

    def __init__(self) -> None:
        self.log, self.table = Log(MemoryStore(), "marketplace"), Table()
        self.commands = 0

    async def given(self, stream: Stream[Any, Any, Any], key: str, command: Any) -> list[str]:
        self.commands += 1
        answer = await self.log.execute(stream, key, command, Meta(f"c-{self.commands}", "somebody", NOON))
        assert isinstance(answer, Accepted), answer
        for recorded in answer.events:
            envelope = Envelope(recorded.id, "urn:tenure:marketplace", recorded.event.type(), answer.stream, NOON)
            if envelope.type in TIMERS.projection.types:
                await TIMERS.projection.apply(self.table, recorded.event, envelope)
        return [recorded.event.type() for recorded in answer.events]

    async def when(self, timer: str, now: datetime, key: str = "sub-1") -> list[str]:
        reach = ReactionContext(db=None, log=self.log, now=now, clocks=Clocks(lambda: now))
        stream, command = await TIMERS.command(timer, key, now, reach)
        return await self.given(stream, key, command)


async def ordered() -> System:
    system = System()
    await system.given(SUBSCRIPTION, "sub-1", Order(CART, 0, NOON))
    return system


async def asked() -> System:
    system = await ordered()
    await system.given(SUBSCRIPTION, "sub-1", CONFIRM)
    await system.given(SUBSCRIPTION, "sub-1", DisableAutoRenew(PURCHASER, NOON))
    return system


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Autodesk is waited for longer than others."""
    own = "publisher.autodesk = {ask_again_after = 7200, order_again_after = 14400}\n"
    (tmp_path / "marketplace.toml").write_text(own)
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    monkeypatch.setattr(timers, "policy_of", Policies("marketplace", Policy, POLICIES.file).of)


async def test_an_order_that_is_left_open_is_sent_again_every_hour() -> None:
    system = await ordered()
    assert system.table.due == {"order-again": NOON + HOUR}
    assert await system.when("order-again", NOON + HOUR) == ["SubscriptionOrdered"]
    assert system.table.due == {"order-again": NOON + 2 * HOUR}
    assert await system.when("order-again", NOON + 2 * HOUR) == ["SubscriptionOrdered"]
    assert await system.when("order-again", datetime(2026, 11, 24, tzinfo=UTC)) == [], "its start is over"


@pytest.mark.parametrize("answer", [CONFIRM, DECLINE])
async def test_an_order_that_was_answered_is_left_alone(answer: Any) -> None:
    system = await ordered()
    await system.given(SUBSCRIPTION, "sub-1", answer)
    assert "order-again" not in system.table.due
    assert await system.when("order-again", NOON + HOUR) == []


async def test_the_seat_pool_is_asked_again_after_ten_minutes() -> None:
    system = await asked()
    assert system.table.due["ask-again"] == NOON + HOUR / 6
    assert await system.when("ask-again", NOON + HOUR / 6) == ["AutoRenewDisableRequested"]


LAST_DAY = date(2027, 11, 22)


async def test_a_late_renewal_costs_what_its_first_day_cost() -> None:
    system = await ordered()
    await system.given(SUBSCRIPTION, "sub-1", CONFIRM)
    key = plan_key(AUTODESK, AUTOCAD_MONTHLY.product_id)
    await system.given(PLAN, key, ListPlan(AUTOCAD_MONTHLY, AUTODESK, NOON))
    for days, cents in ((1, 1_200), (3, 1)):
        first = LAST_DAY + timedelta(days=days)
        price = AnnouncePrice(
            product_id=AUTOCAD_MONTHLY.product_id,
            publisher=AUTODESK,
            price=euros(cents),
            valid_from=first,
            said_by=AUTODESK,
            said_at=NOON,
        )
        await system.given(PLAN, key, price)
    late = datetime(2027, 11, 27, tzinfo=UTC)
    assert await system.when("new-price", late, key) == ["PlanListed"]
    assert await system.when("close-term", late) == ["SubscriptionRenewed"]
    state = await system.log.state(SUBSCRIPTION, "sub-1")
    assert isinstance(state, Running)
    assert state.term.plan.price == euros(1_200)


@pytest.mark.usefixtures("slow")
async def test_a_publisher_may_set_other_waits() -> None:
    system = await ordered()
    assert system.table.due == {"order-again": NOON + 4 * HOUR}
    assert await system.when("order-again", NOON + HOUR) == []
    system = await asked()
    assert system.table.due["ask-again"] == NOON + 2 * HOUR
    assert await system.when("ask-again", NOON + HOUR) == []
    assert await system.when("ask-again", NOON + 2 * HOUR) == ["AutoRenewDisableRequested"]
