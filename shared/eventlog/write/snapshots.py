"""States of long streams, kept so that loading one need not fold it from its first event.

A snapshot is a convenience: made by other code it is stale, and then, or when it can't be read, its stream is folded
from the start. It is written as tagged JSON, of values and of classes that the state's type names, and of nothing else.
A state that doesn't come back equal, with all its events' ids, isn't kept; nor is one of a stream with personal fields:
a forgotten person must be gone from here as well.
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
from typing import Any, Final, NamedTuple, Protocol, get_args, get_type_hints, runtime_checkable

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
EVERY: Final = 500
"""So many events are folded in a load before their state is kept."""


class Snapshot(NamedTuple):
    """A stream's state at `head`, as bytes; `definition` is a digest of the code that it was made by, `digest` of all
    the rest and the stream."""

    head: Head
    tenant: str
    definition: str
    state: bytes
    digest: bytes = b""

    def digested(self, stream: str) -> bytes:
        """The digest that it should have."""
        (version, hash_), texts = self.head, (stream, self.tenant, self.definition)
        parts = [str(version).encode(), hash_, *(text.encode() for text in texts), self.state]
        return sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()


@runtime_checkable
class KeepsSnapshots(Protocol):
    """A store that keeps a snapshot a stream."""

    async def load(self, stream: str, definition: str) -> tuple[Snapshot | None, Sequence[StoredEvent]]:
        """The stream's snapshot, if it is of this definition and of what the log has, and the events after it."""
        ...

    async def keep(self, stream: str, snapshot: Snapshot) -> None: ...


class NotSnapshotable(Exception):
    """A value that a snapshot can't hold. The message says which."""


class Codec:
    """States of one kind of stream as bytes and back."""

    def __init__(self, definition: str, classes: Mapping[str, type]) -> None:
        self.definition, self._classes = definition, classes

    @staticmethod
    def of(stream: Stream[Any, Any, Any]) -> "Codec | None":
        """None where the states can't be known from `evolve`'s annotations, or hold what may have to be forgotten."""
        try:
            hints = list(get_type_hints(stream.evolve).items())
            file = Path(inspect.getfile(stream.evolve)).parent
        except (NameError, TypeError, OSError):
            return None
        state, event = ([hint for name, hint in hints if name != "return"] + [None, None])[:2]
        if state is None or event is None:
            return None
        classes = {each.__qualname__: each for each in _reachable(state)}
        if len(classes) != len(set(_reachable(state))):
            return None  # two of one name
        if any(each.PERSONAL_FIELDS for each in _reachable(event, state) if issubclass(each, Event)):
            return None
        return Codec(f"{stream.category}:{_made_of(file)}", classes)

    def encode(self, state: Any) -> bytes:
        """Raises NotSnapshotable where the state would not come back as it is."""
        try:
            written = self._written(state)
            if not same_state(self.decode(written), state):
                raise NotSnapshotable(f"a {type(state).__name__} does not come back equal")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NotSnapshotable(f"a {type(state).__name__} does not come back: {error}") from error
        return written

    def decode(self, written: bytes) -> Any:
        """Raises whatever the bytes provoke."""
        return self._value(json.loads(written))

    def _written(self, state: Any) -> bytes:
        return json.dumps(self._tagged(state), ensure_ascii=False, separators=(",", ":")).encode()

    def _tagged(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str, float):
            return value
        if (write := _WRITERS.get(kind)) is not None:
            return [kind.__name__, write(value)]
        if kind in (tuple, list):
            return [kind.__name__, [self._tagged(each) for each in value]]
        if kind in (frozenset, set):
            return [kind.__name__, sorted((self._tagged(each) for each in value), key=json.dumps)]
        if kind is dict:
            return ["dict", [[self._tagged(key), self._tagged(each)] for key, each in value.items()]]
        if self._classes.get(kind.__qualname__) is not kind:
            raise NotSnapshotable(f"a {kind.__name__} is not among what the state's type names")
        if isinstance(value, Event):
            return ["event", kind.__qualname__, value.ref, value.data().decode()]
        if isinstance(value, BaseModel):
            return ["model", kind.__qualname__, value.model_dump_json()]
        if isinstance(value, Enum):
            return ["enum", kind.__qualname__, value.name]
        held = {field.name: self._tagged(getattr(value, field.name)) for field in fields(value)}
        return ["class", kind.__qualname__, held]

    def _value(self, tagged: Any) -> Any:
        if not isinstance(tagged, list):
            return tagged
        tag, *rest = tagged
        if (read := _READERS.get(tag)) is not None:
            return read(rest[0])
        if (collect := _COLLECTIONS.get(tag)) is not None:
            return collect(self._value(each) for each in rest[0])
        if tag == "dict":
            return {self._value(key): self._value(each) for key, each in rest[0]}
        kind: Any = self._classes[rest[0]]
        if tag == "event":
            return kind.from_stored(rest[2]).recorded(rest[1])
        if tag == "model":
            return kind.from_stored(rest[1]) if issubclass(kind, Record) else kind.model_validate_json(rest[1])
        if tag == "enum":
            return kind[rest[1]]
        return kind(**{name: self._value(each) for name, each in rest[1].items()})


def _utc(value: datetime) -> str:
    if value.utcoffset() != timedelta():
        raise NotSnapshotable("a time that is not UTC")
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
    """Equal, of the same classes, in the same order, with the ids of events, which their own equality leaves out."""
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
    """The classes of ours that values of these types may consist of."""
    found: list[type] = []
    waiting = list(annotations)
    while waiting:
        one = waiting.pop()
        waiting.extend(get_args(one))
        if not isinstance(one, type) or one in found:
            continue
        if issubclass(one, BaseModel | Enum) or is_dataclass(one):
            found.append(one)
        if is_dataclass(one):
            waiting.extend(get_type_hints(one).values())
        elif issubclass(one, BaseModel):
            waiting.extend(field.annotation for field in one.model_fields.values())
    return found


@cache
def _made_of(rules: Path) -> str:
    """A digest of the code that makes states: the rules' folder, the contract's, and this file."""
    contract = Path(str(events.__file__)).parent
    sources = [*sorted(rules.glob("*.py")), *sorted(contract.glob("*.py")), Path(__file__)]
    return sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:32]


class Snapshots:
    """What a log does with them: which streams have any, and whether one is any good."""

    def __init__(self, store: KeepsSnapshots, every: int) -> None:
        self.store, self.every = store, every
        self._codecs: dict[str, Codec | None] = {}

    def codec(self, stream: Stream[Any, Any, Any]) -> Codec | None:
        if stream.category not in self._codecs:
            self._codecs[stream.category] = Codec.of(stream)
        return self._codecs[stream.category]

    async def load(
        self, codec: Codec, stream_id: str
    ) -> tuple[tuple[Any, Head, str] | None, Sequence[StoredEvent] | None]:
        """The state, head and tenant that were kept, if any, and the events after them; None for these when all have
        to be read, because the state was unreadable."""
        snapshot, found = await self.store.load(stream_id, codec.definition)
        if snapshot is None:
            return None, found
        if snapshot.digest != snapshot.digested(stream_id):
            logger.error("a snapshot was altered: its stream is read from the start", stream=stream_id)
            return None, None
        try:
            return (codec.decode(snapshot.state), snapshot.head, snapshot.tenant), found
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the events are there
            logger.warning("a snapshot can't be read", stream=stream_id, fault=repr(error))
            return None, None

    async def keep(self, codec: Codec, stream: Stream[Any, Any, Any], id_: str, state: Any, head: Head, t: str) -> None:
        """Keeps this state, if it can be kept. If not, no other of its kind is tried."""
        try:
            written = codec.encode(state)
        except NotSnapshotable as reason:
            logger.warning("states of these streams are not kept", category=stream.category, reason=str(reason))
            self._codecs[stream.category] = None
            return
        snapshot = Snapshot(head, t, codec.definition, written)
        await self.store.keep(id_, snapshot._replace(digest=snapshot.digested(id_)))


async def altered(
    db: Any, stored: Callable[[str], Awaitable[Sequence[StoredEvent]]], streams: Sequence[Stream[Any, Any, Any]]
) -> AsyncIterator[tuple[str, str]]:
    """The snapshots in a database that are not what they were: the place of each and what is wrong there.

    A digest shows a change by whoever does not know how it is made. What shows every change is the fold: the state that
    the stream's events make, which the log's hashes vouch for, is compared byte by byte. That takes the code that the
    snapshot was made by; one that was made by other code is judged by its digest alone, and no process begins with it.
    """
    codecs = {codec.definition: (stream, codec) for stream in streams if (codec := Codec.of(stream)) is not None}
    for row in await db.fetch(SQL["all"]):
        head = Head(row["version"], row["hash"])
        snapshot = Snapshot(head, row["tenant"], row["definition"], row["state"], row["digest"])
        place = f"snapshot of {row['stream']} at version {head.version}"
        if snapshot.digest and snapshot.digest != snapshot.digested(row["stream"]):
            yield place, "it was altered: its digest does not fit"
        elif found := codecs.get(snapshot.definition):
            made = _folded(await stored(row["stream"]), *found, head)
            if made is not None and made != (snapshot.tenant, snapshot.state):
                yield place, "it was altered: the stream's events make another state"


def _folded(
    events: Sequence[StoredEvent], stream: Stream[Any, Any, Any], codec: Codec, head: Head
) -> tuple[str, bytes] | None:
    """What the snapshot at `head` has to be; None where the stream does not have that event, so that nothing begins
    there."""
    if len(events) < head.version or events[head.version - 1].envelope.hash != head.hash:
        return None
    state = stream.initial
    for event in events[: head.version]:
        state = stream.evolve(state, decode(event.envelope, event.data, trusted=True))
    return events[head.version - 1].envelope.tenant, codec.encode(state)
