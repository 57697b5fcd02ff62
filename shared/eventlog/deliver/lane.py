"""The work of one consumer on some of its partitions, one batch after the other.

A partition is in step while the lane takes its records from the process's reader, and apart while it fetches them
again from its own checkpoint: after an error, before a gap, or because it is behind. So a consumer that waits in a lane
does not hold the reader, and the reader does not hold it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.applying import Fault, Overtaken
from shared.eventlog.deliver.consumer import BATCH_RECORDS
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.received import Partition, Received, weight

logger = structlog.get_logger(__name__)

QUEUED: Final = 2 * BATCH_RECORDS
QUEUED_BYTES: Final = 4 * 1024 * 1024
"""The most records, and their greatest weight, that wait in a lane. With more, its partitions are apart."""
MAX_PAUSE_S: Final = 30.0
GAP_PAUSE_S: Final = 1.0
"""The longest pause before a partition with a gap is fetched again, whatever it waited for before."""
RETRY_S: Final = 0.2
"""The pause after checkpoints could not be read, or after an error that is a bug."""


class Source(Protocol):
    """What a lane asks of the process's reader."""

    def position(self, partition: Partition) -> int:
        """Return the offset of the next record that is offered to lanes."""

    async def refetch(self, offsets: Mapping[Partition, int]) -> Sequence[Any]:
        """Return records from these offsets on.

        Raises:
            KafkaError, OSError, TimeoutError: Kafka cannot be reached.
        """

    def balance(self, partition: Partition) -> None:
        """Fetch the partition's records while a lane takes them."""


class Work(Protocol):
    """What a lane asks of its consumer."""

    @property
    def name(self) -> str: ...

    async def read(self, records: Sequence[Any]) -> Sequence[Received]:
        """Read fetched records as the consumer needs them."""

    async def process(self, batch: Sequence[Received]) -> BatchPlan:
        """Process a batch.

        Raises:
            Fault: It has to be tried again.
        """

    async def checkpoints(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the last processed offset of each partition, or -1.

        Raises:
            Fault: They cannot be read.
        """

    def reports(self, partition: Partition, fault: str | None, *, gap: bool = False) -> None:
        """Note why a partition waits, or that it goes on."""


class Lane:
    """Partitions of one consumer that are processed one batch after the other."""

    def __init__(self, work: Work, source: Source) -> None:
        self._work, self._source = work, source
        self.next: dict[Partition, int] = {}
        """The next offset to process of each assigned partition. A batch that began at another one does not count."""
        self.pauses: dict[Partition, float] = {}
        """The last pause of each partition that is tried again."""
        self._queue: dict[Partition, list[Received]] = {}
        self._weight = 0
        self._apart: dict[Partition, float] = {}
        """The partitions that are apart, and when they are fetched again."""
        self._queued_from: dict[Partition, int] = {}
        """The offset up to which a partition is apart; its further records are in the queue."""
        self._unknown: set[Partition] = set()
        """The partitions whose checkpoints have to be read again."""
        self._worker: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether no records wait or are processed, and no partition is apart."""
        return self._worker is None

    def takes(self, partition: Partition) -> bool:
        """Return whether the lane takes this partition's records from the reader."""
        if partition not in self.next or partition in self._unknown:
            return False
        return partition not in self._apart or partition in self._queued_from

    def offered(self, partition: Partition, records: Sequence[Received]) -> Sequence[Received]:
        """Return those of the reader's records that the lane takes."""
        if not self.takes(partition):
            return ()
        first = self._queued_from.get(partition, self.next[partition])
        return records if records[0].raw.offset >= first else [r for r in records if r.raw.offset >= first]

    def add(self, records: Sequence[Received]) -> None:
        """Process these records after those that wait. They continue what was offered before."""
        for record in records:
            self._queue.setdefault((record.raw.topic, record.raw.partition), []).append(record)
        self._weight += _weight(records)
        if self._weight > QUEUED_BYTES or sum(map(len, self._queue.values())) > QUEUED:
            for partition in list(self._queue):
                self._fetch_again(partition, self._apart.get(partition, self._now()))
        self._start()

    def begun(self, records: Sequence[Received]) -> dict[Partition, int]:
        """Return the next offset of each partition of a batch that begins to be processed."""
        partitions = dict.fromkeys((r.raw.topic, r.raw.partition) for r in records)
        return {partition: self.next[partition] for partition in partitions if partition in self.next}

    def finished(self, begun: Mapping[Partition, int], done: BatchPlan) -> None:
        """Note what a batch has reached.

        Partitions that were placed elsewhere in the meantime do not count.
        """
        for partition, offset in begun.items():
            if self.next.get(partition) != offset or partition in self._unknown:
                continue
            if partition in done.refetch:
                self.next[partition] = done.refetch[partition]
                self._work.reports(partition, "; ".join(done.gaps) or "a version is missing", gap=True)
                self._pause(partition, "; ".join(done.gaps), GAP_PAUSE_S)
            elif partition in done.offsets:
                self.next[partition] = done.offsets[partition] + 1
                self.pauses.pop(partition, None)
                self._work.reports(partition, None)
            else:  # The checkpoint is ahead of these records, was set back, or no longer exists.
                self.reread_checkpoint(partition)

    def place(self, partition: Partition, offset: int) -> None:
        """Go on in a partition from this offset."""
        self._forget(partition)
        self.next[partition] = offset
        if offset < self._source.position(partition):
            self._apart[partition] = self._now()
            self._start()
        self._source.balance(partition)

    def reread_checkpoint(self, partition: Partition) -> None:
        """Read the partition's checkpoint again, and go on from there."""
        if partition in self.next:
            self._forget(partition)
            self._unknown.add(partition)
            self._start()

    def revoke(self, partition: Partition) -> None:
        """Give up a partition."""
        self._forget(partition)
        self.next.pop(partition, None)
        self.pauses.pop(partition, None)

    def close(self) -> None:
        """End what is being processed. It is processed again by whoever gets the partitions."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()

    def _forget(self, partition: Partition) -> None:
        self._weight -= _weight(self._queue.pop(partition, ()))
        self._apart.pop(partition, None)
        self._queued_from.pop(partition, None)
        self._unknown.discard(partition)

    def _fetch_again(self, partition: Partition, at: float) -> None:
        """Set a partition apart, from its next offset on."""
        self._forget(partition)
        self._apart[partition] = at
        self._source.balance(partition)

    def _pause(self, partition: Partition, fault: str, longest_s: float = MAX_PAUSE_S) -> None:
        """Set a partition apart, and wait longer each time before it is fetched again.

        Other partitions go on.
        """
        pause = self.pauses[partition] = min(2 * self.pauses.get(partition, 0.1), longest_s)
        logger.warning(
            "a consumer pauses a partition",
            consumer=self._work.name,
            partition=partition,
            fault=fault[:300],
            pause_s=pause,
        )
        self._fetch_again(partition, self._now() + pause)
        self._start()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _start(self) -> None:
        self._wake.set()
        if self._worker is None and not self._closed:
            self._worker = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Work until no records wait and every partition is in step."""
        try:
            while self._unknown or self._queue or self._apart:
                self._wake.clear()
                try:
                    await self._step()
                except Exception:
                    logger.exception("a consumer failed: it tries again", consumer=self._work.name)
                    await asyncio.sleep(RETRY_S)
        finally:
            self._worker = None

    async def _step(self) -> None:
        if self._unknown:
            await self._read_checkpoints()
        if due := [partition for partition, at in self._apart.items() if at <= self._now()]:
            await self._catch_up({partition: self.next[partition] for partition in due})
        if batch := self._next_batch():
            await self._process(batch)
        elif not due and not self._unknown:
            times = self._apart.values()
            try:
                async with asyncio.timeout_at(min(times) if times else None):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _read_checkpoints(self) -> None:
        partitions = sorted(self._unknown)
        try:
            offsets = await self._work.checkpoints(partitions)
        except Fault as fault:
            for partition in partitions:
                self._work.reports(partition, str(fault))
            await asyncio.sleep(RETRY_S)
            return
        for partition in partitions:
            if partition in self._unknown:
                self._work.reports(partition, None)
                self.place(partition, offsets[partition] + 1)

    def _next_batch(self) -> list[Received]:
        """Take a batch from the queue."""
        batch: list[Received] = []
        for partition in [each for each in self._queue if each not in self._apart]:
            room, records = BATCH_RECORDS - len(batch), self._queue.pop(partition)
            batch += records[:room]
            if records[room:]:
                self._queue[partition] = records[room:]
        self._weight -= _weight(batch)
        return batch

    async def _process(self, batch: Sequence[Received]) -> None:
        begun = self.begun(batch)
        try:
            done = await self._work.process(batch)
        except Fault as fault:
            for partition, offset in begun.items():
                if self.next.get(partition) == offset and partition not in self._unknown:
                    if not isinstance(fault, Overtaken):  # which is no reason to be not ready
                        self._work.reports(partition, str(fault))
                    self._pause(partition, str(fault))
        else:
            self.finished(begun, done)

    async def _catch_up(self, offsets: Mapping[Partition, int]) -> None:
        """Fetch and process records of partitions that are apart, from these offsets on."""
        try:
            fetched = await self._source.refetch(offsets)
        except (KafkaError, OSError, TimeoutError) as fault:
            for partition in offsets:
                if partition in self._apart:
                    self._work.reports(partition, repr(fault))
                    self._pause(partition, repr(fault))
            return
        read = await self._work.read(fetched)
        batch, past = list[Received](), set[Partition]()
        for record in read:
            partition = (record.raw.topic, record.raw.partition)
            if partition not in self._apart or self.next.get(partition) != offsets.get(partition):
                continue  # It was placed elsewhere in the meantime.
            if record.raw.offset >= self._queued_from.get(partition, record.raw.offset + 1):
                past.add(partition)
            else:
                batch.append(record)
        if batch:
            await self._process(batch)
        for partition in offsets:
            if partition in self._apart and self._apart[partition] <= self._now():
                self._join(partition, caught_up=partition in past)

    def _join(self, partition: Partition, *, caught_up: bool) -> None:
        """Take the partition's records from the reader again, if it has caught up.

        Shortly before, its further records begin to wait in the queue, so that a reader that goes on is reached.

        Args:
            caught_up: Whether all records before those in the queue are processed.
        """
        following, position = self.next[partition], self._source.position(partition)
        if partition in self._queued_from:
            if not caught_up and following < self._queued_from[partition]:
                return
            self.next[partition] = max(following, self._queued_from.pop(partition))
        elif following < position:
            if position - following <= BATCH_RECORDS:
                self._queued_from[partition] = position
                self._source.balance(partition)
            return
        del self._apart[partition]
        self._source.balance(partition)


def _weight(records: Sequence[Received]) -> int:
    return sum(weight(record.raw.headers, record.raw.value) for record in records)
