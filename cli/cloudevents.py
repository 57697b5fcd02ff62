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
    of = found.of
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": of.id,
        "source": of.source,
        "type": of.type,
        "subject": of.stream,
        "time": stamp(of.time),
        "datacontenttype": "application/json",
        "dataschema": f"urn:tenure:events:{of.type}:{of.schema}",
        "partitionkey": of.stream,
        "sequence": str(of.version),
        "position": str(of.position),
        "correlationid": of.correlation_id,
        "causationid": of.causation_id,
        "actor": of.actor,
        "tenant": of.tenant,
        "traceparent": of.traceparent,
        "prevhash": of.prevhash.hex(),
        "hash": of.hash.hex(),
    }
    head = orjson.dumps({name: value for name, value in attributes.items() if value != ""})
    if b"\n" in found.data or b"\r" in found.data:
        return head[:-1] + b',"data_base64":' + orjson.dumps(base64.b64encode(found.data).decode()) + b"}"
    return head[:-1] + b',"data":' + found.data + b"}"


class Foreign:
    """An event of a publisher's system, as it is put on the inbound topic."""

    __slots__ = ("headers", "key", "of", "value")

    def __init__(self, of: Envelope, key: bytes, headers: list[tuple[str, bytes]], value: bytes) -> None:
        self.of, self.key, self.headers, self.value = of, key, headers, value


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
    of = from_headers(headers, key)
    if not publisher_of(of.source):
        raise Unreadable(f"its source is {of.source[:60]!r}: only urn:publisher:… may come in here")
    if (why := why_not_from(INBOUND, of.source, of.type)) is not None:
        raise Unreadable(why)
    return Foreign(of, key, headers, _body(found))


def _body(found: dict[str, Any]) -> bytes:
    if "data_base64" in found:
        try:
            return base64.b64decode(found["data_base64"], validate=True)
        except (ValueError, TypeError):
            raise Unreadable("data_base64 is no base64") from None
    return orjson.dumps(found.get("data"))
