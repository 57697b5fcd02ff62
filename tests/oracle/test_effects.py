"""Effects: one that is missing and one without a cause are found."""

from dataclasses import replace

import pytest

from shared.events.envelope import from_headers, to_headers
from tests.oracle.damages import clean, park
from tests.oracle.effects import effects
from tests.oracle.evidence import PUBLISHERS, Answered, Evidence, Published

PROCESS = "distribution.process"
READS = {PROCESS: ["entitlements"]}


def sound() -> dict[str, Evidence]:
    """entitlements tells of seats, distribution notes each in its fleet."""
    told, noting = clean(), Evidence("distribution")
    for n, event in enumerate(told.events):
        noting.answered[f"{PROCESS}:{event.envelope.id}:fleet-c:0"] = Answered("fleet-c", n, 1, refused=n % 3 == 0)
    return {"entitlements": told, "distribution": noting}


def test_each_event_with_its_effect_is_sound() -> None:
    assert list(effects(sound(), READS)) == []


@pytest.mark.parametrize("at", range(24))
def test_an_effect_that_is_missing_is_found(at: int) -> None:
    found = sound()
    lost = list(found["distribution"].answered)[at]
    del found["distribution"].answered[lost]
    event = found["entitlements"].events[at].envelope.id
    assert list(effects(found, READS)) == [f"{PROCESS}: SeatUnassigned {event} had no effect"]
    assert list(effects(found, READS, frozenset({"distribution"}))) == [], "a restored store knows of no refusal"


def test_what_waits_needs_no_effect_yet() -> None:
    found = sound()
    told = found["entitlements"]
    park(told, 20)
    told.waiting = {(PROCESS, partition, at): kept for (_, partition, at), kept in told.waiting.items()}
    del found["distribution"].answered[f"{PROCESS}:{told.events[20].envelope.id}:fleet-c:0"]
    assert list(effects(found, READS)) == []


@pytest.mark.parametrize("at", range(24))
def test_an_effect_whose_event_is_gone_is_found(at: int) -> None:
    """As after a store's tail was cut, together with its topic's: its effects elsewhere tell."""
    found = sound()
    gone = found["entitlements"].topic.pop(at)
    (line,) = effects(found, READS)
    assert from_headers(gone.headers, gone.key).id in line


def test_an_effect_of_an_event_that_asks_for_nothing_is_found() -> None:
    found = sound()
    told = found["entitlements"].events[0].envelope.id
    made = Evidence("marketplace", answered={f"marketplace.process:{told}:sub-s:0": Answered("sub-s", 0, 1, False)})
    reads = {"marketplace.process": ["entitlements"]}
    (line,) = effects({**found, "marketplace": made}, reads)
    assert told in line, "nothing follows in marketplace from a seat that is taken back"


def test_publishers_events_are_known_by_source_and_id() -> None:
    record = clean().topic[0]
    envelope = replace_source(record, "urn:publisher:autodesk")
    publishers = Evidence(PUBLISHERS, foreign=True, topic=[envelope])
    id_ = from_headers(envelope.headers, envelope.key).id
    command = f"marketplace.publisher:urn:publisher:autodesk#{id_}:plan-autodesk:x:0"
    made = Evidence("marketplace", answered={command: Answered("plan-autodesk:x", 0, 1, refused=False)})
    reads = {"marketplace.publisher": [PUBLISHERS]}
    assert list(effects({"marketplace": made, PUBLISHERS: publishers}, reads)) == []
    former = [publishers.topic.pop()]
    assert list(effects({"marketplace": made, PUBLISHERS: publishers}, reads, former=former)) == []
    assert len(list(effects({"marketplace": made, PUBLISHERS: publishers}, reads))) == 1


def replace_source(record: Published, source: str) -> Published:
    envelope = from_headers(record.headers, record.key)._replace(source=source)
    return replace(record, headers=to_headers(envelope))
