"""Snapshots: stored states of long streams, so that a load need not fold all events.

A snapshot is only an optimisation. If other code made it, or if it cannot be decoded, its stream is folded from the
first event. It is tagged JSON and can hold only plain values and the classes that the state's type names. A state is
not kept if it does not decode to an equal one, with the ids of all its events. Streams with personal fields have no
snapshots, because a forgotten person must be gone from them as well.
"""

import inspect
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

import structlog
from pydantic import BaseModel

from shared import events
from shared.eventlog.decision import Stream
from shared.eventlog.write.store import Head
from shared.events.base import Event, Record
from shared.events.envelope import StoredEvent
from shared.events.upcasts import decode
from shared.sql import statements

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)
_AT_ONCE: Final = 100
EVERY: Final = 500
"""The number of events that a load has to fold before it writes a snapshot."""


class Snapshot(NamedTuple):
    """The encoded state of a stream at `head`.

    Attributes:
        definition: A digest of the code that made the state.
        digest: A digest of the stream's id and the other fields.
    """

    head: Head
    tenant: str
    definition: str
    state: bytes
    digest: bytes = b""

    def digested(self, stream: str) -> bytes:
        """Return the digest that a snapshot of this stream must have."""
        (version, hash_), texts = self.head, (stream, self.tenant, self.definition)
        parts = [str(version).encode(), hash_, *(text.encode() for text in texts), self.state]
        return sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()


@runtime_checkable
class KeepsSnapshots(Protocol):
    """A store that keeps one snapshot of a stream."""

    async def load(self, stream: str, definition: str) -> tuple[Snapshot | None, Sequence[StoredEvent]]:
        """Return the stream's snapshot and the events after it.

        The snapshot is None unless it has this definition and the log has its version with its hash.
        """
        ...

    async def keep(self, stream: str, snapshot: Snapshot) -> None: ...


class NotSnapshotable(Exception):
    """A snapshot cannot hold a value. The message names the value's class."""


class Codec:
    """The encoding of the states of one kind of stream."""

    def __init__(self, definition: str, classes: Mapping[str, type]) -> None:
        self.definition, self._classes = definition, classes

    @staticmethod
    def of(stream: Stream[Any, Any, Any]) -> "Codec | None":
        """Return the codec of a kind of stream, or None if its states cannot be kept.

        They cannot if the annotations of `evolve` do not name their classes, if two of these have the same name, or if
        an event or a state has personal fields, because a forgotten person must be gone from snapshots as well.
        """
        try:
            hints = list(get_type_hints(stream.evolve).items())
            file = Path(inspect.getfile(stream.evolve)).parent
        except (NameError, TypeError, OSError):
            return None
        state, event = ([hint for name, hint in hints if name != "return"] + [None, None])[:2]
        if state is None or event is None:
            return None
        classes = {class_.__qualname__: class_ for class_ in _reachable(state)}
        if len(classes) != len(set(_reachable(state))):
            return None
        if any(class_.PERSONAL_FIELDS for class_ in _reachable(event, state) if issubclass(class_, Event)):
            return None
        return Codec(f"{stream.category}:{_code_digest(file)}", classes)

    def encode(self, state: Any) -> bytes:
        """Return the state as bytes.

        Raises:
            NotSnapshotable: The bytes would not decode to the same state.
        """
        try:
            encoded = self._json(state)
            if not same_state(self.decode(encoded), state):
                raise NotSnapshotable(f"a {type(state).__name__} decodes to another state")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NotSnapshotable(f"a {type(state).__name__} cannot be encoded and decoded: {error}") from error
        return encoded

    def decode(self, encoded: bytes) -> Any:
        """Return the state of these bytes. Any exception is possible if they are not from `encode`."""
        return self._value(json.loads(encoded))

    def _json(self, state: Any) -> bytes:
        return json.dumps(self._tagged(state), ensure_ascii=False, separators=(",", ":")).encode()

    def _tagged(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str, float):
            return value
        if (write := _WRITERS.get(kind)) is not None:
            return [kind.__name__, write(value)]
        if kind in (tuple, list):
            return [kind.__name__, [self._tagged(item) for item in value]]
        if kind in (frozenset, set):
            return [kind.__name__, sorted((self._tagged(item) for item in value), key=json.dumps)]
        if kind is dict:
            return ["dict", [[self._tagged(key), self._tagged(item)] for key, item in value.items()]]
        if self._classes.get(kind.__qualname__) is not kind:
            raise NotSnapshotable(f"a {kind.__name__} is not among the classes that the state's type names")
        if isinstance(value, Event):
            return ["event", kind.__qualname__, value.ref, value.data().decode()]
        if isinstance(value, BaseModel):
            return ["model", kind.__qualname__, value.model_dump_json()]
        if isinstance(value, Enum):
            return ["enum", kind.__qualname__, value.name]
        values = {field.name: self._tagged(getattr(value, field.name)) for field in fields(value)}
        return ["class", kind.__qualname__, values]

    def _value(self, tagged: Any) -> Any:
        if not isinstance(tagged, list):
            return tagged
        tag, *rest = tagged
        if (read := _READERS.get(tag)) is not None:
            return read(rest[0])
        if (collect := _COLLECTIONS.get(tag)) is not None:
            return collect(self._value(item) for item in rest[0])
        if tag == "dict":
            return {self._value(key): self._value(item) for key, item in rest[0]}
        kind: Any = self._classes[rest[0]]
        if tag == "event":
            return kind.from_stored(rest[2]).recorded(rest[1])
        if tag == "model":
            return kind.from_stored(rest[1]) if issubclass(kind, Record) else kind.model_validate_json(rest[1])
        if tag == "enum":
            return kind[rest[1]]
        return kind(**{name: self._value(item) for name, item in rest[1].items()})


def _utc(value: datetime) -> str:
    if value.utcoffset() != timedelta():
        raise NotSnapshotable("a datetime is not in UTC")
    return value.isoformat()


_WRITERS: Final[Mapping[type, Callable[[Any], Any]]] = {
    datetime: _utc,
    date: date.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Decimal: str,
    bytes: lambda value: b64encode(value).decode(),
}
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "datetime": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "date": date.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
    "Decimal": Decimal,
    "bytes": b64decode,
}
_COLLECTIONS: Final[Mapping[str, Callable[[Iterator[Any]], Any]]] = {
    "tuple": tuple,
    "list": list,
    "frozenset": frozenset,
    "set": set,
}


def same_state(one: Any, other: Any) -> bool:
    """Return whether two states are equal, including classes, order and event ids.

    Python's own equality ignores the classes of numbers and the order of dictionaries, and that of events ignores their
    ids.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, Event) and one.ref != other.ref:
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same_state(a, c) and same_state(b, d) for (a, b), (c, d) in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same_state, one, other))
    if is_dataclass(one) and not isinstance(one, type):
        return all(same_state(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return bool(one == other)


def _reachable(*annotations: Any) -> Sequence[type]:
    """Return the models, enums and dataclasses that values of these types can contain."""
    classes: list[type] = []
    waiting = list(annotations)
    while waiting:
        annotation = waiting.pop()
        waiting.extend(get_args(annotation))
        if get_args(annotation):
            waiting.append(get_origin(annotation))
        if not isinstance(annotation, type) or annotation in classes:
            continue
        if issubclass(annotation, BaseModel | Enum) or is_dataclass(annotation):
            classes.append(annotation)
        if is_dataclass(annotation):
            waiting.extend(get_type_hints(annotation).values())
        elif issubclass(annotation, BaseModel):
            waiting.extend(field.annotation for field in annotation.model_fields.values())
    return classes


@cache
def _code_digest(rules: Path) -> str:
    """Return a digest of the code that makes states.

    That code is the rules' folder, the event contract, and this file.
    """
    contract = Path(str(events.__file__)).parent
    sources = [*sorted(rules.glob("*.py")), *sorted(contract.glob("*.py")), Path(__file__)]
    return sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:32]


class Snapshots:
    """The snapshots of a log, with a codec for each kind of stream."""

    def __init__(self, store: KeepsSnapshots, every: int) -> None:
        self.store, self.every = store, every
        self._codecs: dict[str, Codec | None] = {}

    def codec(self, stream: Stream[Any, Any, Any]) -> Codec | None:
        """Return the codec of a kind of stream, or None if its states are not kept."""
        if stream.category not in self._codecs:
            self._codecs[stream.category] = Codec.of(stream)
        return self._codecs[stream.category]

    async def load(
        self, codec: Codec, stream_id: str
    ) -> tuple[tuple[Any, Head, str] | None, Sequence[StoredEvent] | None]:
        """Return the state, head and tenant of the stream's snapshot, and the events after it.

        The first part is None if there is no valid snapshot. The second is None if the snapshot was altered or cannot
        be decoded: then all events have to be read.
        """
        snapshot, later = await self.store.load(stream_id, codec.definition)
        if snapshot is None:
            return None, later
        if snapshot.digest != snapshot.digested(stream_id):
            logger.error("a snapshot was altered: its stream is read from the start", stream=stream_id)
            return None, None
        try:
            return (codec.decode(snapshot.state), snapshot.head, snapshot.tenant), later
        except Exception as error:  # noqa: BLE001  # Whatever is wrong with the snapshot, the events can be folded.
            logger.warning(
                "a snapshot cannot be decoded: its stream is read from the start", stream=stream_id, fault=repr(error)
            )
            return None, None

    async def keep(
        self, codec: Codec, stream: Stream[Any, Any, Any], stream_id: str, state: Any, head: Head, tenant: str
    ) -> None:
        """Write a snapshot of this state.

        If the state cannot be encoded, this process keeps no further states of its kind of stream.
        """
        try:
            encoded = codec.encode(state)
        except NotSnapshotable as reason:
            logger.warning("these streams get no snapshots", category=stream.category, reason=str(reason))
            self._codecs[stream.category] = None
            return
        snapshot = Snapshot(head, tenant, codec.definition, encoded)
        await self.store.keep(stream_id, snapshot._replace(digest=snapshot.digested(stream_id)))


async def altered(
    db: Any,
    read_stream: Callable[[str], Awaitable[Sequence[StoredEvent]]],
    streams: Sequence[Stream[Any, Any, Any]],
    since: int = 0,
) -> AsyncIterator[tuple[str, str]]:
    """Yield the place of each altered snapshot in a database, and how the alteration shows.

    The digest is not keyed, so it shows only a change by someone who did not compute it again. The fold shows every
    change: the state is folded from the stream's events, whose hashes the log proves, and compared byte by byte. That
    needs the code that made the snapshot. A snapshot of other code is checked by its digest alone, and no process uses
    it.

    Args:
        db: A connection in a transaction.
        since: Leave out the snapshots at events up to this position.
    """
    codecs = {codec.definition: (stream, codec) for stream in streams if (codec := Codec.of(stream)) is not None}
    async for row in db.cursor(SQL["all"], since, prefetch=_AT_ONCE):
        head = Head(row["version"], row["hash"])
        snapshot = Snapshot(head, row["tenant"], row["definition"], row["state"], row["digest"])
        place = f"snapshot of {row['stream']} at version {head.version}"
        if snapshot.digest and snapshot.digest != snapshot.digested(row["stream"]):
            yield place, "it was altered: its digest does not match"
        elif by_definition := codecs.get(snapshot.definition):
            expected = _expected(await read_stream(row["stream"]), *by_definition, head)
            if expected is not None and expected != (snapshot.tenant, snapshot.state):
                yield place, "it was altered: the stream's events fold into another state"


def _expected(
    events: Sequence[StoredEvent], stream: Stream[Any, Any, Any], codec: Codec, head: Head
) -> tuple[str, bytes] | None:
    """Return the tenant and the encoded state that a snapshot at `head` must have.

    Return None if the stream has no such event: no process uses such a snapshot.
    """
    if len(events) < head.version or events[head.version - 1].envelope.hash != head.hash:
        return None
    state = stream.initial
    for event in events[: head.version]:
        state = stream.evolve(state, decode(event.envelope, event.data, trusted=True))
    return events[head.version - 1].envelope.tenant, codec.encode(state)
