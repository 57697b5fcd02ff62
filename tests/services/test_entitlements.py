"""entitlements whole, but for HTTP's and Kafka's wires: its consumers over a real database, in any order; its doors."""

import random
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from services.entitlements import reactions
from services.entitlements.__main__ import SERVICE
from services.entitlements.domain.credits import CREDITS
from services.entitlements.domain.seat_pool import SEAT_POOL, AssignSeat, Open
from services.entitlements.projections import PEOPLE, POOLS
from services.entitlements.timers import TIMERS
from shared.eventlog import parked
from shared.eventlog.clocks import CLOCKS, Clocks
from shared.eventlog.consumer import Consumer, Fault
from shared.eventlog.log import Log, Meta
from shared.eventlog.plan import Raw, Received
from shared.eventlog.postgres import PostgresStore
from shared.eventlog.projection import Projection, Reach
from shared.eventlog.timers import TimerService
from shared.events import (
    AccountClosed,
    AccountOpened,
    AgreementStarted,
    ClockMoved,
    ContractOpened,
    CreditsPurchased,
    CsnIssued,
    CsnRevoked,
    Event,
    RoleAssigned,
    SeatAssigned,
    SeatPoolOpened,
    SeatPoolSuspended,
    SeatsAdded,
    SubscriptionConfirmed,
    SubscriptionEnded,
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

pytestmark = pytest.mark.system

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
        self.stored: dict[str, tuple[Any, bytes]] = {}
        self.parks = False
        """Whether a consumer may park what it hears."""
        self.heard: dict[tuple[str, str], int] = {}
        self.own = 0

    def say(self, service: str, stream: str, event: Event) -> None:
        version = len(self.said.setdefault(stream, [])) + 1
        of = Envelope(new_id(), f"urn:tenure:{service}", event.type(), stream, NOON, 1, version)
        self.said[stream].append((of, event))

    async def relay(self) -> None:
        for stored in await self.store.read(self.own, 1000):
            self.said.setdefault(stored.of.stream, []).append((stored.of, decode(stored.of, stored.data)))
            self.stored[stored.of.id] = stored.headers(), stored.data
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
        raw = Raw(topic, partition, number, stream.encode(), *self.stored.get(of.id, ((), b"")))
        try:
            done = await consumer.consume([Received(raw, of, event if of.type in consumer.what.types else None)])
        except Fault:
            return False
        assert self.parks or not done.left, done.left
        self.heard[(consumer.name, stream)] = number + 1
        return True

    async def settle(self, chance: random.Random) -> None:
        while True:
            while following := await self.next():
                await self.hear(*chance.choice(following))
            await self.clocks.look(self.pool)
            if not await self.timers.fire():
                return


@pytest.fixture
async def world(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(reactions, "WAIT_S", -1.0)  # what is not folded yet comes again
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


def person(account: str, organisation: str) -> AccountOpened:
    made: AccountOpened = sample(AccountOpened)
    return made.model_copy(update={"account_id": account, "organisation_id": organisation})


@pytest.mark.parametrize("seed", range(12))
async def test_pools_and_numbers_seats_and_closed_accounts_meet_in_any_order(world: World, seed: int) -> None:
    chance = random.Random(seed)
    csn: dict[str, Any] = {"publisher": "autodesk", "organisation_id": "org"}
    sold: dict[str, Any] = {"publisher": "autodesk", "organisation_id": "reseller"}
    more = sample(SeatsAdded).model_copy(update={"subscription_id": "s1", "seats": 3})
    world.say("identity", "account-ana", person("ana", "org"))
    world.say("identity", "account-ben", person("ben", "org"))

    async def assign(pool: str, account: str) -> None:
        await world.log.execute(SEAT_POOL, pool, AssignSeat(account, "mina"), Meta(new_id(), "mina", NOON))

    steps: list[list[Any]] = [  # each list in its order, the lists in any
        [
            ("marketplace", "subscription-s1", confirmed("s1", "org", "reseller")),
            ("marketplace", "subscription-s1", more),
        ],
        [("marketplace", "subscription-s2", confirmed("s2", "other", "reseller"))],
        [("marketplace", "subscription-s3", confirmed("s3", "org", "reseller", publisher="another"))],
        [
            ("marketplace", "partner-org", CsnIssued(csn="N1", **csn)),
            ("marketplace", "partner-org", CsnRevoked(csn="N1", **csn)),
            ("marketplace", "partner-org", CsnIssued(csn="N2", **csn)),
        ],
        [
            ("marketplace", "partner-reseller", CsnIssued(csn="R1", **sold)),
            ("marketplace", "partner-reseller", CsnRevoked(csn="R1", **sold)),
        ],
        [("identity", "account-ana", AccountClosed(account_id="ana", organisation_id="org", closed_by="ana"))],
        [("s1", "ana"), ("s1", "ben")],
    ]  # fmt: skip
    while any(steps):
        following = await world.next()
        if following and chance.random() < 0.8:
            await world.hear(*chance.choice(following))
            continue
        row = chance.choice([row for row in steps if row])
        if len(row[0]) == 2:
            pool = await world.log.state(SEAT_POOL, "s1")
            if not isinstance(pool, Open):
                continue
            await assign(*row.pop(0))
        else:
            world.say(*row.pop(0))
    await world.settle(chance)

    s1, s2 = await world.log.state(SEAT_POOL, "s1"), await world.log.state(SEAT_POOL, "s2")
    s3 = await world.log.state(SEAT_POOL, "s3")
    assert isinstance(s1, Open) and isinstance(s2, Open) and isinstance(s3, Open)
    assert s1.right is not None and s1.right.csn == "N2"
    assert (s2.right, s3.right) == (None, None)
    assert [held.account_id for held in s1.held.values()] == ["ben"], "ana's account is closed"
    rows = await world.pool.fetch("select subscription_id, seats, update_csn from pools order by 1")
    assert [tuple(row) for row in rows] == [("s1", 3, "N2"), ("s2", 2, None), ("s3", 2, None)]
    assert [row["account_id"] for row in await world.pool.fetch("select account_id from seats")] == ["ben"]


# ── Doors and queries ──────────────────────────────────────────────────────────────────────────────────


class Doors:
    def __init__(self, world: World) -> None:
        made = parts()
        made.opened_log, made.opened_db, made.clocks = world.log, world.pool, world.clocks
        transport = httpx.ASGITransport(make_app(made, SERVICE.doors, SERVICE.queries, api=True))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def __call__(self, who: str, method: str, path: str, json: Any = None, status: int = 200) -> Any:
        actors = {"seller": Actor("seller", "publisher", "publisher"), "stranger": Actor("stranger", "x", "customer")}
        actor = actors.get(who) or Actor(who, "org", "customer")
        headers = {"Authorization": f"Bearer {TokenSigner(KEY).sign(actor, new_id())}"}
        answer = await self.client.request(method, path, json=json, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
async def doors(world: World) -> AsyncIterator[Doors]:
    for account in ("ana", "ben", "mina"):
        world.say("identity", f"account-{account}", person(account, "org"))
    contract = {"contract_id": "c"}
    opened = ContractOpened(**contract, customer="org", publisher="autodesk", programme="p", opened_by_subscription="s")
    role = {"account_id": "mina", "role": "contract_manager", "may_assign_seats": True, "assigned_by": "x"}
    world.say("identity", "contract-c", opened)
    world.say("identity", "contract-c", RoleAssigned.model_validate(contract | role))
    world.say("identity", "contract-c", AgreementStarted(**contract, subscription_id="s", kind="desktop", product="p"))
    world.say("marketplace", "subscription-s", confirmed("s", "org", "reseller"))
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


async def test_a_pool_through_its_course(world: World, doors: Doors) -> None:
    chance = random.Random(2)
    bulk = {"items": [{"account_id": account} for account in ("ana", "nobody", "ben", "mina")]}
    answers = (await doors("mina", "POST", "/pools/s/seats/bulk", bulk))["items"]
    assert [item["answer"].get("rule") for item in answers] == [None, "user-unknown", None, "seats-exhausted"]
    await world.settle(chance)
    pool = await doors("ana", "GET", "/pools/s")
    assert (pool["phase"], pool["until"], pool["updates"], pool["free"]) == ("active", "2027-11-20", True, 0)

    world.say("marketplace", "subscription-s", renewed(date(2028, 11, 20)))
    await world.settle(chance)
    (mine,) = (await doors("ana", "GET", "/me/seats"))["items"]
    assert (mine["until"], mine["access"], mine["updates"]) == ("2028-11-20", True, True)
    assert (await doors("ben", "GET", "/me/seats"))["items"] == [], "one seat fewer: who came last has none"

    last = SubscriptionEnded(subscription_id="s", contract_id="c", customer="org", ended=date(2028, 11, 20))
    later(world, 732)  # 2028-11-22
    await world.settle(chance)
    world.say("marketplace", "subscription-s", last)
    await world.settle(chance)
    (mine,) = (await doors("ana", "GET", "/me/seats"))["items"]
    assert (mine["phase"], mine["until"], mine["access"], mine["updates"]) == ("expired", "2028-12-05", True, True)
    refused = await doors("mina", "POST", "/pools/s/seats", {"account_id": "ben"}, 409)
    assert refused["rule"] == "term-ended" and len(refused["because"]) == 1

    later(world, 746)  # 2028-12-06
    await world.settle(chance)
    (mine,) = (await doors("ana", "GET", "/me/seats"))["items"]
    assert (mine["phase"], mine["until"], mine["access"], mine["updates"]) == ("suspended", "2029-01-04", False, False)

    later(world, 776)  # 2029-01-05
    await world.settle(chance)
    assert (await doors("ana", "GET", "/me/seats"))["items"] == []
    (pool,) = (await doors("ana", "GET", "/pools"))["items"]
    assert (pool["phase"], pool["until"], pool["assigned"]) == ("ended", None, 0)


async def test_many_seats_are_taken_back_at_once(world: World, doors: Doors) -> None:
    items = {"items": [{"account_id": "ana"}, {"account_id": "ben"}]}
    await doors("mina", "POST", "/pools/s/seats/bulk", items)
    back = await doors("mina", "POST", "/pools/s/seats/unassign/bulk", items)
    assert [item["answer"]["events"][0]["type"] for item in back["items"]] == ["SeatUnassigned"] * 2
    for_all = (await doors("ben", "POST", "/pools/s/seats/unassign/bulk", items))["items"]
    assert {(item["status"], item["answer"]["rule"]) for item in for_all} == {(403, "role-missing")}


async def test_a_ledger_explains_every_balance(world: World, doors: Doors) -> None:
    chance, path = random.Random(3), "/contracts/c/credits"
    one = {"grant_id": "g1", "amount": 10}
    assert (await doors("mina", "POST", f"{path}/grants", one, 403))["rule"] == "not-a-publisher"
    await doors("stranger", "POST", f"{path}/grants", one, 404)
    await doors("seller", "POST", f"{path}/grants", one)
    unknown = {"grant_id": "g2", "amount": 3, "account_id": "nobody"}
    assert (await doors("seller", "POST", f"{path}/grants", unknown, 409))["rule"] == "user-unknown"
    await doors("seller", "POST", f"{path}/grants", unknown | {"account_id": "ana"})

    spend = {"consumption_id": "x", "amount": 5, "purpose": "rendering"}
    assert (await doors("ana", "POST", f"{path}/consumptions", spend, 409))["rule"] == "seat-needed"
    await doors("mina", "POST", "/pools/s/seats", {"account_id": "ana"})
    await world.settle(chance)
    for_ana = spend | {"account_id": "ana"}
    assert (await doors("ben", "POST", f"{path}/consumptions", for_ana, 403))["rule"] == "credits-of-another"
    await doors("seller", "POST", f"{path}/consumptions", for_ana)
    assert (await doors("ana", "POST", f"{path}/consumptions", spend))["events"] == [], "it was spent already"
    refused = await doors("ana", "POST", f"{path}/consumptions", spend | {"consumption_id": "y", "amount": 9}, 409)
    assert refused["rule"] == "credits-exhausted"
    await world.settle(chance)

    seen = await doors("ana", "GET", path)
    assert (seen["balance"], seen["pool"], seen["individual"]) == (8, 8, {})
    assert [(e["kind"], e["grant_id"], e["amount"], e["balance"]) for e in seen["entries"]] == [
        ("granted", "g1", 10, 10), ("granted", "g2", 3, 13), ("consumed", "g2", -3, 10), ("consumed", "g1", -2, 8),
    ]  # fmt: skip
    assert [(lot["grant_id"], lot["remaining"], lot["expires_on"]) for lot in seen["lots"]] == [("g1", 8, "2027-11-20")]
    page = await doors("ana", "GET", f"{path}?limit=2")
    rest = await doors("ana", "GET", f"{path}?limit=2&after={page['next']}")
    assert [*page["entries"], *rest["entries"]] == seen["entries"] and rest["next"] is None
    await doors("stranger", "GET", path, status=404)


async def test_credits_expire_in_the_customers_time_or_with_the_contract(world: World, doors: Doors) -> None:
    chance, path = random.Random(4), "/contracts/c/credits"
    await doors("seller", "POST", f"{path}/grants", {"grant_id": "g1", "amount": 10})
    later(world, 100)
    await world.settle(chance)
    await doors("seller", "POST", f"{path}/grants", {"grant_id": "g2", "amount": 7})
    later(world, 365)
    await world.settle(chance)
    seen = await doors("ana", "GET", path)
    assert (seen["balance"], seen["entries"][-1]["reference"]) == (7, "time")

    last = SubscriptionEnded(subscription_id="s", contract_id="c", customer="org", ended=ENDS)
    world.say("marketplace", "subscription-s", last)
    later(world, 381)
    await world.settle(chance)
    seen = await doors("ana", "GET", path)
    assert (seen["balance"], seen["entries"][-1]["reference"]) == (0, "contract")


# ── While a projection has parked what a reaction looks for ────────────────────────────────────────────


@pytest.fixture
def ill(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[Projection, type[Event], str], None]:
    """Folds of this type fail where the event names this."""

    def make(projection: Projection, event: type[Event], name: str) -> None:
        world.parks, fold = True, projection._folds[event.type()]

        async def broken(tx: Any, said: Any, of: Any) -> None:
            if name in said.model_dump().values():
                raise ZeroDivisionError("a bug")
            await fold(tx, said, of)

        monkeypatch.setitem(projection._folds, event.type(), broken)

    return make


async def resume(world: World, name: str) -> list[parked.Retried]:
    (consumer,) = (c for c in world.consumers if c.name == f"entitlements.{name}")
    lines = parked.lines(await parked.look(world.pool, consumer.name))
    return [await parked.retry(world.pool, consumer, line, "operation-1") for line in lines]


async def test_a_closed_accounts_seat_is_found_though_it_was_parked(
    world: World, doors: Doors, ill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill(POOLS, SeatAssigned, "ana")
    await doors("mina", "POST", "/pools/s/seats", {"account_id": "ana"})
    await world.settle(random.Random(5))
    world.say("identity", "account-ana", AccountClosed(account_id="ana", organisation_id="org", closed_by="ana"))
    await world.settle(random.Random(5))
    monkeypatch.undo()
    (early,) = await resume(world, "meetings")
    assert "pool-s is parked in entitlements.pools: resume it there first" in (early.stopped or "")
    assert [done.waiting for name in ("pools", "meetings") for done in await resume(world, name)] == [0, 0]
    pool = await world.log.state(SEAT_POOL, "s")
    assert isinstance(pool, Open) and not pool.held


async def test_a_pool_that_was_parked_meets_its_number(
    world: World, doors: Doors, ill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill(POOLS, SeatPoolOpened, "s9")
    world.say("marketplace", "subscription-s9", confirmed("s9", "late", "reseller"))
    await world.settle(random.Random(6))
    number = CsnIssued(csn="L1", organisation_id="late", publisher="autodesk")
    world.say("marketplace", "partner-late", number)
    await world.settle(random.Random(6))
    monkeypatch.undo()
    assert [done.waiting for name in ("pools", "meetings") for done in await resume(world, name)] == [0, 0]
    pool = await world.log.state(SEAT_POOL, "s9")
    assert isinstance(pool, Open) and pool.right is not None and pool.right.csn == "L1"


@pytest.mark.parametrize("hidden", [SeatPoolSuspended, SeatPoolOpened])
async def test_credits_end_with_the_last_pool_even_if_one_was_parked(
    world: World, doors: Doors, ill: Any, hidden: type[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table shows a pool that is not usable any more, or doesn't show one that is."""
    await doors("seller", "POST", "/contracts/c/credits/grants", {"grant_id": "g1", "amount": 10})
    ill(POOLS, hidden, "s" if hidden is SeatPoolSuspended else "s2")
    world.say("marketplace", "subscription-s2", confirmed("s2", "org", "reseller"))
    await world.settle(random.Random(7))
    for s in ("s", "s2") if hidden is SeatPoolSuspended else ("s",):
        last = SubscriptionEnded(subscription_id=s, contract_id="c", customer="org", ended=NOON.date())
        world.say("marketplace", f"subscription-{s}", last)
    later(world, 20)
    await world.settle(random.Random(7))
    monkeypatch.undo()
    before = await world.log.state(CREDITS, "c")
    assert before.lots["g1"].left == 10
    for name in ("pools", "meetings"):
        assert {done.waiting for done in await resume(world, name)} == {0}
    after = await world.log.state(CREDITS, "c")
    assert after.lots["g1"].left == (0 if hidden is SeatPoolSuspended else 10)


async def test_a_grant_waits_for_a_contract_that_was_parked(
    world: World, doors: Doors, ill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ill(PEOPLE, ContractOpened, "c9")
    of = {"contract_id": "c9", "customer": "org", "publisher": "autodesk", "programme": "p"}
    world.say("identity", "contract-c9", ContractOpened(**of, opened_by_subscription="s"))
    await world.settle(random.Random(8))
    monkeypatch.setattr(reactions, "CONTRACT_LOOKS", 1)
    reach = Reach(world.pool, world.log, NOON, world.clocks)
    sold = CreditsPurchased(contract_id="c9", grant_id="g", amount=5)
    with pytest.raises(reactions.Held, match=r"contract-c9 is parked in entitlements\.people"):
        await reactions.REACTIONS.react(
            sold, Envelope("e", "urn:publisher:autodesk", sold.type(), "", NOON), reach
        )  # fmt: skip


async def test_the_publishers_system_sells_credits_to_its_own_contracts(world: World, doors: Doors) -> None:
    reach = Reach(world.pool, world.log, NOON, world.clocks)
    sold = CreditsPurchased(contract_id="c", grant_id="g", amount=5)
    for source, customer in (("urn:publisher:autodesk", "org"), ("urn:publisher:other", "")):
        (do,) = await reactions.REACTIONS.react(sold, Envelope("e", source, sold.type(), "", NOON), reach)
        assert (do.key, do.command.customer, do.command.granted_by) == ("c", customer, source)
