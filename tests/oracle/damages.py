"""Kinds of damage to plant in a clean system's evidence."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from shared.eventlog.deliver.relay import partition_of
from shared.eventlog.repair.anchors import Anchor
from shared.events import SeatUnassigned
from shared.events.envelope import GENESIS, Envelope, chained, from_headers, source_of, to_headers
from tests.oracle.evidence import Answered, Asked, Evidence, Published, Stored, Waiting

PLANTS = int(os.environ.get("PLANTS", "200"))

PARTITIONS = 6

READER = "distribution.availability"

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def clean(streams: int = 4, length: int = 6) -> Evidence:
    evidence, chain = Evidence("entitlements"), GENESIS
    heads = {f"pool-{n}": GENESIS for n in range(streams)}
    for version in range(1, length + 1):
        for stream in heads:
            event = SeatUnassigned(
                subscription_id=stream, contract_id="c", seat=version, account_id="a", unassigned_by="b"
            )
            position, data = len(evidence.events) + 1, event.data()
            envelope = Envelope(
                f"{stream}/{version}",
                source_of("entitlements"),
                event.type(),
                stream,
                NEW_YEAR,
                1,
                version,
                position,
                "c",
                "d",
                "a",
                "t",
                "",
                heads[stream],
                command_id=f"command-{stream}/{version}",
            )
            envelope = envelope._replace(hash=chained(envelope, data))
            heads[stream] = envelope.hash
            evidence.events.append(Stored(envelope, data))
            chain = sha256(chain + envelope.hash).digest()
            evidence.batches.append((position, chain))
            partition = partition_of(stream, PARTITIONS)
            evidence.topic.append(Published(partition, position, stream.encode(), to_headers(envelope), data))
    evidence.position = evidence.relayed = len(evidence.events)
    evidence.chain = chain
    evidence.anchors = [Anchor("entitlements", *evidence.batches[at]) for at in (4, len(evidence.batches) - 1)]
    evidence.expected = frozenset({READER})
    evidence.seen = {(READER, stream): length for stream in heads}
    at_rest(evidence)
    for stored in evidence.events:
        command = Asked(
            f"command-{stored.envelope.id}", "entitlements", stored.envelope.stream, "ok", (stored.envelope.id,)
        )
        evidence.asked.append(command)
        first = (stored.envelope.version or 1) - 1
        evidence.answered[command.command_id] = Answered(stored.envelope.stream, first, 1, refused=False)
    for stream in heads:
        evidence.asked.append(Asked(f"refused-{stream}", "entitlements", stream, "refused"))
        evidence.answered[f"refused-{stream}"] = Answered(stream, length, 0, refused=True)
        evidence.asked.append(Asked(f"unknown-{stream}", "entitlements", stream))
    return evidence


def copied(e: Evidence) -> Evidence:
    """To be damaged. What is inside of the lists can't be changed, but for what clients were answered."""
    return replace(
        e,
        events=[*e.events],
        batches=[*e.batches],
        topic=[*e.topic],
        ends={**e.ends},
        anchors=[*e.anchors],
        seen={**e.seen},
        checkpoints={**e.checkpoints},
        waiting={**e.waiting},
        asked=[replace(a) for a in e.asked],
        answered={**e.answered},
        planted={*e.planted},
    )


def at_rest(e: Evidence) -> None:
    """The partitions end after their last records, and the reader is there."""
    e.ends = dict.fromkeys(range(PARTITIONS), 0)
    for record in e.topic:
        e.ends[record.partition] = max(e.ends[record.partition], record.offset + 1)
    e.checkpoints |= {(READER, partition): end - 1 for partition, end in e.ends.items()}


def flipped(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def lost_in_store(e: Evidence, chance: random.Random) -> None:
    del e.events[chance.randrange(len(e.events))]


def lost_in_topic(e: Evidence, chance: random.Random) -> None:
    del e.topic[chance.randrange(len(e.topic))]


def twice_in_store(e: Evidence, chance: random.Random) -> None:
    e.events.insert(chance.randrange(len(e.events)), chance.choice(e.events))


def swapped_in_store(e: Evidence, chance: random.Random) -> None:
    one, other = chance.sample(range(len(e.events)), 2)
    e.events[one], e.events[other] = e.events[other], e.events[one]


def swapped_in_topic(e: Evidence, chance: random.Random) -> None:
    """Two of one stream: between streams a topic has no order."""
    stream = chance.choice(e.topic).key
    one, other = chance.sample([n for n, record in enumerate(e.topic) if record.key == stream], 2)
    e.topic[one], e.topic[other] = e.topic[other], e.topic[one]


def altered_in_store(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.events))
    e.events[at] = Stored(e.events[at].envelope, flipped(e.events[at].data, chance))


def altered_in_topic(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.topic))
    r = e.topic[at]
    e.topic[at] = Published(r.partition, r.offset, r.key, r.headers, flipped(r.value or b"", chance))


def altered_repeat(e: Evidence, chance: random.Random) -> None:
    r = chance.choice(e.topic)
    e.topic.append(Published(r.partition, 999, r.key, r.headers, flipped(r.value or b"", chance)))


def tail_cut_in_store(e: Evidence, chance: random.Random) -> None:
    del e.events[-chance.randrange(1, len(e.events)) :]
    e.batches = [b for b in e.batches if b[0] <= len(e.events)]
    e.topic = [r for r in e.topic if r.offset <= len(e.events)]


def tail_cut_in_topic(e: Evidence, chance: random.Random) -> None:
    del e.topic[-chance.randrange(1, len(e.topic)) :]


def missed_by_consumer(e: Evidence, chance: random.Random) -> None:
    e.seen[chance.choice(list(e.seen))] -= chance.randrange(1, 4)


def twice_and_different_in_store(e: Evidence, chance: random.Random) -> None:
    """A second event of the same version, chained and hashed as it should be."""
    at = chance.randrange(len(e.events))
    envelope = e.events[at].envelope._replace(id="another", actor="another")
    e.events.insert(at + 1, Stored(envelope._replace(hash=chained(envelope, e.events[at].data)), e.events[at].data))


def twice_and_different_in_topic(e: Evidence, chance: random.Random) -> None:
    r = chance.choice(e.topic)
    headers = [(name, b"another" if name == "ce_actor" else value) for name, value in r.headers]
    e.topic.append(Published(r.partition, 999, r.key, headers, r.value))


def flipped_bit_in_header_of_topic(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.topic))
    _flip_header(e, at, chance.choice([name for name, _ in e.topic[at].headers if name != "ce_commandid"]), chance)


def flipped_bit_in_command_of_topic(e: Evidence, chance: random.Random) -> None:
    """No hash tells: only the store knows which command it was."""
    _flip_header(e, chance.randrange(len(e.topic)), "ce_commandid", chance)


def _flip_header(e: Evidence, at: int, which: str, chance: random.Random) -> None:
    r = e.topic[at]
    headers = [(name, flipped(value, chance) if name == which else value) for name, value in r.headers]
    e.topic[at] = Published(r.partition, r.offset, r.key, headers, r.value)


def flipped_bit_in_hash_of_store(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.events))
    envelope = e.events[at].envelope
    changed = (
        envelope._replace(hash=flipped(envelope.hash, chance))
        if chance.random() < 0.5
        else (envelope._replace(prevhash=flipped(envelope.prevhash, chance)))
    )
    e.events[at] = Stored(changed, e.events[at].data)


def flipped_bit_in_field_of_store(e: Evidence, chance: random.Random) -> None:
    _flip_field(e, chance.choice(("id", "type", "stream", "correlation_id", "causation_id", "actor", "tenant")), chance)


def flipped_bit_in_command_of_store(e: Evidence, chance: random.Random) -> None:
    _flip_field(e, "command_id", chance)


def flipped_bit_in_command_of_store_and_topic(e: Evidence, chance: random.Random) -> None:
    """Both say the same: only the commands that the store knows tell."""
    at = _flip_field(e, "command_id", chance)
    e.topic[at] = replace(e.topic[at], headers=to_headers(e.events[at].envelope))


def _flip_field(e: Evidence, name: str, chance: random.Random) -> int:
    at = chance.randrange(len(e.events))
    envelope = e.events[at].envelope
    text = flipped(getattr(envelope, name).encode("latin-1"), chance).decode("latin-1")
    changed: dict[str, Any] = {name: text}
    e.events[at] = Stored(envelope._replace(**changed), e.events[at].data)
    return at


def altered_and_hashed_again(e: Evidence, chance: random.Random) -> None:
    """By somebody who knows how a stream's chain is made: all of it to the end is made to fit."""
    at = chance.randrange(len(e.events))
    stream, before = e.events[at].envelope.stream, e.events[at].envelope.prevhash
    for n in range(at, len(e.events)):
        envelope, data = e.events[n].envelope, e.events[n].data
        if envelope.stream == stream:
            data = data.replace(b'"b"', b'"x"') if n == at else data
            envelope = envelope._replace(prevhash=before)
            envelope = envelope._replace(hash=chained(envelope, data))
            before = envelope.hash
            e.events[n] = Stored(envelope, data)


def passed_over_by_consumer(e: Evidence, chance: random.Random) -> None:
    """It has begun no stream, and its checkpoint lies behind records."""
    record = chance.choice(e.topic)
    e.checkpoints["marketplace.sales", record.partition] = record.offset


def lost_with_its_command(e: Evidence, chance: random.Random) -> None:
    """The newest event of a store whose head was put back, too, and which nobody had relayed yet."""
    last = e.events.pop()
    e.topic = [
        record for record in e.topic if record.key is None or from_headers(record.headers, None).id != last.envelope.id
    ]
    e.batches.pop()
    e.position = e.relayed = len(e.events)
    e.chain = e.batches[-1][1]
    e.anchors.pop()
    e.seen[READER, last.envelope.stream] -= 1
    at_rest(e)
    del e.answered[f"command-{last.envelope.id}"]


def answered_otherwise(e: Evidence, chance: random.Random) -> None:
    """A client heard something else than the store knows."""
    asked = chance.choice([asked for asked in e.asked if asked.outcome != "unknown"])
    match chance.randrange(3):
        case 0:
            asked.outcome = "ok" if asked.outcome == "refused" else "refused"
        case 1:
            asked.events = (*asked.events, "another")
        case _:
            del e.answered[asked.command_id]


def done_twice(e: Evidence, chance: random.Random) -> None:
    """One command, two events: the second of no command's, chained, relayed and consumed like any other."""
    last = e.events[-1]
    envelope = last.envelope._replace(
        id="twice", version=(last.envelope.version or 0) + 1, position=len(e.events) + 1, prevhash=last.envelope.hash
    )
    envelope = envelope._replace(hash=chained(envelope, last.data))
    e.events.append(Stored(envelope, last.data))
    e.position = e.relayed = len(e.events)
    e.chain = sha256(e.chain + envelope.hash).digest()
    e.batches.append((e.position, e.chain))
    partition = partition_of(envelope.stream, PARTITIONS)
    e.topic.append(Published(partition, e.position, envelope.stream.encode(), to_headers(envelope), last.data))
    e.seen[READER, envelope.stream] += 1
    at_rest(e)


def halves_in_two_partitions(e: Evidence, chance: random.Random) -> None:
    """Of one stream: its order is nobody's any more."""
    stream = chance.choice(e.topic).key
    for n, record in enumerate(e.topic):
        if record.key == stream and n >= len(e.topic) // 2:
            e.topic[n] = replace(record, partition=(record.partition + 1 + n % 2) % PARTITIONS)
    at_rest(e)


def never_began(e: Evidence, chance: random.Random) -> None:
    """A consumer that its service's registry names has no notes at all."""
    e.seen.clear()
    e.checkpoints.clear()


def not_assigned(e: Evidence, chance: random.Random) -> None:
    del e.checkpoints[READER, chance.randrange(PARTITIONS)]


def nothing_relayed(e: Evidence, chance: random.Random) -> None:
    """Nor consumed: store and topic don't contradict one another."""
    e.topic, e.relayed = [], 0
    e.seen.clear()
    at_rest(e)


def relay_stands_still(e: Evidence, chance: random.Random) -> None:
    e.relayed = chance.randrange(e.position)
    e.topic = [record for record in e.topic if record.offset <= e.relayed]
    for _, stream in list(e.seen):
        e.seen[READER, stream] = sum(record.key == stream.encode() for record in e.topic)
    at_rest(e)


def checkpoint_behind(e: Evidence, chance: random.Random) -> None:
    """Behind what it has dealt with."""
    partition = chance.choice(e.topic).partition
    e.checkpoints[READER, partition] -= chance.randrange(1, 4)


def checkpoint_beyond(e: Evidence, chance: random.Random) -> None:
    """Beyond the topic's end: what comes there next would be passed over."""
    e.checkpoints[READER, chance.randrange(PARTITIONS)] += chance.randrange(1, 4)


def park(e: Evidence, at: int) -> None:
    """That record, and what waits behind it in its stream."""
    first = from_headers(e.topic[at].headers, e.topic[at].key)
    e.seen[READER, first.stream] = (first.version or 1) - 1
    for record in e.topic[at:]:
        envelope = from_headers(record.headers, record.key)
        if envelope.stream == first.stream:
            place = (READER, record.partition, record.offset)
            e.waiting[place] = Waiting(envelope.version or 0, True, record.key, record.headers, record.value)


def parked_and_applied(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.topic))
    park(e, at)
    e.seen[READER, (e.topic[at].key or b"").decode()] += 1


def parked_otherwise(e: Evidence, chance: random.Random) -> None:
    """Not the bytes of the topic."""
    park(e, chance.randrange(len(e.topic)))
    place, kept = chance.choice(list(e.waiting.items()))
    match chance.randrange(3):
        case 0:
            kept = kept._replace(value=flipped(kept.value or b"", chance))
        case 1:
            kept = kept._replace(headers=kept.headers[1:])
        case _:
            kept = kept._replace(key=None)
    e.waiting[place] = kept


def unparked(e: Evidence, chance: random.Random) -> None:
    """What was parked is gone, and was never applied."""
    park(e, chance.randrange(len(e.topic)))
    del e.waiting[chance.choice(list(e.waiting))]


def forge(e: Evidence, chance: random.Random) -> Published:
    """A record that no relay wrote: a version that the store has, with another body and the hash that fits it."""
    genuine = chance.choice(e.topic)
    envelope = from_headers(genuine.headers, genuine.key)
    envelope = envelope._replace(hash=chained(envelope, b"{}"))
    forged = Published(genuine.partition, e.ends[genuine.partition], genuine.key, to_headers(envelope), b"{}")
    e.topic.append(forged)
    e.planted.add((forged.partition, forged.offset))
    at_rest(e)
    return forged


def forged_and_not_set_aside(e: Evidence, chance: random.Random) -> None:
    forge(e, chance)


def tail_cut_everywhere(e: Evidence, chance: random.Random) -> None:
    """In the store, the topic, the consumers' notes and the commands, and no client says what it was answered: only an
    anchor tells."""
    kept = chance.randrange(1, len(e.events))
    gone = e.events[kept:]
    del e.events[kept:], e.batches[kept:], e.topic[kept:]
    e.asked.clear()
    for stored in gone:
        del e.answered[f"command-{stored.envelope.id}"]
        e.seen[READER, stored.envelope.stream] -= 1
    e.position = e.relayed = kept
    e.chain = e.batches[-1][1]
    at_rest(e)


def fenced(e: Evidence, chance: random.Random) -> None:
    e.fenced = "its topic is ahead of it"


DAMAGES: list[Callable[[Evidence, random.Random], None]] = [
    lost_in_store,
    lost_in_topic,
    twice_in_store,
    swapped_in_store,
    swapped_in_topic,
    altered_in_store,
    altered_in_topic,
    altered_repeat,
    tail_cut_in_store,
    tail_cut_in_topic,
    missed_by_consumer,
    twice_and_different_in_store,
    twice_and_different_in_topic,
    flipped_bit_in_header_of_topic,
    flipped_bit_in_command_of_topic,
    flipped_bit_in_command_of_store,
    flipped_bit_in_command_of_store_and_topic,
    flipped_bit_in_hash_of_store,
    flipped_bit_in_field_of_store,
    altered_and_hashed_again,
    passed_over_by_consumer,
    lost_with_its_command,
    answered_otherwise,
    done_twice,
    halves_in_two_partitions,
    never_began,
    not_assigned,
    nothing_relayed,
    relay_stands_still,
    checkpoint_behind,
    checkpoint_beyond,
    parked_and_applied,
    parked_otherwise,
    unparked,
    forged_and_not_set_aside,
    tail_cut_everywhere,
    fenced,
]
