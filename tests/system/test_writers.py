"""Many writers on one stream, in processes' worth of stores of their own."""

import asyncio
from dataclasses import dataclass

import asyncpg
import pytest

from shared.eventlog.decision import Stream
from shared.eventlog.log import Accepted, Log, Meta, utc_now
from shared.eventlog.postgres import PostgresStore
from shared.events import SeatUnassigned

pytestmark = pytest.mark.system

WRITERS, EACH = 64, 5


@dataclass(frozen=True, slots=True)
class Add:
    who: str


def _decide(command: Add, state: int) -> tuple[SeatUnassigned]:
    return (
        SeatUnassigned(
            subscription_id="s", contract_id="c", seat=state + 1, account_id=command.who, unassigned_by=command.who
        ),
    )


COUNTER = Stream("counter", 0, lambda state, _: state + 1, _decide, tenant=lambda _: "t")


async def _write(dsn: str) -> list[tuple[int, int]]:
    stores = [await PostgresStore(dsn, "entitlements").open() for _ in range(4)]
    logs = [Log(store, "entitlements") for store in stores]

    async def writer(number: int) -> list[Accepted]:
        answers = []
        for turn in range(EACH):
            meta = Meta(f"{number}:{turn}", f"writer-{number}", utc_now())
            answer = await logs[number % 4].execute(COUNTER, "one", Add(f"{number}:{turn}"), meta)
            assert isinstance(answer, Accepted)
            answers.append(answer)
        return answers

    try:
        answers = [a for each in await asyncio.gather(*(writer(n) for n in range(WRITERS))) for a in each]
    finally:
        for store in stores:
            await store.close()
    return [(a.version, a.events[0].position) for a in answers]


def test_64_writers_on_one_stream_lose_nothing_and_leave_no_gap(database: str) -> None:
    acknowledged = asyncio.run(_write(database))
    expected = list(range(1, WRITERS * EACH + 1))
    assert sorted(version for version, _ in acknowledged) == expected

    async def stored() -> list[asyncpg.Record]:
        db = await asyncpg.connect(database)
        try:
            return await db.fetch("select position, version, data->>'seat' as seat from log.events order by position")
        finally:
            await db.close()

    rows = asyncio.run(stored())
    assert [row["position"] for row in rows] == expected
    assert [row["version"] for row in rows] == expected
    assert [int(row["seat"]) for row in rows] == expected, "each was decided on the state just before it"
    assert sorted(acknowledged) == [(row["version"], row["position"]) for row in rows]
