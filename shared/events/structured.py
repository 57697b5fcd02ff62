"""CloudEvents in JSON, each as the headers and the data that it would have in binary mode.

So an event in structured mode (`application/cloudevents+json`), alone or in a batch, is checked by what checks those in
binary mode. Services' own events are in binary mode only, because their hash is over the bytes of the data.

Source: CloudEvents 1.0.2, JSON event format and Kafka protocol binding.
"""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from shared.events.envelope import CONTENT_TYPE, Unreadable

Given = Sequence[tuple[str, bytes | None]]

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
_IN_JSON: Final = b"application/cloudevents"
ATTRIBUTES: Final = 100
"""The most members of an event in JSON, as many as a request may have headers."""
_ATTRIBUTE: Final = re.compile(r"^[a-z0-9]{1,60}\Z")
_BODY: Final = ("data", "data_base64")


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def in_json(headers: Given) -> bool:
    """Return whether a record's content type says that its value is a CloudEvent in JSON."""
    return any(n == "content-type" and v is not None and v.lower().startswith(_IN_JSON) for n, v in headers)


def in_binary_mode(headers: Given, value: bytes | None) -> tuple[Given, bytes]:
    """Return a record's headers and data, which are its value's if that is a CloudEvent in JSON.

    Raises:
        Unreadable: the value should be one event in JSON and is not, or the headers say something else than it.
    """
    if not in_json(headers):
        return headers, value or b""
    for name, content_type in headers:
        if name == "content-type" and media_type((content_type or b"").decode("latin-1")) != STRUCTURED:
            raise Unreadable(
                f"a record has one event, as {STRUCTURED}; its content type is {content_type!r:.80}. "
                "Send the events of a batch as a record each, or the batch to POST /events"
            )
    inner, data = of_json(parsed(value or b""))
    # An SDK may repeat attributes as headers. A header with another value then stands there twice.
    return [*((name, text) for name, text in headers if name.startswith("ce_")), *inner], data


def parsed(text: bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        Unreadable: it is not JSON, or two readers may understand it differently.
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"it is not JSON ({error})"[:200]) from None


def of_json(found: Any) -> tuple[list[tuple[str, bytes]], bytes]:
    """Return the headers and the data of an event in JSON.

    Raises:
        Unreadable: it is not a CloudEvent in JSON. The attributes' values are not checked here.
    """
    if not isinstance(found, dict):
        raise Unreadable("it is not a JSON object")
    if len(found) > ATTRIBUTES:
        raise Unreadable(f"it has more than {ATTRIBUTES} members")
    headers = []
    for name, value in found.items():
        if name in _BODY or value is None:
            continue
        if not _ATTRIBUTE.match(name) or not isinstance(value, str | int):
            raise Unreadable(f"{name[:40]!r} is not a CloudEvents attribute, or its value is not valid for one")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        header = "content-type" if name == "datacontenttype" else f"ce_{name}"
        headers.append((header, text.encode(errors="surrogatepass")))
    if "datacontenttype" not in found:
        headers.append(("content-type", CONTENT_TYPE))
    return headers, _data(found)


def _data(found: dict[str, Any]) -> bytes:
    if found.get("data_base64") is None:
        return json.dumps(found.get("data"), separators=(",", ":")).encode()
    if "data" in found:
        raise Unreadable("it has data and data_base64")
    try:
        return base64.b64decode(found["data_base64"], validate=True)
    except (ValueError, TypeError):
        raise Unreadable("data_base64 is not valid base64") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise Unreadable("a key is given twice in one object")
    return result


def _no_number(name: str) -> Any:
    raise Unreadable(f"{name} is not a JSON value")
