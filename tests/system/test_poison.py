"""Poison in the middle of ten streams' traffic: it stops its own stream, at the one consumer that can't take it, until
an operator has put the cause right and resumes it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg
import httpx
import pytest

from deploy import ROOT
from deploy.story import steps
from deploy.story.doors import ZONE, Json, Person, eventually, open_doors
from deploy.story.steps import Story, cast
from shared.days import day_of
from shared.events.registry import ENTITLEMENTS
from tests.system.running import System

pytestmark = pytest.mark.system

STREAMS: Final = 10
ROUNDS: Final = 11
"""Of two events in each stream: a seat is given and taken back."""
POISONED: Final = ROUNDS // 2
CONSUMER: Final = "marketplace.sales"
WATCH: Final = """
    create table watched (n bigint generated always as identity, subscription_id text, what text, account_id text);
    create function watch() returns trigger language plpgsql as $$ begin
        if tg_op = 'DELETE' then
            insert into watched (subscription_id, what, account_id)
            values (old.subscription_id, 'SeatUnassigned', old.account_id);
        else
            insert into watched (subscription_id, what, account_id)
            values (new.subscription_id, 'SeatAssigned', new.account_id);
        end if;
        return null;
    end $$;
    create trigger watch after insert or update or delete on held_seats for each row execute function watch();
    create function refuse() returns trigger language plpgsql as $$ begin
        raise exception 'this row is refused' using errcode = 'check_violation';
    end $$;"""
"""Notes every effect on the read model in its order, in the transaction that has it."""
REFUSE: Final = """create trigger refuse before insert on held_seats for each row
    when (new.subscription_id = '{}' and new.account_id = '{}') execute function refuse()"""
UNWATCH: Final = """
    drop trigger if exists refuse on held_seats; drop trigger watch on held_seats;
    drop function watch; drop function refuse; drop table watched"""


@dataclass(slots=True)
class Bench:
    """Ten pools of seats of one customer, and marketplace's table of who holds which seat."""

    running: System
    story: Story
    pools: list[str]
    sales: "asyncpg.Pool[asyncpg.Record]"
    seats: "asyncpg.Pool[asyncpg.Record]"

    async def round(self, who: Person, *, take_back: bool = True) -> None:
        """One round of traffic: each stream gets its events while all the others get theirs."""

        async def one(pool: str) -> None:
            ok, manager, body = self.story.doors.ok, self.story.manager, {"account_id": who.account_id}
            await ok("entitlements", "POST", f"/pools/{pool}/seats", manager, body)
            if take_back:
                await ok("entitlements", "DELETE", f"/pools/{pool}/seats/{who.account_id}", manager)

        await asyncio.gather(*map(one, self.pools))

    async def said(self, pool: str) -> list[tuple[int, str, str, bytes]]:
        """The pool's stream as its service's log has it: version, type, whose seat, body."""
        rows = await self.seats.fetch(
            "select version, type, data from log.events where stream = $1 order by version", f"pool-{pool}"
        )
        return [
            (r["version"], r["type"], json.loads(r["data"]).get("account_id", ""), r["data"].encode()) for r in rows
        ]

    async def effects(self, pool: str) -> list[tuple[str, str]]:
        rows = await self.sales.fetch(
            "select what, account_id from watched where subscription_id = $1 order by n", pool
        )
        return [(row["what"], row["account_id"]) for row in rows]

    async def parked(self) -> list[asyncpg.Record]:
        """What is parked of the seats' topic, but for the hostile records that other tests have left there."""
        rows = await self.sales.fetch('select * from engine.parked where topic = $1 order by "offset"', ENTITLEMENTS)
        return [row for row in rows if (ENTITLEMENTS, row["partition"], row["offset"]) not in self.running.planted]

    async def applied(self, pools: list[str]) -> bool | None:
        """True once the read model has had all that was said of these pools, once each and in order."""
        same = [await self.effects(pool) == seats(await self.said(pool)) for pool in pools]
        return True if all(same) else None

    async def held(self, pool: str) -> list[str]:
        """Who holds a seat, as the customer is shown it."""
        path = f"/subscriptions/{pool}/cancel-preview"
        shown = await self.story.doors.ok("marketplace", "GET", path, self.story.manager)
        return [each["account_id"] for each in shown["seats_to_unassign"]]

    async def counted(self) -> dict[str, float]:
        """What marketplace's metrics say was parked, by reason."""
        async with httpx.AsyncClient(base_url=self.running.env["TENURE_MARKETPLACE_URL"], trust_env=False) as http:
            page = (await http.get("/metrics")).text
        found = re.findall(
            rf'tenure_consumer_parked_total{{consumer="{CONSUMER}",reason="(\w+)",service_name="\w+"}} (\S+)', page
        )
        return {reason: float(number) for reason, number in found}

    async def tenure(self, *words: str) -> Json:
        """The operator's command, in a process of its own."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli",
            *words,
            "--json",
            cwd=ROOT,
            env={**os.environ, **self.running.env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode() + out.decode()
        found: Json = json.loads(out)
        return found


def seats(said: list[tuple[int, str, str, bytes]]) -> list[tuple[str, str]]:
    """What the read model makes of a stream."""
    return [(kind, who) for _, kind, who, _ in said if kind in ("SeatAssigned", "SeatUnassigned")]


@asynccontextmanager
async def bench(running: System) -> AsyncIterator[Bench]:
    async with (
        open_doors(f"story-poison{datetime.now(UTC):%H%M%S}") as doors,
        asyncpg.create_pool(running.dsns()["marketplace"], min_size=1, max_size=2) as sales,
        asyncpg.create_pool(running.dsns()["entitlements"], min_size=1, max_size=2) as seats,
    ):
        story = cast(doors, lambda _: None)
        await steps.accounts(story)
        await steps.standing(story)
        made = Bench(running, story, await _ordered(story), sales, seats)
        await sales.execute(WATCH)
        try:
            yield made
        finally:
            await sales.execute(UNWATCH)


async def _ordered(s: Story) -> list[str]:
    """Ten subscriptions of one order, confirmed by the publisher; each has a pool of seats."""
    catalogue = await s.doors.ok("marketplace", "GET", "/catalogue?limit=200", s.clerk)
    plans = [plan for plan in catalogue["items"] if plan["orderable"] and plan["publisher"] == "autodesk"]
    cart = (await s.doors.ok("marketplace", "POST", "/carts", s.clerk, {}))["events"][0]["data"]["cart_id"]
    for plan in plans[:STREAMS]:
        line = {"product_id": plan["product_id"], "seats": 3}
        await s.doors.ok("marketplace", "POST", f"/carts/{cart}/lines", s.clerk, line)
    body = {
        "customer": s.manager.organisation_id,
        "purchaser": s.manager.account_id,
        "starts": day_of(datetime.now(UTC), ZONE).isoformat(),
    }
    await steps.engagement(s)
    out = await s.doors.ok("marketplace", "POST", f"/carts/{cart}/checkout", s.clerk, body)
    orders = [line["subscription_id"] for line in out["events"][0]["data"]["lines"]]
    await eventually(lambda: _are(s, "marketplace", "/subscriptions", orders), "the orders")
    for order in orders:
        await s.doors.emit("autodesk", "OrderConfirmed", {"subscription_id": order, "reference": f"AD-{order}"})
    await eventually(lambda: _are(s, "entitlements", "/pools", orders), "the pools")
    return orders


async def _are(s: Story, service: str, path: str, wanted: list[str]) -> bool | None:
    shown = await s.doors.ok(service, "GET", f"{path}?limit=200", s.manager)
    return True if {each["subscription_id"] for each in shown["items"]} >= set(wanted) else None


async def test_poison_stops_its_own_stream_until_it_is_resumed(operated: System) -> None:
    async with bench(operated) as b:
        manager, poison, other = b.story.manager, *b.story.designers[:2]
        victim, *others = b.pools[3:] + b.pools[:3]
        before = await b.counted()
        await b.sales.execute(REFUSE.format(victim, poison.account_id))
        await b.round(manager, take_back=False)
        for number in range(ROUNDS):
            await b.round(poison if number == POISONED else other)
        await b.round(other, take_back=False)
        first = await _stopped(b, victim, others, poison)
        await _told(b, victim, others, first, before)

        await b.sales.execute("drop trigger refuse on held_seats")
        retry = b.tenure("parked", "retry", "--stream", f"pool-{victim}", "--yes", "--reason", "the row is let in")
        done, _ = await asyncio.gather(retry, b.round(b.story.designers[2]))
        assert done["ok"] and done["still_parked"] == 0
        await _resumed(b, victim, first)
    await asyncio.to_thread(operated.assert_sound)


async def _stopped(b: Bench, victim: str, others: list[str], poison: Person) -> int:
    """The victim's stream waits whole from the poison on, nobody else's does. Returns the poison's version."""
    await eventually(lambda: b.applied(others), "the nine others are applied")
    said = await b.said(victim)
    assert len(seats(said)) == 2 * ROUNDS + 2 > 20
    at = next(n for n, (_, kind, who, _) in enumerate(said) if (kind, who) == ("SeatAssigned", poison.account_id))
    assert 5 < at < len(said) - 5, "it lies in the middle"

    async def all_there() -> list[asyncpg.Record] | None:
        rows = await b.parked()
        return rows if len(rows) >= len(said) - at else None

    rows = await eventually(all_there, "the rest of the stream is parked")
    assert [(r["consumer"], r["stream"], r["version"], r["value"]) for r in rows] == [
        (CONSUMER, f"pool-{victim}", version, data) for version, _, _, data in said[at:]
    ]
    assert [r["reason"] for r in rows] == ["failed"] + ["behind"] * (len(rows) - 1)
    assert all(r["holds_stream"] for r in rows)
    assert "this row is refused" in rows[0]["detail"]
    assert await b.effects(victim) == seats(said[:at])
    seen = "select stream, version from engine.seen where consumer = $1 and stream = any($2)"
    noted = {r["stream"]: r["version"] for r in await b.sales.fetch(seen, CONSUMER, [f"pool-{p}" for p in b.pools])}
    assert noted == {f"pool-{victim}": said[at][0] - 1} | {f"pool-{p}": (await b.said(p))[-1][0] for p in others}
    checkpoint = 'select "offset" from engine.checkpoints where consumer = $1 and topic = $2 and partition = $3'
    assert await b.sales.fetchval(checkpoint, CONSUMER, ENTITLEMENTS, rows[0]["partition"]) >= rows[-1]["offset"]
    return said[at][0]


async def _told(b: Bench, victim: str, others: list[str], first: int, before: dict[str, float]) -> None:
    """The customer sees the stream as it was before the poison; metrics and the operator's command say what waits."""
    manager, other = b.story.manager.account_id, b.story.designers[1].account_id
    assert await b.held(victim) == [manager]
    for each in others:
        assert await b.held(each) == [manager, other]
    behind = len(await b.parked()) - 1
    now = await b.counted()
    assert {reason: now[reason] - before.get(reason, 0) for reason in ("failed", "behind")} == {
        "failed": 1,
        "behind": behind,
    }
    assert b.running.services["marketplace"].ready(), "it does its work: the others' streams go on"
    (shown,) = (await b.tenure("parked", "ls", "--stream", f"pool-{victim}"))["parked"]
    assert (shown["consumer"], shown["version"], shown["behind"]) == (CONSUMER, first, behind)


async def _resumed(b: Bench, victim: str, first: int) -> None:
    await eventually(lambda: b.applied(b.pools), "all ten are applied, once and in order")
    assert not await b.parked()
    settled = await b.sales.fetch(
        "select version, outcome from engine.settled where consumer = $1 and stream = $2 order by settled",
        CONSUMER,
        f"pool-{victim}",
    )
    versions = [row["version"] for row in settled]
    assert versions == list(range(first, first + len(versions)))
    assert {row["outcome"] for row in settled} == {"applied"}
    expected = [b.story.manager.account_id, b.story.designers[1].account_id]
    for pool in b.pools:
        assert await b.held(pool) == expected
