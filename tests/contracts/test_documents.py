"""The documents of the event contract: their schemas, examples and AsyncAPI describe what is on the topics."""

import json
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from deploy.declaration import read
from shared.documents import examples
from shared.documents.asyncapi import KEPT_FOR_EVER, PARTITIONS, asyncapi_of
from shared.documents.compatibility import Change, changes
from shared.documents.schemas import known_schemas, schema_at, schema_of
from shared.events import EVENTS
from shared.events.envelope import ATTRIBUTES, OF_STREAMS, OPTIONAL, Envelope, to_headers
from shared.events.registry import EVENTS_ON, INBOUND, OUTCOMES, PUBLISHERS_EVENTS, topic_of
from shared.events.upcasts import decode
from tests.contracts.golden import golden_file
from tests.examples.engine import NOON


def problems(schema: dict[str, Any], data: bytes) -> list[str]:
    return [
        error.message
        for error in Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(json.loads(data))
    ]


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_the_example_and_the_golden_event_are_what_the_schema_says(name: str) -> None:
    event = EVENTS[name]
    schema = schema_of(event)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == dict(to_headers(examples.example_envelope(event)))["ce_dataschema"].decode()
    assert problems(schema, examples.example_data(event)) == []
    golden = json.loads(golden_file(event).read_bytes())
    sealed = golden | dict.fromkeys(event.PERSONAL_FIELDS, examples.SEALED)
    assert problems(schema, json.dumps(sealed).encode()) == []


@pytest.mark.parametrize("name", sorted(PUBLISHERS_EVENTS))
def test_a_schema_for_senders_has_the_bounds(name: str) -> None:
    schema = schema_of(EVENTS[name], sent=True)
    assert problems(schema, examples.example_data(EVENTS[name])) == []
    assert problems(schema, golden_file(EVENTS[name]).read_bytes())  # its text is from before the bounds


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_example_is_an_event_that_is_read(name: str) -> None:
    event = EVENTS[name]
    example = examples.example_of(event)
    assert decode(examples.example_envelope(event), example.data()) == example


def test_a_personal_field_is_described_as_it_is_on_the_topic() -> None:
    schema = schema_of(EVENTS["AccountOpened"])
    assert problems(schema, examples.example_of(EVENTS["AccountOpened"]).data())
    erased = json.loads(examples.example_data(EVENTS["AccountOpened"])) | {"email": "", "name": ""}
    assert problems(schema, json.dumps(erased).encode()) == []


def test_a_field_is_described_by_its_docstring() -> None:
    first_day = schema_of(EVENTS["PlanListed"])["properties"]["valid_from"]
    assert first_day["description"].startswith("The first day of an announced price")


def test_a_schema_is_found_by_its_id() -> None:
    for id_, (name, version, sent) in known_schemas().items():
        assert schema_at(name, version, sent=sent)["$id"] == id_
    assert {name for name, _, sent in known_schemas().values() if sent} == set(PUBLISHERS_EVENTS)
    assert {name for name, _, sent in known_schemas().values() if not sent} == set(EVENTS)


def test_a_former_version_has_the_schema_of_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """AccountOpened got optional fields since its release: they are not in what was released."""
    monkeypatch.setattr(EVENTS["AccountOpened"], "SCHEMA", 2)
    former = schema_at("AccountOpened", 1)
    assert former["$id"] == "urn:tenure:events:AccountOpened:1"
    assert "sandbox" not in former["properties"] and "pattern" in former["properties"]["email"]
    assert "sandbox" in schema_at("AccountOpened", 2)["properties"]


def test_the_asyncapi_document_has_every_event_of_every_topic() -> None:
    document = asyncapi_of(EVENTS_ON, "Tenure", "kafka.example:9093")
    for topic, events in EVENTS_ON.items():
        channel = document["channels"][topic.replace(".", "-")]
        assert set(channel["messages"]) == {event.type() for event in events}
        for name, reference in channel["messages"].items():
            message = document["components"]["messages"][reference["$ref"].rpartition("/")[2]]
            (example,) = message["examples"]
            payload = message["payload"]["$ref"].rpartition("/")[2]
            assert payload.removeprefix("sent.") == name and payload in document["components"]["schemas"]
            trait = document["components"]["messageTraits"][message["traits"][0]["$ref"].rpartition("/")[2]]
            assert problems(trait["headers"], json.dumps(example["headers"]).encode()) == []
            assert set(example["headers"]) <= set(trait["headers"]["properties"])


def test_each_broker_of_a_cluster_is_a_server_of_the_document() -> None:
    servers = asyncapi_of([topic_of("marketplace")], "Tenure", "a.example:9093,b.example:9093")["servers"]
    assert {name: server["host"] for name, server in servers.items()} == {
        "kafka": "a.example:9093",
        "kafka-2": "b.example:9093",
    }


def test_the_headers_that_are_described_are_those_that_are_written() -> None:
    traits = asyncapi_of([topic_of("marketplace"), OUTCOMES], "", "")["components"]["messageTraits"]
    of_services, of_outcomes = traits["ofAService"]["headers"], traits["ofAnOutcome"]["headers"]
    assert set(of_services["properties"]) == {*ATTRIBUTES, *OF_STREAMS, *OPTIONAL}
    assert set(of_services["required"]) == {*ATTRIBUTES, *OF_STREAMS} == set(of_outcomes["required"]) | {*OF_STREAMS}
    plain = Envelope("id", "urn:tenure:marketplace", "SeatAssigned", "pool-1", NOON, version=1, position=1)
    whole = plain._replace(
        correlation_id="c",
        causation_id="e",
        command_id="k",
        actor="a",
        tenant=f"sandbox-{UUID(int=1)}",
        traceparent=f"00-{'1' * 32}-{'2' * 16}-01 vendor=1",
    )
    assert {name for name, _ in to_headers(plain)} == {*ATTRIBUTES, *OF_STREAMS}
    assert {name for name, _ in to_headers(whole)} == {*ATTRIBUTES, *OF_STREAMS, *OPTIONAL}


def test_what_a_publisher_sends_and_what_a_service_publishes_are_described_apart() -> None:
    schemas = asyncapi_of([topic_of("marketplace"), INBOUND], "", "")["components"]["schemas"]
    assert "maxLength" in schemas["sent.Plan"]["properties"]["product"]
    assert "maxLength" not in schemas["Plan"]["properties"]["product"]
    assert schemas["sent.PlanListed"]["properties"]["plan"]["$ref"] == "#/components/schemas/sent.Plan"


def test_the_bindings_are_those_of_the_declared_topics() -> None:
    families = {INBOUND: "inbound", OUTCOMES: "outcomes"}
    described = [topic for topic in read().topics if topic.name in EVENTS_ON or topic.name.startswith((*families,))]
    assert len(described) > len(EVENTS_ON)
    for topic in described:
        family = next((key for prefix, key in families.items() if topic.name.startswith(prefix)), "events")
        assert topic.partitions == PARTITIONS[family]
        (cleanup,) = KEPT_FOR_EVER["cleanup.policy"]
        assert topic.config["cleanup.policy"] == cleanup
        assert topic.config["retention.ms"] == str(KEPT_FOR_EVER["retention.ms"])


def test_two_releases_are_compared() -> None:
    before = {name: schema_of(EVENTS[name]) for name in ("RoleAssigned", "CsnIssued", "SubscriptionOrdered")}
    after = json.loads(json.dumps({**before, "RoleRevoked": schema_of(EVENTS["RoleRevoked"])}))
    del after["CsnIssued"], after["RoleAssigned"]["properties"]["role"]
    after["RoleAssigned"]["properties"]["note"] = {"type": "string", "default": ""}
    after["SubscriptionOrdered"]["description"] = "in other words"
    assert changes(before, after) == [
        Change("CsnIssued", "is gone", breaking=True),
        Change("RoleAssigned", "field role is gone", breaking=True),
        Change("RoleAssigned", "field note is new", breaking=False),
        Change("RoleRevoked", "is new", breaking=False),
    ]
    assert changes(before, before) == []
