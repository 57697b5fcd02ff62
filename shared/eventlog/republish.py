"""A topic made again from its store: what it has lost is published once more."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from shared.eventlog.kafka import KafkaAccess
from shared.eventlog.parked import forget
from shared.eventlog.postgres import PostgresStore
from shared.eventlog.relay import Relay
from shared.eventlog.restore import BULK_S, OWNER, Refused, Restored, alone, opened
from shared.eventlog.store import Lease
from shared.eventlog.topic import Merge, Progress, TopicReader, in_order, silent
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)


async def restore_topic(
    service: str,
    dsn: str,
    access: KafkaAccess,
    *,
    consumers: Mapping[str, str],
    dry_run: bool = True,
    progress: Progress = silent,
) -> Restored:
    """Publishes again what a topic has lost: all of it after Kafka was made anew, or a tail. The records are the same,
    byte for byte. `consumers` are the databases of all services by name: their places in the topic are of no use any
    more, so they read it from its beginning and drop by version what they know. Raises Refused where what the topic
    still has is no beginning of the store."""
    topic = topic_of(service)
    async with opened(dsn, service) as (store, pool):
        result = Restored(service, dry_run)
        hashes = [row["hash"] for row in await pool.fetch(SQL["hashes"], timeout=BULK_S)]
        result.before = await _prefix(service, topic, access, hashes, progress)
        result.events, result.head = len(hashes) - result.before, len(hashes)
        relayed = await pool.fetchval(SQL["relayed"], f"relay:{topic}") or 0
        stale = await _stale(consumers, topic, access, lost=relayed > result.before)
        result.moved = sum(len(places) for places in stale.values())
        if dry_run or not (result.events or stale):
            return await _stands_at(pool, result)
        async with alone(store, pool, topic) as lease:
            for name, places in stale.items():
                await _forget(consumers[name], places)
            if relayed > result.before:
                await pool.execute(SQL["move_relay"], f"relay:{topic}", result.before, lease.token)
            await _publish(store, topic, access, lease, result, progress)
        return await _stands_at(pool, result)


async def _stands_at(pool: Any, result: Restored) -> Restored:
    result.chain = await pool.fetchval(SQL["chain"])
    return result


async def _prefix(service: str, topic: str, access: KafkaAccess, hashes: Sequence[bytes], progress: Progress) -> int:
    """Up to which position the topic has what the store has."""
    async with TopicReader(topic, access) as reader:
        merge, position = Merge(service, 0, reader.ends), 0
        async for found in in_order(
            reader, merge, dict(reader.starts), lambda n: progress("looking", n, reader.records)
        ):
            for one in found:
                if one.position > len(hashes):
                    raise Refused(
                        f"{topic} is ahead of the store, which ends at position {len(hashes)}: `tenure reconcile` "
                        "imports what is missing there."
                    )
                if hashes[one.position - 1] != one.event.of.hash:
                    raise Refused(
                        f"{topic} has another event at position {one.position} than the store. Find out with "
                        "`tenure verify` which of the two is right."
                    )
                position = one.position
    return position


async def _stale(
    consumers: Mapping[str, str], topic: str, access: KafkaAccess, *, lost: bool
) -> dict[str, list[tuple[str, str, int]]]:
    """The checkpoints that are of no use any more, by service: all in the topic if it has `lost` something, and those
    behind the end of any other (a foreign topic was lost, too, and can't be made again)."""
    result: dict[str, list[tuple[str, str, int]]] = {}
    ends: dict[str, dict[int, int]] = {}
    for name, dsn in consumers.items():
        db = await asyncpg.connect(dsn)
        try:
            rows = await db.fetch(SQL["offsets"])
        finally:
            await db.close()
        for row in rows:
            if row["topic"] not in ends:
                async with TopicReader(row["topic"], access) as reader:
                    ends[row["topic"]] = reader.ends
            beyond = row["offset"] >= ends[row["topic"]].get(row["partition"], 0)
            if (lost and row["topic"] == topic) or (beyond and not row["topic"].endswith(".events.v1")):
                result.setdefault(name, []).append((row["consumer"], row["topic"], row["partition"]))
    return result


async def _forget(dsn: str, places: Sequence[tuple[str, str, int]]) -> None:
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction():
            await forget(db, places)
    finally:
        await db.close()


class _Told:
    """The relay's progress, passed on."""

    def __init__(self, before: int, head: int, progress: Progress) -> None:
        self._before, self._head, self._progress = before, head, progress

    def relayed(self, position: int, events: int) -> None:  # noqa: ARG002
        self._progress("publishing", position - self._before, self._head - self._before)


async def _publish(
    store: PostgresStore, topic: str, access: KafkaAccess, lease: Lease, result: Restored, progress: Progress
) -> None:
    """By the relay itself, under the lease that is held already."""
    await store.release(f"relay:{topic}", lease)
    relay = Relay(store, topic, access, owner=OWNER, progress=_Told(result.before, result.head, progress))
    task = asyncio.create_task(relay.run())
    try:
        while (await store._fetch(SQL["relayed"], relay.name))[0]["position"] < result.head:
            if relay.alarm:
                raise Refused(f"The relay refuses to publish: {relay.alarm}.")
            await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
