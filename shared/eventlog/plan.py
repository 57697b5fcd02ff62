"""What a consumer does with each record of a batch: the whole decision, pure.

A consumer's promise: each event's effect once, in its stream's order, nothing skipped silently. So every record is
applied, ignored by declaration, dropped as a repeat, or left: parked whole, with the reason.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from shared.events.base import Event
from shared.events.envelope import Envelope, Unreadable, from_headers, publisher_of
from shared.events.registry import EVENTS, is_inbound, publisher_named, why_not_from
from shared.events.upcasts import decode

Partition = tuple[str, int]
Reason = Literal["unreadable", "unknown-type", "refused", "forged", "failed", "behind", "conflicting-duplicate"]


class Raw(NamedTuple):
    """A record as Kafka gave it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None


class Received(NamedTuple):
    """A record, read as far as it could be. `event` is there for the types that the consumer handles."""

    raw: Raw
    of: Envelope | None
    event: Event | None
    problem: str | None = None
    reason: Reason = "unreadable"
    """What the problem is of: `refused` is what its sender may not say, `forged` what cannot be a service's own."""

    @property
    def sequenced(self) -> bool:
        """Whether the record is of one of our own streams, which count their versions."""
        return self.of is not None and self.of.version is not None


def receive(raw: Raw, types: frozenset[str]) -> Received:
    """Reads a record; never raises, whatever bytes it holds."""
    try:
        of = from_headers(raw.headers, raw.key)
        foreign = is_inbound(raw.topic)
        if (why := why_not_from(raw.topic, of.source, of.type)) is not None:
            return Received(raw, None, None, why, "refused" if foreign else "forged")
        if foreign:  # a foreign sequence counts something of its sender's, not versions of a stream here
            of = of._replace(version=None, position=None)
        elif not of.version:
            raise Unreadable(f"{raw.topic} holds events with a ce_sequence from 1")
    except Unreadable as problem:
        return Received(raw, None, None, str(problem))
    if of.type in EVENTS and of.type not in types:
        return Received(raw, of, None)
    try:
        event = decode(of, raw.value or b"", trusted=not foreign)
    except Unreadable as problem:
        return Received(raw, of, None, str(problem))
    if foreign and (named := publisher_named(event)) not in (None, publisher_of(of.source)):
        return Received(raw, of, None, f"{of.source} may not speak for the publisher {named!r}", "refused")
    return Received(raw, of, event)


@dataclass(frozen=True, slots=True)
class Left:
    """A record that is parked. Later events of the stream wait behind it where `holds_stream`."""

    record: Received
    reason: Reason
    detail: str
    holds_stream: bool


@dataclass(slots=True)
class Standing:
    """Where a consumer stands, as its database says: the offset dealt with in each partition (-1 for none), the
    last version of the streams at hand, the streams that are held, the partitions that have unreadable records."""

    offsets: Mapping[Partition, int]
    seen: dict[str, int]
    held: set[str] = field(default_factory=set)
    doubtful: set[Partition] = field(default_factory=set)


@dataclass(slots=True)
class Plan:
    """The batch's decisions. `offsets` and `seen` are what is to be noted with them; `refetch` names the partitions
    whose records from there on could not be judged (a gap) and the offset to fetch again."""

    apply: list[Received] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    refetch: dict[Partition, int] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    repeats: int = 0


def plan(records: Iterable[Received], standing: Standing) -> Plan:
    """Decides about each record, in the order given. Partitions that are not in `standing.offsets` are passed over:
    they are not this consumer's (any more)."""
    result = Plan()
    held, doubtful = set(standing.held), set(standing.doubtful)
    for record in records:
        partition = (record.raw.topic, record.raw.partition)
        done = result.offsets.get(partition, standing.offsets.get(partition))
        if done is None or partition in result.refetch:
            continue
        if record.raw.offset <= done:
            result.repeats += 1
            continue
        if record.of is None:
            if record.reason == "unreadable":
                doubtful.add(partition)
            result.left.append(Left(record, record.reason, record.problem or "", holds_stream=False))
        elif not _judge(record, record.of, result, standing.seen, held, partition in doubtful):
            result.refetch[partition] = done + 1
            continue
        result.offsets[partition] = record.raw.offset
    return result


def _judge(
    record: Received, of: Envelope, result: Plan, seen: Mapping[str, int], held: set[str], doubtful: bool
) -> bool:
    """Decides about one readable record; False on a gap in its stream."""
    stream, version = of.stream, of.version
    if version is not None:
        before = result.seen.get(stream, seen.get(stream, 0))
        if version <= before:
            result.repeats += 1
            return True
        if stream not in held and version > before + 1:
            gap = f"{stream}: version {version} came after {before}"
            if not doubtful:
                result.gaps.append(gap)
                return False
            held.add(stream)
            result.left.append(Left(record, "behind", f"{gap}; an unreadable record lies before it", holds_stream=True))
            return True
        if stream in held:
            result.left.append(Left(record, "behind", "an earlier event of its stream is parked", holds_stream=True))
            return True
        result.seen[stream] = version
    if record.problem is not None:
        unknown = of.type not in EVENTS
        if not unknown and version is not None:
            held.add(stream)
            result.seen[stream] = (version or 1) - 1
        reason: Reason = "unknown-type" if unknown else record.reason
        result.left.append(Left(record, reason, record.problem, holds_stream=not unknown and version is not None))
    elif record.event is not None:
        result.apply.append(record)
    return True


def park(
    plan_: Plan, failed: Received, detail: str, later: Sequence[Received], reason: Reason = "failed"
) -> list[Received]:
    """Takes a record that can't be applied out of the plan, with the later ones of its stream; returns the rest of
    `later`. Foreign records have no stream order: only the one itself is parked."""
    plan_.left.append(Left(failed, reason, detail, holds_stream=failed.sequenced))
    plan_.apply.remove(failed)
    if not failed.sequenced or failed.of is None:
        return list(later)
    stream, rest = failed.of.stream, []
    plan_.seen[stream] = (failed.of.version or 1) - 1
    for record in later:
        if record.of is not None and record.sequenced and record.of.stream == stream:
            plan_.apply.remove(record)
            plan_.left.append(Left(record, "behind", "an earlier event of its stream is parked", holds_stream=True))
        else:
            rest.append(record)
    return rest


def headers_json(headers: Sequence[tuple[str, bytes | None]]) -> list[list[str | None]]:
    """Headers as JSON that loses no byte: values in base64."""
    return [[name, None if value is None else b64encode(value).decode()] for name, value in headers]
