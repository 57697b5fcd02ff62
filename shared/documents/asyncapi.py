"""The AsyncAPI 3.0 documents: the topics, their records, and who may send and read them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shared.documents.examples import example_data, example_envelope
from shared.documents.schemas import parts_of, sent_schema_id
from shared.events.base import Event
from shared.events.envelope import ATTRIBUTES, OF_STREAMS, TYPE_PREFIX, schema_id, to_headers
from shared.events.registry import ANSWERING, EVENTS_ON, INBOUND, OUTCOMES, service_of, topic_of

Part = dict[str, Any]

VERSION: Final = "1"
"""The version of the event contract: of the topics' names."""
KEPT_FOR_EVER: Final[Part] = {"cleanup.policy": ["delete"], "retention.ms": -1}
PARTITIONS: Final = {"events": 6, "inbound": 3, "outcomes": 1}
"""The partitions of a service's own topic, an inbound topic and a topic of outcomes, as they are declared for the
deployment."""
_CONTENT: Final = "application/json"
_BINDING: Final = "0.5.0"

_SHA256: Final = "^[0-9a-f]{64}$"
_NUMBER: Final = "^[1-9][0-9]{0,18}$"
_HEADERS: Final[Mapping[str, tuple[str, str]]] = {
    "ce_specversion": ("^1\\.0$", "The version of CloudEvents."),
    "ce_id": ("", "The event's id. With the source it identifies the event."),
    "ce_source": ("", "Who published it: `urn:tenure:<service>` or `urn:publisher:<publisher>`."),
    "ce_type": ("", f"`{TYPE_PREFIX}` and the name of the event. Older records, and some publishers', have the name."),
    "ce_subject": ("", "The stream that the event belongs to; of an inbound event, what it is about."),
    "ce_time": (
        "",
        "When it was decided, RFC 3339. Of a publisher's event without it: when it arrived.",
    ),
    "ce_dataschema": ("", "The JSON Schema of the data."),
    "ce_partitionkey": ("", "The record's key."),
    "content-type": ("", "The media type of the value."),
    "ce_correlationid": ("", "The request, import or process that the event belongs to."),
    "ce_causationid": ("", "The id of the event or command that caused it."),
    "ce_commandid": ("", "The id of the command, unless it is the causation id."),
    "ce_actor": ("", "The account or the automatic actor that decided it."),
    "ce_tenant": ("", "The organisation that the event belongs to. The id of a sandbox begins with `sandbox-`."),
    "ce_traceparent": ("", "The trace (W3C Trace Context) that it was decided in."),
    "ce_tracestate": ("", "What tracing systems add to the trace (W3C Trace Context)."),
    "ce_sequence": (
        "^0*[1-9][0-9]{0,18}$",
        "The event's number in its stream, from 1, without a gap; older records have no leading zeros.",
    ),
    "ce_position": (_NUMBER, "The event's number in its service's log, from 1, without a gap."),
    "ce_prevhash": (_SHA256, "The hash of the event before it in its stream; zeros for the first one."),
    "ce_hash": (_SHA256, "SHA-256 over the previous hash, the envelope and the value."),
    "ce_sandbox": ("^true$", "Present on the events of a sandbox."),
}
"""Each header's pattern, where it has one, and what it means."""
_OF_OUTCOMES: Final = (*ATTRIBUTES, "ce_causationid", "ce_tenant")
_REQUIRED_OF_PUBLISHERS: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type")
_OF_PUBLISHERS: Final = (
    *_REQUIRED_OF_PUBLISHERS,
    "ce_time",
    "ce_subject",
    "ce_dataschema",
    "ce_partitionkey",
    "ce_correlationid",
    "ce_traceparent",
    "ce_tracestate",
    "content-type",
)

_KEY_OF_OUTCOMES: Final = "The event's id, or the record's place if it can't be read."
_KEY_OF_PUBLISHERS: Final = (
    "Any text, or none. Events of one key are decided in the order in which they were sent, so give those about one "
    "order, plan, contract or update the same key."
)


def asyncapi_of_service(service: str, bootstrap: str) -> Part:
    """Return the document of the topics that a service publishes or is sent."""
    topics = [topic_of(service), *([INBOUND, OUTCOMES] if service in ANSWERING else [])]
    return asyncapi_of(topics, f"Tenure {service}: its events", bootstrap)


def asyncapi_of(topics: Iterable[str], title: str, bootstrap: str) -> Part:
    """Return the document of these topics.

    Args:
        bootstrap: the host and port of Kafka, or of several of its brokers, separated by commas.
    """
    read = {topic: {event.type(): event for event in EVENTS_ON[topic]} for topic in topics}
    messages = {
        _key(name, topic): _message(event, topic) for topic, events in read.items() for name, event in events.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": name} for name in dict.fromkeys(service_of(topic) or "publishers" for topic in read)],
        },
        "defaultContentType": _CONTENT,
        "servers": {
            "kafka" if not number else f"kafka-{number + 1}": {
                "host": host.strip(),
                "protocol": "kafka-secure",
                "description": "Each client has a user of its own, and the rights that this user was granted.",
                "security": [{"$ref": "#/components/securitySchemes/scram"}],
            }
            for number, host in enumerate(bootstrap.split(","))
        },
        "channels": {_name(topic): _channel(topic, found) for topic, found in read.items()},
        "operations": {_operation(topic): _operation_of(topic, found) for topic, found in read.items()},
        "components": {
            "messages": dict(sorted(messages.items())),
            "messageTraits": {
                "ofAService": _trait(_HEADERS, (*ATTRIBUTES, *OF_STREAMS), "The stream."),
                "ofAnOutcome": _trait(_OF_OUTCOMES, ATTRIBUTES, _KEY_OF_OUTCOMES),
                "ofAPublisher": _trait(_OF_PUBLISHERS, _REQUIRED_OF_PUBLISHERS, _KEY_OF_PUBLISHERS),
            },
            "schemas": _schemas(read),
            "securitySchemes": {"scram": {"type": "scramSha512", "description": "SASL over TLS."}},
        },
    }


_ABOUT: Final = """Records are CloudEvents 1.0 in Kafka's binary mode: the attributes are headers, the value the data.
Publishers may send structured mode, too. A topic may repeat an event; it never reorders a stream and never skips an
event. Readers ignore fields and headers that they do not know. The text of personal fields is encrypted under a key per
person; erasing the key erases the person."""


def _schemas(read: Mapping[str, Mapping[str, type[Event]]]) -> Part:
    """Return the schemas of the records of the topics, and of the parts of these."""
    found: Part = {}
    for topic, events in read.items():
        template = f"#/components/schemas/{_key('{model}', topic)}"
        parts = parts_of(events, template, sent=topic == INBOUND)
        found |= {_key(name, topic): part for name, part in parts.items()}
    return dict(sorted(found.items()))


def _key(name: str, topic: str) -> str:
    """Return the key of a message or a schema, which differs for what publishers send.

    They send within bounds that the readers of a topic can't rely on.
    """
    return f"sent.{name}" if topic == INBOUND else name


def _name(topic: str) -> str:
    return topic.replace(".", "-")


def _operation(topic: str) -> str:
    owner = service_of(topic)
    return f"publish{owner.capitalize()}Events" if owner else _OPERATIONS[topic]


_OPERATIONS: Final = {INBOUND: "receivePublishersEvents", OUTCOMES: "publishOutcomes"}
_OF_PUBLISHERS_TOPICS: Final = {
    INBOUND: "The events of one publisher's system, kept for ever. Only that system may write to it, as the user "
    "`publisher-<publisher>`, in binary or structured mode (`application/cloudevents+json`), with gzip or without "
    f"compression. The operator imports events of any publisher on `{INBOUND}`.",
    OUTCOMES: "What became of each record of a publisher, kept for ever. Only that publisher's system may read it, as "
    "the user `publisher-<publisher>`, in consumer groups whose names begin with `publisher-<publisher>.`. An outcome "
    "may be repeated, with the same id. "
    f"Those of publishers without such a topic are on `{OUTCOMES}`.",
}


def _channel(topic: str, events: Mapping[str, type[Event]]) -> Part:
    own = bool(service_of(topic))
    channel: Part = {
        "address": topic if own else f"{topic}.{{publisher}}",
        "description": f"The events of {service_of(topic)}, kept for ever. The key is the stream."
        if own
        else _OF_PUBLISHERS_TOPICS[topic],
        "messages": {name: {"$ref": f"#/components/messages/{_key(name, topic)}"} for name in sorted(events)},
        "bindings": {
            "kafka": {
                **({"topic": topic} if own else {}),
                "partitions": PARTITIONS["events" if own else topic.split(".")[1]],
                "topicConfiguration": KEPT_FOR_EVER,
                "bindingVersion": _BINDING,
            }
        },
    }
    if not own:
        channel["parameters"] = {"publisher": {"description": "The publisher's name, as in the record's source."}}
    return channel


_SUMMARIES: Final = {
    INBOUND: "A publisher's system sends events.",
    OUTCOMES: "The service that decides on an event's type publishes what became of the record.",
}


def _operation_of(topic: str, events: Mapping[str, type[Event]]) -> Part:
    own = service_of(topic)
    channel = f"#/channels/{_name(topic)}"
    return {
        "action": "receive" if topic == INBOUND else "send",
        "channel": {"$ref": channel},
        "summary": f"{own.capitalize()} publishes what it decided." if own else _SUMMARIES[topic],
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in sorted(events)],
    }


def _trait(names: Iterable[str], required: Iterable[str], key: str) -> Part:
    return {
        "headers": {
            "type": "object",
            "required": list(required),
            "properties": {
                name: {
                    "type": "string",
                    **({"pattern": pattern} if pattern else {"minLength": 1, "maxLength": 500}),
                    "description": description,
                }
                for name in names
                for pattern, description in (_HEADERS[name],)
            },
        },
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _BINDING}},
    }


def _message(event: type[Event], topic: str) -> Part:
    name, sent = event.type(), topic == INBOUND
    trait = {INBOUND: "ofAPublisher", OUTCOMES: "ofAnOutcome"}.get(topic, "ofAService")
    summary, _, rest = " ".join((event.__doc__ or "").split()).partition(". ")
    headers = {key: value.decode() for key, value in to_headers(example_envelope(event, sent=sent))}
    return {
        "name": name,
        "title": name,
        "summary": f"{summary.rstrip('.')}.",
        **({"description": rest} if rest else {}),
        "contentType": _CONTENT,
        "payload": {"$ref": f"#/components/schemas/{_key(name, INBOUND if sent else '')}"},
        "x-json-schema": (sent_schema_id if sent else schema_id)(name, event.SCHEMA),
        "traits": [{"$ref": f"#/components/messageTraits/{trait}"}],
        "examples": [{"name": name, "headers": headers, "payload": json.loads(example_data(event))}],
    }
