"""A clock that was moved: the answer comes once every service decides by it, or says which does not yet."""

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from services.identity.everywhere import Everywhere
from shared.eventlog.deliver.clocks import FRESH_S, Clocks, MovedClock
from shared.eventlog.write.log import utc_now
from tests.services.identity_bench import Bench

AHEAD_S = 86_400
TO = "2030-01-01T00:00:00Z"


def a_process() -> Clocks:
    """A process's clocks, which are refreshed from a `Table`."""
    return Clocks(utc_now, table=lambda table: table)


class Table:
    """The clocks of a database, as a look reads them."""

    def __init__(self) -> None:
        self.rows: list[MovedClock] = []
        self.looks = 0

    async def moved_after(self, change: int) -> Sequence[MovedClock]:
        self.looks += 1
        return [row for row in self.rows if row.change > change]

    def move(self, ahead_s: int) -> None:
        self.rows = [MovedClock("org", ahead_s, len(self.rows) + 1)]


class Overtaken(Table):
    """Its first look is answered last."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    async def moved_after(self, change: int) -> Sequence[MovedClock]:
        rows = await super().moved_after(change)
        if self.looks == 1:
            await self.told.wait()
        return rows

    def move(self, ahead_s: int) -> None:
        self.rows = [MovedClock("org", ahead_s, ahead_s)]


class Elsewhere:
    """Other services, by how far ahead each says to be; a missing one does not answer."""

    def __init__(self, **ahead_s: int) -> None:
        self.ahead_s = ahead_s
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.headers["authorization"])
        ahead = self.ahead_s.get(request.url.host)
        if ahead is None:
            raise httpx.ConnectError("away")
        if ahead < 0:
            return httpx.Response(401, json={"rule": "not-signed-in"})
        return httpx.Response(200, json={"now": TO, "ahead_s": ahead})

    def everywhere(self) -> Everywhere:
        urls = {name: f"http://{name}" for name in ("marketplace", "entitlements")}
        return Everywhere(urls, wait_s=0.3, transport=httpx.MockTransport(self.answer))


async def lacking(others: Elsewhere, table: Any) -> list[str]:
    return await others.everywhere().lacking("org", AHEAD_S, "Bearer me", a_process(), table)


async def test_it_waits_until_all_have_it_and_then_until_no_process_decides_by_an_older_one() -> None:
    others, table, loop = Elsewhere(marketplace=AHEAD_S, entitlements=0), Table(), asyncio.get_running_loop()

    async def later() -> float:
        await asyncio.sleep(0.1)
        table.move(AHEAD_S)
        others.ahead_s["entitlements"] = AHEAD_S
        return loop.time()

    moved, found = await asyncio.gather(later(), lacking(others, table))
    assert found == []
    assert loop.time() - moved >= FRESH_S
    assert set(others.asked) == {"Bearer me"}, "as the caller"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"marketplace": AHEAD_S}, ["entitlements"]),
        ({"marketplace": AHEAD_S, "entitlements": AHEAD_S - 1}, ["entitlements"]),
        ({"marketplace": -1, "entitlements": AHEAD_S}, ["marketplace"]),
        ({}, ["marketplace", "entitlements"]),
        ({"marketplace": AHEAD_S, "entitlements": AHEAD_S + 5}, []),
    ],
)
async def test_it_names_who_does_not_show_it_in_time(others: dict[str, int], expected: list[str]) -> None:
    table = Table()
    table.move(AHEAD_S)
    assert await lacking(Elsewhere(**others), table) == expected


async def test_identitys_own_tables_count_too() -> None:
    assert await lacking(Elsewhere(marketplace=AHEAD_S, entitlements=AHEAD_S), Table()) == ["identity"]


async def test_nothing_is_decided_by_clocks_that_were_read_long_ago() -> None:
    clocks, table = a_process(), Table()
    await clocks.fresh(table)
    assert table.looks == 0, "nobody follows them"
    await clocks.refresh(table)
    table.move(AHEAD_S)
    await clocks.fresh(table)
    assert (table.looks, clocks.ahead_s("org")) == (1, 0), "they are fresh"
    await asyncio.sleep(FRESH_S + 0.05)
    await clocks.fresh(table)
    assert (table.looks, clocks.ahead_s("org")) == (2, AHEAD_S)


async def test_a_look_that_was_overtaken_changes_nothing() -> None:
    clocks, table = a_process(), Overtaken()
    table.move(1)
    slow = asyncio.create_task(clocks.refresh(table))
    await asyncio.sleep(0)  # it has read, and does not know it yet
    table.move(2)
    await clocks.refresh(table)
    table.told.set()
    await slow
    assert clocks.ahead_s("org") == 2


class Slow(Everywhere):
    """Some services are away."""

    def __init__(self, away: list[str]) -> None:
        super().__init__({})
        self.away, self.asked = away, 0

    async def lacking(self, organisation_id: str, ahead_s: int, authorization: str, *_: Any) -> list[str]:
        assert organisation_id and ahead_s > 0 and authorization.startswith("Bearer ")
        self.asked += 1
        return self.away


@pytest.mark.system
@pytest.mark.parametrize(("away", "status"), [([], 200), (["distribution"], 202)])
async def test_the_answer_says_whether_it_is_everywhere(bench: Bench, away: list[str], status: int) -> None:
    bench.app.state.everywhere = slow = Slow(away)
    _, token = await bench.join("mina", organisation={"name": "Trials", "kind": "customer", "sandbox": True})
    dry = await bench.when(token, "POST", "/clock?dry_run=true", {"to": TO})
    assert (dry.status_code, "everywhere" in dry.json(), slow.asked) == (200, False, 0)
    for turn in (1, 2):
        moved = await bench.when(token, "POST", "/clock", {"to": TO}, **{"Idempotency-Key": "one"})
        assert (moved.status_code, moved.json()["everywhere"], moved.json()["waiting_for"]) == (status, not away, away)
        assert (slow.asked, moved.json()["repeated"]) == (turn, turn == 2), "asked again, it waits again"
    refused = await bench.when(token, "POST", "/clock", {"to": "2020-01-01T00:00:00Z"})
    assert (refused.status_code, slow.asked) == (409, 2)
