"""Records as consumers receive them: read as far as possible, whatever their bytes are."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from shared.events.base import Event
from shared.events.envelope import Envelope, Unreadable, counted, flaw, from_headers, publisher_of
from shared.events.fields import EARLIEST
from shared.events.registry import (
    EVENTS,
    is_inbound,
    is_outcomes,
    publisher_named,
    publisher_of_outcomes,
    times_said,
    why_not_from,
)
from shared.events.structured import in_binary_mode
from shared.events.upcasts import decode

Partition = tuple[str, int]
Reason = Literal[
    "unreadable",
    "unparsable",
    "unknown-type",
    "refused",
    "forged",
    "broken-chain",
    "conflict",
    "gap",
    "failed",
    "behind",
    "conflicting-duplicate",
]
ALARMING: Final[frozenset[Reason]] = frozenset({"forged", "broken-chain", "conflict"})
"""The reasons that only a forged record, or a topic that does not belong to the store, can cause."""
HIDING: Final[frozenset[Reason]] = frozenset({"unreadable", "unparsable"})
"""The reasons of records that may contain a stream's version, which then seems to be missing."""
AHEAD: Final = timedelta(minutes=5)
"""How far a publisher's clock may be ahead of ours."""


Place: TypeAlias = tuple[str, int, int]
"""A topic, a partition and an offset."""


class Raw(NamedTuple):
    """A record as it was fetched from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    """The bytes of a name that is not UTF-8 are lone surrogates (`surrogateescape`)."""
    value: bytes | None
    unparsed: str = ""
    """Why the record could not be parsed, if so. Then `value` is the bytes of the record or of its batch."""
    arrived: datetime | None = None
    """When it arrived, for a publisher's event that says no time."""

    @property
    def place(self) -> Place:
        return self.topic, self.partition, self.offset

    @property
    def attributes(self) -> Sequence[tuple[str, bytes | None]]:
        """The headers, with those of an event in structured mode as far as it can be read."""
        try:
            return in_binary_mode(self.headers, self.value)[0]
        except Unreadable:
            return self.headers


class Received(NamedTuple):
    """A record, read as far as possible.

    Attributes:
        envelope: None if the headers cannot be read, the record is not intact, or it may not be on its topic.
        event: None if it cannot be read or the consumer does not handle its type.
        problem: Why the record cannot be applied, or None.
        reason: The kind of the problem. A `refused` record says what its sender may not say; a `forged` one cannot be
            the service's own.
    """

    raw: Raw
    envelope: Envelope | None
    event: Event | None
    problem: str | None = None
    reason: Reason = "unreadable"
    data: bytes = b""
    """The event's data, also of a record in structured mode."""
    timed: bool = True
    """Whether the event itself says its time."""
    decoded: bool = False
    """Whether the data was read, because a consumer handles the type: the event or the problem is what came of it."""

    def ignored(self) -> "Received":
        """Return the record as a consumer that ignores its type receives it."""
        return Received(self.raw, self.envelope, None) if self.decoded else self

    @property
    def sequenced(self) -> bool:
        """Whether the record is of a service's stream and so has a version."""
        return self.envelope is not None and self.envelope.version is not None


def receive(raw: Raw, types: frozenset[str], now: datetime | None = None, *, edited: bool = False) -> Received:
    """Read a record, without raising on any bytes.

    Args:
        types: The event types that the consumer handles.
        now: The real time, or None to accept any time from a publisher.
        edited: Whether an operator has edited the record, so that its hash cannot match.
    """
    if raw.unparsed:
        return Received(raw, None, None, raw.unparsed, "unparsable")
    foreign = is_inbound(raw.topic)
    headers, data = raw.headers, raw.value or b""
    try:
        if foreign:
            headers, data = in_binary_mode(headers, raw.value)
        envelope = from_headers(headers, raw.key, raw.arrived if foreign else None)
        if (why := why_not_from(raw.topic, envelope.source, envelope.type)) is not None:
            return Received(raw, None, None, why, "refused" if foreign else "forged")
        if foreign:  # A publisher's sequence does not count the versions of a stream.
            envelope = envelope._replace(version=None, position=None)
        elif is_outcomes(raw.topic):  # It has one partition, and each record of it is an answer.
            tenant = publisher_of_outcomes(raw.topic)
            envelope = envelope._replace(version=None, position=raw.offset + 1, tenant=tenant)
        elif not envelope.stream or not counted(envelope):
            raise Unreadable(f"{raw.topic} has events of streams only, with a ce_sequence and a ce_position from 1")
        elif not edited and (why := flaw(envelope, raw.key, data)) is not None:
            return Received(raw, None, None, why, "forged")
    except Unreadable as problem:
        return Received(raw, None, None, str(problem))
    if foreign and (why := _ahead("its time", envelope.time, now)) is not None:
        return Received(raw, envelope, None, why, "refused")
    if foreign and envelope.time < EARLIEST:
        why = f"its time, {envelope.time.isoformat()}, is before {EARLIEST:%Y}"
        return Received(raw, envelope, None, why, "refused")
    if not foreign:
        return _decoded(raw, envelope, data, types)
    known = envelope.type in EVENTS
    if known and envelope.type not in types:
        return Received(raw, envelope, None)
    try:
        event = decode(envelope, data)
    except Unreadable as problem:
        return Received(raw, envelope, None, str(problem), decoded=known)
    if (named := publisher_named(event)) not in (None, publisher_of(envelope.source)):
        why = f"{envelope.source} may not send events of the publisher {named!r}"
        return Received(raw, envelope, None, why, "refused", decoded=known)
    for name, time in times_said(event):
        if (why := _ahead(f"its {name}", time, now)) is not None:
            return Received(raw, envelope, None, why, "refused", decoded=known)
    timed = any(name == "ce_time" for name, _ in headers)
    return Received(raw, envelope, event, data=data, timed=timed, decoded=known)


def receive_intact(raw: Raw, envelope: Envelope, types: frozenset[str]) -> Received:
    """Read a record of a service's topic whose envelope was read, and found intact, before."""
    if (why := why_not_from(raw.topic, envelope.source, envelope.type)) is not None:
        return Received(raw, None, None, why, "forged")
    return _decoded(raw, envelope, raw.value or b"", types)


def _decoded(raw: Raw, envelope: Envelope, data: bytes, types: frozenset[str]) -> Received:
    """Read the event of a record that is not a publisher's, if its type is handled."""
    known = envelope.type in EVENTS
    if known and envelope.type not in types:
        return Received(raw, envelope, None)
    try:
        event = decode(envelope, data, trusted=True)
    except Unreadable as problem:
        return Received(raw, envelope, None, str(problem), decoded=known)
    return Received(raw, envelope, event, data=data, decoded=known)


def _ahead(name: str, time: datetime, now: datetime | None) -> str | None:
    """Return why a publisher's time is refused, or None if it is not too far in the future."""
    if now is None or time <= now + AHEAD:
        return None
    return f"{name}, {time.isoformat()}, is more than five minutes ahead of {now.isoformat()}"


def digest_of(raw: Raw) -> bytes:
    """Return the SHA-256 of a record: of its key, its headers in their order, and its value."""
    parts: list[bytes] = []
    for part in (raw.key, raw.value):
        parts += (b"-",) if part is None else (_size(len(part)), part)
    for name, value in raw.headers:
        parts += (_sized_name(name), b"-") if value is None else (_sized_name(name), _size(len(value)), value)
    return sha256(b"".join(parts)).digest()


# Each record has the same names, and mostly the same sizes: written anew, they take most of a batch's time.
@lru_cache(maxsize=4_096)
def _size(count: int) -> bytes:
    return b"%d:" % count


@lru_cache(maxsize=256)
def _sized_name(name: str) -> bytes:
    encoded = name.encode(errors="surrogateescape")
    return _size(len(encoded)) + encoded


def weight(headers: Sequence[object], value: bytes | None) -> int:
    """Return about how much work a record is, in bytes.

    A header costs as much as 40 bytes of a value.
    """
    return 100 + 40 * len(headers) + len(value or b"")


def headers_json(headers: Sequence[tuple[str, bytes | None]]) -> list[list[str | None]]:
    """Return headers as JSON that keeps every byte.

    Values are in base64. A name that is not printable text is in base64 as well, as a third part.
    """
    return [[*_name_json(name, None if value is None else b64encode(value).decode())] for name, value in headers]


def _name_json(name: str, value: str | None) -> tuple[str | None, ...]:
    if name.isprintable():
        return name, value
    return ascii(name), value, b64encode(name.encode(errors="surrogateescape")).decode()


def headers_of(stored: Sequence[Sequence[Any]]) -> list[tuple[str, bytes | None]]:
    """Return the headers from which `headers_json` made this JSON."""
    return [
        (b64decode(rest[0]).decode(errors="surrogateescape") if rest else name, None if v is None else b64decode(v))
        for name, v, *rest in stored
    ]


def as_text(text: str) -> str:
    """Return the text with NUL and lone surrogates escaped, which PostgreSQL cannot store."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
