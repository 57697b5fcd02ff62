"""Whether a system is at rest: everything stored is relayed, every consumer is at the end of every topic that it reads,
and no timer is due."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.events.base import Event
from shared.events.registry import topics_pattern, topics_read
from shared.runtime.service import Service

PATIENCE_S: Final = 60.0
_OWN: Final = """
    select (select position from log.head) as head,
        (select coalesce(max(position), 0) from engine.leases where name like 'relay:%') as relayed,
        (select count(*) from engine.timers t left join engine.clocks c on c.organisation_id = t.customer
         where t.due <= now() + coalesce(c.ahead_s, 0) * interval '1 s') as due"""


def readers(services: Sequence[Service]) -> dict[str, Sequence[str]]:
    """Every consumer that these services' registries name, with the topics that it reads."""
    return {f"{service.name}.{what.name}": what.topics for service in services for what in service.all_consumers}


def noting(services: Sequence[Service], event: type[Event], own: str) -> dict[str, list[str]]:
    """The projections that note these events, which are of the service `own`, by each other service."""
    return {
        service.name: [
            f"{service.name}.{each.name}"
            for each in service.all_consumers
            if isinstance(each, Projection) and event.type() in each.types
        ]
        for service in services
        if service.name != own
    }


def reactions(services: Sequence[Service]) -> dict[str, Sequence[str]]:
    """Those of them that turn events into commands, with the names of the services (or publishers) that they read."""
    return {
        f"{service.name}.{what.name}": [topic.partition(".")[0] for topic in what.topics]
        for service in services
        for what in service.consumers
        if isinstance(what, Reactions)
    }


async def rests(dsns: Mapping[str, str], access: KafkaAccess, reading: Mapping[str, Sequence[str]]) -> None:
    """Returns once it does. AssertionError, with what is still to do, if it does not in a minute."""
    kafka = AIOKafkaConsumer(**access.client())  # of no group: it is given every partition
    kafka.subscribe(pattern=topics_pattern({topic for read in reading.values() for topic in read}))
    await kafka.start()
    todo = "nothing was looked at"
    try:
        async with asyncio.timeout(PATIENCE_S):
            while todo := await _to_do(dsns, kafka, reading):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"the system does not come to rest: {todo}") from None
    finally:
        await kafka.stop()


async def _to_do(dsns: Mapping[str, str], kafka: Any, reading: Mapping[str, Sequence[str]]) -> str:
    """What is still to do, "" for nothing: heads are looked at before and after the consumers, which decide, too."""
    before = {name: await _row(dsn) for name, dsn in dsns.items()}
    for name, row in before.items():
        if row["head"] != row["relayed"]:
            return f"{name}'s relay is at {row['relayed']} of {row['head']}"
    ends = await kafka.end_offsets(list(kafka.assignment()))
    for name, dsn in dsns.items():
        notes = await _checkpoints(dsn)
        for consumer in (each for each in reading if each.partition(".")[0] == name):
            for place in (each for each in ends if each.topic in topics_read(reading[consumer], {each.topic})):
                at = notes.get((consumer, *place), -1)
                if at < ends[place] - 1:
                    return f"{consumer} is at {at} of {ends[place] - 1} in {place.topic}/{place.partition}"
    for name, dsn in dsns.items():
        row = await _row(dsn)
        if row["due"] or row["head"] != before[name]["head"]:
            return f"{name} has {row['due']} timers due, and is at {row['head']} after {before[name]['head']}"
    return ""


async def _row(dsn: str) -> Any:
    db = await asyncpg.connect(dsn)
    try:
        return await db.fetchrow(_OWN)
    finally:
        await db.close()


async def _checkpoints(dsn: str) -> dict[tuple[str, str, int], int]:
    db = await asyncpg.connect(dsn)
    try:
        rows = await db.fetch('select consumer, topic, partition, "offset" from engine.checkpoints')
        return {(row["consumer"], row["topic"], row["partition"]): row["offset"] for row in rows}
    finally:
        await db.close()
