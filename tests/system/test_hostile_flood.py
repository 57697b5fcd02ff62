"""A flood of hostile records on every topic, beside stories: each is parked with its bytes, and nobody waits for it.

`HOSTILE=50000` makes the long form send so many, `HOSTILE_RATE` as many a second; `HOSTILE_SEED`, which is printed,
plays the flood again. `HOSTILE_WAIT_S` is how long a well-formed record may wait, where the machine has other work.
"""

import asyncio
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from unittest.mock import patch

import asyncpg
import pytest
from aiokafka.errors import MessageSizeTooLargeError

from deploy.topics import declared
from services import definitions
from shared.eventlog.deliver.received import headers_of
from shared.eventlog.repair import findings
from shared.eventlog.repair.findings import Finding
from shared.eventlog.repair.verify import verify
from shared.events.registry import INBOUND, topic_of, topics_read
from shared.services import SERVICES
from tests.engine.batches import read
from tests.system.hostile import LIMIT, OWN_TOPIC, Flood, Sent, flooding, good
from tests.system.rest import readers, rests
from tests.system.running import System, finished
from tests.system.waits import Longest, Place, Waits, times_of

pytestmark = pytest.mark.system

TOPICS: Final = (*map(topic_of, SERVICES), INBOUND, OWN_TOPIC)
PATIENCE_S: Final = 300


def test_a_flood_of_hostile_records_is_kept_whole_and_everything_else_goes_on(running: System) -> None:
    _flooded(running, number=600, a_second=60, patience_s=20)
    _ready_again(running)


def _ready_again(running: System) -> None:
    """All services are killed and started: what lies in their topics is looked at before anything is decided."""
    for service in running.services.values():
        service.kill()
    for service in running.services.values():
        service.spawn()
    for service in running.services.values():
        service.wait_ready()


@pytest.mark.long
def test_a_long_flood_of_hostile_records_lets_no_partition_wait(running: System) -> None:
    number, rate = int(os.environ.get("HOSTILE", "10000")), float(os.environ.get("HOSTILE_RATE", "250"))
    _flooded(running, number, rate, patience_s=8)


def _flooded(running: System, number: int, a_second: float, patience_s: float) -> None:
    seed = int(os.environ.get("HOSTILE_SEED", str(random.SystemRandom().randrange(10**9))))
    patience_s = float(os.environ.get("HOSTILE_WAIT_S", str(patience_s)))
    print(f"\nHOSTILE_SEED={seed}")
    begun = time.time()
    with Waits(running.dsns()) as waits:
        sent = asyncio.run(_told_under_a_flood(running, random.Random(seed), number, a_second))
        lasted = time.time() - begun
        asyncio.run(rests(running.dsns(), running.kafka.access, readers(definitions())))
    rested = time.time() - begun
    planted = {(each.topic, each.partition, each.offset) for each in sent}
    running.planted |= planted
    times = asyncio.run(times_of(running.kafka.access, _partitions(), begun))
    longest = waits.longest(times, planted)
    parked = asyncio.run(_parked(running.dsns(), {(each.topic, each.partition, each.offset): each for each in sent}))
    _tell(sent, lasted, rested, longest, parked)
    assert parked.otherwise == []
    assert _missing(sent, parked) == []
    assert longest.keys() == {*TOPICS}, "a topic had no well-formed record beside the flood"
    late = {topic: each for topic, each in longest.items() if each.longest_s > patience_s}
    assert not late, f"well-formed records waited for more than {patience_s} s"
    assert all(service.ready() for service in running.services.values())
    asyncio.run(_verifies(running))
    running.assert_sound()


async def _told_under_a_flood(running: System, chance: random.Random, number: int, a_second: float) -> list[Sent]:
    """Stories, one after the other, and publishers' well-formed events, until the flood is over."""
    async with flooding(running.kafka.access, chance) as flood:
        over = asyncio.Event()
        beside = asyncio.create_task(_beside(flood, over))
        sending = asyncio.create_task(flood.send(number, a_second))
        try:
            await asyncio.to_thread(finished, running.story(), PATIENCE_S)
            while not sending.done():
                await asyncio.to_thread(finished, running.story(), PATIENCE_S)
            await sending
            for topic in TOPICS:
                await flood.largest(topic)
                with pytest.raises(MessageSizeTooLargeError):
                    await flood.raw(topic, 0, read([flood.sized(topic, LIMIT + 1)]), 1)
        finally:
            over.set()
            await beside
        return flood.sent


async def _beside(flood: Flood, over: asyncio.Event) -> None:
    """A well-formed event of a publisher now and then, in each partition."""
    number = 0
    while not over.is_set():
        for topic in (INBOUND, OWN_TOPIC):
            number += 1
            await flood.raw(topic, number // 2 % _partitions()[topic], read([good(topic, -number)]), 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await over.wait()


def _partitions() -> dict[str, int]:
    return {topic.name: topic.partitions for topic in declared() if topic.name in TOPICS}


@dataclass(slots=True)
class Parked:
    """What is parked of what was sent: by whom, for which reasons, and what has other bytes than were sent."""

    places: set[tuple[str, str, int, int]] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)
    otherwise: list[str] = field(default_factory=list)


async def _parked(dsns: Mapping[str, str], sent: Mapping[Place, Sent]) -> Parked:
    """Compares each row as it comes: all of them together would be gigabytes."""
    found = Parked()
    for dsn in dsns.values():
        db = await asyncpg.connect(dsn)
        async with db.transaction(readonly=True):
            async for row in db.cursor("select * from engine.parked", prefetch=100):
                if (each := sent.get((row["topic"], row["partition"], row["offset"]))) is None:
                    continue
                found.places.add((row["consumer"], each.topic, each.partition, each.offset))
                found.reasons[row["reason"]] += 1
                headers = [(n.encode(errors="surrogateescape"), v) for n, v in headers_of(json.loads(row["headers"]))]
                if (row["key"], row["value"], headers) != (each.record.key, each.record.value, [*each.record.headers]):
                    found.otherwise.append(
                        f"{row['consumer']} has other bytes of {each.what}: {each.topic}/{each.offset}"
                    )
        await db.close()
    return found


def _missing(sent: Sequence[Sent], parked: Parked) -> list[str]:
    """The records that a consumer should have parked and has not."""
    wrong = []
    for service in definitions():
        for what in service.consumers:
            name = f"{service.name}.{what.name}"
            topics = topics_read(what.topics, TOPICS)
            for each in sent:
                if each.topic not in topics or (each.by_type and "CsnIssued" not in what.types):
                    continue
                if (name, each.topic, each.partition, each.offset) not in parked.places:
                    wrong.append(f"{name} has not parked {each.what} at {each.topic}/{each.partition}/{each.offset}")
    return wrong


async def _verifies(running: System) -> None:
    """What `tenure verify` judges: the stores are sound; in the topics only what was planted is not theirs."""
    with patch.object(findings, "SHOWN", 10**9):
        for service in definitions():
            name, dsn = service.name, running.dsns()[service.name]
            alone = await verify(name, dsn, running.kafka.access, streams=service.streams, topic=False)
            assert alone.sound, alone.findings.first[:10]
            whole = await verify(name, dsn, running.kafka.access, streams=service.streams)
            others = [each for each in whole.findings.first if _place(each) not in running.planted]
            assert not others, others[:10]
            print(f"verify {name}: {whole.events} events are sound, {whole.findings.number} records are not its own")


_PLACE: Final = re.compile(r"([a-z0-9.]+), partition (\d+), offset (\d+)")


def _place(finding: Finding) -> tuple[str, int, int] | None:
    """The place in a topic that a finding names."""
    found = _PLACE.search(finding.place)
    return None if found is None else (found[1], int(found[2]), int(found[3]))


def _tell(sent: Sequence[Sent], lasted: float, rested: float, longest: Mapping[str, Longest], parked: Parked) -> None:
    rate = len(sent) / lasted
    print(f"{len(sent)} hostile records in {lasted:.1f} s, {rate:.0f}/s; at rest {rested - lasted:.1f} s later")
    print("parked: " + ", ".join(f"{reason} {number}" for reason, number in parked.reasons.most_common()))
    for topic, each in sorted(longest.items()):
        print(
            f"{topic}: {each.records} well-formed records, waited {each.longest_s:.1f} s at most "
            f"({each.consumer}, {each.place}), {each.median_s:.2f} s in the middle"
        )
