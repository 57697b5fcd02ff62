"""Histories: who did what, when and why, of a stream itself, in pages and for those who may see it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from services.identity.domain.account import ACCOUNT
from services.identity.persons import erase
from shared.eventlog.write.log import Log
from shared.eventlog.write.memory import MemoryStore
from shared.runtime import histories
from shared.runtime.histories import History, history_of
from shared.runtime.lists import Page
from tests.examples.engine import COUNTER, Count, meta
from tests.examples.marketplace import AUTOCAD
from tests.services.entitled import Doors
from tests.services.identity_bench import Bench
from tests.services.market import Market, a_market
from tests.services.world import World


def page(limit: int, after: tuple[int, str] | None = None, *, descending: bool = False) -> Page:
    return Page(limit=limit, sort="version", descending=descending, after=after, digest="")


async def counted(number: int) -> Log:
    log = Log(MemoryStore(), "entitlements")
    for _ in range(number):
        await log.execute(COUNTER, "one", Count(by="a"), meta())
    return log


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_have_every_event_once_in_order(descending: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "SCANNED", 2)
    log, seen = await counted(5), list[int]()
    for _ in range(9):
        after = (seen[-1], "-") if seen else None
        part = await history_of(log, COUNTER, "one", page(3, after, descending=descending))
        seen += [entry.version for entry in part.items]
        if part.next is None:
            break
    assert seen == ([5, 4, 3, 2, 1] if descending else [1, 2, 3, 4, 5])


async def test_a_history_of_some_events_reads_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "SCANNED", 3)
    log = await counted(5)
    none: History = await history_of(log, COUNTER, "one", page(3), lambda _: False)
    assert none.items == [] and none.next is not None
    rest = await history_of(log, COUNTER, "one", page(3, (3, "-")), lambda _: False)
    assert rest.items == [] and rest.next is None


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made


@pytest.mark.system
async def test_a_subscriptions_history_names_actors_commands_and_reasons(market: Market) -> None:
    subscription = await market.running(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}/history"
    await market.when("clerk", "PUT", f"/subscriptions/{subscription}/seats", {"seats": 5}).then_ok()
    shown = (await market.when("mina", "GET", path).then_ok())["items"]
    assert [entry["type"] for entry in shown] == ["SubscriptionOrdered", "SubscriptionConfirmed", "SeatsAdded"]
    added = shown[-1]
    assert (added["actor"], added["data"]["seats"]) == ("clerk", 5)
    assert added["command_id"] and added["correlation_id"] and added["event_id"]
    newest = await market.when("mina", "GET", f"{path}?sort=-version&limit=1").then_ok()
    assert newest["items"] == [added]
    rest = await market.when("mina", "GET", f"{path}?sort=-version&limit=9&after={newest['next']}").then_ok()
    assert rest["items"] == shown[1::-1] and rest["next"] is None
    await market.when("stranger", "GET", path).then_refused("unknown")
    csv = await market.when("mina", "GET", f"{path}?format=csv")
    assert csv.text.count("\r\n") == 4 and '""seats"": 5' in csv.text


@pytest.mark.system
async def test_a_pools_history_is_for_those_who_see_the_pool(world: World, doors: Doors) -> None:
    del world
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
    shown = (await doors.when("mina", "GET", "/pools/s/history").then_ok())["items"]
    assert (shown[-1]["type"], shown[-1]["actor"], shown[-1]["data"]["account_id"]) == ("SeatAssigned", "mina", "ana")
    for who in ("stranger", "other"):
        await doors.when(who, "GET", "/pools/s/history").then_status(404)


@pytest.mark.system
async def test_a_contracts_history_has_its_roles(bench: Bench) -> None:
    oskar, token = await bench.join("oskar")
    await bench.purchase(oskar)
    shown: list[dict[str, Any]] = (await bench.when(token, "GET", "/contracts/c/history")).json()["items"]
    assert shown[0]["type"] == "ContractOpened"
    assert [entry["data"]["account_id"] for entry in shown if entry["type"] == "RoleAssigned"] == [oskar]


@pytest.mark.system
async def test_what_was_erased_is_empty_in_a_history(bench: Bench) -> None:
    oskar, _ = await bench.join("oskar")
    before = (await history_of(bench.log, ACCOUNT, oskar, page(9))).items[0]
    await erase(bench.pool, oskar)
    after = (await history_of(bench.log, ACCOUNT, oskar, page(9))).items[0]
    assert "oskar" in before.data["email"]
    assert after.data["email"] == "" and after.event_id == before.event_id
