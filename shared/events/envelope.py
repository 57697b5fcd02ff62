"""The envelope: CloudEvents 1.0 in Kafka's binary mode, and the hash that chains a stream's events.

Key = stream id, value = the event's JSON exactly as stored, every attribute a `ce_` header. These headers alone
restore a store from its topic.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

Headers = list[tuple[str, bytes]]

GENESIS: Final = bytes(32)
"""The hash before a stream's first event."""

CONTENT_TYPE: Final = b"application/json"
_SCHEMA_URN: Final = re.compile(r"^urn:tenure:events:([A-Za-z0-9]+):([1-9][0-9]{0,5})$")
MAX_VERSION: Final = 2**31 - 1
"""The highest version of a stream that a store can hold."""
MAX_POSITION: Final = 2**63 - 1
NAME_CHARACTERS: Final = 500
_NAME: Final = re.compile(rf"[!-~][ -~]{{0,{NAME_CHARACTERS - 1}}}\Z")
"""What an attribute may look like: printable ASCII. It may end up in a hash, where a line break ends a field."""
_SHORTENED: Final = "sha256-"
_SHORTENED_CHARACTERS: Final = len(_SHORTENED) + 64


class Unreadable(ValueError):
    """A record is not an event of this contract. The message says which part is wrong."""


class BadName(ValueError):
    """An id or a name that can't stand in a header and a hash. The message says which."""


class Envelope(NamedTuple):
    """Everything about an event but its data. `version` counts in its stream from 1, `position` in its store.

    A foreign event has neither, and no hashes; its `stream` is whatever subject (or key) its sender gave.
    `command_id` is the command that made it, "" where that is the `causation_id`; see `command`. It is not hashed.
    """

    id: str
    source: str
    type: str
    stream: str
    time: datetime
    schema: int = 1
    version: int | None = None
    position: int | None = None
    correlation_id: str = ""
    causation_id: str = ""
    actor: str = ""
    tenant: str = ""
    traceparent: str = ""
    prevhash: bytes = GENESIS
    hash: bytes = GENESIS
    command_id: str = ""

    @property
    def command(self) -> str:
        """The id of the command that made the event: a store that is restored from its topic knows it by this."""
        return self.command_id or self.causation_id


class StoredEvent(NamedTuple):
    """An event as the log keeps it: its envelope and its bytes."""

    envelope: Envelope
    data: bytes

    def headers(self) -> Headers:
        return to_headers(self.envelope)


def source_of(service: str) -> str:
    return f"urn:tenure:{service}"


def publisher_of(source: str) -> str:
    """The publisher that a foreign event's source speaks for (`urn:publisher:<publisher>`), "" for any other source."""
    return source.removeprefix("urn:publisher:") if source.startswith("urn:publisher:") else ""


def checked_name(value: str, what: str) -> str:
    """`value`, if it can stand in a header and a hash. Raises BadName."""
    if value and not _NAME.match(value):
        raise BadName(f"{what} must be printable ASCII of at most 500 characters, not {value[:60]!r}")
    return value


def derived_id(*parts: str) -> str:
    """An id that is made of others: `parts`, joined by colons, if that is a name; it never exceeds a name's length.

    One that does not fit has a digest in place of each part that is longer than its digest would be, so that what is
    short in it (the consumer, the number) can still be read. The same parts always make the same id.
    """
    joined = ":".join(parts)
    if len(joined) <= NAME_CHARACTERS:
        return joined
    joined = ":".join(shortened(part) for part in parts)
    return joined if len(joined) <= NAME_CHARACTERS else shortened(joined)


def shortened(part: str) -> str:
    """A part of a derived id as it stands in one that would be too long otherwise."""
    if len(part) <= _SHORTENED_CHARACTERS:
        return part
    return _SHORTENED + sha256(part.encode()).hexdigest()


def stamp(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds: the one way a time is written into headers and hashes."""
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return time.isoformat("T", "microseconds")[:-6] + "Z"


def digest(
    prevhash: bytes,
    id_: str,
    source: str,
    type_: str,
    stream: str,
    version: int | None,
    time: datetime,
    schema: int,
    correlation_id: str,
    causation_id: str,
    actor: str,
    tenant: str,
    traceparent: str,
    data: bytes,
) -> bytes:
    """SHA-256 over the previous hash and an event's fields. Position is left out: it is given at commit."""
    fields = (
        f"{id_}\n{source}\n{type_}\n{stream}\n{version}\n{stamp(time)}\n{schema}\n{correlation_id}\n{causation_id}\n"
        f"{actor}\n{tenant}\n{traceparent}\n"
    )
    return sha256(prevhash + fields.encode() + data).digest()


def chained(e: Envelope, data: bytes) -> bytes:
    """The hash that the event should have, continuing the previous one that it names."""
    return digest(
        e.prevhash,
        e.id,
        e.source,
        e.type,
        e.stream,
        e.version,
        e.time,
        e.schema,
        e.correlation_id,
        e.causation_id,
        e.actor,
        e.tenant,
        e.traceparent,
        data,
    )


def flaw(e: Envelope, key: bytes | None, data: bytes) -> str | None:
    """Why this is not an intact record of an event of ours, by its own bytes; None when it is."""
    if chained(e, data) != e.hash:
        return f"{e.stream} version {e.version} was altered: its hash does not fit"
    if key != e.stream.encode():
        return f"{e.stream} version {e.version} lies under the key {key!r:.80}"
    if (e.version == 1) != (e.prevhash == GENESIS):
        return f"{e.stream} version {e.version} continues {'another' if e.version == 1 else 'no'} event"
    return None


def counted(e: Envelope) -> bool:
    """Whether an event has the version and the position that every event of ours has."""
    return e.version is not None and 0 < e.version <= MAX_VERSION and 0 < (e.position or 0) <= MAX_POSITION


def to_headers(e: Envelope) -> Headers:
    """The Kafka headers of an event of ours."""
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", e.id.encode()),
        ("ce_source", e.source.encode()),
        ("ce_type", e.type.encode()),
        ("ce_subject", e.stream.encode()),
        ("ce_time", stamp(e.time).encode()),
        ("ce_dataschema", f"urn:tenure:events:{e.type}:{e.schema}".encode()),
        ("ce_partitionkey", e.stream.encode()),
        ("content-type", CONTENT_TYPE),
    ]
    optional = (
        ("ce_correlationid", e.correlation_id),
        ("ce_causationid", e.causation_id),
        ("ce_actor", e.actor),
        ("ce_tenant", e.tenant),
        ("ce_traceparent", e.traceparent),
    )
    headers += [(name, value.encode()) for name, value in optional if value]
    if e.version is not None and e.position is not None:
        headers += [
            ("ce_sequence", str(e.version).encode()),
            ("ce_position", str(e.position).encode()),
            ("ce_prevhash", e.prevhash.hex().encode()),
            ("ce_hash", e.hash.hex().encode()),
        ]
        if e.command_id:
            headers.append(("ce_commandid", e.command_id.encode()))
    return headers


def _texts(headers: Sequence[tuple[str, bytes | None]]) -> Mapping[str, str]:
    """The ce_ headers as text. Others (a tracer's, a proxy's) may hold any bytes under a name that is text."""
    texts: dict[str, str] = {}
    for name, value in headers:
        if not name.isprintable():
            raise Unreadable(f"a header's name is no text: {name[:60]!a}")
        if not name.startswith("ce_") and name != "content-type":
            continue
        if value is None:
            raise Unreadable(f"header {name} is null")
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise Unreadable(f"header {name} is not UTF-8") from None
        if not _NAME.match(text):
            raise Unreadable(f"header {name} is empty, longer than 500 characters, or not printable ASCII")
        if name in texts and texts[name] != text:
            raise Unreadable(f"header {name} stands there twice")
        texts[name] = text
    return texts


def _count(texts: Mapping[str, str], name: str) -> int | None:
    text = texts.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19):
        raise Unreadable(f"header {name} is not a count: {text[:40]!r}")
    return int(text)


def _hash(texts: Mapping[str, str], name: str) -> bytes:
    try:
        value = bytes.fromhex(texts.get(name, GENESIS.hex()))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise Unreadable(f"header {name} is not a SHA-256 in hex")
    return value


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"header ce_time is not a time: {text[:40]!r}") from None
    if time.tzinfo is None:
        raise Unreadable("header ce_time names no zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise Unreadable(f"header ce_time is out of range in UTC: {text[:40]!r}") from None


def _schema(text: str | None, event_type: str) -> int:
    """The schema's version out of our own `ce_dataschema`; a foreign one says nothing here, so version 1."""
    match = _SCHEMA_URN.match(text or "")
    if match is None:
        return 1
    if match.group(1) != event_type:
        raise Unreadable(f"header ce_dataschema names {match.group(1)}, ce_type {event_type[:60]}")
    return int(match.group(2))


def _from_key(key: bytes | None) -> str:
    """The stream that a record without a subject is of: its key's, where that is a name."""
    text = (key or b"").decode(errors="replace")
    return text if _NAME.match(text) else ""


def from_headers(headers: Sequence[tuple[str, bytes | None]], key: bytes | None) -> Envelope:
    """The envelope of a record. Raises Unreadable, and nothing else, on whatever bytes come."""
    texts = _texts(headers)
    for name in ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"):
        if not texts.get(name):
            raise Unreadable(f"header {name} is missing")
    if texts["ce_specversion"] != "1.0":
        raise Unreadable(f"CloudEvents {texts['ce_specversion'][:20]} is not 1.0")
    version, position = _count(texts, "ce_sequence"), _count(texts, "ce_position")
    return Envelope(
        id=texts["ce_id"],
        source=texts["ce_source"],
        type=texts["ce_type"],
        stream=texts.get("ce_subject") or _from_key(key),
        time=_time(texts["ce_time"]),
        schema=_schema(texts.get("ce_dataschema"), texts["ce_type"]),
        version=version,
        position=position,
        correlation_id=texts.get("ce_correlationid", ""),
        causation_id=texts.get("ce_causationid", ""),
        actor=texts.get("ce_actor", ""),
        tenant=texts.get("ce_tenant", ""),
        traceparent=texts.get("ce_traceparent", ""),
        prevhash=_hash(texts, "ce_prevhash"),
        hash=_hash(texts, "ce_hash"),
        command_id=texts.get("ce_commandid", "") if version is not None else "",
    )
