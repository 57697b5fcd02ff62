"""Events as CloudEvents in JSON, one a line: what `export` writes and `import` reads."""

import base64
import re
from typing import Any, Final

import orjson

from cli.event_search import Found
from shared.events.envelope import Envelope, Unreadable, from_headers, publisher_of, stamp
from shared.events.registry import INBOUND, why_not_from

_ATTRIBUTE: Final = re.compile(r"^[a-z0-9]{1,20}$")
_BODY: Final = ("data", "data_base64")


def line(found: Found) -> bytes:
    """A stored event in CloudEvents' JSON format. The data's bytes are kept as they were hashed."""
    envelope = found.envelope
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "subject": envelope.stream,
        "time": stamp(envelope.time),
        "datacontenttype": "application/json",
        "dataschema": f"urn:tenure:events:{envelope.type}:{envelope.schema}",
        "partitionkey": envelope.stream,
        "sequence": str(envelope.version),
        "position": str(envelope.position),
        "correlationid": envelope.correlation_id,
        "causationid": envelope.causation_id,
        "actor": envelope.actor,
        "tenant": envelope.tenant,
        "traceparent": envelope.traceparent,
        "prevhash": envelope.prevhash.hex(),
        "hash": envelope.hash.hex(),
    }
    head = orjson.dumps({name: value for name, value in attributes.items() if value != ""})
    if b"\n" in found.data or b"\r" in found.data:
        return head[:-1] + b',"data_base64":' + orjson.dumps(base64.b64encode(found.data).decode()) + b"}"
    return head[:-1] + b',"data":' + found.data + b"}"


class Foreign:
    """An event of a publisher's system, as it is put on the inbound topic."""

    __slots__ = ("envelope", "headers", "key", "value")

    def __init__(self, envelope: Envelope, key: bytes, headers: list[tuple[str, bytes]], value: bytes) -> None:
        self.envelope, self.key, self.headers, self.value = envelope, key, headers, value


def foreign(text: bytes) -> Foreign:
    """A line, as a record in Kafka's binary mode. Unreadable when it is no CloudEvent of a publisher's."""
    try:
        found = orjson.loads(text)
    except ValueError as error:
        raise Unreadable(f"it is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise Unreadable("it is no JSON object")
    attributes = {name: value for name, value in found.items() if name not in _BODY}
    for name, value in attributes.items():
        if not _ATTRIBUTE.match(name) or not isinstance(value, str | int | bool):
            raise Unreadable(f"{name[:40]!r} is no attribute of CloudEvents, or its value is none")
    attributes.setdefault("datacontenttype", "application/json")
    named = {"datacontenttype": "content-type"}
    headers = [(named.get(name, f"ce_{name}"), str(value).encode()) for name, value in attributes.items()]
    key = str(attributes.get("partitionkey") or attributes.get("subject") or "").encode()
    envelope = from_headers(headers, key)
    if not publisher_of(envelope.source):
        raise Unreadable(f"its source is {envelope.source[:60]!r}: only urn:publisher:… may come in here")
    if (why := why_not_from(INBOUND, envelope.source, envelope.type)) is not None:
        raise Unreadable(why)
    return Foreign(envelope, key, headers, _body(found))


def _body(found: dict[str, Any]) -> bytes:
    if "data_base64" in found:
        try:
            return base64.b64decode(found["data_base64"], validate=True)
        except (ValueError, TypeError):
            raise Unreadable("data_base64 is no base64") from None
    return orjson.dumps(found.get("data"))
