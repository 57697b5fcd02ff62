"""The newest events of a topic, as the live edge has them in memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from services.console.doors import Unreachable, part_of_page
from services.console.live.edge import LiveEdge
from services.console.visits import Visit
from shared.runtime.live.frames import Frame
from shared.runtime.live.wanted import visible_to
from shared.runtime.problems import Problem

SHOWN: Final = 10
"""How many events a page has as it is loaded; while it is open, it keeps twice as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An event of a topic."""

    id: str
    type: str
    stream: str
    time: datetime
    body: str


@dataclass(frozen=True, slots=True)
class Samples:
    """The newest events that the person may see, and where the next ones are streamed."""

    events: Sequence[Sample]
    following: str
    later: str
    """The same without what came meanwhile, for a page that was hidden."""


async def newest(visit: Visit, topic: str, type_: str = "") -> Samples | None:
    """Return the newest events; None while there is no Kafka to read.

    Args:
        type_: The type of the events, or "" for any.
    """
    edge: LiveEdge | None = visit.request.app.state.live
    if edge is None:
        return None
    edge.start()
    try:
        async with part_of_page():
            subscriber = await edge.callers.by(f"Bearer {await visit.token()}")
            found = await edge.topic(topic, subscriber.actor)
    except (Problem, Unreachable):
        return None
    wanted = replace(visible_to(subscriber.actor), types=frozenset({type_} - {""}))
    types = {"type": type_} if type_ else {}
    return Samples(
        events=[_sample(frame) for frame in found.window.newest(wanted, SHOWN)],
        following=_path(topic, {"after": str(found.window.head), **types}),
        later=_path(topic, types),
    )


def _path(topic: str, query: Mapping[str, str]) -> str:
    return f"/live/{topic}?{urlencode(query)}" if query else f"/live/{topic}"


def _sample(frame: Frame) -> Sample:
    event = json.loads(frame.body)
    body = json.dumps(event, indent=2, ensure_ascii=False)
    return Sample(id=event["id"], type=frame.type, stream=frame.stream, time=frame.time, body=body)
