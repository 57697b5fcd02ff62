"""The engine's own tables in memory: consumers' progress, timers and clocks.

`tests/engine/test_tables.py` holds each to the answers of its sibling in PostgreSQL.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from shared.eventlog.deliver.clocks import MovedClock
from shared.eventlog.deliver.outcomes import Outcome
from shared.eventlog.deliver.plan import BatchPlan, Known, ParkedRecord, Seen
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import HIDING, Partition, Raw
from shared.eventlog.deliver.tables import (
    Asked,
    Content,
    Facts,
    Lock,
    OwnHead,
    PartitionProgress,
    StreamProgress,
    Version,
)
from shared.eventlog.deliver.timers import Cancel, DueTimer, Fired, Set
from shared.events import ClockMoved, ContractOpened, subjects
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY
from tests.simulation.database import Pool, Transaction


class MemoryTables:
    """`ConsumerTables` in a simulated database."""

    def __init__(self, db: Pool | Transaction) -> None:
        self._db = db

    async def assign(self, consumer: str, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        async with self._db.statement() as rows:
            return {each: rows.made(("checkpoint", consumer, *each), offset=-1)["offset"] for each in partitions}

    async def facts(
        self,
        asked: Mapping[str, Asked],
        own: Collection[Version] = (),
        others: Collection[Version] = (),
        *,
        lock: Lock = "none",
    ) -> Facts:
        async with self._db.statement() as rows:
            there = [
                (consumer, partition)
                for consumer, partition in sorted((c, p) for c, about in asked.items() for p in about.partitions)
                if rows.get("checkpoint", consumer, *partition)
                and not (lock == "skip" and rows.is_locked(("checkpoint", consumer, *partition)))
            ]
            for consumer, partition in there if lock != "none" else ():
                await rows.lock(("checkpoint", consumer, *partition))
            partitions: dict[str, dict[Partition, PartitionProgress]] = {consumer: {} for consumer in asked}
            for consumer, partition in there:
                partitions[consumer][partition] = self._partition(rows, consumer, partition)
            streams = {consumer: self._streams(rows, consumer, about.streams) for consumer, about in asked.items()}
            return Facts(partitions, streams, self._known(rows, own, others), OwnHead(len(rows.log.events), None))

    def _partition(self, rows: Transaction, consumer: str, partition: Partition) -> PartitionProgress:
        parked = [row["record"] for row in rows.all("parked") if row["consumer"] == consumer]
        unreadable = any(_place(p.record.raw) == partition and p.reason in HIDING for p in parked)
        return PartitionProgress((rows.get("checkpoint", consumer, *partition) or {})["offset"], unreadable)

    def _streams(self, rows: Transaction, consumer: str, streams: Collection[str]) -> Mapping[str, StreamProgress]:
        holding, progress = rows.parked(consumer), {}
        for stream in streams:
            row = rows.get("seen", consumer, stream)
            seen = None if row is None else Seen(row["version"], row["hash"])
            parked = [(each["version"], each["record"].reason) for each in holding if each["stream"] == stream]
            following = (seen or Seen()).version + 1
            blocked = any(reason != "gap" and version <= following for version, reason in parked)
            progress[stream] = StreamProgress(seen, bool(parked), blocked)
        return progress

    def _known(self, rows: Transaction, own: Collection[Version], others: Collection[Version]) -> dict[Version, Known]:
        known = {}
        for version in own:
            if (event := rows.stored(*version)) is not None:
                envelope = event.envelope
                known[version] = Known(envelope.hash, envelope.position, envelope.command_id)
        for version in others:
            if (row := rows.get("hash", *version)) is not None:
                known[version] = Known(row["hash"], record=row["record"])
        return known

    async def advance(self, done: Mapping[str, BatchPlan]) -> None:
        async with self._db.statement() as rows:
            for consumer, plan in done.items():
                for stream, seen in plan.seen.items():
                    at = ("seen", consumer, stream)
                    rows.put(at, consumer=consumer, stream=stream, version=seen.version, hash=seen.hash)
                for partition, offset in plan.offsets.items():
                    if rows.get("checkpoint", consumer, *partition) is not None:
                        rows.put(("checkpoint", consumer, *partition), offset=offset)
                for (stream, version), known in plan.known.items():
                    rows.made(("hash", stream, version), hash=known.hash, record=known.record)

    async def park(self, consumer: str, records: Sequence[ParkedRecord]) -> None:
        async with self._db.statement() as rows:
            for parked in records:
                raw, envelope = parked.record.raw, parked.record.envelope if parked.record.sequenced else None
                key = ("parked", consumer, *_place(raw), raw.offset)
                if (there := rows.get(*key)) is None:
                    rows.put(
                        key,
                        consumer=consumer,
                        stream=envelope and envelope.stream,
                        version=envelope and envelope.version,
                        holds_stream=parked.holds_stream,
                        record=parked,
                    )
                elif there["record"].record.raw != raw:
                    raise asyncpg.RaiseError(f"another record is parked at {key}")

    async def claim(self, consumer: str, contents: Sequence[Content]) -> Mapping[bytes, bytes]:
        async with self._db.statement() as rows:
            return {
                identity: rows.made(("inbound", consumer, identity), content=content)["content"]
                for identity, content in contents
            }

    async def unclaim(self, consumer: str, contents: Sequence[Content]) -> None:
        async with self._db.statement() as rows:
            for identity, content in contents:
                if (row := rows.get("inbound", consumer, identity)) is not None and row["content"] == content:
                    rows.delete("inbound", consumer, identity)

    async def answer(self, outcomes: Sequence[Outcome]) -> None:
        async with self._db.statement() as rows:
            for outcome in outcomes:
                rows.made(("outcome", *outcome.place, outcome.status), outcome=outcome)

    async def content(self, consumer: str, identity: bytes) -> bytes | None:
        async with self._db.statement() as rows:
            return (rows.get("inbound", consumer, identity) or {}).get("content")


def _place(raw: Raw) -> Partition:
    return raw.topic, raw.partition


class MemoryTimers:
    """`TimerTable` in a simulated database."""

    def __init__(self, db: Pool | Transaction) -> None:
        self._db = db

    async def set(self, timer: Set, envelope: Envelope) -> None:
        async with self._db.statement() as rows:
            rows.put(
                ("timer", timer.name, timer.key),
                name=timer.name,
                key=timer.key,
                due=timer.due,
                customer=timer.customer,
                set_by=envelope.id,
                correlation_id=envelope.correlation_id,
                first_due=None,
            )

    async def cancel(self, timer: Cancel) -> None:
        async with self._db.statement() as rows:
            if rows.get("timer", timer.name, timer.key) is not None:
                rows.delete("timer", timer.name, timer.key)

    async def due(self, now: datetime, limit: int) -> Sequence[DueTimer]:
        async with self._db.statement() as rows:
            ahead = {row["organisation_id"]: row["ahead_s"] for row in rows.all("clock")}
            due = []
            for row in rows.all("timer"):
                ahead_s = ahead.get(row["customer"], 0)
                if row["due"] <= now + timedelta(seconds=ahead_s):
                    fields = {name: value for name, value in row.items() if name != "customer"}
                    due.append(DueTimer(**fields, ahead_s=ahead_s))
        return sorted(due, key=lambda timer: (timer.due, timer.key, timer.name))[:limit]

    async def delete(self, fired: Sequence[Fired]) -> None:
        async with self._db.statement() as rows:
            for timer in fired:
                if (row := rows.get("timer", *timer[:2])) is not None and row["due"] == timer[2]:
                    rows.delete("timer", *timer[:2])

    async def postpone(self, timer: Fired, until: datetime) -> None:
        async with self._db.statement() as rows:
            if (row := rows.get("timer", *timer[:2])) is not None and row["due"] == timer[2]:
                rows.put(("timer", *timer[:2]), due=until, first_due=row["first_due"] or row["due"])


class MemoryClocks:
    """`ClockTable` in a simulated database."""

    def __init__(self, db: Pool | Transaction) -> None:
        self._db = db

    async def moved_after(self, change: int) -> Sequence[MovedClock]:
        async with self._db.statement() as rows:
            moved = [MovedClock(**row) for row in rows.all("clock") if row["change"] > change]
        return sorted(moved, key=lambda clock: clock.change)


CLOCKS: Final = Projection(
    "clocks",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.ACCOUNTS,
        *subjects.AGREEMENTS,
        *subjects.ROLES,
        *subjects.SIGN_IN,
        ContractOpened,
    ),
)
"""It names no table for a replay to compare: the numbers of the changes depend on their order."""


@CLOCKS.on(ClockMoved)
async def clock_moved(tx: Any, event: ClockMoved, _envelope: Envelope) -> None:
    change = max((row["change"] for row in tx.all("clock")), default=0) + 1
    clock = MovedClock(event.organisation_id, event.ahead_s, change)
    tx.put(("clock", event.organisation_id), **clock._asdict())
