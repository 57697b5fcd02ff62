"""Which types are believed from which source on which topic: everything else is set aside, with the reason."""

import re
from datetime import UTC, datetime

import pytest

from shared.eventlog.deliver.plan import ConsumerCheckpoint, plan
from shared.eventlog.deliver.received import Raw, receive
from shared.events.envelope import Envelope, chained, source_of, to_headers
from shared.events.registry import (
    ANSWERING,
    EVENTS,
    INBOUND,
    PUBLISHERS_EVENTS,
    inbound_topic,
    is_inbound,
    outcomes_topic,
    published_by,
    publisher_of_topic,
    topic_of,
    topics_pattern,
    topics_read,
    why_not_from,
)
from shared.services import SERVICES
from tests.contracts.golden import sample

AUTODESK, RIVAL = "urn:publisher:autodesk", "urn:publisher:rival"
TOPICS = (
    *map(topic_of, SERVICES),
    INBOUND,
    inbound_topic("autodesk"),
    inbound_topic("rival"),
    outcomes_topic("autodesk"),
)
SOURCES = (*map(source_of, SERVICES), AUTODESK, RIVAL, "urn:publisher:", "autodesk", "urn:tenure:identity:x")


def belongs(topic: str, source: str, event_type: str) -> bool:
    """The declaration, said once more in other words."""
    for service in SERVICES:
        if topic == topic_of(service):
            return source == f"urn:tenure:{service}" and event_type in published_by(service)
    if topic == outcomes_topic("autodesk"):
        return source.removeprefix("urn:tenure:") in ANSWERING and event_type == "RecordAnswered"
    speaks = {INBOUND: (AUTODESK, RIVAL), inbound_topic("autodesk"): (AUTODESK,), inbound_topic("rival"): (RIVAL,)}
    return source in speaks[topic] and event_type in PUBLISHERS_EVENTS


def record(topic: str, source: str, event_type: str, data: bytes | None = None) -> Raw:
    """A well-formed record of this type, source and topic, chained as its stream's first."""
    body = sample(EVENTS[event_type]).data() if data is None else data
    schema = EVENTS[event_type].SCHEMA
    envelope = Envelope("id-1", source, event_type, "s-1", datetime(2026, 11, 21, tzinfo=UTC), schema, 1, 1)
    envelope = envelope._replace(hash=chained(envelope, body))
    return Raw(topic, 0, 0, b"s-1", [*to_headers(envelope)], body)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_type_from_every_source_is_set_aside_where_it_does_not_belong(topic: str) -> None:
    wrong = 0
    for source in SOURCES:
        for event_type in EVENTS:
            raw = record(topic, source, event_type)
            for types in (frozenset(EVENTS), frozenset[str]()):  # whoever handles it, and whoever ignores it
                read = receive(raw, types)
                result = plan([read], ConsumerCheckpoint(offsets={(topic, 0): -1}, seen={}))
                if belongs(topic, source, event_type):
                    assert why_not_from(topic, source, event_type) is None
                    continue
                wrong += 1
                assert not result.apply, (topic, source, event_type)
                (left,) = result.parked
                of_the_source = any(belongs(topic, source, each) for each in EVENTS)
                said = (
                    f"type {event_type} is not one that {source} may"
                    if of_the_source
                    else f"the source {source} may not"
                )
                assert left.detail.startswith(f"{said} publish on {topic}")
                assert left.reason == ("refused" if is_inbound(topic) else "forged") and not left.holds_stream
    assert wrong > 2 * len(EVENTS) * (len(SOURCES) - 2)


def test_what_belongs_is_applied() -> None:
    for topic, source, event_type in (
        (topic_of("identity"), source_of("identity"), "AccountClosed"),
        (topic_of("identity"), source_of("identity"), "OperationPerformed"),
        (INBOUND, AUTODESK, "OrderDeclined"),
        (inbound_topic("rival"), RIVAL, "CreditsPurchased"),
    ):
        result = plan(
            [receive(record(topic, source, event_type), frozenset(EVENTS))],
            ConsumerCheckpoint(offsets={(topic, 0): -1}, seen={}),
        )
        assert [each.raw.topic for each in result.apply] == [topic] and not result.parked


def test_publishers_speak_for_themselves_only() -> None:
    for event_type, model in PUBLISHERS_EVENTS.items():
        fields = {*model.model_fields} & {"publisher", "plan"}
        if not fields:
            continue  # an order's or a contract's publisher is known by its stream: its decider compares
        body = sample(EVENTS[event_type]).data()
        own = record(INBOUND, AUTODESK, event_type, re.sub(rb'"publisher": ?"[^"]*"', b'"publisher":"autodesk"', body))
        other = own._replace(headers=[(n, RIVAL.encode() if n == "ce_source" else v) for n, v in own.headers])
        assert receive(own, frozenset(EVENTS)).problem is None
        refused = receive(other, frozenset(EVENTS))
        assert refused.reason == "refused" and "rival" in (refused.problem or ""), event_type


def test_a_type_that_nobody_knows_yet_is_left_for_a_newer_version() -> None:
    raw = record(topic_of("identity"), source_of("identity"), "AccountClosed")
    newer = [(n, b"FromTheFuture" if n == "ce_type" else v) for n, v in raw.headers if n != "ce_dataschema"]
    assert why_not_from(INBOUND, AUTODESK, "FromTheFuture") is None
    assert why_not_from(INBOUND, source_of("identity"), "FromTheFuture") is not None
    assert receive(raw._replace(headers=newer), frozenset(EVENTS)).problem is not None


def test_inbound_topics_are_a_family() -> None:
    assert is_inbound(INBOUND) and is_inbound(f"{INBOUND}.autodesk")
    assert not any(
        map(is_inbound, (f"{INBOUND}.", f"{INBOUND}x", f"{INBOUND}.a b", f"{INBOUND}.a\n", "anchors.v1.identity"))
    )
    assert publisher_of_topic(INBOUND) == "" and publisher_of_topic(inbound_topic("a-1")) == "a-1"
    assert publisher_of_topic("identity.events.v1") == ""
    for name in ("", "a b", "a/b", "ä", "a\n"):
        with pytest.raises(ValueError, match="needs a name of"):
            inbound_topic(name)


def test_who_reads_the_inbound_topic_reads_the_publishers_own() -> None:
    there = [*TOPICS, "anchors.v1.identity"]
    identity = topic_of("identity")
    assert topics_read([identity, INBOUND], there) == [identity, INBOUND, f"{INBOUND}.autodesk", f"{INBOUND}.rival"]
    assert topics_read([identity], there) == [identity]
    for declared in ([identity, INBOUND], [INBOUND], [identity]):
        pattern = re.compile(topics_pattern(declared))
        assert [t for t in there if pattern.match(t)] == [t for t in there if t in topics_read(declared, there)]
