"""The envelope of events, as CloudEvents 1.0 in Kafka's binary mode, and the hash chains.

A record's key is the stream id, its value is the event's JSON exactly as stored, and every attribute is a `ce_` header.
The headers and the value are enough to restore a store from its topic.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from shared import trace_context
from shared.organisations import is_sandbox

Headers = list[tuple[str, bytes]]

GENESIS: Final = bytes(32)
"""The hash before a stream's first event."""

CONTENT_TYPE: Final = b"application/json"
_REQUIRED: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type")
"""The attributes that every record has; a service's own also has a time."""
SANDBOX_MARK: Final = ("ce_sandbox", b"true")
"""The header of a sandbox's events. Other events have none."""
TYPE_PREFIX: Final = "internal.tenure."
"""The reverse-DNS prefix of event types on the wire. Records from before it have none, and are read for ever."""
_SEQUENCE_DIGITS: Final = 10
"""The digits of `sequence`, which has leading zeros so that it sorts as a string. Records from before had none."""
_SCHEMA_URN: Final = re.compile(r"^urn:tenure:events:([A-Za-z0-9]+):([1-9][0-9]{0,5})$")
MAX_VERSION: Final = 2**31 - 1
"""The highest version of a stream that a store can hold."""
MAX_POSITION: Final = 2**63 - 1
NAME_CHARACTERS: Final = 500
_PRINTABLE: Final = rf"[!-~][ -~]{{0,{NAME_CHARACTERS - 1}}}"
_NAMES: Final = re.compile(rf"{_PRINTABLE}(?:\n{_PRINTABLE})*\Z")
_NAME: Final = re.compile(rf"{_PRINTABLE}\Z")
"""The form of an attribute: printable ASCII. A hash includes attributes, and a line break ends a field there."""
_SHORTENED: Final = "sha256-"
_SHORTENED_CHARACTERS: Final = len(_SHORTENED) + 64


ATTRIBUTES: Final = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_dataschema",
    "ce_partitionkey",
    "content-type",
)
"""The headers that an event always has, a service's or an answer to a publisher's record."""
OF_STREAMS: Final = ("ce_sequence", "ce_position", "ce_prevhash", "ce_hash")
"""The headers that an event of a stream always has, too."""
OPTIONAL: Final = (
    "ce_correlationid",
    "ce_causationid",
    "ce_commandid",
    "ce_actor",
    "ce_tenant",
    "ce_traceparent",
    "ce_tracestate",
    "ce_sandbox",
)
"""The headers that services' events may have."""
_WRITTEN: Final = frozenset({*ATTRIBUTES, *OF_STREAMS, *OPTIONAL})
"""The headers of services' events."""


class Unreadable(ValueError):
    """A record that is not an event of the event contract. The message says which part is wrong."""


class BadName(ValueError):
    """An id or a name that can't be in a header and a hash. The message says which."""


class Envelope(NamedTuple):
    """All of an event but its data.

    Attributes:
        version: the event's number in its stream, from 1.
        position: the event's number in its log, from 1.
        command_id: the id of the command that made the event; "" where it equals `causation_id`. It is not hashed.
        traceparent: the trace context (`shared.trace_context`): the traceparent and, after a space, the tracestate.

    A foreign event has no version, position and hashes, and its `stream` is the subject or key that its sender gave.
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
        """The id of the command that made the event.

        A restored store recognises repeated commands by it.
        """
        return self.command_id or self.causation_id

    @property
    def sandbox(self) -> bool:
        """Whether the event belongs to a sandbox. Its tenant says so, which is hashed and stored."""
        return is_sandbox(self.tenant)


class StoredEvent(NamedTuple):
    """An event as the log stores it: its envelope and its JSON."""

    envelope: Envelope
    data: bytes

    def headers(self) -> Headers:
        """Return the event's Kafka headers."""
        return to_headers(self.envelope)


def source_of(service: str) -> str:
    """Return the source of a service's events."""
    return f"urn:tenure:{service}"


def publisher_of(source: str) -> str:
    """Return the publisher of the source `urn:publisher:<publisher>`; "" for any other source."""
    return source.removeprefix("urn:publisher:") if source.startswith("urn:publisher:") else ""


def source_of_publisher(publisher: str) -> str:
    """Return the source of the events of a publisher's system."""
    return f"urn:publisher:{publisher}"


def type_on_wire(event_type: str) -> str:
    """Return an event type as the CloudEvents attribute `type` has it."""
    return TYPE_PREFIX + event_type


def type_off_wire(text: str) -> str:
    """Return the event type that an attribute `type` names, with the prefix or without."""
    return text.removeprefix(TYPE_PREFIX)


def schema_id(event_type: str, schema: int) -> str:
    """Return the `dataschema` of events, which is the `$id` of their JSON Schema."""
    return f"urn:tenure:events:{event_type}:{schema}"


def sequence_on_wire(version: int) -> str:
    """Return a version as the CloudEvents attribute `sequence` has it."""
    return str(version).zfill(_SEQUENCE_DIGITS)


def checked_name(value: str, what: str) -> str:
    """Return `value` if it can be in a header and a hash.

    Raises:
        BadName: if it can't. `what` names the value in the message.
    """
    if value and not _NAME.match(value):
        raise BadName(f"{what} must be printable ASCII of at most 500 characters, not {value[:60]!r}")
    return value


def derived_id(*parts: str) -> str:
    """Return an id that is derived from `parts`, joined by colons.

    The same parts always give the same id. If it would be longer than a name may be, each part that is longer than its
    digest is replaced by that digest, so that short parts (the consumer, the number) can still be read.
    """
    joined = ":".join(parts)
    if len(joined) <= NAME_CHARACTERS:
        return joined
    joined = ":".join(shortened(part) for part in parts)
    return joined if len(joined) <= NAME_CHARACTERS else shortened(joined)


def shortened(part: str) -> str:
    """Return a part of a derived id in its shortened form: its digest if that is shorter."""
    if len(part) <= _SHORTENED_CHARACTERS:
        return part
    return _SHORTENED + sha256(part.encode()).hexdigest()


def stamp(time: datetime) -> str:
    """Return a time in the form of headers and hashes: RFC 3339 in UTC with microseconds."""
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return time.isoformat("T", "microseconds")[:-6] + "Z"


def chained(e: Envelope, data: bytes) -> bytes:
    """Return the hash that the event should have: SHA-256 of the previous hash and its fields.

    The position is not hashed, because it is assigned at the commit.
    """
    id_, source, type_, stream, time, schema, version, _, correlation_id, causation_id, actor, tenant, trace, *_ = e
    fields = (
        f"{id_}\n{source}\n{type_}\n{stream}\n{version}\n{stamp(time)}\n{schema}\n{correlation_id}\n{causation_id}\n"
        f"{actor}\n{tenant}\n{trace}\n"
    )
    return sha256(e.prevhash + fields.encode() + data).digest()


def hashed(e: Envelope, data: bytes) -> Envelope:
    """Return the envelope with the hash that its event should have."""
    *before, _, command_id = e  # `_replace` takes twice the time, and this is done for every event that is appended
    return Envelope._make((*before, chained(e, data), command_id))


def flaw(e: Envelope, key: bytes | None, data: bytes) -> str | None:
    """Return why a record's bytes are not an intact event of a service; None when they are."""
    if chained(e, data) != e.hash:
        return f"{e.stream} version {e.version} was altered: its hash does not fit"
    if key != e.stream.encode():
        return f"{e.stream} version {e.version} has the key {key!r:.80}, not its stream's id"
    if (e.version == 1) != (e.prevhash == GENESIS):
        return f"{e.stream} version {e.version} continues {'another' if e.version == 1 else 'no'} event"
    return None


def counted(e: Envelope) -> bool:
    """Return whether the event has a valid version and position, as all events of services have."""
    return e.version is not None and 0 < e.version <= MAX_VERSION and 0 < (e.position or 0) <= MAX_POSITION


def to_headers(e: Envelope) -> Headers:
    """Return the Kafka headers of a service's event."""
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", e.id.encode()),
        ("ce_source", e.source.encode()),
        ("ce_type", type_on_wire(e.type).encode()),
        ("ce_subject", e.stream.encode()),
        ("ce_time", stamp(e.time).encode()),
        ("ce_dataschema", schema_id(e.type, e.schema).encode()),
        ("ce_partitionkey", e.stream.encode()),
        ("content-type", CONTENT_TYPE),
    ]
    traceparent, tracestate = trace_context.split(e.traceparent)
    optional = (
        ("ce_correlationid", e.correlation_id),
        ("ce_causationid", e.causation_id),
        ("ce_actor", e.actor),
        ("ce_tenant", e.tenant),
        ("ce_traceparent", traceparent),
        ("ce_tracestate", tracestate),
    )
    headers += [(name, value.encode()) for name, value in optional if value]
    if e.version is not None and e.position is not None:
        headers += [
            ("ce_sequence", sequence_on_wire(e.version).encode()),
            ("ce_position", str(e.position).encode()),
            ("ce_prevhash", e.prevhash.hex().encode()),
            ("ce_hash", e.hash.hex().encode()),
        ]
        if e.command_id:
            headers.append(("ce_commandid", e.command_id.encode()))
        if e.sandbox:
            headers.append(SANDBOX_MARK)
    return headers


def former_headers(e: Envelope) -> Headers:
    """Return an event's headers in the form before types had a prefix and sequences zeros."""
    former = {"ce_type": e.type.encode(), "ce_sequence": str(e.version).encode()}
    return [(name, former.get(name, value)) for name, value in to_headers(e)]


def is_relayed(headers: Sequence[tuple[str, bytes | None]], e: Envelope) -> bool:
    """Return whether a relay, of this version or the former, writes this event so."""
    given = [*headers]
    return given == to_headers(e) or given == former_headers(e)


def _attribute(name: str) -> str:
    """Return what a header is called: its attribute, as structured mode has no headers."""
    return f"attribute {name.removeprefix('ce_')}" if name.startswith("ce_") else "the content type"


def _as_written(headers: Sequence[tuple[str, bytes | None]]) -> Mapping[str, str] | None:
    """Return the text of headers that services write, all at once.

    None if each has to be looked at.
    """
    values = [value for _, value in headers if value is not None]
    try:
        text = b"\n".join(values).decode("ascii")
    except UnicodeDecodeError:
        return None
    parts = text.split("\n")
    texts = dict(zip([name for name, _ in headers], parts, strict=False))
    one_each = len(headers) == len(values) == len(parts) == len(texts)
    return texts if one_each and texts.keys() <= _WRITTEN and _NAMES.match(text) else None


def _texts(headers: Sequence[tuple[str, bytes | None]]) -> Mapping[str, str]:
    """Return the `ce_` headers and the content type as text.

    Other headers (a tracer's, a proxy's) may have any bytes, but their names have to be text.

    Raises:
        Unreadable: if a header has no such text, or two values.
    """
    if (written := _as_written(headers)) is not None:
        return written
    texts: dict[str, str] = {}
    for name, value in headers:
        if not name.isprintable():
            raise Unreadable(f"the name of a header is not printable text: {name[:60]!a}")
        if not name.startswith("ce_") and name != "content-type":
            continue
        if value is None:
            raise Unreadable(f"{_attribute(name)} is null")
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise Unreadable(f"{_attribute(name)} is not UTF-8") from None
        if not _NAME.match(text):
            raise Unreadable(f"{_attribute(name)} is empty, longer than 500 characters, or not printable ASCII")
        if name in texts and texts[name] != text:
            raise Unreadable(f"{_attribute(name)} occurs twice, with different values")
        texts[name] = text
    return texts


def _count(texts: Mapping[str, str], name: str) -> int | None:
    text = texts.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19):
        raise Unreadable(f"{_attribute(name)} is not a count: {text[:40]!r}")
    return int(text)


def _hash(texts: Mapping[str, str], name: str) -> bytes:
    try:
        value = bytes.fromhex(texts.get(name, GENESIS.hex()))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise Unreadable(f"{_attribute(name)} is not a SHA-256 in hex")
    return value


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable(f"attribute time is not a time: {text[:40]!r}") from None
    if time.tzinfo is None:
        raise Unreadable("attribute time has no time zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise Unreadable(f"attribute time is out of range in UTC: {text[:40]!r}") from None


def _schema(text: str | None, event_type: str) -> int:
    """Return the schema's version in a service's `ce_dataschema`, or 1 for a foreign one."""
    match = _SCHEMA_URN.match(text or "")
    if match is None:
        return 1
    if match.group(1) != event_type:
        raise Unreadable(f"attribute dataschema names {match.group(1)}, and type names {event_type[:60]}")
    return int(match.group(2))


def _from_key(key: bytes | None) -> str:
    """Return the stream of a record without a subject: its key if that is a name, else ""."""
    text = (key or b"").decode(errors="replace")
    return text if _NAME.match(text) else ""


def from_headers(
    headers: Sequence[tuple[str, bytes | None]], key: bytes | None, arrived: datetime | None = None
) -> Envelope:
    """Return the envelope of a record.

    Args:
        arrived: when the record arrived, which is the time of an event that says none; None if it has to say one.

    Raises:
        Unreadable: if the headers are not those of a CloudEvent. No bytes raise any other error.
    """
    texts = _texts(headers)
    required = _REQUIRED if arrived is not None else (*_REQUIRED, "ce_time")
    if missing := [name.removeprefix("ce_") for name in required if name not in texts]:
        raise Unreadable(f"missing attributes: {', '.join(missing)}")
    if texts["ce_specversion"] != "1.0":
        raise Unreadable(f"the CloudEvents version is {texts['ce_specversion'][:20]}, not 1.0")
    event_type = type_off_wire(texts["ce_type"])
    if not event_type:
        raise Unreadable(f"attribute type is only the prefix {TYPE_PREFIX}")
    version, position = _count(texts, "ce_sequence"), _count(texts, "ce_position")
    envelope = Envelope(
        id=texts["ce_id"],
        source=texts["ce_source"],
        type=event_type,
        stream=texts.get("ce_subject") or _from_key(key),
        time=arrived if arrived is not None and "ce_time" not in texts else _time(texts["ce_time"]),
        schema=_schema(texts.get("ce_dataschema"), event_type),
        version=version,
        position=position,
        correlation_id=texts.get("ce_correlationid", ""),
        causation_id=texts.get("ce_causationid", ""),
        actor=texts.get("ce_actor", ""),
        tenant=texts.get("ce_tenant", ""),
        traceparent=trace_context.joined(texts.get("ce_traceparent", ""), texts.get("ce_tracestate", "")),
        prevhash=_hash(texts, "ce_prevhash"),
        hash=_hash(texts, "ce_hash"),
        command_id=texts.get("ce_commandid", "") if version is not None else "",
    )
    mark = texts.get("ce_sandbox")
    if mark is not None and not publisher_of(envelope.source) and (mark != "true" or not envelope.sandbox):
        raise Unreadable(f"attribute sandbox is {mark[:20]!r}, and the tenant is {envelope.tenant[:60]!r}")
    return envelope
