"""marketplace with its clients, and what others say to it."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import httpx

from services.marketplace.__main__ import SERVICE
from shared.eventlog.write.postgres import PostgresStore
from shared.events import (
    AccountOpened,
    ClockMoved,
    CsnIssued,
    CsnRevoked,
    Event,
    OrderConfirmed,
    PeopleAdministratorNamed,
    PlanListed,
    PlanWithdrawn,
)
from shared.organisations import organisation_of
from shared.runtime.auth import Actor, TokenSigner
from shared.runtime.http import make_app
from tests.contracts.golden import sample
from tests.examples.engine import new_id
from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY, LT, LT_THREE_YEARS, NOON, VAULT, plan
from tests.services.counters import KEY, parts
from tests.services.world import World
from tests.spec import sends

FOUNDER = "7b1f8b0e-4b53-4b0e-9b61-0e3f3f0a8a55"
ACTORS = {
    "clerk": Actor(account_id="clerk", organisation_id="reseller", organisation_kind="partner"),
    "rival": Actor(account_id="rival", organisation_id="other-reseller", organisation_kind="partner"),
    "mina": Actor(account_id="mina", organisation_id="org", organisation_kind="customer"),  # the purchaser
    "ana": Actor(account_id="ana", organisation_id="org", organisation_kind="customer"),
    "founder": Actor(account_id=FOUNDER, organisation_id=organisation_of(FOUNDER), organisation_kind="customer"),
    "publisher": Actor(
        account_id="paula", organisation_id="publisher", organisation_kind="publisher", publisher="autodesk"
    ),
    "other publisher": Actor(
        account_id="otto", organisation_id="other-publisher", organisation_kind="publisher", publisher="other"
    ),
    "stranger": Actor(account_id="stranger", organisation_id="x", organisation_kind="customer"),
}
GONE = plan("AAAAAWW0001A001", "gone")
ORDER = {"customer": "org", "purchaser": "mina", "starts": "2026-11-23"}


def csn(kind: type[CsnIssued] | type[CsnRevoked] = CsnIssued) -> CsnIssued | CsnRevoked:
    return kind(csn="5100012345", organisation_id="reseller", publisher="autodesk")


def euros(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


class Market:
    """The service, what others say to it, and its clients."""

    def __init__(self, world: World) -> None:
        self.world, self.chance = world, random.Random(7)
        self.parts = made = parts()
        made.opened_log, made.opened_db, made.clocks = world.log, world.pool, world.clocks
        transport = httpx.ASGITransport(make_app(made, SERVICE.commands, SERVICE.queries, api=True))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")

    @sends
    async def when(self, who: str, method: str, path: str, json: Any = None, **more: str) -> httpx.Response:
        """Let this person send a request; what follows from it has happened once it is answered."""
        headers = {"Authorization": f"Bearer {TokenSigner(KEY).sign(ACTORS[who], new_id())}"}
        answer = await self.client.request(method, path, json=json, headers=headers | more)
        await self.settle()
        return answer

    async def settle(self) -> None:
        await self.world.settle(self.chance)

    async def hears(self, service: str, stream: str, *events: Event) -> None:
        for event in events:
            self.world.say(service, stream, event)
        await self.settle()

    async def publisher(self, *events: Event) -> None:
        await self.hears("publisher:autodesk", "said", *events)

    async def pool(self, subscription: str, *events: Event) -> None:
        await self.hears("entitlements", f"pool-{subscription}", *events)

    async def clock(self, to: datetime) -> None:
        ahead = int((to - NOON).total_seconds())
        moved = ClockMoved(organisation_id="org", ahead_s=ahead, moved_by="mina")
        await self.hears("identity", "clock-org", moved)

    async def cart(self, *lines: tuple[str, int]) -> str:
        cart: str = (await self.when("clerk", "POST", "/carts").then_ok())["events"][0]["data"]["cart_id"]
        for product_id, seats in lines:
            await self.when(
                "clerk", "POST", f"/carts/{cart}/lines", {"product_id": product_id, "seats": seats}
            ).then_ok()
        return cart

    async def ordered(self, product_id: str = AUTOCAD_MONTHLY.product_id, seats: int = 3) -> str:
        cart = await self.cart((product_id, seats))
        done = await self.when("clerk", "POST", f"/carts/{cart}/checkout", ORDER).then_ok()
        subscription: str = done["events"][0]["data"]["lines"][0]["subscription_id"]
        return subscription

    async def running(self, product_id: str = AUTOCAD_MONTHLY.product_id) -> str:
        subscription = await self.ordered(product_id)
        await self.publisher(OrderConfirmed(subscription_id=subscription, reference="A-1"))
        return subscription

    async def asked(self, subscription: str) -> str:
        """Asks for auto-renew off; the id of the question."""
        answer = await self.when("clerk", "POST", f"/subscriptions/{subscription}/disable-auto-renew", {}).then_ok()
        question: str = answer["events"][0]["id"]
        return question

    async def preview(self, subscription: str, who: str = "clerk") -> Any:
        return await self.when(who, "GET", f"/subscriptions/{subscription}/cancel-preview").then_ok()


@asynccontextmanager
async def a_market(dsn: str) -> AsyncIterator[Market]:
    """A partner, a customer's purchaser who has engaged it, and a catalogue."""
    store = await PostgresStore(dsn, "marketplace").open()
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
    made = Market(World(SERVICE, pool, store, NOON))
    for account, organisation, kind, country, zone in (
        ("mina", "org", "customer", "DE", "Europe/Berlin"),
        ("clerk", "reseller", "partner", "DE", "Europe/Berlin"),
        ("rival", "other-reseller", "partner", "DE", "Europe/Berlin"),
    ):
        where = {"organisation_id": organisation, "organisation_kind": kind, "country": country, "time_zone": zone}
        named = {"account_id": account, "organisation_name": f"{organisation} Ltd"}
        opened = sample(AccountOpened).model_copy(update=where | named)
        made.world.say("identity", f"account-{account}", opened)
    plans = (AUTOCAD, AUTOCAD_MONTHLY, LT, LT_THREE_YEARS, VAULT, GONE)
    await made.publisher(*(PlanListed(plan=each) for each in plans))
    await made.publisher(PlanWithdrawn(product_id=GONE.product_id, publisher="autodesk"))
    administrator = PeopleAdministratorNamed(account_id="mina", organisation_id="org", named_by="founder")
    await made.hears("identity", "account-mina", administrator)
    await made.when("mina", "PUT", "/partners/reseller").then_ok()
    yield made
    await made.client.aclose()
    await store.close()
    pool.terminate()
