"""The decision of a consumer about each record of a batch, as a pure function.

A consumer guarantees that each event takes effect once, in its stream's order, and that nothing is skipped silently.
So every record is applied, ignored by declaration, dropped as an exact repeat of a processed record, or parked whole
with the reason. A record is not trusted because it is on a topic: a service's event must be intact, must continue its
stream's chain, and, on the service's own topic, must be in its store.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shared.eventlog.deliver.received import HIDING, Partition, Raw, Reason, Received, digest_of
from shared.events.envelope import GENESIS, Envelope, former_headers, is_relayed, to_headers
from shared.events.registry import EVENTS


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A record that is parked.

    Attributes:
        holds_stream: Whether the later events of the stream wait until this record is resolved.
    """

    record: Received
    reason: Reason
    detail: str
    holds_stream: bool


class Seen(NamedTuple):
    """The last version of a stream that a consumer has processed.

    Attributes:
        hash: The hash of that event. None if it was stored before hashes were: then the next event is trusted.
        tenant: The tenant of the stream, or None if it is not known yet.
    """

    version: int = 0
    hash: bytes | None = GENESIS
    tenant: str | None = None


def seen_of(envelope: Envelope) -> Seen:
    """Return the mark of a consumer that has processed this event."""
    return Seen(envelope.version or 0, envelope.hash, envelope.tenant)


class Known(NamedTuple):
    """What this service knows of a version of a stream.

    Attributes:
        hash: The event's hash.
        position: The event's position, if it is in the service's own log.
        command_id: The event's command id, if it is in the service's own log.
        record: The digest of the record, if the event is another service's and its record's digest was stored.
    """

    hash: bytes
    position: int | None = None
    command_id: str | None = None
    record: bytes | None = None


@dataclass(kw_only=True, slots=True)
class ConsumerCheckpoint:
    """The progress of a consumer according to its database, as far as a batch concerns it.

    Attributes:
        offsets: The last processed offset of each partition, or -1.
        seen: The last processed version of each stream.
        held: The streams whose next version is parked.
        waiting: The streams of which only later versions are parked, behind a gap.
        not_awaited: The partitions in which a missing version is not waited for.
        known: The versions that this service already knows.
        own: The service's own topic. An event on it that is not in the store is forged.
        head: The store's last position.
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
    """The decisions about a batch.

    Attributes:
        apply: The records to apply, in order.
        parked: The records to park.
        offsets: The last processed offset of each partition, to be stored.
        seen: The last processed version of each stream, to be stored.
        known: The events of other services that are processed for the first time, to be stored.
        refetch: The partitions in which a version is missing, with the offset to fetch again from.
        gaps: What is missing, for a person.
        repeats: The number of records that were dropped as repeats.
    """

    apply: list[Received] = field(default_factory=list)
    parked: list[ParkedRecord] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    known: dict[tuple[str, int], Known] = field(default_factory=dict)
    refetch: dict[Partition, int] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    repeats: int = 0


def plan(records: Iterable[Received], checkpoint: ConsumerCheckpoint) -> BatchPlan:
    """Decide about each record, in the given order.

    Records of partitions that are not in `checkpoint.offsets` are ignored, because the consumer does not have these
    partitions, or no longer.
    """
    result = BatchPlan()
    streams = StreamJudge(checkpoint, result)
    for record in records:
        partition = (record.raw.topic, record.raw.partition)
        done = result.offsets.get(partition, checkpoint.offsets.get(partition))
        if done is None or partition in result.refetch:
            continue
        if record.raw.offset <= done:
            result.repeats += 1
            continue
        if record.envelope is None:
            if record.reason in HIDING:
                streams.not_awaited.add(partition)
            result.parked.append(ParkedRecord(record, record.reason, record.problem or "", holds_stream=False))
        elif record.envelope.version is None:
            _take(record, record.envelope, result)
        elif not streams.judge(record, record.envelope, record.envelope.version):
            result.refetch[partition] = done + 1
            continue
        result.offsets[partition] = record.raw.offset
    return result


def plan_alike(records: Sequence[Received], other: Sequence[Received], planned: BatchPlan) -> BatchPlan | None:
    """Return a consumer's plan by that of another one at the same point.

    It is the same if each record was taken and can be read, but for the types that the consumers handle. None if it has
    to be made by itself.

    Args:
        records: The records as the consumer receives them.
        other: The records as the other one receives them.
        planned: The other one's plan.
    """
    if planned.parked or planned.refetch or planned.repeats or len(records) != len(other):
        return None
    for record, beside in zip(records, other, strict=True):
        raw = record.raw
        if raw is not beside.raw or record.problem is not None or (raw.topic, raw.partition) not in planned.offsets:
            return None
    return BatchPlan(
        apply=[record for record in records if record.event is not None],
        offsets=dict(planned.offsets),
        seen=dict(planned.seen),
        known=dict(planned.known),
    )


def _take(record: Received, envelope: Envelope, result: BatchPlan) -> bool:
    """Apply, ignore or park the next record of a stream.

    Return whether the stream can continue after it.
    """
    if record.problem is None:
        if record.event is not None:
            result.apply.append(record)
        return True
    unknown = envelope.type not in EVENTS and record.reason == "unreadable"
    holds = envelope.version is not None and not unknown
    result.parked.append(
        ParkedRecord(record, "unknown-type" if unknown else record.reason, record.problem, holds_stream=holds)
    )
    return not holds


class StreamJudge:
    """The decisions about the records of services' streams in one batch."""

    def __init__(self, checkpoint: ConsumerCheckpoint, result: BatchPlan) -> None:
        self._checkpoint, self._result = checkpoint, result
        self._held, self._waiting = set(checkpoint.held), set(checkpoint.waiting)
        self.not_awaited = set(checkpoint.not_awaited)

    def judge(self, record: Received, envelope: Envelope, version: int) -> bool:
        """Decide about one intact record. Return False if a version is missing that may still come."""
        seen = self._result.seen.get(envelope.stream) or self._checkpoint.seen.get(envelope.stream) or Seen()
        known = self._known(envelope.stream, version, seen)
        own = record.raw.topic == self._checkpoint.own
        if own and known is None and (envelope.position or 0) > self._checkpoint.head:
            return self._missing(record, f"the store has no position {envelope.position} yet", "forged")
        if (fault := contradiction(envelope, known, own=own, raw=record.raw)) is not None:
            self._result.parked.append(ParkedRecord(record, *fault, holds_stream=False))
        elif version <= seen.version:
            self._result.repeats += 1
            if known is None:  # The event was processed before hashes were stored: store this one.
                self._result.known[envelope.stream, version] = Known(envelope.hash, record=digest_of(record.raw))
        elif version > seen.version + 1:
            return self._ahead(record, envelope, f"{envelope.stream}: version {version} came after {seen.version}")
        elif envelope.stream in self._held:
            self._result.parked.append(ParkedRecord(record, "behind", _BEHIND, holds_stream=True))
        elif not continues(envelope, seen):
            self._result.parked.append(ParkedRecord(record, "broken-chain", broken(envelope, seen), holds_stream=False))
        else:
            self._next(record, envelope, version)
        return True

    def _known(self, stream: str, version: int, seen: Seen) -> Known | None:
        known = self._checkpoint.known.get((stream, version))
        if known is None:
            known = self._result.known.get((stream, version))
        if known is None and version == seen.version and seen.hash is not None:
            known = Known(seen.hash)
        return known

    def _next(self, record: Received, envelope: Envelope, version: int) -> None:
        if record.raw.topic != self._checkpoint.own and (envelope.stream, version) not in self._checkpoint.known:
            self._result.known[envelope.stream, version] = Known(envelope.hash, record=digest_of(record.raw))
        if _take(record, envelope, self._result):
            self._result.seen[envelope.stream] = seen_of(envelope)
        else:
            self._held.add(envelope.stream)
            self._result.seen[envelope.stream] = Seen(version - 1, envelope.prevhash, envelope.tenant)

    def _ahead(self, record: Received, envelope: Envelope, gap: str) -> bool:
        if envelope.stream in self._held:
            self._result.parked.append(ParkedRecord(record, "behind", _BEHIND, holds_stream=True))
            return True
        if envelope.stream in self._waiting:
            self._result.parked.append(ParkedRecord(record, "gap", gap, holds_stream=True))
            return True
        if self._missing(record, gap, "gap"):
            self._waiting.add(envelope.stream)
            return True
        return False

    def _missing(self, record: Received, gap: str, reason: Reason) -> bool:
        """Park the record, unless its partition waits for missing versions.

        Return whether it is parked.
        """
        if (record.raw.topic, record.raw.partition) not in self.not_awaited:
            self._result.gaps.append(gap)
            return False
        self._result.parked.append(ParkedRecord(record, reason, gap, holds_stream=reason == "gap"))
        return True


_BEHIND: Final = "an earlier event of its stream is parked"


def contradiction(
    envelope: Envelope, known: Known | None, *, own: bool, raw: Raw | None = None
) -> tuple[Reason, str] | None:
    """Return how a record contradicts what this service knows of its version, or None.

    Args:
        own: Whether the record is on the service's own topic. Then the log must have the event, with the same position
            and command id.
        raw: The record. On the service's own topic it may have only the headers that the relay writes; another
            service's record must equal the processed one byte for byte. None to compare the events only, as for a
            record that an operator has edited.
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
        if same and (raw is None or _only_relayed(raw, envelope)):
            return None
        return (
            "forged",
            f"{envelope.stream} version {envelope.version}, position {envelope.position}: the store has another event "
            "there",
        )
    if same and (raw is None or _repeats(raw, envelope, known.record)):
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


def _only_relayed(raw: Raw, envelope: Envelope) -> bool:
    """Return whether a record has no other headers than the relay writes, now or formerly."""
    if is_relayed(raw.headers, envelope):  # as nearly all are, and sets take a third longer
        return True
    given = set(raw.headers)
    return given <= set(to_headers(envelope)) or given <= set(former_headers(envelope))


def _repeats(raw: Raw, envelope: Envelope, record: bytes | None) -> bool:
    """Return whether this digest is the record's, or its event's in another version's form."""
    if record is None or record == digest_of(raw):
        return True
    if not is_relayed(raw.headers, envelope):
        return False
    forms = (to_headers(envelope), former_headers(envelope))
    return any(record == digest_of(raw._replace(headers=form)) for form in forms)


def continues(envelope: Envelope, seen: Seen) -> bool:
    """Return whether the event continues the last processed version of its stream."""
    return seen.hash is None or seen.hash == envelope.prevhash


def broken(envelope: Envelope, seen: Seen) -> str:
    """Describe how an event fails to continue the last processed version of its stream."""
    last = (seen.hash or b"").hex()[:16]
    return (
        f"{envelope.stream} version {envelope.version} continues the hash {envelope.prevhash.hex()[:16]}…, but version "
        f"{seen.version} has the hash {last}…"
    )


def park(
    plan_: BatchPlan, failed: Received, detail: str, later: Sequence[Received], reason: Reason = "failed"
) -> list[Received]:
    """Move a failed record from `apply` to `parked`, with the later ones of its stream.

    Publishers' records have no order of a stream, so only the record itself is moved.

    Args:
        later: The records after the failed one.

    Returns:
        The records of `later` that can still be applied.
    """
    plan_.parked.append(ParkedRecord(failed, reason, detail, holds_stream=failed.sequenced))
    plan_.apply.remove(failed)
    if not failed.sequenced or failed.envelope is None:
        return list(later)
    stream, rest = failed.envelope.stream, []
    plan_.seen[stream] = Seen((failed.envelope.version or 1) - 1, failed.envelope.prevhash, failed.envelope.tenant)
    for record in later:
        if record.envelope is not None and record.sequenced and record.envelope.stream == stream:
            plan_.apply.remove(record)
            plan_.parked.append(ParkedRecord(record, "behind", _BEHIND, holds_stream=True))
        else:
            rest.append(record)
    return rest
