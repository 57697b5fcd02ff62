"""Whether a store and its topic still belong together, looked at before anything is published.

A PostgreSQL that came back from a backup is older than Kafka; a Kafka that lost data is older than PostgreSQL. Going on
in either case would give one position two events, or leave a hole in the topic. So the relay refuses, and while the
topic knows more than the store, the store takes no commands: they would be decided on facts that are out of date.

It is asked before a process decides anything, by a relay before it publishes and as soon as it finds that the store
does not have what was published, and before the first write over a connection that was made anew: PostgreSQL may have
been exchanged beneath running processes.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.relay import READ_EVENTS
from shared.eventlog.repair.chains import Chains, OwnRecord, location
from shared.eventlog.repair.topic import LOOK_BACK, TopicReader
from shared.eventlog.write.postgres import PostgresStore

FENCE: Final = "the store and its topic differ: "
"""How the guard's reasons begin; `log.fence` and `log.unfence` take no others."""
LOOK_S: Final = 3.0
"""So long a write waits for Kafka after its connection was made anew."""
FURTHER: Final = 20 * READ_EVENTS
"""So many of each partition's records are read before it is said that some are missing."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Finding:
    """What a look at the topic says: why the store must not be written to, if so, and how far the topic has it."""

    why: str | None
    top: int


class Guard:
    """Compares a store with the last events of each partition of its topic.

    As long as the last records are what the store holds at their positions, that is all. Where they are not, each such
    partition is read from where it may have anything that the store does not hold, and its records are judged by their
    chains (`chains`): what is no event of the log neither fences the store nor hides that events are missing.
    """

    def __init__(self, store: PostgresStore, service: str, topic: str, access: KafkaAccess) -> None:
        self._store, self._service, self._topic, self._access = store, service, topic, access
        self._known: tuple[object, _Finding] | None = None
        """The last close look: of which store and topic, and its finding. It would be the same again."""

    async def __call__(self, relayed: int = 0) -> str | None:
        """Say why nothing may be published after the checkpoint `relayed`; None when all is well.

        Fences the store as long as the topic has what the store has not. Raises KafkaError or Unavailable."""
        async with TopicReader(self._topic, self._access) as reader:
            found = await self._look(reader)
            if found.why is not None:
                return found.why
            top = found.top
            if relayed > top:  # or its last records are repeats
                top = max([await self._top(reader, n) for n in reader.ends])
        if relayed > top:
            return (
                f"{self._topic} ends at position {top}, though {relayed} were published: {relayed - top} events are "
                f"missing there. `tenure restore topic` publishes them again from the store"
            )
        return None

    async def when_back(self) -> None:
        """Look before the first write over a connection that was made anew.

        Without Kafka nothing can be said, and commands are taken as they are whenever it is away; the relay looks
        before it publishes them. So it is where a look takes longer than LOOK_S, unless it has fenced the store by
        then. Raises Unavailable."""
        try:
            async with asyncio.timeout(LOOK_S), TopicReader(self._topic, self._access) as reader:
                found = await self._look(reader)
        except (KafkaError, OSError, TimeoutError) as fault:
            logger.warning("PostgreSQL is back, and the topic can't be looked at", topic=self._topic, fault=repr(fault))
            return
        if found.why is not None:
            logger.critical("the store and its topic differ: no commands are taken", reason=found.why)

    async def _look(self, reader: TopicReader) -> _Finding:
        """Judge the store, and fence it as long as it must not be written to."""
        tails = {n: await reader.tail(n, self._service, LOOK_BACK) for n in reader.ends}
        head = await self._store.position()  # after the topic's ends: what is published meanwhile is no fault
        last = {n: max(tail, key=lambda found: found.position) for n, tail in tails.items() if tail}
        stored = await self._store.in_store([found.event for found in last.values()])
        own = {
            n for (n, found), kept in zip(last.items(), stored, strict=True) if kept.hash == found.event.envelope.hash
        }
        top = max((last[n].position for n in own), default=0)
        result = _Finding(None, top)
        if doubtful := [n for n in last if n not in own]:
            begun = (head, await self._store.chain_at(head), str(reader.starts), str(reader.ends))
            if self._known is None or self._known[0] != begun:
                if any(reader.ends[n] - reader.starts[n] > LOOK_BACK for n in doubtful):
                    await self._fence_if_ahead([found for n in doubtful for found in tails[n]], head)
                self._known = begun, await self._closely(reader, doubtful, head)
            result = _Finding(self._known[1].why, max(top, self._known[1].top))
        await self._store.fence(None if result.why is None else FENCE + result.why)
        return result

    async def _fence_if_ahead(self, tail: Sequence[OwnRecord], head: int) -> None:
        """Fence the store at once where one of these records follows what it holds: how far the topic is ahead may take
        long to count."""
        for part in _parts([found for found in tail if found.position > head]):
            for found, kept in zip(part, await self._store.in_store([each.event for each in part]), strict=True):
                if kept.version_at is None and Chains().accepts(found, kept):
                    why = f"{self._topic} is ahead of the store: after position {head}, where the store ends, it has "
                    await self._store.fence(f"{FENCE}{why}position {found.position} ({location(found.raw)})")
                    return

    async def _closely(self, reader: TopicReader, partitions: Iterable[int], head: int) -> _Finding:
        """Judge every record of these partitions that may not be what the store holds."""
        ahead: OwnRecord | None = None
        top, differing, there = 0, dict[int, OwnRecord](), set[int]()
        for n in partitions:
            begin = await reader.begin_of_unknown(n, self._service, self._store.in_store)
            chains = Chains({n: begin.published})
            async for batch in reader.own_records(n, begin.offset, reader.ends[n], self._service):
                stored = await self._store.in_store([found.event for found in batch])
                for found, kept in zip(batch, stored, strict=True):
                    if not chains.accepts(found, kept):
                        continue
                    chains.note(found)
                    if kept.hash == found.event.envelope.hash:
                        there.add(found.position)
                        top = max(top, found.position)
                    elif kept.hash is not None:
                        differing.setdefault(found.position, found)
                    elif ahead is None or found.position > ahead.position:
                        ahead = found
        differs = [found for position, found in differing.items() if position not in there]
        return _Finding(self._why(head, ahead, differs), top)

    def _why(self, head: int, ahead: OwnRecord | None, differs: Sequence[OwnRecord]) -> str | None:
        if ahead is not None:
            remedy = (
                "`tenure reconcile` imports them" if head else "`tenure restore store` makes it again from the topic"
            )
            return (
                f"{self._topic} is ahead of the store by {ahead.position - head} events: the store ends at position "
                f"{head}, the topic at {ahead.position}, of {ahead.event.envelope.time:%Y-%m-%d %H:%M:%S} UTC. {remedy}"
            )
        if differs:
            found = min(differs, key=lambda each: each.position)
            return (
                f"position {found.position} is {found.event.envelope.stream} version "
                f"{found.event.envelope.version} in the topic "
                f"({location(found.raw)}) and another event in the store. `tenure verify` says from where on"
            )
        return None

    async def _top(self, reader: TopicReader, partition: int) -> int:
        """The highest position of the store's own events among the partition's last FURTHER records."""
        tail = await reader.tail(partition, self._service, FURTHER)
        for part in _parts(sorted(tail, key=lambda found: found.position, reverse=True)):
            stored = await self._store.in_store([found.event for found in part])
            for found, kept in zip(part, stored, strict=True):
                if kept.hash == found.event.envelope.hash:
                    return found.position
        return 0


def _parts(found: Sequence[OwnRecord]) -> Iterable[Sequence[OwnRecord]]:
    return [found[start : start + READ_EVENTS] for start in range(0, len(found), READ_EVENTS)]
