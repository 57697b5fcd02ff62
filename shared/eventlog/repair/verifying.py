"""The course of a verification: its parts in order, and what is kept of them."""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from shared.eventlog.decision import Stream
from shared.eventlog.deliver.received import digest_of
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.findings import Findings
from shared.eventlog.repair.store_check import BEGIN, Point
from shared.eventlog.repair.topic import ReportProgress, TopicReader
from shared.eventlog.repair.topic_check import Presence
from shared.eventlog.repair.verified import Kept, Reached, Run, Sound
from shared.eventlog.repair.verify_parts import CheckedStore, CheckedTopic, StorePart, TopicPart, other_command
from shared.eventlog.repair.verify_workers import ChecksParts, Workers
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.snapshots import altered
from shared.events.envelope import stamp
from shared.sql import statements

SQL: Final = statements(__file__)
PART: Final = 20_000
"""The number of events or records in a part; a part of a store ends with the batch that reaches it."""
PARTS_A_WORKER: Final = 25
"""Half a million events: with fewer, starting a further process takes longer than it saves."""
KEEP_S: Final = 1.0
_ROWS: Final = 5_000


class Verification:
    """A verification of one service's log. `run` has its findings, and how far it has come."""

    def __init__(
        self, service: str, db: Any, notes: Kept, marks: Sequence[Anchor], relayed: int, progress: ReportProgress
    ) -> None:
        self._service, self._db, self._notes, self._progress = service, db, notes, progress
        self._marks, self._relayed = sorted(set(marks), key=_position), relayed
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._kept_at = 0.0
        self._reported: set[str] = set()
        self.run = Run(began=stamp(datetime.now(UTC)), findings=Findings(service))
        self.before: Sound | None = None
        self.continued = 0
        self.disregarded = 0
        """A position of which something is kept that this store contradicts."""

    # ── Beginning ──────────────────────────────────────────────────────────────────────────────────────

    async def begin(self, reader: TopicReader | None, *, since_last: bool, anew: bool) -> None:
        """Determine where store and topic end, and where to begin."""
        self._kind = ("since the last" if since_last else "whole") + ("" if reader else ", store only")
        if reader is not None:
            self._starts, self._ends = dict(reader.starts), dict(reader.ends)
        row = await self._db.fetchrow(SQL["ends"])
        self.head = Point(row["position"], row["chain"])
        self._last = int(max(row["position"], row["event"], row["batch"]))
        sound = self._notes.sound()
        if sound is not None and not await self._holds(sound.store):
            self.disregarded, sound = sound.store.position if since_last else 0, None
        run = None if anew else self._notes.run(self._kind)
        if run is not None and await self._continues(run, sound, reader):
            self.run, self.continued = run, run.store.position
        elif since_last and sound is not None:
            self.run.since, self.run.store = sound.store.position, sound.store
            if sound.partitions and await self._same_topic(reader, sound.partitions):
                self.run.partitions, self.run.present = dict(sound.partitions), Presence(sound.published)
        self.before = sound if self.run.since else None

    async def _continues(self, run: Run, sound: Sound | None, reader: TopicReader | None) -> bool:
        """Return whether the store and the topic still are those of a verification that was stopped."""
        if not await self._holds(run.store):
            self.disregarded = run.store.position
            return False
        known = run.since == 0 or (sound is not None and sound.store.position == run.since)
        return known and await self._same_topic(reader, run.partitions)

    async def _holds(self, point: Point) -> bool:
        """Return whether the store notes this chain at this position."""
        return point == BEGIN or bool(await self._db.fetchval(SQL["chain_at"], point.position) == point.chain)

    async def _same_topic(self, reader: TopicReader | None, partitions: Mapping[int, Reached]) -> bool:
        """Return whether the last record that was read of each partition is still there."""
        if reader is None:
            return not partitions
        for n, reached in partitions.items():
            if reached.digest:
                if not reader.starts.get(n, 0) < reached.offset <= reader.ends.get(n, 0):
                    return False
                raws = (await reader.read([n], {n: reached.offset - 1}, 1)).get(n)
                if not raws or digest_of(raws[0]) != reached.digest:
                    return False
        return True

    def workers(self, at_most: int) -> int:
        """Return how many processes the parts that are left are worth."""
        parts = 1 + max(self._last - self.run.store.position, sum(self._unread().values())) // PART
        return max(1, min(at_most, parts // PARTS_A_WORKER))

    def _unread(self) -> dict[int, int]:
        return {n: max(0, end - self._reached(n).offset) for n, end in self._ends.items()}

    def _reached(self, partition: int) -> Reached:
        start = self._starts[partition]
        reached = self.run.partitions.get(partition, Reached(start, b"", 0))
        return reached._replace(offset=max(reached.offset, start))

    # ── The store ──────────────────────────────────────────────────────────────────────────────────────

    async def check_store(self, workers: Workers, streams: Sequence[Stream[Any, Any, Any]]) -> None:
        """Check the parts of the store that are left, and then what concerns it as a whole."""
        waiting: deque[tuple[StorePart, Point, asyncio.Task[CheckedStore]]] = deque()
        try:
            async for part, end in self._parts_of_store():
                if len(waiting) >= 2 * workers.number:
                    await self._take_store(*waiting.popleft())
                waiting.append((part, end, asyncio.create_task(workers.store(part))))
            while waiting:
                await self._take_store(*waiting.popleft())
        finally:
            for _, _, task in waiting:
                task.cancel()
            await asyncio.gather(*(task for _, _, task in waiting), return_exceptions=True)
            self._notes.keep(self._kind, self.run)
        await self._check_outside()
        await self._check_earlier_anchors()
        await self._check_commands_and_snapshots(streams)

    async def _parts_of_store(self) -> AsyncIterator[tuple[StorePart, Point]]:
        """Yield the parts, each with its end and the chain that is noted there."""
        begin = self.run.store
        while row := await self._db.fetchrow(
            SQL["next_end"], begin.position + PART, min(self._last, self.head.position)
        ):
            end = Point(row["last_position"], row["chain"])
            yield StorePart(begin, end.position, None, self._between(begin.position, end.position)), end
            begin = end
        beyond = self._between(begin.position, None)
        yield StorePart(begin, self._last, self.head, beyond), self.head

    def _between(self, after: int, upto: int | None) -> Sequence[Anchor]:
        begin = bisect_right(self._marks, after, key=_position)
        return self._marks[begin : None if upto is None else bisect_right(self._marks, upto, key=_position)]

    async def _take_store(self, part: StorePart, end: Point, task: "asyncio.Task[CheckedStore]") -> None:
        """Take a part's result: it has to end where the next part began."""
        checked, run = await task, self.run
        run.findings.include(checked.findings)
        if part.head is None and checked.end != end and not checked.findings.number:
            place = f"store, positions {part.begin.position + 1} to {end.position}"
            run.findings.add(place, "the chain that is noted at their end changed while they were checked")
        self._reported.update(checked.commands)
        run.store, run.events, run.batches = end, run.events + checked.events, run.batches + checked.batches
        self._progress("store", end.position, self.head.position)
        self._keep()

    async def _check_outside(self) -> None:
        """Report events at positions that are in no part."""
        for row in await self._db.fetch(SQL["outside"]):
            where = f"store, position {row['position']} ({row['stream']} version {row['version']})"
            self.run.findings.add(where, "no log has this position")

    async def _check_earlier_anchors(self) -> None:
        """Compare the anchors of the part that is not read with the chains noted there."""
        earlier = self._between(0, self.run.since)
        rows = await self._db.fetch(SQL["chains_at"], sorted({mark.position for mark in earlier}))
        chains = {row["last_position"]: row["chain"] for row in rows}
        for mark in earlier:
            if chains.get(mark.position, mark.chain) != mark.chain:
                self.run.findings.add(
                    f"store, positions 1 to {mark.position}",
                    f"the chain that is noted there differs from the anchor of {mark.time}: events were rewritten",
                )

    async def _check_commands_and_snapshots(self, streams: Sequence[Stream[Any, Any, Any]]) -> None:
        store, findings = PostgresStore("", self._service), self.run.findings
        async with self._db.transaction(isolation="repeatable_read", readonly=True):
            if not self.run.since:
                async for row in self._db.cursor(SQL["unmade"], prefetch=_ROWS):
                    if row["id"] not in self._reported:
                        findings.add(*other_command(row))
            found = altered(self._db, lambda name: store.of_streams(self._db, [name]), streams, self.run.since)
            async for place, what in found:
                findings.add(place, what)

    # ── The topic ──────────────────────────────────────────────────────────────────────────────────────

    async def check_topic(self, workers: Workers) -> None:
        """Check what is left of each partition, several at a time, and what is missing."""
        partitions = iter(sorted(self._ends))

        async def check() -> None:
            async with workers.one() as checker:
                for n in partitions:
                    await self._check_partition(n, checker)

        tasks = [asyncio.create_task(check()) for _ in range(workers.number)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._notes.keep(self._kind, self.run)
        run = self.run
        self._published = run.present.complete(self._service, self._relayed, self._marks, run.findings)

    async def _check_partition(self, n: int, checker: ChecksParts) -> None:
        while (reached := self._reached(n)).offset < self._ends[n]:
            end = min(reached.offset + PART, self._ends[n])
            self._take_topic(n, reached, await checker.topic(TopicPart(n, reached.offset, end, reached.last)))

    def _take_topic(self, n: int, reached: Reached, checked: CheckedTopic) -> None:
        run = self.run
        run.findings.include(checked.findings)
        run.present.take(checked.present, checked.late, run.findings)
        run.partitions[n] = Reached(checked.next, checked.digest or reached.digest, checked.last)
        run.records += checked.records
        self._progress("topic", run.records, run.records + sum(self._unread().values()))
        self._keep()

    # ── What is kept ───────────────────────────────────────────────────────────────────────────────────

    def _keep(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._kept_at + KEEP_S:
            self._notes.keep(self._kind, self.run)
            self._kept_at = now

    def end(self, *, sound: bool) -> None:
        """Keep up to where the log is sound, or that it is not."""
        run, known = self.run, self._notes.sound()
        if not sound:
            self._notes.end(self._kind, None)
            return
        whole = (self.before.whole, self.before.whole_time) if self.before else (self.head.position, run.began)
        partitions, published = (known.partitions, known.published) if known else ({}, 0)
        if self._ends:
            partitions, published = run.partitions, self._published
        self._notes.end(
            self._kind,
            Sound(
                store=self.head,
                time=run.began,
                whole=whole[0],
                whole_time=whole[1],
                partitions=partitions,
                published=published,
            ),
        )


def _position(mark: Anchor) -> int:
    return mark.position
