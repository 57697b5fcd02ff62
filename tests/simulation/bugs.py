"""Bugs that the simulation must find: each a context in which the product, and not the simulation, is wrong."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final
from unittest.mock import patch

from aiokafka.errors import KafkaError

from shared.eventlog.deliver import applying, plan, received, relay, together
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.lane import Lane
from shared.eventlog.deliver.plan import BatchPlan
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.reader import SharedReader
from shared.eventlog.deliver.received import Received
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.deliver.together import Share
from shared.eventlog.deliver.traced import UNTRACED
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.store import Head, Outcome, Write
from shared.events.envelope import StoredEvent

Bug = Callable[[], AbstractContextManager[object]]

# ── The relay ──────────────────────────────────────────────────────────────────────────────────────────


def relay_skips() -> AbstractContextManager[object]:
    """The last event of a long batch is left out."""
    real = relay.plan

    def skipping(*arguments: Any) -> Mapping[int, Sequence[StoredEvent]]:
        return {n: events[:-1] if len(events) > 3 else events for n, events in real(*arguments).items()}

    return patch.object(relay, "plan", skipping)


def relay_hopes() -> AbstractContextManager[object]:
    """A batch that was not acknowledged is taken for sent."""
    real = Relay._acknowledged

    async def hoping(self: Relay, *arguments: Any) -> None:
        try:
            await real(self, *arguments)
        except KafkaError:
            return

    return patch.object(Relay, "_acknowledged", hoping)


def relay_swaps() -> AbstractContextManager[object]:
    """Two neighbours of a partition go out the other way round."""
    real = relay.plan

    def swapping(*arguments: Any) -> Mapping[int, Sequence[StoredEvent]]:
        return {n: [*events[1::-1], *events[2:]] for n, events in real(*arguments).items()}

    return patch.object(relay, "plan", swapping)


# ── Consumers ──────────────────────────────────────────────────────────────────────────────────────────


async def _planned(share: Share, tables: Any) -> BatchPlan:
    checkpoints = await together.read_checkpoints(tables, [share], "wait")
    return plan.plan(share.records, checkpoints[share.consumer])


async def _applied(share: Share, tx: Any, done: BatchPlan) -> None:
    if isinstance(share.definition, Projection):
        await applying.apply_each(done, applying.folding(share.definition, tx, careful=False), careful=False)


def commits_first() -> AbstractContextManager[object]:
    """The checkpoint moves before the effect."""

    async def fold(pool: Any, tables: Any, shares: Sequence[Share], **_: Any) -> dict[str, BatchPlan]:
        result = {}
        for share in shares:
            async with pool.acquire() as tx, tx.transaction():
                done = result[share.consumer] = await _planned(share, tables(tx))
                await together.note(tables(tx), {share.consumer: done})
            async with pool.acquire() as tx, tx.transaction():
                await _applied(share, tx, done)
        return result

    return patch.object(together, "fold", fold)


def reacts_after_commit() -> AbstractContextManager[object]:
    """A reaction's commands follow its checkpoint."""

    async def react(self: Consumer, _reactions: Any, share: Share) -> BatchPlan:
        async with self._pool.acquire() as tx, tx.transaction():
            done = await _planned(share, self._tables(tx))
            await together.note(self._tables(tx), {self.name: done})
        reactions: Any = self.definition
        await applying.apply_each(done, lambda record: self._reaction(reactions, record, {}, UNTRACED), careful=True)
        return done

    return patch.object(Consumer, "_react", react)


def commits_after() -> AbstractContextManager[object]:
    """The effect and the checkpoint are two transactions, and nobody looks whether a zombie is at work."""
    return _without_lock(checkpoint_apart=True)


def zombies_are_not_fenced() -> AbstractContextManager[object]:
    """The checkpoint is read in one transaction and moved in another, together with the effect."""
    return _without_lock(checkpoint_apart=False)


def _without_lock(*, checkpoint_apart: bool) -> AbstractContextManager[object]:

    async def fold(pool: Any, tables: Any, shares: Sequence[Share], **_: Any) -> dict[str, BatchPlan]:
        result = {}
        for share in shares:
            async with pool.acquire() as tx, tx.transaction():
                done = result[share.consumer] = await _planned(share, tables(tx))
            async with pool.acquire() as tx, tx.transaction():
                await _applied(share, tx, done)
                if not checkpoint_apart:
                    await together.note(tables(tx), {share.consumer: done})
            if checkpoint_apart:
                async with pool.acquire() as tx, tx.transaction():
                    await together.note(tables(tx), {share.consumer: done})
        return result

    return patch.object(together, "fold", fold)


def forgets_who_fails() -> AbstractContextManager[object]:
    """A consumer that could not process its records goes on with the next ones."""

    def finished(self: Lane, begun: Mapping[Any, int], done: BatchPlan) -> None:
        for partition in begun:
            self.next[partition] = self._source.position(partition)

    async def process(self: Lane, batch: Sequence[Received]) -> None:
        begun = self.begun(batch)
        try:
            self.finished(begun, await self._work.process(batch))
        except applying.Fault:
            self.finished(begun, BatchPlan())

    return patch.multiple(Lane, finished=finished, _process=process)


def repeats_count() -> AbstractContextManager[object]:
    """What was dealt with is dealt with again, as often as it comes."""

    def judge(self: Any, record: Received, envelope: Any, version: int) -> bool:
        self._result.seen[envelope.stream] = plan.Seen(version, envelope.hash)
        if record.event is not None:
            self._result.apply.append(record)
        return True

    return patch.object(plan.StreamJudge, "judge", judge)


def believes_the_second() -> AbstractContextManager[object]:
    """Of two different events of one version, the one that came last counts."""
    real = plan.StreamJudge.judge

    def judge(self: Any, record: Received, envelope: Any, version: int) -> bool:
        seen = self._result.seen.get(envelope.stream) or self._checkpoint.seen.get(envelope.stream) or plan.Seen()
        if record.event is None or seen.version != version or seen.hash == envelope.hash:
            return real(self, record, envelope, version)
        self._result.seen[envelope.stream] = plan.Seen(version, envelope.hash)
        self._result.apply.append(record)
        return True

    return patch.object(plan.StreamJudge, "judge", judge)


def takes_the_second_for_a_repeat() -> AbstractContextManager[object]:
    """Of two different events of one version, the second is dropped without a word."""
    real = plan.contradiction

    def agreeing(envelope: Any, known: Any, *, own: bool, raw: Any = None) -> Any:
        return None if known is not None else real(envelope, known, own=own, raw=raw)

    return patch.object(plan, "contradiction", agreeing)


def does_not_look_at_the_chain() -> AbstractContextManager[object]:
    """Whatever claims to be a stream's next event is, on other services' topics."""
    return patch.object(plan, "continues", lambda *_: True)


def does_not_look_at_the_type() -> AbstractContextManager[object]:
    """Any service may say anything on its topic."""
    return patch.object(received, "why_not_from", lambda *_: None)


def believes_kafka() -> AbstractContextManager[object]:
    """Kafka's notes of offsets are believed, not the database's."""

    def seek(self: Any, partition: Any, offset: int) -> None:
        self._position[partition] = 0

    return patch.object(SharedReader, "_seek", seek)


# ── The store ──────────────────────────────────────────────────────────────────────────────────────────


def forgets_commands() -> AbstractContextManager[object]:
    """A repeated command id is not known."""
    real = MemoryStore.append

    async def append(self: MemoryStore, write: Write) -> Outcome:
        self._commands.pop(write.command_id, None)
        return await real(self, write)

    return patch.object(MemoryStore, "append", append)


def appends_blindly() -> AbstractContextManager[object]:
    """A write is taken although its stream has moved on since it was decided."""
    real = MemoryStore.append

    async def append(self: MemoryStore, write: Write) -> Outcome:
        stream = self._streams.get(write.stream, [])
        write.expected = Head(stream[-1].envelope.version or 0, stream[-1].envelope.hash) if stream else Head()
        return await real(self, write)

    return patch.object(MemoryStore, "append", append)


BUGS: Final[tuple[Bug, ...]] = (
    relay_skips,
    relay_hopes,
    relay_swaps,
    commits_first,
    reacts_after_commit,
    commits_after,
    zombies_are_not_fenced,
    forgets_who_fails,
    repeats_count,
    believes_the_second,
    takes_the_second_for_a_repeat,
    does_not_look_at_the_chain,
    does_not_look_at_the_type,
    believes_kafka,
    forgets_commands,
    appends_blindly,
)
