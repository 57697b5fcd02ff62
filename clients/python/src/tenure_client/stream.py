"""Reading a stream of Server-Sent Events (the HTML standard, section 9.2)."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tenure_client.answers import HistoryGone, Received

_PREFIX = "internal.tenure."


def read_stream(lines: Iterable[str]) -> Iterator[tuple[int, Received | None]]:
    """Yield each position that the stream has come to, with its event if there is one.

    Raises:
        HistoryGone: The events after the position asked for are not kept any more.
    """
    position, kind, data = 0, "", list[str]()
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id" and value.isdigit():
                position = int(value)
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            continue
        if kind == "reset":
            told = json.loads("\n".join(data))
            raise HistoryGone(told["nearest"], told["snapshot"])
        yield position, received(json.loads("\n".join(data))) if data else None
        kind, data = "", []


def received(event: Mapping[str, Any]) -> Received:
    """Return an event in CloudEvents' JSON format as a `Received`."""
    attributes = {name: str(value) for name, value in event.items() if name != "data"}
    return Received(
        position=int(attributes["position"]),
        id=attributes["id"],
        type=attributes["type"].removeprefix(_PREFIX),
        subject=attributes.get("subject", ""),
        time=attributes.get("time", ""),
        data=event["data"],
        attributes=attributes,
    )
