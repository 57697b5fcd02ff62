"""What a plan costs in a cart: the price of the day of whom it is ordered for."""

from datetime import date, timedelta
from typing import Any
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest
from starlette.datastructures import State

from services.marketplace import api
from services.marketplace.domain.cart import CART, OpenCart
from services.marketplace.domain.checkout import CheckOut
from services.marketplace.domain.engagement import ENGAGEMENT, EngagePartner, engagement_key
from services.marketplace.domain.plan import PLAN, AnnouncePrice, ListPlan, plan_key
from services.marketplace.domain.plan_choice import AddToCart
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.write.log import Accepted, Log, Meta, Refused
from shared.eventlog.write.memory import MemoryStore
from shared.events import CartCheckedOut, CartLineAdded
from shared.runtime.auth import Actor
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.routes import RequestContext
from shared.runtime.settings import Settings
from tests.examples.marketplace import (
    AUTOCAD,
    AUTOCAD_ID,
    AUTODESK,
    CLERK,
    CUSTOMER,
    NOON,
    PARTNER,
    PURCHASER,
    PURCHASERS_ACCOUNT,
    TODAY,
    euros,
    listed,
)

JANUARY = date(2027, 1, 1)
BY_ID, BY_WIZARD = {"product_id": AUTOCAD_ID}, {"product": "autocad"}


class Shop:
    """marketplace's doors over a log in memory. The customer's time is 40 days ahead, past a new price's first day."""

    def __init__(self, ahead: int = 40) -> None:
        self.log = Log(MemoryStore(), "marketplace")
        self.clocks = Clocks(lambda: NOON, {CUSTOMER: ahead * 86_400})

    async def begin(self) -> "Shop":
        key = plan_key(AUTODESK, AUTOCAD_ID)
        await self.log.execute(PLAN, key, ListPlan(AUTOCAD, AUTODESK, NOON), Meta("1", "p", NOON))
        price = AnnouncePrice(
            product_id=AUTOCAD_ID,
            publisher=AUTODESK,
            price=euros(300),
            valid_from=JANUARY,
            reported_by=AUTODESK,
            said_at=NOON,
        )
        await self.log.execute(PLAN, key, price, Meta("2", "p", NOON))
        engage = EngagePartner(partner=PARTNER, customer=CUSTOMER, engaged_by=PURCHASER, is_partner=True)
        await self.log.execute(ENGAGEMENT, engagement_key(CUSTOMER, PARTNER), engage, Meta("3", PURCHASER, NOON))
        await self.log.execute(CART, "cart-1", OpenCart("cart-1", PARTNER, CLERK), Meta("4", CLERK, NOON))
        return self

    async def send(self, command: type[Any], **form: Any) -> Any:
        """The event of an accepted command, or the refusal."""
        route = next(each for each in api.COMMANDS.routes if each.command is command)
        parts = Parts(
            service="marketplace",
            settings=Settings(),
            metrics=Metrics("test"),
            verifier=AsyncMock(),
            new_id=lambda: str(uuid4()),
        )
        parts.clocks, parts.opened_log, parts.opened_db = self.clocks, self.log, AsyncMock()
        command_id = str(uuid4())
        context = RequestContext(
            asked=route.form(**form),
            actor=Actor(account_id=CLERK, organisation_id=PARTNER, organisation_kind="partner"),
            now=self.clocks.time_of(PARTNER),
            command_id=command_id,
            dry_run=False,
            streams=self.log.reader(),
            parts=parts,
            app=State(),
        )
        meta = Meta(command_id, CLERK, NOON)
        answer, _ = await route.decide(context, {"cart_id": "cart-1"}, lambda _: meta, {})
        return answer if isinstance(answer, Refused) else _only(answer)

    async def add(self, **form: Any) -> int:
        added = await self.send(AddToCart, seats=1, **form)
        assert isinstance(added, CartLineAdded)
        return added.line.plan.price.amount

    async def check_out(self, starts: date) -> Any:
        return await self.send(CheckOut, customer=CUSTOMER, purchaser=PURCHASER, starts=starts)


def _only(answer: Accepted) -> Any:
    (recorded,) = answer.events
    return recorded.event


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the doors look up in tables."""
    monkeypatch.setattr(api, "publishers_of", AsyncMock(return_value=[AUTODESK]))
    monkeypatch.setattr(api, "offers_for", AsyncMock(return_value=listed(AUTOCAD)))
    monkeypatch.setattr(api, "ordered_before", AsyncMock(return_value=False))
    monkeypatch.setattr(api, "account", AsyncMock(return_value=PURCHASERS_ACCOUNT))


@pytest.mark.parametrize("chosen", [BY_ID, BY_WIZARD])
async def test_a_line_has_the_price_of_the_day(chosen: dict[str, str]) -> None:
    shop = await Shop().begin()
    assert await shop.add(**chosen) == AUTOCAD.price.amount, "it is November for the partner"
    assert await shop.add(**chosen, customer=CUSTOMER) == 300, "and January for the customer"


async def test_what_is_ordered_has_the_price_of_the_customers_day() -> None:
    shop = await Shop().begin()
    await shop.add(**BY_ID)
    refusal = await shop.check_out(TODAY + timedelta(days=40))
    assert (refusal.rule, "3.00 EUR" in refusal.reason) == ("plan-changed", True)
    await shop.add(**BY_ID, customer=CUSTOMER)
    order = await shop.check_out(TODAY + timedelta(days=40))
    assert isinstance(order, CartCheckedOut)
    assert order.total == euros(300)


async def test_before_a_prices_first_day_the_earlier_one_is_ordered() -> None:
    shop = await Shop(ahead=0).begin()
    await shop.add(**BY_ID)
    order = await shop.check_out(TODAY)
    assert isinstance(order, CartCheckedOut)
    assert order.total == AUTOCAD.price
