"""The oracle's judgement: every fault found, each in a sentence that names the place. Pure."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from shared.eventlog.deliver.relay import partition_of
from shared.events.envelope import GENESIS, Envelope, Unreadable, chained, former_headers, from_headers, to_headers
from tests.oracle.evidence import Evidence, Published, streams_of


def faults(evidence: Evidence) -> list[str]:
    """All that is wrong with one service's evidence; empty when nothing is lost, doubled, reordered or altered."""
    found = [*_store(evidence), *_chains(evidence), *_head(evidence), *_anchors(evidence), *_asked(evidence)]
    if evidence.published:
        found += [*_topic(evidence), *_consumers(evidence), *_parked(evidence)]
    return found


def _store(evidence: Evidence) -> Iterator[str]:
    """Positions are dense from 1, versions of each stream too, ids are unique."""
    for expected, event in enumerate(evidence.events, start=1):
        if event.envelope.position != expected:
            yield f"{evidence.service}: position {event.envelope.position} stands where {expected} should"
            break
    ids = [event.envelope.id for event in evidence.events]
    for twice in sorted({i for i in ids if ids.count(i) > 1} if len(ids) != len(set(ids)) else ()):
        yield f"{evidence.service}: event {twice} is stored twice"
    for stream, events in streams_of(evidence.events).items():
        versions = [event.envelope.version for event in events]
        if versions != list(range(1, len(events) + 1)):
            yield f"{evidence.service}: {stream} has the versions {versions}"


def _chains(evidence: Evidence) -> Iterator[str]:
    """Each stream's hashes continue one another over the very bytes."""
    for stream, events in streams_of(evidence.events).items():
        before = GENESIS
        for event in events:
            if event.envelope.prevhash != before:
                yield (
                    f"{evidence.service}: {stream} version {event.envelope.version} does not continue the one before it"
                )
            if chained(event.envelope, event.data) != event.envelope.hash:
                yield f"{evidence.service}: {stream} version {event.envelope.version} was altered"
            before = event.envelope.hash


def _head(evidence: Evidence) -> Iterator[str]:
    """The head and its chain over the batches cover every event: a cut tail shows here."""
    if evidence.position != len(evidence.events):
        yield f"{evidence.service}: the head is at {evidence.position}, the store has {len(evidence.events)} events"
    chain, done = GENESIS, 0
    for last, expected in evidence.batches:
        for event in evidence.events[done:last]:
            chain = sha256(chain + event.envelope.hash).digest()
        if chain != expected:
            yield f"{evidence.service}: the batch that ends at position {last} was altered"
            return
        done = last
    if done != evidence.position or (evidence.batches and chain != evidence.chain):
        yield f"{evidence.service}: the last batch ends at {done}, the head is at {evidence.position}"


def _anchors(evidence: Evidence) -> Iterator[str]:
    """What was noted outside: every position that an anchor names is there, with the chain that it says."""
    if evidence.fenced is not None:
        yield f"{evidence.service}: the store takes no commands: {evidence.fenced}"
    chains = [GENESIS]
    for event in evidence.events:
        chains.append(sha256(chains[-1] + event.envelope.hash).digest())
    for position, chain in sorted({(mark.position, mark.chain) for mark in evidence.anchors}):
        if position >= len(chains):
            yield f"{evidence.service}: an anchor says that position {position} existed, the last is {len(chains) - 1}"
        elif chain != chains[position]:
            yield f"{evidence.service}: the chain at position {position} is not the one that an anchor says"


def _topic(evidence: Evidence) -> Iterator[str]:
    """Everything stored is relayed; what was is in the topic, byte for byte and in its stream's partition; what repeats
    is identical; first occurrences are in order."""
    if evidence.foreign:
        return
    if evidence.relayed != evidence.position:
        yield f"{evidence.service}: the relay is at {evidence.relayed}, the store at {evidence.position}"
    stored = {event.envelope.id: event for event in evidence.events}
    last: dict[str, int] = {}
    found: set[str] = set()
    for record in _relays(evidence):
        place = f"{evidence.service}: the topic's partition {record.partition}, offset {record.offset}"
        try:
            envelope = from_headers(record.headers, record.key)
        except Unreadable as why:
            yield f"{place}: {why}"
            continue
        event = stored.get(envelope.id)
        if event is None:
            yield f"{place}: event {envelope.id} is not in the store"
            continue
        key = event.envelope.stream.encode()
        form = former_headers if dict(record.headers).get("ce_type") == envelope.type.encode() else to_headers
        if (record.headers, record.value, record.key) != (form(event.envelope), event.data, key):
            yield f"{place}: {envelope.stream} version {envelope.version} differs from the store"
        if evidence.ends and record.partition != partition_of(event.envelope.stream, len(evidence.ends)):
            yield f"{place}: {envelope.stream} belongs into another partition"
        if envelope.id not in found:
            if envelope.version != last.get(envelope.stream, 0) + 1:
                yield f"{place}: {envelope.stream} version {envelope.version} came after {last.get(envelope.stream, 0)}"
            last[envelope.stream] = envelope.version or 0
        found.add(envelope.id)
    for event in evidence.events:
        if (event.envelope.position or 0) <= evidence.relayed and event.envelope.id not in found:
            yield (
                f"{evidence.service}: {event.envelope.stream} version {event.envelope.version} "
                "was relayed but isn't in the topic"
            )


def _relays(evidence: Evidence) -> list[Published]:
    """Without what a test planted."""
    return [record for record in evidence.topic if (record.partition, record.offset) not in evidence.planted]


def _consumers(evidence: Evidence) -> Iterator[str]:
    """Every consumer there should be, and at rest at the end of every partition: it has dealt with every version of
    every stream, and with none beyond; of what lies at or below its checkpoints each record is dealt with or parked."""
    versions = {stream: len(events) for stream, events in streams_of(evidence.events).items()}
    consumers = evidence.expected | {consumer for consumer, _ in evidence.seen}
    parked = _waiting(evidence)
    for consumer, stream in evidence.seen:
        if stream not in versions:
            yield f"{consumer}: it has dealt with {stream}, which {evidence.service}'s store does not have"
    for consumer in sorted(consumers):
        for stream, version in versions.items():
            noted = evidence.seen.get((consumer, stream), 0)
            missing = set(range(noted + 1, version + 1)) - parked.get((consumer, stream), set())
            if noted > version or missing:
                yield f"{consumer}: {stream} is at version {version}, but it has dealt with {noted}"
        for partition in evidence.ends:
            if (consumer, partition) not in evidence.checkpoints:
                yield f"{consumer}: it has no checkpoint in partition {partition} of {evidence.service}'s topic"
    logs: dict[int, list[tuple[int, Envelope | None]]] = {}
    for record in evidence.topic:
        logs.setdefault(record.partition, []).append((record.offset, _read(record, foreign=evidence.foreign)))
    for (consumer, partition), checkpoint in sorted(evidence.checkpoints.items()):
        end = evidence.ends.get(partition, 0) - 1
        if evidence.ends and (checkpoint > end or (evidence.at_ends and checkpoint != end)):
            yield f"{consumer}: its checkpoint in partition {partition} is {checkpoint}, the last offset {end}"
        yield from _at_or_below(evidence, consumer, partition, logs.get(partition, []))


def _waiting(evidence: Evidence) -> dict[tuple[str, str], set[int]]:
    """Per consumer and stream: the versions that wait."""
    streams = {(r.partition, r.offset): _stream(r) for r in evidence.topic}
    found: dict[tuple[str, str], set[int]] = {}
    for (consumer, partition, offset), waiting in evidence.waiting.items():
        found.setdefault((consumer, streams.get((partition, offset), "")), set()).add(waiting.version)
    return found


def _parked(evidence: Evidence) -> Iterator[str]:
    """What waits is what the topic has there, byte for byte, and waits still: nobody has dealt with it."""
    records = {(record.partition, record.offset): record for record in evidence.topic}
    for (consumer, partition, offset), waiting in sorted(evidence.waiting.items(), key=lambda each: each[0]):
        place = f"{consumer}: what it has parked of partition {partition}, offset {offset}"
        record = records.get((partition, offset))
        if partition < 0:
            continue  # of a topic that was made anew since: these places are the former one's
        if record is None:
            yield f"{place} is not in the topic"
        elif (waiting.key, waiting.headers, waiting.value) != (record.key, record.headers, record.value):
            yield f"{place} differs from the topic"
        elif waiting.held and evidence.seen.get((consumer, _stream(record)), 0) >= waiting.version:
            yield f"{place} was dealt with, too"


def _stream(record: Published) -> str:
    return (record.key or b"").decode(errors="replace")


def _read(record: Published, *, foreign: bool) -> Envelope | None:
    try:
        return record.envelope(foreign=foreign)
    except Unreadable:
        return None


def _at_or_below(
    evidence: Evidence, consumer: str, partition: int, log: Sequence[tuple[int, Envelope | None]]
) -> Iterator[str]:
    checkpoint = evidence.checkpoints[consumer, partition]
    hashes = {(event.envelope.stream, event.envelope.version): event.envelope.hash for event in evidence.events}
    for offset, envelope in log:
        if offset > checkpoint or (consumer, partition, offset) in evidence.waiting:
            continue
        if envelope is None:
            yield f"{consumer}: partition {partition}, offset {offset} is unreadable and was passed over"
        elif not evidence.foreign and (envelope.version or 0) > evidence.seen.get((consumer, envelope.stream), 0):
            yield (
                f"{consumer}: {envelope.stream} version {envelope.version} lies below its "
                "checkpoint and was passed over"
            )
        elif not evidence.foreign and envelope.hash != hashes.get((envelope.stream, envelope.version)):
            yield (
                f"{consumer}: {envelope.stream} version {envelope.version} at {offset} is not the "
                "store's and was not set aside"
            )


def _asked(evidence: Evidence) -> Iterator[str]:
    """What clients heard is what the store knows, and every event is of one command that the store knows."""
    ids = {(e.envelope.stream, e.envelope.version): e.envelope.id for e in evidence.events}
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
        yield from _of_its_command(evidence)


def _of_its_command(evidence: Evidence) -> Iterator[str]:
    """The command that an event names is the one that made it."""
    for event in evidence.events:
        envelope, kept = event.envelope, evidence.answered.get(event.envelope.command)
        first, last = (0, 0) if kept is None else (kept.first + 1, kept.first + kept.events)
        if kept is None or kept.stream != envelope.stream or not first <= (envelope.version or 0) <= last:
            yield (
                f"{evidence.service}: {envelope.stream} version {envelope.version} names the "
                f"command {envelope.command!r}, not its own"
            )


def _of_one_command(evidence: Evidence) -> Iterator[str]:
    by_stream: dict[str, list[int]] = {}
    for kept in evidence.answered.values():
        by_stream.setdefault(kept.stream, []).extend(range(kept.first + 1, kept.first + kept.events + 1))
    for stream, events in streams_of(evidence.events).items():
        versions = sorted(by_stream.pop(stream, []))
        if versions != [event.envelope.version for event in events]:
            yield f"{evidence.service}: {stream} has {len(events)} events, its commands made the versions {versions}"
    for stream, lost in sorted(by_stream.items()):
        if lost:
            yield f"{evidence.service}: {stream} has lost all of its {len(lost)} events"
