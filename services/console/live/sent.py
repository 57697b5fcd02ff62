"""Publishers' events in requests: one in binary or structured mode, or a batch.

Source: CloudEvents 1.0.2, HTTP protocol binding and JSON batch format.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from services.console.live.limits import BATCH_EVENTS, EVENT_BYTES
from shared import rules
from shared.eventlog.deliver.inbox import Given
from shared.events.envelope import Unreadable
from shared.events.structured import BATCH, STRUCTURED, media_type, of_json, parsed
from shared.runtime.problems import Problem

Headers = Iterable[tuple[bytes, bytes]]
Attributes = Sequence[tuple[str, bytes]]

_ATTRIBUTE: Final = b"ce-"
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(rb"\\(.)")


def is_batch(content_type: str) -> bool:
    """Return whether a request has a batch of events."""
    return media_type(content_type) == BATCH


def events_of(content_type: str, headers: Headers, body: bytes) -> Sequence[Given | Unreadable]:
    """Return the events of a request, each as it would be in a record, or why it can't be read.

    Raises:
        Problem: 413, 415 or 422 for a request that has no events, or too much.
    """
    attributes = [_attribute(name, value) for name, value in headers if name.startswith(_ATTRIBUTE)]
    if is_batch(content_type):
        return _batch(body, attributes)
    if len(body) > EVENT_BYTES:
        raise Problem(
            rule=rules.TOO_LARGE,
            reason=f"An event has at most {EVENT_BYTES // 1024} KiB.",
            remedy="Send a smaller event.",
        )
    if media_type(content_type) == STRUCTURED:
        return [_structured(body, attributes)]
    if not attributes:
        raise Problem(
            rule=rules.UNSUPPORTED_MEDIA_TYPE,
            reason="The request has no CloudEvent.",
            remedy=f"Send one as {STRUCTURED}, several as {BATCH}, or one with its attributes in headers (ce-id, …).",
        )
    return [Given([*attributes, ("content-type", content_type.encode("latin-1") or b"application/json")], body)]


def _batch(body: bytes, attributes: Attributes) -> Sequence[Given | Unreadable]:
    try:
        found = parsed(body)
    except Unreadable as fault:
        raise _malformed(str(fault)) from None
    if not isinstance(found, list):
        raise _malformed("it is not a JSON array")
    if not 1 <= len(found) <= BATCH_EVENTS:
        raise _malformed(f"it has {len(found)} events, and a batch has 1 to {BATCH_EVENTS}")
    return [_of_json(each, attributes) for each in found]


def _structured(body: bytes, attributes: Attributes) -> Given | Unreadable:
    try:
        return _of_json(parsed(body), attributes)
    except Unreadable as fault:
        return fault


def _of_json(found: object, attributes: Attributes) -> Given | Unreadable:
    """Return an event in JSON, with what its request's headers repeat.

    An attribute that they say differently stands there twice.
    """
    try:
        inner, data = of_json(found)
    except Unreadable as fault:
        return fault
    given = Given([*(each for each in attributes if each not in inner), *inner], data)
    if len(given.data) > EVENT_BYTES:
        return Unreadable(f"an event has at most {EVENT_BYTES // 1024} KiB")
    return given


def _attribute(name: bytes, value: bytes) -> tuple[str, bytes]:
    """Return a header that has an attribute, as a record has it."""
    return f"ce_{name[3:].decode('latin-1')}", _decoded(value)


def _decoded(value: bytes) -> bytes:
    """Return an attribute's value, which may be quoted and has percent-encoded characters."""
    if quoted := _QUOTED.fullmatch(value.strip()):
        value = _ESCAPED.sub(rb"\1", quoted.group(1))
    return unquote_to_bytes(value)


def _malformed(why: str) -> Problem:
    return Problem(
        rule=rules.MALFORMED,
        reason=f"The batch can't be read: {why}.",
        remedy="Send a JSON array of CloudEvents.",
    )
