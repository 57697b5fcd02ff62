"""entitlements whole, but for HTTP's and Kafka's wires: its consumers over a real database, and its doors."""

import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx

from services.entitlements.__main__ import SERVICE
from services.entitlements.timers import TIMERS
from shared.eventlog.clocks import CLOCKS, Clocks
from shared.eventlog.consumer import Consumer, Fault
from shared.eventlog.log import Log
from shared.eventlog.plan import Raw, Received
from shared.eventlog.postgres import PostgresStore
from shared.eventlog.timers import TimerService
from shared.events import (
    AccountOpened,
    AgreementStarted,
    ClockMoved,
    ContractOpened,
    CsnIssued,
    Event,
    RoleAssigned,
    SubscriptionConfirmed,
    SubscriptionRenewed,
)
from shared.events.envelope import Envelope
from shared.events.registry import topic_of
from shared.events.upcasts import decode
from shared.runtime.auth import Actor, TokenSigner
from shared.runtime.http import make_app
from tests.contracts.golden import sample
from tests.engine.examples import new_id
from tests.services.test_doors import KEY, parts

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ENDS = date(2027, 11, 20)


class World:
    """The service's consumers, and what has been said on the topics: each of them hears each stream in its order."""

    def __init__(self, pool: Any, store: PostgresStore) -> None:
        self.pool, self.store, self.log = pool, store, Log(store, "entitlements")
        self.clocks = Clocks(lambda: NOON)
        self.timers = TimerService("entitlements", TIMERS, pool, self.log, self.clocks)
        whats = (*SERVICE.consumers, TIMERS.projection, CLOCKS)
        self.consumers = [Consumer("entitlements", what, pool, self.log, self.clocks) for what in whats]
        self.said: dict[str, list[tuple[Envelope, Event]]] = {}
        self.heard: dict[tuple[str, str], int] = {}
        self.own = 0

    def say(self, service: str, stream: str, event: Event) -> None:
        version = len(self.said.setdefault(stream, [])) + 1
        of = Envelope(new_id(), f"urn:tenure:{service}", event.type(), stream, NOON, 1, version)
        self.said[stream].append((of, event))

    def of(self, stream: str, event_type: str) -> str:
        """The id of the stream's last event of this type, among those relayed."""
        return next(of.id for of, event in reversed(self.said[stream]) if event.type() == event_type)

    async def relay(self) -> None:
        for stored in await self.store.read(self.own, 1000):
            self.said.setdefault(stored.of.stream, []).append((stored.of, decode(stored.of, stored.data)))
            self.own = stored.of.position or 0

    async def next(self) -> list[tuple[Consumer, str]]:
        """What could be heard next, by whom."""
        await self.relay()
        return [
            (consumer, stream)
            for consumer in self.consumers
            for stream, events in self.said.items()
            if self.heard.get((consumer.name, stream), 0) < len(events)
            and events[0][0].source.removeprefix("urn:tenure:") in {t.split(".")[0] for t in consumer.what.topics}
        ]

    async def hear(self, consumer: Consumer, stream: str) -> bool:
        number = self.heard.get((consumer.name, stream), 0)
        of, event = self.said[stream][number]
        topic, partition = topic_of(of.source.removeprefix("urn:tenure:")), zlib.crc32(stream.encode()) >> 1
        if number == 0:
            await consumer.assigned([(topic, partition)])
        raw = Raw(topic, partition, number, stream.encode(), (), b"")
        try:
            done = await consumer.consume([Received(raw, of, event if of.type in consumer.what.types else None)])
        except Fault:
            return False
        assert not done.left, done.left
        self.heard[(consumer.name, stream)] = number + 1
        return True

    async def settle(self, chance: random.Random) -> None:
        while True:
            while following := await self.next():
                await self.hear(*chance.choice(following))
            await self.clocks.look(self.pool)
            if not await self.timers.fire():
                return


@asynccontextmanager
async def a_world(database: str) -> AsyncIterator[World]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    yield World(pool, store)
    await store.close()
    pool.terminate()


def confirmed(subscription: str, customer: str, partner: str, seats: int = 2, **plan: Any) -> SubscriptionConfirmed:
    made: SubscriptionConfirmed = sample(SubscriptionConfirmed)
    changed = {"publisher": "autodesk", "period": "annual", "product": "autocad", "product_name": "AutoCAD"} | plan
    return made.model_copy(
        update={
            "subscription_id": subscription, "customer": customer, "partner": partner, "contract_id": "c",
            "seats": seats, "plan": made.plan.model_copy(update=changed), "starts": NOON.date(), "ends": ENDS,
        }
    )  # fmt: skip


def person(account: str, organisation: str, name: str = "Northhaus") -> AccountOpened:
    made: AccountOpened = sample(AccountOpened)
    return made.model_copy(
        update={"account_id": account, "organisation_id": organisation, "organisation_name": name}
    )  # fmt: skip


class Doors:
    def __init__(self, world: World) -> None:
        made = parts()
        made.opened_log, made.opened_db, made.clocks = world.log, world.pool, world.clocks
        transport = httpx.ASGITransport(make_app(made, SERVICE.doors, SERVICE.queries, api=True))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def __call__(
        self, who: str, method: str, path: str, json: Any = None, status: int = 200, key: str = ""
    ) -> Any:
        actors = {
            "seller": Actor("seller", "publisher", "publisher"), "other": Actor("other", "publisher-2", "publisher"),
            "operator": Actor("operator", "operations", "operator"), "stranger": Actor("stranger", "x", "customer"),
        }  # fmt: skip
        actor = actors.get(who) or Actor(who, "org", "customer")
        token = TokenSigner(KEY).sign(actor, new_id())
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or new_id()}
        answer = await self.client.request(method, path, json=json, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@asynccontextmanager
async def open_doors(
    world: World, subscription: SubscriptionConfirmed, publisher: str = "autodesk"
) -> AsyncIterator[Doors]:
    """A contract with this subscription, its manager, and people who have to do with it."""
    for account in ("ana", "ben", "mina"):
        world.say("identity", f"account-{account}", person(account, "org"))
    world.say("identity", "account-seller", person("seller", "publisher", "Autodesk"))
    world.say("identity", "account-other", person("other", "publisher-2", "Other"))
    contract = {"contract_id": "c"}
    opened = ContractOpened(**contract, customer="org", publisher=publisher, programme="p", opened_by_subscription="s")
    role = {"account_id": "mina", "role": "contract_manager", "may_assign_seats": True, "assigned_by": "x"}
    world.say("identity", "contract-c", opened)
    world.say("identity", "contract-c", RoleAssigned.model_validate(contract | role))
    world.say("identity", "contract-c", AgreementStarted(**contract, subscription_id="s", kind="desktop", product="p"))
    world.say("marketplace", "subscription-s", subscription)
    world.say("marketplace", "partner-org", CsnIssued(csn="N1", organisation_id="org", publisher="autodesk"))
    await world.settle(random.Random(1))
    made = Doors(world)
    yield made
    await made.client.aclose()


def later(world: World, days: int) -> None:
    """The customer's clock is moved: so many days after noon of the first."""
    ahead = int(timedelta(days=days).total_seconds())
    world.say("identity", "organisation-org", ClockMoved(organisation_id="org", ahead_s=ahead, moved_by="mina"))


def renewed(ends: date, seats: int = 1) -> SubscriptionRenewed:
    made: SubscriptionRenewed = sample(SubscriptionRenewed)
    return made.model_copy(update={"subscription_id": "s", "contract_id": "c", "seats": seats, "ends": ends})
