"""The oracle itself: each kind of damage, planted in evidence that was clean, is found."""

import json
import random
from collections.abc import Callable

import pytest

from shared.events.envelope import from_headers
from tests.oracle.damages import DAMAGES, PLANTS, READER, at_rest, clean, copied, forge, park
from tests.oracle.evidence import PUBLISHERS, Evidence, Published, Waiting
from tests.oracle.verdict import faults


def test_clean_evidence_has_no_faults() -> None:
    assert faults(clean()) == []


def test_identical_repeats_in_a_topic_are_allowed() -> None:
    evidence = clean()
    evidence.topic += evidence.topic[3:9]
    assert faults(evidence) == []


def test_what_waits_is_no_fault() -> None:
    evidence = clean()
    park(evidence, 9)
    assert faults(evidence) == []


def test_what_a_forger_wrote_is_no_fault_once_it_is_set_aside() -> None:
    evidence = clean()
    forged = forge(evidence, random.Random(1))
    envelope = from_headers(forged.headers, forged.key)
    (fault,) = faults(evidence)
    assert fault == (
        f"{READER}: {envelope.stream} version {envelope.version} at {forged.offset} is "
        "not the store's and was not set aside"
    )
    kept = Waiting(envelope.version or 0, False, forged.key, forged.headers, forged.value)
    evidence.waiting[READER, forged.partition, forged.offset] = kept
    assert faults(evidence) == []


def test_a_publishers_event_need_not_say_its_time_and_may_be_in_structured_mode() -> None:
    evidence = Evidence(PUBLISHERS, foreign=True, expected=frozenset({READER}))
    said = {"specversion": "1.0", "id": "an event", "source": "urn:publisher:autodesk", "type": "OrderConfirmed"}
    binary = [(f"ce_{name}", value.encode()) for name, value in said.items()]
    structured = [("content-type", b"application/cloudevents+json")]
    evidence.topic = [
        Published(0, 0, b"key", binary, b"{}"),
        Published(0, 1, b"key", structured, json.dumps({**said, "data": {}}).encode()),
    ]
    at_rest(evidence)
    assert faults(evidence) == []


def test_of_the_publishers_topic_consumers_and_what_they_parked_are_judged() -> None:
    """No store says what it should hold."""
    evidence = Evidence(PUBLISHERS, foreign=True, expected=frozenset({READER}))
    evidence.topic = [Published(0, n, b"key", [("ce_id", b"no event")], b"{}") for n in range(3)]
    headers = evidence.topic[0].headers
    evidence.waiting = {(READER, 0, n): Waiting(0, False, b"key", headers, b"{}") for n in range(3)}
    at_rest(evidence)
    assert faults(evidence) == []
    del evidence.waiting[READER, 0, 1]
    assert faults(evidence) == [f"{READER}: partition 0, offset 1 is unreadable and was passed over"]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_planted_damage_is_found(damage: Callable[[Evidence, random.Random], None]) -> None:
    sound = clean()
    for seed in range(PLANTS):
        evidence = copied(sound)
        damage(evidence, random.Random(seed))
        assert faults(evidence), f"seed {seed} was not found"
