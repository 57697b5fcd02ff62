"""The running system as the operator's people see it: figures, streams and events."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt
from services.console.pages.inspecting import events, now, streams
from services.console.texts import marked

OPERATOR: Final[frozenset[Kind]] = frozenset({"operator"})

AREA: Final = Area(
    name="inspecting",
    pages=(
        PageAt(path="/operator/now", show=now.now),
        PageAt(path="/operator/streams", show=streams.search),
        PageAt(path="/operator/streams/{stream:path}", show=streams.stream),
        PageAt(path="/operator/events/{event_id:path}", show=events.event),
    ),
    links=(
        Link(path="/operator/now", text=marked("Now"), kinds=OPERATOR),
        Link(path="/operator/streams", text=marked("Streams"), kinds=OPERATOR),
    ),
)
