"""Restore of a topic from its store: events that the topic has lost are published again."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.repair.checkpoints import read_again
from shared.eventlog.repair.restore import OWNER, Restored, RestoreRefused, alone, opened
from shared.eventlog.repair.topic import Merge, Missing, ReportProgress, TopicReader, in_order, silent
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import InStore, Lease
from shared.events.envelope import StoredEvent
from shared.events.registry import topic_of
from shared.sql import statements

SQL: Final = statements(__file__)

BULK_S: Final = 3_600.0
"""How long a query over all events may take."""


async def restore_topic(
    service: str,
    dsn: str,
    access: KafkaAccess,
    *,
    consumers: Mapping[str, str],
    dry_run: bool = True,
    progress: ReportProgress = silent,
) -> Restored:
    """Publish again what a topic has lost.

    That is everything if Kafka was reinstalled, or its last events. The records are the same, byte for byte. Consumers'
    checkpoints in the topic are no longer valid, so they read it from its beginning and skip the versions that they
    have processed.

    Args:
        consumers: the database of each service that may read the topic, by service.

    Raises:
        RestoreRefused: what the topic still has is not the beginning of the store's log, or the topic is ahead.
        Missing: the topic lacks events before others that it has.
    """
    topic = topic_of(service)
    async with opened(dsn, service) as (store, pool):
        result = Restored(service=service, dry_run=dry_run)
        hashes = [row["hash"] for row in await pool.fetch(SQL["hashes"], timeout=BULK_S)]
        await _prefix(result, access, hashes, progress)
        result.events, result.head = len(hashes) - result.before, len(hashes)
        relayed = await pool.fetchval(SQL["relayed"], f"relay:{topic}") or 0
        stale = await _stale(consumers, topic, access, lost=relayed > result.before)
        result.moved = sum(len(places) for places in stale.values())
        if dry_run or not (result.events or stale):
            return await _with_chain(pool, result)
        async with alone(store, pool, topic) as lease:
            for name, places in stale.items():
                await _read_again(consumers[name], places)
            if relayed > result.before:
                await pool.execute(SQL["move_relay"], f"relay:{topic}", result.before, lease.token)
            await _publish(store, topic, access, lease, result, progress)
        return await _with_chain(pool, result)


async def _with_chain(pool: Any, result: Restored) -> Restored:
    result.chain = await pool.fetchval(SQL["chain"])
    return result


async def _prefix(result: Restored, access: KafkaAccess, hashes: Sequence[bytes], progress: ReportProgress) -> None:
    """Find the position up to which the topic is complete. Raises RestoreRefused or Missing."""
    topic = topic_of(result.service)

    async def stored(events: Sequence[StoredEvent]) -> list[InStore]:
        return [
            InStore(hashes[n - 1] if n <= len(hashes) else None) for n in (e.envelope.position or 0 for e in events)
        ]

    async with TopicReader(topic, access) as reader:
        merge = Merge(result.service, len(hashes), reader.ends)
        async for _ in in_order(
            reader, merge, dict(reader.starts), lambda n: progress("looking", n, reader.records), stored
        ):
            raise RestoreRefused(
                f"{topic} is ahead of the store, which ends at position {len(hashes)}: `tenure reconcile` imports the "
                "events that the store lacks."
            )
    if merge.first_difference is not None:
        raise RestoreRefused(
            f"{topic} and the store have different events at position {merge.first_difference[0]}. Find out with "
            "`tenure verify` which of them is right."
        )
    result.strange = merge.strange
    missing = merge.there.find(0, 1)
    result.before = len(hashes) if missing == -1 else missing - 1
    if (after := merge.there.find(1, result.before + 1)) != -1:
        raise Missing(
            f"positions {result.before + 1} to {after - 1} are missing in {topic}, though later ones are there. "
            "The store has all of them: delete the topic, create it by `python -m deploy.topics`, and run this again"
        )


async def _stale(
    consumers: Mapping[str, str], topic: str, access: KafkaAccess, *, lost: bool
) -> dict[str, list[tuple[str, str, int]]]:
    """Find the checkpoints that are no longer valid, by service.

    These are all checkpoints in the topic if it has `lost` events, and those after the end of a foreign topic, which
    was lost too and can't be restored.
    """
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


async def _read_again(dsn: str, places: Sequence[tuple[str, str, int]]) -> None:
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction():
            await read_again(db, places)
    finally:
        await db.close()


class _RelayProgress:
    """Observer that reports a relay's progress."""

    def __init__(self, before: int, head: int, progress: ReportProgress) -> None:
        self._before, self._head, self._progress = before, head, progress

    def relayed(self, position: int, events: int) -> None:  # noqa: ARG002
        self._progress("publishing", position - self._before, self._head - self._before)


async def _publish(
    store: PostgresStore, topic: str, access: KafkaAccess, lease: Lease, result: Restored, progress: ReportProgress
) -> None:
    """Publish with a relay of its own, and wait until it has reached the store's head."""
    await store.release(f"relay:{topic}", lease)
    relay = Relay(store, topic, access, owner=OWNER, progress=_RelayProgress(result.before, result.head, progress))
    task = asyncio.create_task(relay.run())
    try:
        while (await store._fetch(SQL["relayed"], relay.name))[0]["position"] < result.head:
            if relay.alarm:
                raise RestoreRefused(f"The relay refuses to publish: {relay.alarm}.")
            await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
