"""CloudEvents in JSON, one a line: the format of `export` and `import`."""

import base64
from typing import Any

import orjson

from cli.event_search import FoundEvent
from shared import trace_context
from shared.events.envelope import (
    Envelope,
    Unreadable,
    from_headers,
    publisher_of,
    schema_id,
    sequence_on_wire,
    stamp,
    type_on_wire,
)
from shared.events.registry import INBOUND, why_not_from
from shared.events.structured import of_json, parsed


def to_line(found: FoundEvent) -> bytes:
    """Return a stored event in CloudEvents' JSON format, its data byte for byte as hashed."""
    envelope = found.envelope
    traceparent, tracestate = trace_context.split(envelope.traceparent)
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": envelope.id,
        "source": envelope.source,
        "type": type_on_wire(envelope.type),
        "subject": envelope.stream,
        "time": stamp(envelope.time),
        "datacontenttype": "application/json",
        "dataschema": schema_id(envelope.type, envelope.schema),
        "partitionkey": envelope.stream,
        "sequence": sequence_on_wire(envelope.version or 0),
        "position": str(envelope.position),
        "correlationid": envelope.correlation_id,
        "causationid": envelope.causation_id,
        "actor": envelope.actor,
        "tenant": envelope.tenant,
        "traceparent": traceparent,
        "tracestate": tracestate,
        "prevhash": envelope.prevhash.hex(),
        "hash": envelope.hash.hex(),
        **({"sandbox": True} if envelope.sandbox else {}),
    }
    head = orjson.dumps({name: value for name, value in attributes.items() if value != ""})
    if b"\n" in found.data or b"\r" in found.data:
        return head[:-1] + b',"data_base64":' + orjson.dumps(base64.b64encode(found.data).decode()) + b"}"
    return head[:-1] + b',"data":' + found.data + b"}"


class KafkaRecord:
    """An event as a record to be written to a topic."""

    __slots__ = ("envelope", "headers", "key", "value")

    def __init__(self, envelope: Envelope, key: bytes, headers: list[tuple[str, bytes]], value: bytes) -> None:
        self.envelope, self.key, self.headers, self.value = envelope, key, headers, value


def parse_line(text: bytes) -> KafkaRecord:
    """Return a line's event as a record in Kafka's binary mode.

    Raises:
        Unreadable: The line is not a CloudEvent, or a publisher may not send it.
    """
    headers, data = of_json(parsed(text))
    given = dict(headers)
    key = given.get("ce_partitionkey") or given.get("ce_subject") or b""
    envelope = from_headers(headers, key)
    if not publisher_of(envelope.source):
        raise Unreadable(f"its source is {envelope.source[:60]!r}: only urn:publisher:<publisher> can be imported")
    if (why := why_not_from(INBOUND, envelope.source, envelope.type)) is not None:
        raise Unreadable(why)
    return KafkaRecord(envelope, key, headers, data)
