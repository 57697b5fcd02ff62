"""An event as subscribers get it: a CloudEvent in JSON, with the attributes of its record."""

from datetime import datetime
from typing import Final, NamedTuple

import orjson

from shared.eventlog.deliver.ordered import Placed

_PREFIX: Final = "ce_"


class Frame(NamedTuple):
    """An event with what filters ask for."""

    position: int
    type: str
    stream: str
    tenant: str
    time: datetime
    body: bytes
    """The event in JSON, on one line."""
    id: str = ""

    @property
    def block(self) -> bytes:
        """The event as a block of a stream of Server-Sent Events."""
        return b"id: %d\ndata: %s\n\n" % (self.position, self.body)


def frame_of(event: Placed) -> Frame:
    """Return an event in the structured mode of CloudEvents.

    The data are the record's bytes, with which the hash can be verified. Sealed personal fields stay sealed.
    """
    envelope, raw = event.envelope, event.raw
    attributes = {
        name.removeprefix(_PREFIX): (value or b"").decode("latin-1")
        for name, value in raw.headers
        if name.startswith(_PREFIX)
    }
    attributes["datacontenttype"] = "application/json"
    attributes.setdefault("position", str(event.position))
    body = orjson.dumps(attributes)[:-1] + b',"data":' + _on_one_line(raw.value or b"null") + b"}"
    return Frame(event.position, envelope.type, envelope.stream, envelope.tenant, envelope.time, body, envelope.id)


def _on_one_line(data: bytes) -> bytes:
    if b"\n" not in data and b"\r" not in data:
        return data
    return orjson.dumps(orjson.loads(data))
