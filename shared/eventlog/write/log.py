"""One command's way: load the stream's state, decide, append to what was decided on, answer.

Every route ends here, so every command has the same promises: what was acknowledged is committed; a repeated command
id gets its first answer again; a refusal keeps its reason and its evidence.
"""

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import uuid_utils

from shared.eventlog.decision import NO_CLAIMS, Decision, Rejected, Stream
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
from shared.events.base import Event
from shared.events.envelope import BadName, Envelope, StoredEvent, checked_name, digest, source_of
from shared.events.upcasts import decode

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)

CONFLICTS_S: Final = 10.0
"""How long a command is decided again because its stream moved. By time, not by tries: a process that wins goes on
from what it knows, one that loses has to read first, so a short queue elsewhere can win a hundred times in a row."""
EVENT_BYTES: Final = 256 * 1024
CACHED_STREAMS: Final = 20_000


class KeyReused(Exception):
    """The command id was used before, for another command."""


class EventTooLarge(ValueError):
    """The command asks for an event that is larger than any may be."""


class Meta(NamedTuple):
    """What comes with a command: its id and who, why and from where. `fingerprint` is a digest of what was asked, kept
    with the answer: the same id with another one is refused. `now` is UTC. A `derived` command follows from an event
    or from time, and not from a request: where it was answered without a fingerprint, as all of them were once, what
    it was asked is not known, and it gets its answer."""

    command_id: str
    actor: str
    now: datetime
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    fingerprint: bytes = b""
    derived: bool = False


class Recorded(NamedTuple):
    """An event of an answer. `position` is 0 in a dry run, where `id` is empty, too."""

    id: str
    version: int
    position: int
    event: Event


class Accepted(NamedTuple):
    """The command's events are committed (there may be none, when nothing was new); `version` is the stream's."""

    stream: str
    version: int
    events: tuple[Recorded, ...]
    repeated: bool = False


class Refused(NamedTuple):
    """The command was refused, by this rule, for this reason; `because` are the ids of the events that justify it."""

    stream: str
    rule: str
    reason: str
    remedy: str = ""
    because: tuple[str, ...] = ()
    repeated: bool = False


Answer: TypeAlias = Accepted | Refused


class Sealer(Protocol):
    """Keeps personal fields under their person's key in the store, while states and answers have them in the clear."""

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        """These events as they are stored. What was forgotten stays forgotten: it is stored empty."""
        ...

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        """Stored events as their service reads them. What was forgotten reads empty; nothing fails for that."""
        ...


class Observer(Protocol):
    """Told of each answer; for metrics. Must not raise or wait."""

    def answered(self, command: object, answer: Answer) -> None: ...


@dataclass(slots=True)
class _Current(Generic[S]):
    """A stream as far as this process knows it."""

    state: S
    head: Head
    tenant: str


class Log:
    """The commands of one service over its store. Safe for many tasks of one event loop and for many processes."""

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
        self._cache: OrderedDict[str, _Current[Any]] = OrderedDict()
        self._cached_streams = cached_streams
        self._snapshots: Snapshots | None = None
        if snapshot_every > 0 and isinstance(store, KeepsSnapshots):
            self._snapshots = Snapshots(store, snapshot_every)
        self._turns: dict[str, deque[asyncio.Future[None]]] = {}

    async def execute(self, stream: Stream[S, C, E], key: str, command: C, meta: Meta) -> Answer:
        """Decide and commit. Raises BadName (an id that no header can hold), KeyReused, EventTooLarge, Conflict (too
        busy, try again), Unavailable (outcome unknown: send the same command id again), or whatever the decider raises
        by mistake."""
        stream_id = checked_name(stream.id(key), "a stream id")
        _check(meta)
        if stream_id in self._turns:
            await self._my_turn(stream_id)
        else:
            self._turns[stream_id] = deque()
        try:
            answer = await self._execute(stream, stream_id, command, meta)
        finally:
            self._next_turn(stream_id)
        if self._observer is not None:
            self._observer.answered(command, answer)
        return answer

    async def _my_turn(self, stream_id: str) -> None:
        """Within a process a stream's commands wait for each other instead of conflicting."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns[stream_id].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had just been given: the next one's now
                self._next_turn(stream_id)
            raise

    def _next_turn(self, stream_id: str) -> None:
        waiting = self._turns[stream_id]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._turns[stream_id]

    async def _execute(self, stream: Stream[S, C, E], stream_id: str, command: C, meta: Meta) -> Answer:
        taken: str | None = None
        deadline: float | None = None
        while True:
            current = self._cache.get(stream_id) or await self._load(stream, stream_id)
            decision = stream.decide(command, current.state) if taken is None else stream.claimed(taken)
            taken = None
            if isinstance(decision, Rejected):
                sealed: Sequence[Event] = ()
            else:
                sealed = await self._sealed(decision) if _personal(decision) else decision
            write, after = self._write(stream, stream_id, current, decision, sealed, meta)
            try:
                outcome: Outcome = await self.store.append(write)
            except BaseException:
                self._cache.pop(stream_id, None)
                raise
            match outcome:
                case Written(position):
                    self._keep(stream_id, after)
                    return _answer(write, decision, position)
                case Moved():
                    now = asyncio.get_running_loop().time()
                    deadline = deadline or now + CONFLICTS_S
                    if now > deadline:
                        raise Conflict(f"{stream_id} kept moving for {CONFLICTS_S:.0f} s; try again")
                    await self._catch_up(stream, stream_id, current)
                case Taken(name):
                    taken = name
                case Repeated() as first:
                    self._cache.pop(stream_id, None)
                    return await self._first_answer(first, write, derived=meta.derived)

    async def dry_run(
        self, stream: Stream[S, C, E], key: str, command: C, given: Sequence[E] = (), reader: "Reader | None" = None
    ) -> Answer:
        """The answer that `execute` would give now, from the same decider; nothing is written. `given` are events that
        other considered commands would have appended before; `reader` has read the stream already, perhaps."""
        stream_id = checked_name(stream.id(key), "a stream id")
        current = await (self._fresh(stream, stream_id) if reader is None else reader.current(stream, stream_id))
        state = reduce(stream.evolve, given, current.state)
        decision = stream.decide(command, state)
        if not isinstance(decision, Rejected):
            decision = await self._unless_taken(stream, stream_id, state, decision)
        if isinstance(decision, Rejected):
            return _refused(stream_id, decision)
        for event in decision:
            _data(event)
        before = current.head.version + len(given)
        events = tuple(Recorded("", n, 0, event) for n, event in enumerate(decision, start=before + 1))
        return Accepted(stream_id, before + len(events), events)

    async def _unless_taken(
        self, stream: Stream[S, C, E], stream_id: str, state: S, decision: tuple[E, ...]
    ) -> Decision[E]:
        """The decision, or the refusal of it for a name that another stream holds."""
        for event in decision:
            for name in stream.claims(state, event).take:
                if await self.store.holder(name) not in (None, stream_id):
                    return stream.claimed(name)
            state = stream.evolve(state, event)
        return decision

    async def state(self, stream: Stream[S, C, E], key: str) -> S:
        """The stream's state as of everything committed before the call."""
        return (await self._fresh(stream, stream.id(key))).state

    def reader(self) -> "Reader":
        """A reader for one request, which has read nothing yet."""
        return Reader(self._fresh)

    async def _fresh(self, stream: Stream[S, C, E], stream_id: str) -> _Current[S]:
        current: _Current[S] | None = self._cache.get(stream_id)
        if current is None:
            return await self._load(stream, stream_id)
        return await self._catch_up(stream, stream_id, current)

    async def _load(self, stream: Stream[S, C, E], stream_id: str) -> _Current[S]:
        """From a snapshot, where there is a good one. A load that had much to fold leaves one."""
        current, found = _Current(stream.initial, Head(), ""), None
        codec = None if self._snapshots is None else self._snapshots.codec(stream)
        if self._snapshots is None or codec is None:
            return await self._catch_up(stream, stream_id, current)
        kept, found = await self._snapshots.load(codec, stream_id)
        before = current = current if kept is None else _Current(*kept)
        current = await self._catch_up(stream, stream_id, current, found)
        if current.head.version - before.head.version >= self._snapshots.every:
            with suppress(Unavailable):
                await self._snapshots.keep(codec, stream, stream_id, current.state, current.head, current.tenant)
        return current

    async def _catch_up(
        self,
        stream: Stream[S, C, E],
        stream_id: str,
        current: _Current[S],
        found: Sequence[StoredEvent] | None = None,
    ) -> _Current[S]:
        """Folds what was appended since (`found`, if it was read already). The state at a version never changes, so a
        newer one may replace it."""
        state, head, tenant = current.state, current.head, current.tenant
        if found is None:
            found = await self.store.read_stream(stream_id, head.version)
        for stored, event in zip(found, await self._opened(found), strict=True):
            if stored.envelope.prevhash != head.hash:
                raise RuntimeError(
                    f"{stream_id} version {stored.envelope.version} does not continue what came before it"
                )
            state = stream.evolve(state, cast("E", event))  # a stream's events are of its own kinds
            head, tenant = Head(stored.envelope.version or 0, stored.envelope.hash), stored.envelope.tenant
        known = _Current(state, head, tenant)
        self._keep(stream_id, known)
        return known

    async def _sealed(self, events: Sequence[Event]) -> Sequence[Event]:
        if self._sealer is None:
            raise RuntimeError("an event with personal fields is not written without a sealer")
        return await self._sealer.seal(events)

    async def _opened(self, stored: Sequence[StoredEvent]) -> Sequence[Event]:
        events = [decode(envelope, data, trusted=True) for envelope, data in stored]
        if self._sealer is None or not _personal(events):
            return events
        opened = await self._sealer.open(events)
        return [event.recorded(s.envelope.id) for event, s in zip(opened, stored, strict=True)]

    def _keep(self, stream_id: str, current: _Current[Any]) -> None:
        self._cache[stream_id] = current
        self._cache.move_to_end(stream_id)
        if len(self._cache) > self._cached_streams:
            self._cache.popitem(last=False)

    def _write(
        self,
        stream: Stream[S, C, E],
        stream_id: str,
        current: _Current[S],
        decision: Sequence[E] | Rejected,
        sealed: Sequence[Event],
        meta: Meta,
    ) -> tuple[Write, _Current[S]]:
        """The write of a decision, and where the stream stands once it is committed. What is stored are the `sealed`
        events; the state is folded from the decision itself."""
        write = Write(
            command_id=meta.command_id,
            fingerprint=meta.fingerprint,
            stream=stream_id,
            expected=current.head,
            time=meta.now,
        )
        if isinstance(decision, Rejected):
            write.refusal = _refusal_json(decision)
            return write, current
        state, head, tenant = current.state, current.head, current.tenant
        events: list[StoredEvent] = []
        take: list[str] = []
        release: list[str] = []
        for event, kept in zip(decision, sealed, strict=True):
            tenant = tenant or checked_name(stream.tenant(event), "a tenant")
            claims = stream.claims(state, event)
            if claims is not NO_CLAIMS:
                take += claims.take
                release += claims.release
            stored = self._next(stream_id, head, kept, tenant, meta)
            state = stream.evolve(state, event.recorded(stored.envelope.id))
            head = Head(head.version + 1, stored.envelope.hash)
            events.append(stored)
        write.events, write.take = events, take
        write.release = [key for key in release if key not in take]
        return write, _Current(state, head, tenant)

    def _next(self, stream_id: str, head: Head, event: Event, tenant: str, meta: Meta) -> StoredEvent:
        data, id_, type_, version = _data(event), self._new_id(), event.type(), head.version + 1
        hash_ = digest(
            head.hash,
            id_,
            self._source,
            type_,
            stream_id,
            version,
            meta.now,
            event.SCHEMA,
            meta.correlation_id,
            meta.causation_id,
            meta.actor,
            tenant,
            meta.traceparent,
            data,
        )
        envelope = Envelope(
            id_,
            self._source,
            type_,
            stream_id,
            meta.now,
            event.SCHEMA,
            version,
            None,
            meta.correlation_id,
            meta.causation_id,
            meta.actor,
            tenant,
            meta.traceparent,
            head.hash,
            hash_,
            "" if meta.command_id == meta.causation_id else meta.command_id,
        )
        return StoredEvent(envelope, data)

    async def _first_answer(self, first: Repeated, write: Write, *, derived: bool) -> Answer:
        untold = first.fingerprint is None or (derived and not first.fingerprint)
        known = untold or first.fingerprint == write.fingerprint
        if not known or first.stream != write.stream:
            raise KeyReused(f"{write.command_id} was used before for another command")
        if first.refusal is not None:
            kept = json.loads(first.refusal)
            because = tuple(kept["because"])
            return Refused(first.stream, kept["rule"], kept["reason"], kept["remedy"], because, repeated=True)
        stored = (await self.store.read_stream(first.stream, first.first))[: first.events]
        events = tuple(
            Recorded(s.envelope.id, s.envelope.version or 0, s.envelope.position or 0, event)
            for s, event in zip(stored, await self._opened(stored), strict=True)
        )
        # A write that was sent again because its connection broke is not a repetition by the caller.
        ours = bool(write.events) and bool(stored) and stored[0].envelope.id == write.events[0].envelope.id
        return Accepted(first.stream, first.first + first.events, events, repeated=not ours)


class Reader:
    """The streams as one request sees them: each is read once, when it is first asked for."""

    __slots__ = ("_fresh", "_known")

    def __init__(self, fresh: Callable[[Stream[Any, Any, Any], str], Awaitable[_Current[Any]]]) -> None:
        self._fresh = fresh
        self._known: dict[str, _Current[Any]] = {}

    async def state(self, stream: Stream[S, C, E], key: str) -> S:
        """The stream's state as of everything committed before it was first asked for."""
        return (await self.current(stream, stream.id(key))).state

    async def current(self, stream: Stream[S, C, E], stream_id: str) -> _Current[S]:
        known: _Current[S] | None = self._known.get(stream_id)
        if known is None:
            known = self._known[stream_id] = await self._fresh(stream, stream_id)
        return known


def _data(event: Event) -> bytes:
    """Raises EventTooLarge."""
    data = event.data()
    if len(data) > EVENT_BYTES:
        raise EventTooLarge(f"{event.type()} of {len(data)} bytes; an event has at most {EVENT_BYTES}")
    return data


def _check(meta: Meta) -> None:
    """Whatever is written can be read again: each of these ends in a header and in a hash. Raises BadName."""
    if not meta.command_id:
        raise BadName("a command id must not be empty")
    checked_name(meta.command_id, "a command id")
    checked_name(meta.actor, "an actor")
    checked_name(meta.correlation_id, "a correlation id")
    checked_name(meta.causation_id, "a causation id")
    checked_name(meta.traceparent, "a traceparent")


def _personal(events: Sequence[Event]) -> bool:
    return any(event.PERSONAL_FIELDS for event in events)


def _refusal_json(refusal: Rejected) -> str:
    because = [event.ref for event in refusal.because]
    return json.dumps({"rule": refusal.rule, "reason": refusal.reason, "remedy": refusal.remedy, "because": because})


def _refused(stream_id: str, refusal: Rejected) -> Refused:
    because = tuple(event.ref for event in refusal.because if event.ref)
    return Refused(stream_id, refusal.rule, refusal.reason, refusal.remedy, because)


def _answer(write: Write, decision: Sequence[Event] | Rejected, last: int) -> Answer:
    """The answer to a write that is committed, with `last` as its last position."""
    if isinstance(decision, Rejected):
        return _refused(write.stream, decision)
    version, position = write.expected.version, last - len(decision)
    events = [Recorded(event.ref, version + n, position + n, event) for n, event in enumerate(decision, start=1)]
    return Accepted(write.stream, version + len(decision), tuple(events))


def utc_now() -> datetime:
    return datetime.now(UTC)
