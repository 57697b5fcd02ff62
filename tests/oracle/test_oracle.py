"""The oracle itself: each kind of damage, planted in evidence that was clean, is found."""

import random
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from shared.events import SeatUnassigned
from shared.events.envelope import GENESIS, Envelope, chained, source_of, to_headers
from tests.oracle.evidence import Evidence, Published, Stored
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


DAMAGES: list[Callable[[Evidence, random.Random], None]] = [
    lost_in_store, lost_in_topic, twice_in_store, swapped_in_store, swapped_in_topic, altered_in_store,
    altered_in_topic, altered_repeat, tail_cut_in_store, tail_cut_in_topic, missed_by_consumer,
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
