"""The comparison of a store with its topic, before anything is published.

A PostgreSQL that was restored from a backup is older than Kafka; a Kafka that lost data is older than PostgreSQL. To
continue in either case would give one position two events, or leave a gap in the topic. So the relay refuses to
publish, and while the topic is ahead of the store, the store takes no commands: they would be decided on outdated
facts.

The guard runs before a process decides anything, before a relay publishes, as soon as a relay finds that the store does
not have what was published, and before the first write over a new connection, because PostgreSQL may have been replaced
while processes run. A topic may be replaced as well, so a relay that runs has its ends checked now and then.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.relay import READ_EVENTS
from shared.eventlog.repair.chains import Chains, OwnRecord, location
from shared.eventlog.repair.topic import LOOK_BACK, TopicReader, ends_of
from shared.eventlog.write.postgres import PostgresStore

FENCE: Final = "the store and its topic differ: "
"""The prefix of the guard's reasons; `log.fence` and `log.unfence` accept no others."""
CHECK_S: Final = 3.0
"""How long a write waits for Kafka after its connection was replaced."""
RECHECK_S: Final = 0.7
"""How long a topic is looked for before it counts as deleted, in less time than a relay's lease lasts."""
FURTHER: Final = 20 * READ_EVENTS
"""How many of each partition's last records are read before events count as missing from the topic."""

_REMEDY: Final = "`tenure restore topic` publishes them again from the store"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Finding:
    """The result of comparing the store with its topic."""

    why: str | None
    """Why the store must not be written to; None if it may be."""
    top: int
    """The highest position of the store's own events that was seen in the topic."""


class Guard:
    """Comparison of a store with the last events of each partition of its topic.

    If the last records are what the store holds at their positions, nothing more is read. Otherwise each partition that
    differs is read from the first offset at which it may have something that the store does not hold, and its records
    are checked by their chains (`chains`). A record that is no event of the log does not fence the store, and does not
    hide that events are missing.
    """

    def __init__(self, store: PostgresStore, service: str, topic: str, access: KafkaAccess) -> None:
        self._store, self._service, self._topic, self._access = store, service, topic, access
        self._last: tuple[object, _Finding] | None = None
        """The last full check: the state of store and topic that it saw, and its result, which is reused for the same
        state."""
        self._ends: Mapping[int, int] = {}
        """The topic's ends when it was last compared or checked."""

    async def __call__(self, relayed: int = 0) -> str | None:
        """Return why nothing may be published after the checkpoint `relayed`, or None.

        Fences the store while the topic has events that the store does not have. Raises KafkaError or Unavailable.
        """
        try:
            async with TopicReader(self._topic, self._access) as reader:
                self._ends = reader.ends
                finding = await self._check(reader)
                if finding.why is not None:
                    return finding.why
                top = finding.top
                if relayed > top:  # unless the last records are repeats, events are missing
                    top = max([await self._top(reader, n) for n in reader.ends])
        except UnknownTopicOrPartitionError:
            if not relayed:
                raise
            return self._no_topic(relayed)
        if relayed > top:
            return (
                f"{self._topic} ends at position {top}, though {relayed} were published: {relayed - top} events are "
                f"missing there. {_REMEDY}"
            )
        return self._too_few(relayed)

    async def recheck(self, relayed: int) -> str | None:
        """Return why the topic can't have all that was published, or None.

        Only the ends of its partitions are compared: with the number of events that were published, of which each has a
        record, and with the ends that were seen before, which never fall. Raises KafkaError.
        """
        try:
            before, self._ends = self._ends, await ends_of(self._topic, self._access, RECHECK_S)
        except UnknownTopicOrPartitionError:
            return self._no_topic(relayed)
        fallen = [n for n, end in sorted(before.items()) if self._ends.get(n, 0) < end]
        if fallen:
            n = fallen[0]
            return f"{self._topic} [{n}] ended at offset {before[n]}, and ends at {self._ends.get(n, 0)} now. {_REMEDY}"
        return self._too_few(relayed)

    def _no_topic(self, relayed: int) -> str:
        return (
            f"there is no topic {self._topic}, though {relayed} events were published. "
            f"`python -m deploy.topics` creates it, and {_REMEDY}"
        )

    def _too_few(self, relayed: int) -> str | None:
        """Return that the topic has had fewer records than events were published, or None."""
        if (records := sum(self._ends.values())) >= relayed:
            return None
        return (
            f"{self._topic} has had {records} records, though {relayed} events were published: it was created again, "
            f"and {relayed - records} or more are missing there. {_REMEDY}"
        )

    async def when_back(self) -> None:
        """Compare the store with its topic before the first write over a new connection.

        If Kafka is unavailable, or the comparison takes longer than CHECK_S and has not fenced the store by then,
        commands are taken as they always are while Kafka is away: the relay compares again before it publishes them.
        Raises Unavailable.
        """
        try:
            async with asyncio.timeout(CHECK_S), TopicReader(self._topic, self._access) as reader:
                finding = await self._check(reader)
        except (KafkaError, OSError, TimeoutError) as fault:
            logger.warning(
                "reconnected to PostgreSQL, but could not compare the store with its topic",
                topic=self._topic,
                fault=repr(fault),
            )
            return
        if finding.why is not None:
            logger.critical("the store and its topic differ: no commands are taken", reason=finding.why)

    async def _check(self, reader: TopicReader) -> _Finding:
        """Compare the store with its topic, and fence it while it must not be written to."""
        tails = {n: await reader.tail(n, self._service, LOOK_BACK) for n in reader.ends}
        # The store's head is read after the topic's ends, so that events published meanwhile are in the store.
        head = await self._store.position()
        last = {n: max(tail, key=lambda record: record.position) for n, tail in tails.items() if tail}
        stored = await self._store.in_store([record.event for record in last.values()])
        own = {
            n for (n, record), held in zip(last.items(), stored, strict=True) if held.hash == record.event.envelope.hash
        }
        top = max((last[n].position for n in own), default=0)
        result = _Finding(None, top)
        if differing := [n for n in last if n not in own]:
            state = (head, await self._store.chain_at(head), str(reader.starts), str(reader.ends))
            if self._last is None or self._last[0] != state:
                if any(reader.ends[n] - reader.starts[n] > LOOK_BACK for n in differing):
                    await self._fence_if_ahead([record for n in differing for record in tails[n]], head)
                self._last = state, await self._check_fully(reader, differing, head)
            result = _Finding(self._last[1].why, max(top, self._last[1].top))
        await self._store.fence(None if result.why is None else FENCE + result.why)
        return result

    async def _fence_if_ahead(self, tail: Sequence[OwnRecord], head: int) -> None:
        """Fence the store at once if one of these records continues it.

        To count how far the topic is ahead may take long.
        """
        for batch in _batches([record for record in tail if record.position > head]):
            stored = await self._store.in_store([record.event for record in batch])
            for record, held in zip(batch, stored, strict=True):
                if held.version_at is None and Chains().accepts(record, held):
                    why = f"{self._topic} is ahead of the store: after position {head}, where the store ends, it has "
                    await self._store.fence(f"{FENCE}{why}position {record.position} ({location(record.raw)})")
                    return

    async def _check_fully(self, reader: TopicReader, partitions: Iterable[int], head: int) -> _Finding:
        """Check every record of these partitions that the store may not hold."""
        ahead: OwnRecord | None = None
        top, differing, present = 0, dict[int, OwnRecord](), set[int]()
        for n in partitions:
            begin = await reader.begin_of_unknown(n, self._service, self._store.in_store)
            chains = Chains({n: begin.published})
            async for batch in reader.own_records(n, begin.offset, reader.ends[n], self._service):
                stored = await self._store.in_store([record.event for record in batch])
                for record, held in zip(batch, stored, strict=True):
                    if not chains.accepts(record, held):
                        continue
                    chains.note(record)
                    if held.hash == record.event.envelope.hash:
                        present.add(record.position)
                        top = max(top, record.position)
                    elif held.hash is not None:
                        differing.setdefault(record.position, record)
                    elif ahead is None or record.position > ahead.position:
                        ahead = record
        differs = [record for position, record in differing.items() if position not in present]
        return _Finding(self._why(head, ahead, differs), top)

    def _why(self, head: int, ahead: OwnRecord | None, differs: Sequence[OwnRecord]) -> str | None:
        if ahead is not None:
            remedy = "`tenure reconcile` imports them" if head else "`tenure restore store` restores it from the topic"
            return (
                f"{self._topic} is ahead of the store by {ahead.position - head} events: the store ends at position "
                f"{head}, the topic at {ahead.position}, of {ahead.event.envelope.time:%Y-%m-%d %H:%M:%S} UTC. {remedy}"
            )
        if differs:
            first = min(differs, key=lambda record: record.position)
            envelope = first.event.envelope
            return (
                f"position {first.position} is {envelope.stream} version {envelope.version} in the topic "
                f"({location(first.raw)}) and another event in the store. `tenure verify` shows where they differ"
            )
        return None

    async def _top(self, reader: TopicReader, partition: int) -> int:
        """Return the highest stored position among the partition's last FURTHER records."""
        tail = await reader.tail(partition, self._service, FURTHER)
        for batch in _batches(sorted(tail, key=lambda record: record.position, reverse=True)):
            stored = await self._store.in_store([record.event for record in batch])
            for record, held in zip(batch, stored, strict=True):
                if held.hash == record.event.envelope.hash:
                    return record.position
        return 0


def _batches(records: Sequence[OwnRecord]) -> Iterable[Sequence[OwnRecord]]:
    return [records[start : start + READ_EVENTS] for start in range(0, len(records), READ_EVENTS)]
