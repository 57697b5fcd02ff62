"""The oracle's judgement: every fault found, each in a sentence that names the place. Pure."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from shared.events.envelope import GENESIS, Envelope, Unreadable, chained, from_headers, to_headers
from tests.oracle.evidence import Evidence, Published, streams_of


def faults(evidence: Evidence) -> list[str]:
    """All that is wrong with one service's evidence; empty when nothing is lost, doubled, reordered or altered."""
    return [
        *_store(evidence), *_chains(evidence), *_head(evidence), *_topic(evidence), *_consumers(evidence),
        *_asked(evidence),
    ]  # fmt: skip


def _store(evidence: Evidence) -> Iterator[str]:
    """Positions are dense from 1, versions of each stream too, ids are unique."""
    for expected, event in enumerate(evidence.events, start=1):
        if event.of.position != expected:
            yield f"{evidence.service}: position {event.of.position} stands where {expected} should"
            break
    ids = [event.of.id for event in evidence.events]
    for twice in sorted({i for i in ids if ids.count(i) > 1} if len(ids) != len(set(ids)) else ()):
        yield f"{evidence.service}: event {twice} is stored twice"
    for stream, events in streams_of(evidence.events).items():
        versions = [event.of.version for event in events]
        if versions != list(range(1, len(events) + 1)):
            yield f"{evidence.service}: {stream} has the versions {versions}"


def _chains(evidence: Evidence) -> Iterator[str]:
    """Each stream's hashes continue one another over the very bytes."""
    for stream, events in streams_of(evidence.events).items():
        before = GENESIS
        for event in events:
            if event.of.prevhash != before:
                yield f"{evidence.service}: {stream} version {event.of.version} does not continue the one before it"
            if chained(event.of, event.data) != event.of.hash:
                yield f"{evidence.service}: {stream} version {event.of.version} was altered"
            before = event.of.hash


def _head(evidence: Evidence) -> Iterator[str]:
    """The head and its chain over the batches cover every event: a cut tail shows here."""
    if evidence.position != len(evidence.events):
        yield f"{evidence.service}: the head is at {evidence.position}, the store has {len(evidence.events)} events"
    chain, done = GENESIS, 0
    for last, expected in evidence.batches:
        for event in evidence.events[done:last]:
            chain = sha256(chain + event.of.hash).digest()
        if chain != expected:
            yield f"{evidence.service}: the batch that ends at position {last} was altered"
            return
        done = last
    if done != evidence.position or (evidence.batches and chain != evidence.chain):
        yield f"{evidence.service}: the last batch ends at {done}, the head is at {evidence.position}"


def _topic(evidence: Evidence) -> Iterator[str]:
    """Everything relayed is in the topic, byte for byte; what repeats is identical; first occurrences are in order."""
    stored = {event.of.id: event for event in evidence.events}
    last: dict[str, int] = {}
    found: set[str] = set()
    for record in evidence.topic:
        place = f"{evidence.service}: the topic's partition {record.partition}, offset {record.offset}"
        try:
            of = from_headers(record.headers, record.key)
        except Unreadable as why:
            yield f"{place}: {why}"
            continue
        event = stored.get(of.id)
        if event is None:
            yield f"{place}: event {of.id} is not in the store"
            continue
        key = event.of.stream.encode()
        if (record.headers, record.value, record.key) != (to_headers(event.of), event.data, key):
            yield f"{place}: {of.stream} version {of.version} differs from the store"
        if of.id not in found:
            if of.version != last.get(of.stream, 0) + 1:
                yield f"{place}: {of.stream} version {of.version} came after {last.get(of.stream, 0)}"
            last[of.stream] = of.version or 0
        found.add(of.id)
    for event in evidence.events:
        if (event.of.position or 0) <= evidence.relayed and event.of.id not in found:
            yield f"{evidence.service}: {event.of.stream} version {event.of.version} was relayed but isn't in the topic"


def _consumers(evidence: Evidence) -> Iterator[str]:
    """A consumer at rest has dealt with every version of every stream that it has begun, and with none beyond; of what
    lies at or below its checkpoints each record is dealt with or parked."""
    versions = {stream: len(events) for stream, events in streams_of(evidence.events).items()}
    begun = {consumer for consumer, _ in evidence.seen}
    parked = _parked(evidence)
    for consumer in sorted(begun):
        for stream, version in versions.items():
            noted = evidence.seen.get((consumer, stream), 0)
            missing = set(range(noted + 1, version + 1)) - parked.get((consumer, stream), set())
            if noted > version or missing:
                yield f"{consumer}: {stream} is at version {version}, but it has dealt with {noted}"
    logs: dict[int, list[tuple[int, Envelope | None]]] = {}
    for record in evidence.topic:
        logs.setdefault(record.partition, []).append((record.offset, _read(record)))
    for consumer, partition in sorted(evidence.checkpoints):
        yield from _at_or_below(evidence, consumer, partition, logs.get(partition, []))


def _parked(evidence: Evidence) -> dict[tuple[str, str], set[int]]:
    """Per consumer and stream: the versions that wait."""
    streams = {(r.partition, r.offset): (r.key or b"").decode(errors="replace") for r in evidence.topic}
    found: dict[tuple[str, str], set[int]] = {}
    for (consumer, partition, offset), version in evidence.waiting.items():
        found.setdefault((consumer, streams.get((partition, offset), "")), set()).add(version)
    return found


def _read(record: Published) -> Envelope | None:
    try:
        return from_headers(record.headers, record.key)
    except Unreadable:
        return None


def _at_or_below(
    evidence: Evidence, consumer: str, partition: int, log: Sequence[tuple[int, Envelope | None]]
) -> Iterator[str]:
    checkpoint = evidence.checkpoints[consumer, partition]
    for offset, of in log:
        if offset > checkpoint or (consumer, partition, offset) in evidence.waiting:
            continue
        if of is None:
            yield f"{consumer}: partition {partition}, offset {offset} is unreadable and was passed over"
        elif (of.version or 0) > evidence.seen.get((consumer, of.stream), 0):
            yield f"{consumer}: {of.stream} version {of.version} lies below its checkpoint and was passed over"


def _asked(evidence: Evidence) -> Iterator[str]:
    """What clients heard is what the store knows, and every event is of one command that the store knows."""
    ids = {(e.of.stream, e.of.version): e.of.id for e in evidence.events}
    for asked in evidence.asked:
        kept = evidence.answered.get(asked.command_id)
        place = f"{evidence.service}: command {asked.command_id}"
        if kept is None:
            if asked.outcome != "unknown":
                yield f"{place} was answered, and the store does not know it"
            continue
        if asked.outcome == "unknown":
            continue
        if kept.refused != (asked.outcome == "refused") or kept.stream != asked.stream:
            yield f"{place} was {asked.outcome} for its client, and is something else in the store"
        events = tuple(ids.get((kept.stream, kept.first + n), "nothing") for n in range(1, kept.events + 1))
        if events != asked.events:
            yield f"{place} was answered with the events {asked.events}, and the store has {events}"
    if evidence.answered:
        yield from _of_one_command(evidence)


def _of_one_command(evidence: Evidence) -> Iterator[str]:
    by_stream: dict[str, list[int]] = {}
    for kept in evidence.answered.values():
        by_stream.setdefault(kept.stream, []).extend(range(kept.first + 1, kept.first + kept.events + 1))
    for stream, events in streams_of(evidence.events).items():
        versions = sorted(by_stream.pop(stream, []))
        if versions != [event.of.version for event in events]:
            yield f"{evidence.service}: {stream} has {len(events)} events, its commands made the versions {versions}"
    for stream, lost in sorted(by_stream.items()):
        if lost:
            yield f"{evidence.service}: {stream} has lost all of its {len(lost)} events"
