"""The execution of commands: load the stream's state, decide, append, answer.

Every command goes through `Log.execute` and so has the same guarantees: an acknowledged command is committed; a
repeated command id gets its first answer again; a refusal is stored with its reason and its evidence.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from time import perf_counter
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import uuid_utils

from shared.eventlog.decision import NO_CLAIMS, Decision, Rejected, Stream
from shared.eventlog.write.conditions import Condition, ConditionFailed
from shared.eventlog.write.reader import Reader, StreamState
from shared.eventlog.write.sealing import Sealer
from shared.eventlog.write.snapshots import EVERY, KeepsSnapshots, Snapshots
from shared.eventlog.write.store import (
    Conflict,
    Head,
    Moved,
    Outcome,
    Repeated,
    Store,
    Taken,
    Unavailable,
    Write,
    Written,
)
from shared.eventlog.write.storing import data_of, personal, refusal_json
from shared.eventlog.write.turns import Turn, Turns
from shared.events.base import Event
from shared.events.envelope import GENESIS, BadName, Envelope, StoredEvent, checked_name, hashed, source_of
from shared.events.upcasts import decode

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)

CONFLICTS_S: Final = 10.0
"""How long a command is decided again after conflicts with other processes.

The limit is a time and not a number of attempts: the process that appends has the new state at once, and the one that
conflicts has to read it first, so a process with a short queue can win a hundred times in a row."""
CACHED_STREAMS: Final = 20_000


class KeyReused(Exception):
    """The command id was used before for another command."""


class Meta(NamedTuple):
    """The metadata of a command.

    Attributes:
        actor: The command's sender. It is the actor of its events, unless their stream names another (`Stream.actor`).
        now: The time of the command's events, in UTC.
        fingerprint: A digest of the request, stored with the answer. The same command id with another fingerprint is
            refused.
        derived: Whether the command follows from an event or a timer and not from a request. Older answers to such
            commands have no fingerprint; a repeated command then gets the stored answer without a comparison.
    """

    command_id: str
    actor: str
    now: datetime
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    fingerprint: bytes = b""
    derived: bool = False


class Recorded(NamedTuple):
    """An event of an answer. In a dry run, `position` is 0 and `id` is empty."""

    id: str
    version: int
    position: int
    event: Event


class Accepted(NamedTuple):
    """The answer to a command that was accepted and whose events are committed.

    Attributes:
        version: The stream's version after the command.
        events: The command's events; none if it changed nothing.
        repeated: Whether this is the stored answer to an earlier request with the same command id.
    """

    stream: str
    version: int
    events: tuple[Recorded, ...]
    repeated: bool = False


class Refused(NamedTuple):
    """The answer to a command that was refused.

    Attributes:
        because: The ids of the events that justify the refusal.
        repeated: Whether this is the stored answer to an earlier request with the same command id.
    """

    stream: str
    rule: str
    reason: str
    remedy: str = ""
    because: tuple[str, ...] = ()
    repeated: bool = False


Answer: TypeAlias = Accepted | Refused


class Observer(Protocol):
    """A receiver of each answer, for metrics. Its methods must not raise or wait."""

    def answered(self, command: object, answer: Answer, seconds: float) -> None: ...


class Log:
    """The command execution of one service on its store.

    It is safe to use in many tasks of one event loop and in many processes.
    """

    def __init__(
        self,
        store: Store,
        service: str,
        *,
        new_id: Callable[[], str] = lambda: str(uuid_utils.uuid7()),
        observer: Observer | None = None,
        sealer: Sealer | None = None,
        cached_streams: int = CACHED_STREAMS,
        snapshot_every: int = EVERY,
    ) -> None:
        self.store = store
        self._source = source_of(service)
        self._new_id = new_id
        self._observer = observer
        self._sealer = sealer
        self._cache: OrderedDict[str, StreamState[Any]] = OrderedDict()
        self._cached_streams = cached_streams
        self._snapshots: Snapshots | None = None
        if snapshot_every > 0 and isinstance(store, KeepsSnapshots):
            self._snapshots = Snapshots(store, snapshot_every)
        self._turns: Turns[StreamState[Any]] = Turns()

    async def execute(
        self,
        stream: Stream[S, C, E],
        key: str,
        command: C,
        meta: Meta,
        condition: Condition | None = None,
        decided: Callable[[], None] | None = None,
    ) -> Answer:
        """Decide on the command and commit the decision.

        Args:
            condition: What the version that the command is decided on has to meet. A repeated command gets its first
                answer, whatever the version is now.
            decided: Called when the decision is on its way to the store: a command that is executed from then on is
                decided after this one. It must not raise or wait.

        Raises:
            ConditionFailed: The stream's version does not meet the condition. The command id stays free.
            BadName: An id or a name cannot be written into a header.
            KeyReused: The command id was used before for another command.
            EventTooLarge: The decision has an event larger than `EVENT_BYTES`.
            Conflict: The stream was too busy. Nothing was written; the command can be sent again.
            Unavailable: The outcome is unknown. The same command id can be sent again.
            Exception: The decider has a bug.
        """
        stream_id = checked_name(stream.id(key), "a stream id")
        _check_names(meta)
        began = perf_counter()
        turn = self._turns.begin(stream_id, alone=condition is not None)
        try:
            answer = await self._execute(stream, stream_id, command, meta, condition, turn, decided)
        finally:
            turn.end()
        if self._observer is not None:
            self._observer.answered(command, answer, perf_counter() - began)
        return answer

    async def _execute(
        self,
        stream: Stream[S, C, E],
        stream_id: str,
        command: C,
        meta: Meta,
        condition: Condition | None,
        turn: Turn[StreamState[Any]],
        decided: Callable[[], None] | None,
    ) -> Answer:
        taken: str | None = None
        deadline: float | None = None
        await turn.comes()
        while True:
            current = turn.after or self._cache.get(stream_id) or await self._load(stream, stream_id)
            if condition is not None and not condition(stream_id, current.head.version):
                current = await self._catch_up(stream, stream_id, current)  # it may be behind other processes
                known = await self.store.fingerprints([meta.command_id])
                if not known and not condition(stream_id, current.head.version):
                    raise ConditionFailed(stream_id, current.head.version)
            decision = stream.decide(command, current.state) if taken is None else stream.claimed(taken)
            taken = None
            if isinstance(decision, Rejected):
                sealed: Sequence[Event] = ()
            else:
                sealed = await self._sealed(decision) if personal(decision) else decision
            write, after = self._write(stream, stream_id, current, decision, sealed, meta, command)
            appended = self.store.append(write)
            turn.sends(after)
            if decided is not None:
                decided()
            try:
                outcome: Outcome = await appended
            except BaseException:
                self._cache.pop(stream_id, None)
                raise
            match outcome:
                case Written(position):
                    cached: StreamState[S] | None = self._cache.get(stream_id)
                    if cached is None or cached.head.version <= after.head.version:  # else it was read in the meantime
                        self._cache_state(stream_id, after)
                    turn.answered(committed=True)
                    return _answer(write, decision, position)
                case Moved():
                    now = asyncio.get_running_loop().time()
                    deadline = deadline or now + CONFLICTS_S
                    if now > deadline:
                        raise Conflict(
                            f"{stream_id}: other commands appended to this stream for {CONFLICTS_S:.0f} s; try again"
                        )
                    await turn.again()
                    cached = self._cache.get(stream_id)
                    if turn.after is None and cached is not None:
                        await self._catch_up(stream, stream_id, cached)
                case Taken(name):
                    taken = name
                    await turn.again()
                case Repeated() as first:
                    self._cache.pop(stream_id, None)
                    turn.answered(committed=False)
                    return await self._first_answer(first, write, derived=meta.derived)

    async def dry_run(
        self,
        stream: Stream[S, C, E],
        key: str,
        command: C,
        given: Sequence[E] = (),
        reader: Reader | None = None,
        condition: Condition | None = None,
    ) -> Answer:
        """Return the answer that `execute` would give now, without writing anything.

        Args:
            given: Events that other dry runs would have appended to the stream before this command.
            reader: The reader of the request, so that a stream is read only once.
            condition: As of `execute`.

        Raises:
            ConditionFailed: The stream's version does not meet the condition.
        """
        stream_id = checked_name(stream.id(key), "a stream id")
        current = await (self._fresh(stream, stream_id) if reader is None else reader.current(stream, stream_id))
        if condition is not None and not condition(stream_id, current.head.version):
            raise ConditionFailed(stream_id, current.head.version)
        state = reduce(stream.evolve, given, current.state)
        decision = stream.decide(command, state)
        if not isinstance(decision, Rejected):
            decision = await self._unless_taken(stream, stream_id, state, decision)
        if isinstance(decision, Rejected):
            return _refused(stream_id, decision)
        for event in decision:
            data_of(event)
        before = current.head.version + len(given)
        events = tuple(Recorded("", n, 0, event) for n, event in enumerate(decision, start=before + 1))
        return Accepted(stream_id, before + len(events), events)

    async def _unless_taken(
        self, stream: Stream[S, C, E], stream_id: str, state: S, decision: tuple[E, ...]
    ) -> Decision[E]:
        """Return the decision, or a refusal if it takes a name that another stream holds."""
        for event in decision:
            for name in stream.claims(state, event).take:
                if await self.store.holder(name) not in (None, stream_id):
                    return stream.claimed(name)
            state = stream.evolve(state, event)
        return decision

    async def state(self, stream: Stream[S, C, E], key: str) -> S:
        """Return the stream's state after everything that was committed before the call."""
        return (await self._fresh(stream, stream.id(key))).state

    def reader(self, ready: Callable[[], Awaitable[None]] | None = None) -> Reader:
        """Return a new reader for one request.

        Args:
            ready: Waits until the request may read a stream.
        """
        return Reader(self._fresh, ready)

    async def _fresh(self, stream: Stream[S, C, E], stream_id: str) -> StreamState[S]:
        current: StreamState[S] | None = self._cache.get(stream_id)
        if current is None:
            return await self._load(stream, stream_id)
        return await self._catch_up(stream, stream_id, current)

    async def _load(self, stream: Stream[S, C, E], stream_id: str) -> StreamState[S]:
        """Load a stream from its snapshot, if it has a valid one, and the events after it.

        Write a new snapshot if many events had to be folded.
        """
        current = StreamState(stream.initial, Head(), "")
        codec = None if self._snapshots is None else self._snapshots.codec(stream)
        if self._snapshots is None or codec is None:
            return await self._catch_up(stream, stream_id, current)
        snapshot, later = await self._snapshots.load(codec, stream_id)
        before = current if snapshot is None else StreamState(*snapshot)
        current = await self._catch_up(stream, stream_id, before, later)
        if current.head.version - before.head.version >= self._snapshots.every:
            with suppress(Unavailable):
                await self._snapshots.keep(codec, stream, stream_id, current.state, current.head, current.tenant)
        return current

    async def _catch_up(
        self,
        stream: Stream[S, C, E],
        stream_id: str,
        current: StreamState[S],
        later: Sequence[StoredEvent] | None = None,
    ) -> StreamState[S]:
        """Fold the events after `current`, and cache the result.

        Args:
            later: The events after `current`, or None to read them.
        """
        state, head, tenant = current.state, current.head, current.tenant
        if later is None:
            later = await self.store.read_stream(stream_id, head.version)
        for stored, event in zip(later, await self.opened(later), strict=True):
            if stored.envelope.prevhash != head.hash:
                raise RuntimeError(
                    f"{stream_id} version {stored.envelope.version} does not continue the version before it"
                )
            state = stream.evolve(state, cast("E", event))
            head, tenant = Head(stored.envelope.version or 0, stored.envelope.hash), stored.envelope.tenant
        current = StreamState(state, head, tenant)
        self._cache_state(stream_id, current)
        return current

    async def _sealed(self, events: Sequence[Event]) -> Sequence[Event]:
        if self._sealer is None:
            raise RuntimeError("an event with personal fields cannot be written: this log has no sealer")
        return await self._sealer.seal(events)

    async def opened(self, stored: Sequence[StoredEvent]) -> Sequence[Event]:
        """Return stored events with personal fields in the clear; those of the forgotten are empty."""
        events = [decode(envelope, data, trusted=True) for envelope, data in stored]
        if self._sealer is None or not personal(events):
            return events
        opened = await self._sealer.open(events)
        return [event.recorded(s.envelope.id) for event, s in zip(opened, stored, strict=True)]

    def _cache_state(self, stream_id: str, current: StreamState[Any]) -> None:
        self._cache[stream_id] = current
        self._cache.move_to_end(stream_id)
        if len(self._cache) > self._cached_streams:
            self._cache.popitem(last=False)

    def _write(
        self,
        stream: Stream[S, C, E],
        stream_id: str,
        current: StreamState[S],
        decision: Sequence[E] | Rejected,
        sealed: Sequence[Event],
        meta: Meta,
        command: C,
    ) -> tuple[Write, StreamState[S]]:
        """Return the write of a decision, and the stream as it will be after the commit.

        The `sealed` events are stored; the state is folded from the events of the decision.
        """
        write = Write(
            command_id=meta.command_id,
            fingerprint=meta.fingerprint,
            stream=stream_id,
            expected=current.head,
            time=meta.now,
        )
        if isinstance(decision, Rejected):
            write.refusal = refusal_json(decision, command)
            return write, current
        state, head, tenant = current.state, current.head, current.tenant
        events: list[StoredEvent] = []
        take: list[str] = []
        release: list[str] = []
        for event, sealed_event in zip(decision, sealed, strict=True):
            tenant = tenant or checked_name(stream.tenant(event), "a tenant")
            claims = stream.claims(state, event)
            if claims is not NO_CLAIMS:
                take += claims.take
                release += claims.release
            actor = checked_name(stream.actor(event), "an actor") or meta.actor
            stored = self._next(stream_id, head, sealed_event, tenant, actor, meta)
            state = stream.evolve(state, event.recorded(stored.envelope.id))
            head = Head(head.version + 1, stored.envelope.hash)
            events.append(stored)
        write.events, write.take = events, take
        write.release = [key for key in release if key not in take]
        return write, StreamState(state, head, tenant)

    def _next(self, stream_id: str, head: Head, event: Event, tenant: str, actor: str, meta: Meta) -> StoredEvent:
        data = data_of(event)
        envelope = Envelope(  # By position: names would take twice the time.
            self._new_id(),
            self._source,
            event.type(),
            stream_id,
            meta.now,
            event.SCHEMA,
            head.version + 1,
            None,
            meta.correlation_id,
            meta.causation_id,
            actor,
            tenant,
            meta.traceparent,
            head.hash,
            GENESIS,
            "" if meta.command_id == meta.causation_id else meta.command_id,
        )
        return StoredEvent(hashed(envelope, data), data)

    async def _first_answer(self, first: Repeated, write: Write, *, derived: bool) -> Answer:
        no_fingerprint = first.fingerprint is None or (derived and not first.fingerprint)
        same_request = no_fingerprint or first.fingerprint == write.fingerprint
        if not same_request or first.stream != write.stream:
            raise KeyReused(f"{write.command_id} was used before for another command")
        if first.refusal is not None:
            refusal = json.loads(first.refusal)
            because = tuple(refusal["because"])
            return Refused(first.stream, refusal["rule"], refusal["reason"], refusal["remedy"], because, repeated=True)
        stored = (await self.store.read_stream(first.stream, first.first))[: first.events]
        events = tuple(
            Recorded(s.envelope.id, s.envelope.version or 0, s.envelope.position or 0, event)
            for s, event in zip(stored, await self.opened(stored), strict=True)
        )
        # The store also sends a write again when its connection broke. That is not a repetition by the caller.
        ours = bool(write.events) and bool(stored) and stored[0].envelope.id == write.events[0].envelope.id
        return Accepted(first.stream, first.first + first.events, events, repeated=not ours)


def _check_names(meta: Meta) -> None:
    """Raise BadName if the metadata cannot be written into a record's headers."""
    command_id, actor, _, correlation_id, causation_id, traceparent, *_ = meta
    if not command_id:
        raise BadName("a command id must not be empty")
    checked_name(command_id, "a command id")
    checked_name(actor, "an actor")
    if correlation_id != command_id:
        checked_name(correlation_id, "a correlation id")
    if causation_id != command_id:
        checked_name(causation_id, "a causation id")
    checked_name(traceparent, "a traceparent")


def _refused(stream_id: str, refusal: Rejected) -> Refused:
    because = tuple(event.ref for event in refusal.because if event.ref)
    return Refused(stream_id, refusal.rule, refusal.reason, refusal.remedy, because)


def _answer(write: Write, decision: Sequence[Event] | Rejected, last: int) -> Answer:
    """Return the answer to a committed write whose last position is `last`."""
    if isinstance(decision, Rejected):
        return _refused(write.stream, decision)
    version, position = write.expected.version, last - len(decision)
    events = [Recorded(event.ref, version + n, position + n, event) for n, event in enumerate(decision, start=1)]
    return Accepted(write.stream, version + len(decision), tuple(events))


def utc_now() -> datetime:
    return datetime.now(UTC)
