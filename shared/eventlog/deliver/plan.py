"""What a consumer does with each record of a batch: the whole decision, pure.

A consumer's promise: each event's effect once, in its stream's order, nothing skipped silently. So every record is
applied, ignored by declaration, dropped as a repeat of what was dealt with byte for byte, or left: parked whole, with
the reason. Nothing is believed because it is on a topic: a service's event has to be intact, to continue its stream's
chain, and, on the service's own topic, to be in its store.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from shared.events.base import Event
from shared.events.envelope import GENESIS, Envelope, Unreadable, counted, flaw, from_headers, publisher_of, to_headers
from shared.events.fields import EARLIEST
from shared.events.registry import EVENTS, is_inbound, publisher_named, times_said, why_not_from
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
"""What only a forger, or a topic that is not its store's, can be the cause of."""
HIDING: Final[frozenset[Reason]] = frozenset({"unreadable", "unparsable"})
"""What may hide the version of a stream that then seems to be missing."""
AHEAD: Final = timedelta(minutes=5)
"""So far a publisher's clock may be ahead of ours."""


class Raw(NamedTuple):
    """A record as Kafka gave it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    """A name that is not UTF-8 has its bytes as lone surrogates (`surrogateescape`)."""
    value: bytes | None
    unparsed: str = ""
    """Why the client library could not read the record; `value` are its bytes then, or those of its batch."""


class Received(NamedTuple):
    """A record, read as far as it could be. `event` is there for the types that the consumer handles."""

    raw: Raw
    envelope: Envelope | None
    event: Event | None
    problem: str | None = None
    reason: Reason = "unreadable"
    """What the problem is of: `refused` is what its sender may not say, `forged` what cannot be a service's own."""

    @property
    def sequenced(self) -> bool:
        """Whether the record is of one of our own streams, which count their versions."""
        return self.envelope is not None and self.envelope.version is not None


def receive(raw: Raw, types: frozenset[str], now: datetime | None = None, *, edited: bool = False) -> Received:
    """Read a record; never raise, whatever bytes it holds.

    Args:
        now: the real time; without it, a publisher's time may be any.
        edited: an operator has changed the record since, so that its hash can't fit.
    """
    if raw.unparsed:
        return Received(raw, None, None, raw.unparsed, "unparsable")
    foreign = is_inbound(raw.topic)
    try:
        envelope = from_headers(raw.headers, raw.key)
        if (why := why_not_from(raw.topic, envelope.source, envelope.type)) is not None:
            return Received(raw, None, None, why, "refused" if foreign else "forged")
        if foreign:  # a foreign sequence counts something of its sender's, not versions of a stream here
            envelope = envelope._replace(version=None, position=None)
        elif not envelope.stream or not counted(envelope):
            raise Unreadable(f"{raw.topic} holds events of a stream, with a ce_sequence and a ce_position from 1")
        elif not edited and (why := flaw(envelope, raw.key, raw.value or b"")) is not None:
            return Received(raw, None, None, why, "forged")
    except Unreadable as problem:
        return Received(raw, None, None, str(problem))
    if foreign and (why := _ahead("its time", envelope.time, now)) is not None:
        return Received(raw, envelope, None, why, "refused")
    if foreign and envelope.time < EARLIEST:
        why = f"its time, {envelope.time.isoformat()}, is before {EARLIEST:%Y}"
        return Received(raw, envelope, None, why, "refused")
    if envelope.type in EVENTS and envelope.type not in types:
        return Received(raw, envelope, None)
    try:
        event = decode(envelope, raw.value or b"", trusted=not foreign)
    except Unreadable as problem:
        return Received(raw, envelope, None, str(problem))
    if foreign and (named := publisher_named(event)) not in (None, publisher_of(envelope.source)):
        return Received(raw, envelope, None, f"{envelope.source} may not speak for the publisher {named!r}", "refused")
    for name, time in times_said(event) if foreign else ():
        if (why := _ahead(f"its {name}", time, now)) is not None:
            return Received(raw, envelope, None, why, "refused")
    return Received(raw, envelope, event)


def _ahead(what: str, time: datetime, now: datetime | None) -> str | None:
    """Why a sender's time is refused, if it is: nothing that has happened is of a time that is still to come."""
    if now is None or time <= now + AHEAD:
        return None
    return f"{what}, {time.isoformat()}, is more than five minutes ahead of {now.isoformat()}"


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A record that is parked. Later events of the stream wait behind it where `holds_stream`."""

    record: Received
    reason: Reason
    detail: str
    holds_stream: bool


class Seen(NamedTuple):
    """The last version of a stream that a consumer has dealt with. Its hash is None where it was noted before hashes
    were kept: then the next event is believed, and its hash kept from there on. Its tenant is None where nothing
    said it yet."""

    version: int = 0
    hash: bytes | None = GENESIS
    tenant: str | None = None


def seen_of(envelope: Envelope) -> Seen:
    """What a consumer has seen that has dealt with this event."""
    return Seen(envelope.version or 0, envelope.hash, envelope.tenant)


class Known(NamedTuple):
    """What this service knows of a version of a stream.

    Attributes:
        hash: the event's.
        position, command_id: of an event of the service's own log.
        record: the digest of the record by which an event of another service was dealt with; None where it was not
            kept.
    """

    hash: bytes
    position: int | None = None
    command_id: str | None = None
    record: bytes | None = None


@dataclass(kw_only=True, slots=True)
class ConsumerCheckpoint:
    """Where a consumer stands, as its database says.

    Attributes:
        offsets: the offset dealt with in each partition, -1 for none.
        seen: the last version of the streams at hand.
        held: the streams whose next version is parked.
        waiting: the streams of which only later versions are parked, behind a gap.
        not_awaited: the partitions in which a gap is not waited for.
        known: the versions at hand that this service knows already.
        own: the topic of the service itself: what its store does not have is forged.
        head: the store's last position.
    """

    offsets: Mapping[Partition, int]
    seen: dict[str, Seen]
    held: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    not_awaited: set[Partition] = field(default_factory=set)
    known: dict[tuple[str, int], Known] = field(default_factory=dict)
    own: str = ""
    head: int = 0


@dataclass(kw_only=True, slots=True)
class BatchPlan:
    """The batch's decisions. `offsets`, `seen` and `known` are what is to be noted with them; `refetch` names the
    partitions whose records from there on could not be judged (a gap) and the offset to fetch again."""

    apply: list[Received] = field(default_factory=list)
    left: list[ParkedRecord] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    known: dict[tuple[str, int], Known] = field(default_factory=dict)
    """Other services' events that are dealt with for the first time here."""
    refetch: dict[Partition, int] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    repeats: int = 0


def plan(records: Iterable[Received], standing: ConsumerCheckpoint) -> BatchPlan:
    """Decide about each record, in the order given. Partitions that are not in `standing.offsets` are passed over:
    they are not this consumer's (any more)."""
    result = BatchPlan()
    streams = StreamJudge(standing, result)
    for record in records:
        partition = (record.raw.topic, record.raw.partition)
        done = result.offsets.get(partition, standing.offsets.get(partition))
        if done is None or partition in result.refetch:
            continue
        if record.raw.offset <= done:
            result.repeats += 1
            continue
        if record.envelope is None:
            if record.reason in HIDING:
                streams.not_awaited.add(partition)
            result.left.append(ParkedRecord(record, record.reason, record.problem or "", holds_stream=False))
        elif record.envelope.version is None:
            _take(record, record.envelope, result)
        elif not streams.judge(record, record.envelope, record.envelope.version):
            result.refetch[partition] = done + 1
            continue
        result.offsets[partition] = record.raw.offset
    return result


def _take(record: Received, envelope: Envelope, result: BatchPlan) -> bool:
    """Apply, ignore or park a record whose turn it is; whether the next of its stream may follow."""
    if record.problem is None:
        if record.event is not None:
            result.apply.append(record)
        return True
    unknown = envelope.type not in EVENTS and record.reason == "unreadable"
    holds = envelope.version is not None and not unknown
    result.left.append(
        ParkedRecord(record, "unknown-type" if unknown else record.reason, record.problem, holds_stream=holds)
    )
    return not holds


class StreamJudge:
    """The services' streams in a batch: what is known of each, while the batch is judged."""

    def __init__(self, standing: ConsumerCheckpoint, result: BatchPlan) -> None:
        self._standing, self._result = standing, result
        self._held, self._waiting = set(standing.held), set(standing.waiting)
        self.not_awaited = set(standing.not_awaited)

    def judge(self, record: Received, envelope: Envelope, version: int) -> bool:
        """Decide about one intact record; False on a gap that may close."""
        seen = self._result.seen.get(envelope.stream) or self._standing.seen.get(envelope.stream) or Seen()
        known = self._known(envelope.stream, version, seen)
        own = record.raw.topic == self._standing.own
        if own and known is None and (envelope.position or 0) > self._standing.head:
            return self._missing(record, f"the store has no position {envelope.position} yet", "forged")
        if (fault := contradiction(envelope, known, own=own, raw=record.raw)) is not None:
            self._result.left.append(ParkedRecord(record, *fault, holds_stream=False))
        elif version <= seen.version:
            self._result.repeats += 1
            if known is None:  # of before hashes were kept: from here on this one counts
                self._result.known[envelope.stream, version] = Known(envelope.hash, record=digest_of(record.raw))
        elif version > seen.version + 1:
            return self._ahead(record, envelope, f"{envelope.stream}: version {version} came after {seen.version}")
        elif envelope.stream in self._held:
            self._result.left.append(ParkedRecord(record, "behind", _BEHIND, holds_stream=True))
        elif not continues(envelope, seen):
            self._result.left.append(ParkedRecord(record, "broken-chain", broken(envelope, seen), holds_stream=False))
        else:
            self._next(record, envelope, version)
        return True

    def _known(self, stream: str, version: int, seen: Seen) -> Known | None:
        found = self._standing.known.get((stream, version))
        if found is None:
            found = self._result.known.get((stream, version))
        if found is None and version == seen.version and seen.hash is not None:
            found = Known(seen.hash)
        return found

    def _next(self, record: Received, envelope: Envelope, version: int) -> None:
        if record.raw.topic != self._standing.own and (envelope.stream, version) not in self._standing.known:
            self._result.known[envelope.stream, version] = Known(envelope.hash, record=digest_of(record.raw))
        if _take(record, envelope, self._result):
            self._result.seen[envelope.stream] = seen_of(envelope)
        else:
            self._held.add(envelope.stream)
            self._result.seen[envelope.stream] = Seen(version - 1, envelope.prevhash, envelope.tenant)

    def _ahead(self, record: Received, envelope: Envelope, gap: str) -> bool:
        if envelope.stream in self._held:
            self._result.left.append(ParkedRecord(record, "behind", _BEHIND, holds_stream=True))
            return True
        if envelope.stream in self._waiting:
            self._result.left.append(ParkedRecord(record, "gap", gap, holds_stream=True))
            return True
        if self._missing(record, gap, "gap"):
            self._waiting.add(envelope.stream)
            return True
        return False

    def _missing(self, record: Received, gap: str, reason: Reason) -> bool:
        """Park what waiting has not helped, or is no use for; False where it may."""
        if (record.raw.topic, record.raw.partition) not in self.not_awaited:
            self._result.gaps.append(gap)
            return False
        self._result.left.append(ParkedRecord(record, reason, gap, holds_stream=reason == "gap"))
        return True


_BEHIND: Final = "an earlier event of its stream is parked"


def digest_of(raw: Raw) -> bytes:
    """The SHA-256 of a record: its key, its headers in their order, its value."""
    parts: list[bytes | None] = [raw.key, raw.value]
    for name, value in raw.headers:
        parts += [name.encode(errors="surrogateescape"), value]
    whole = sha256()
    for part in parts:
        whole.update(b"-" if part is None else b"%d:" % len(part))
        whole.update(part or b"")
    return whole.digest()


def contradiction(
    envelope: Envelope, known: Known | None, *, own: bool, raw: Raw | None = None
) -> tuple[Reason, str] | None:
    """How a record contradicts what its service knows of that version of the stream, if it does.

    Args:
        own: the event is of the service's own log, which has to have it: with its position and its command.
        raw: the record itself. Another service's has to be the one that was dealt with, byte for byte; one of the own
            topic has no headers but those that the relay writes. None for a record that an operator has edited, and
            where only the event counts.
    """
    if own and known is None:
        return (
            "forged",
            f"{envelope.stream} version {envelope.version}, position {envelope.position}: the store has no such event",
        )
    if known is None:
        return None
    same = known.hash == envelope.hash
    if own:
        same = same and (known.position, known.command_id) == (envelope.position, envelope.command_id)
        if same and (raw is None or set(raw.headers) <= set(to_headers(envelope))):
            return None
        return (
            "forged",
            f"{envelope.stream} version {envelope.version}, position {envelope.position}: the "
            "store has another event there",
        )
    if same and (raw is None or known.record in (None, digest_of(raw))):
        return None
    if same:
        return (
            "conflict",
            f"{envelope.stream} version {envelope.version} came before with other headers: only the same record, byte "
            "for byte, is a repeat",
        )
    return (
        "conflict",
        f"{envelope.stream} version {envelope.version} is known with another hash, {known.hash.hex()[:16]}…",
    )


def continues(envelope: Envelope, seen: Seen) -> bool:
    """Whether the event follows the one that was seen last."""
    return seen.hash is None or seen.hash == envelope.prevhash


def broken(envelope: Envelope, seen: Seen) -> str:
    kept = (seen.hash or b"").hex()[:16]
    return (
        f"{envelope.stream} version {envelope.version} continues "
        f"{envelope.prevhash.hex()[:16]}…, version {seen.version} is {kept}…"
    )


def park(
    plan_: BatchPlan, failed: Received, detail: str, later: Sequence[Received], reason: Reason = "failed"
) -> list[Received]:
    """Takes a record that can't be applied out of the plan, with the later ones of its stream; returns the rest of
    `later`. Foreign records have no stream order: only the one itself is parked."""
    plan_.left.append(ParkedRecord(failed, reason, detail, holds_stream=failed.sequenced))
    plan_.apply.remove(failed)
    if not failed.sequenced or failed.envelope is None:
        return list(later)
    stream, rest = failed.envelope.stream, []
    plan_.seen[stream] = Seen((failed.envelope.version or 1) - 1, failed.envelope.prevhash, failed.envelope.tenant)
    for record in later:
        if record.envelope is not None and record.sequenced and record.envelope.stream == stream:
            plan_.apply.remove(record)
            plan_.left.append(ParkedRecord(record, "behind", _BEHIND, holds_stream=True))
        else:
            rest.append(record)
    return rest


def weight(headers: Sequence[object], value: bytes | None) -> int:
    """About how much work a record is, in bytes: a header costs as much as tens of bytes of a value."""
    return 100 + 40 * len(headers) + len(value or b"")


def headers_json(headers: Sequence[tuple[str, bytes | None]]) -> list[list[str | None]]:
    """Headers as JSON that loses no byte: values in base64; names, too, as a third part, where they are no text."""
    return [[*_name_json(name, None if value is None else b64encode(value).decode())] for name, value in headers]


def _name_json(name: str, value: str | None) -> tuple[str | None, ...]:
    if name.isprintable():
        return name, value
    return ascii(name), value, b64encode(name.encode(errors="surrogateescape")).decode()


def headers_of(stored: Sequence[Sequence[Any]]) -> list[tuple[str, bytes | None]]:
    """The headers that `headers_json` made this of."""
    return [
        (b64decode(rest[0]).decode(errors="surrogateescape") if rest else name, None if v is None else b64decode(v))
        for name, v, *rest in stored
    ]


def as_text(text: str) -> str:
    """Any text as one that PostgreSQL can hold: without NUL and lone surrogates."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
