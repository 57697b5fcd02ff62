"""Many writers on one stream, in processes' worth of stores of their own."""

import asyncio
import json
from dataclasses import dataclass

import pytest

from shared.eventlog.decision import Stream
from shared.eventlog.write.log import Log, Meta, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatUnassigned
from tests.oracle.evidence import Asked, Evidence, read_store
from tests.oracle.verdict import faults

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


COUNTER = Stream(category="counter", initial=0, evolve=lambda state, _: state + 1, decide=_decide, tenant=lambda _: "t")


async def _write(dsn: str) -> list[Asked]:
    stores = [await PostgresStore(dsn, "entitlements").open() for _ in range(4)]
    logs = [Log(store, "entitlements") for store in stores]

    async def writer(number: int) -> list[Asked]:
        answers = []
        for turn in range(EACH):
            meta = Meta(f"{number}:{turn}", f"writer-{number}", utc_now())
            answer = await logs[number % 4].execute(COUNTER, "one", Add(f"{number}-{turn}"), meta)
            answers.append(Asked(meta.command_id, "entitlements", answer.stream))
            answers[-1].heard(answer)
        return answers

    try:
        return [a for each in await asyncio.gather(*(writer(n) for n in range(WRITERS))) for a in each]
    finally:
        for store in stores:
            await store.close()


def test_64_writers_on_one_stream_lose_nothing_and_leave_no_gap(database: str) -> None:
    evidence = Evidence("entitlements", published=False)
    evidence.asked = asyncio.run(_write(database))
    asyncio.run(read_store(evidence, database))
    assert faults(evidence) == []
    assert {asked.outcome for asked in evidence.asked} == {"ok"}
    expected = list(range(1, WRITERS * EACH + 1))
    assert len(evidence.asked) == len(expected)
    assert [event.envelope.version for event in evidence.events] == expected
    seats = [json.loads(event.data)["seat"] for event in evidence.events]
    assert seats == expected, "each was decided on the state just before it"
