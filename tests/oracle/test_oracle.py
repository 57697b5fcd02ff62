"""The oracle itself: each kind of damage, planted in evidence that was clean, is found."""

import random
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from shared.events import SeatUnassigned
from shared.events.envelope import GENESIS, Envelope, chained, from_headers, source_of, to_headers
from tests.oracle.evidence import Answered, Asked, Evidence, Published, Stored
from tests.oracle.verdict import faults

PLANTS = 200
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
            of = Envelope(
                f"{stream}/{version}", source_of("entitlements"), event.type(), stream, NEW_YEAR, 1, version, position,
                "c", "d", "a", "t", "", heads[stream],
            )  # fmt: skip
            of = of._replace(hash=chained(of, data))
            heads[stream] = of.hash
            evidence.events.append(Stored(of, data))
            chain = sha256(chain + of.hash).digest()
            evidence.batches.append((position, chain))
            evidence.topic.append(Published(0, position, stream.encode(), to_headers(of), data))
    evidence.position = evidence.relayed = len(evidence.events)
    evidence.chain = chain
    evidence.seen = {("distribution.availability", stream): length for stream in heads}
    evidence.checkpoints = {("distribution.availability", 0): evidence.topic[-1].offset}
    for stored in evidence.events:
        command = Asked(f"command-{stored.of.id}", "entitlements", stored.of.stream, "ok", (stored.of.id,))
        evidence.asked.append(command)
        first = (stored.of.version or 1) - 1
        evidence.answered[command.command_id] = Answered(stored.of.stream, first, 1, refused=False)
    for stream in heads:
        evidence.asked.append(Asked(f"refused-{stream}", "entitlements", stream, "refused"))
        evidence.answered[f"refused-{stream}"] = Answered(stream, length, 0, refused=True)
        evidence.asked.append(Asked(f"unknown-{stream}", "entitlements", stream))
    return evidence


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
    e.events[at] = Stored(e.events[at].of, flipped(e.events[at].data, chance))


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
    of = e.events[at].of._replace(id="another", actor="another")
    e.events.insert(at + 1, Stored(of._replace(hash=chained(of, e.events[at].data)), e.events[at].data))


def twice_and_different_in_topic(e: Evidence, chance: random.Random) -> None:
    r = chance.choice(e.topic)
    headers = [(name, b"another" if name == "ce_actor" else value) for name, value in r.headers]
    e.topic.append(Published(r.partition, 999, r.key, headers, r.value))


def flipped_bit_in_header_of_topic(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.topic))
    r, headers = e.topic[at], list(e.topic[at].headers)
    number = chance.randrange(len(headers))
    headers[number] = (headers[number][0], flipped(headers[number][1], chance))
    e.topic[at] = Published(r.partition, r.offset, r.key, headers, r.value)


def flipped_bit_in_hash_of_store(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.events))
    of = e.events[at].of
    changed = (
        of._replace(hash=flipped(of.hash, chance))
        if chance.random() < 0.5
        else (of._replace(prevhash=flipped(of.prevhash, chance)))
    )
    e.events[at] = Stored(changed, e.events[at].data)


def flipped_bit_in_field_of_store(e: Evidence, chance: random.Random) -> None:
    at = chance.randrange(len(e.events))
    of = e.events[at].of
    name = chance.choice(("id", "type", "stream", "correlation_id", "causation_id", "actor", "tenant"))
    text = flipped(getattr(of, name).encode("latin-1"), chance).decode("latin-1")
    changed: dict[str, Any] = {name: text}
    e.events[at] = Stored(of._replace(**changed), e.events[at].data)


def altered_and_hashed_again(e: Evidence, chance: random.Random) -> None:
    """By somebody who knows how a stream's chain is made: all of it to the end is made to fit."""
    at = chance.randrange(len(e.events))
    stream, before = e.events[at].of.stream, e.events[at].of.prevhash
    for n in range(at, len(e.events)):
        of, data = e.events[n].of, e.events[n].data
        if of.stream == stream:
            data = data.replace(b'"b"', b'"x"') if n == at else data
            of = of._replace(prevhash=before)
            of = of._replace(hash=chained(of, data))
            before = of.hash
            e.events[n] = Stored(of, data)


def passed_over_by_consumer(e: Evidence, chance: random.Random) -> None:
    """It has begun no stream, and its checkpoint lies behind records."""
    e.checkpoints["marketplace.sales", 0] = chance.choice(e.topic).offset


def lost_with_its_command(e: Evidence, chance: random.Random) -> None:
    """The newest event of a store whose head was put back, too, and which nobody had relayed yet."""
    last = e.events.pop()
    e.topic = [
        record for record in e.topic if record.key is None or from_headers(record.headers, None).id != last.of.id
    ]
    e.batches.pop()
    e.position = e.relayed = len(e.events)
    e.chain = e.batches[-1][1]
    e.seen["distribution.availability", last.of.stream] -= 1
    e.checkpoints["distribution.availability", 0] -= 1
    del e.answered[f"command-{last.of.id}"]


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
    of = last.of._replace(
        id="twice", version=(last.of.version or 0) + 1, position=len(e.events) + 1, prevhash=last.of.hash
    )
    of = of._replace(hash=chained(of, last.data))
    e.events.append(Stored(of, last.data))
    e.position = e.relayed = len(e.events)
    e.chain = sha256(e.chain + of.hash).digest()
    e.batches.append((e.position, e.chain))
    e.topic.append(Published(0, e.position, of.stream.encode(), to_headers(of), last.data))
    e.seen["distribution.availability", of.stream] += 1


DAMAGES: list[Callable[[Evidence, random.Random], None]] = [
    lost_in_store, lost_in_topic, twice_in_store, swapped_in_store, swapped_in_topic, altered_in_store,
    altered_in_topic, altered_repeat, tail_cut_in_store, tail_cut_in_topic, missed_by_consumer,
    twice_and_different_in_store, twice_and_different_in_topic, flipped_bit_in_header_of_topic,
    flipped_bit_in_hash_of_store, flipped_bit_in_field_of_store, altered_and_hashed_again, passed_over_by_consumer,
    lost_with_its_command, answered_otherwise, done_twice,
]  # fmt: skip


def test_clean_evidence_has_no_faults() -> None:
    assert faults(clean()) == []


def test_identical_repeats_in_a_topic_are_allowed() -> None:
    evidence = clean()
    evidence.topic += evidence.topic[3:9]
    assert faults(evidence) == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_planted_damage_is_found(damage: Callable[[Evidence, random.Random], None]) -> None:
    sound = clean()
    for seed in range(PLANTS):
        evidence = deepcopy(sound)
        damage(evidence, random.Random(seed))
        assert faults(evidence), f"seed {seed} was not found"
