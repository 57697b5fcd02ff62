"""Streams: how they are found, and what each event of one has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from services.console.doors import Refused
from services.console.pages.inspecting.values import first_fields, shown_value
from services.console.shapes.operations import Change, FoundStreams, ShownStream, StreamEvent
from services.console.texts import Texts
from services.console.verbs import check_operator, result_of
from services.console.visits import Visit

SHOWN: Final = 10
"""How many events a page has."""
CHANGES: Final = 12
"""How many changed fields are shown of an event of the timeline."""
FIELDS: Final = 150
"""How many fields are shown of a state."""
QUERY: Final = 300


@dataclass(frozen=True, slots=True)
class ChangedField:
    """A field that an event has changed, in words."""

    field: str
    before: str
    after: str
    change: Change


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of the timeline."""

    event: StreamEvent
    changes: Sequence[ChangedField]
    more: int


async def search(visit: Visit) -> Response:
    """Show the form that finds streams, and what it has found."""
    check_operator(visit)
    text = visit.request.query_params.get("q", "").strip()[:QUERY]
    found = None
    if text.isprintable() and text:
        found = await result_of(visit, "stream-find", FoundStreams, text=text)
    return visit.page("inspecting/streams.html", found=found, asked=text)


async def stream(visit: Visit) -> Response:
    """Show the last events of a stream up to a version and a time, and the state after them."""
    check_operator(visit)
    at = visit.as_of
    try:
        shown = await result_of(
            visit,
            "stream-show",
            ShownStream,
            stream=visit.id("stream"),
            at=at.isoformat() if at else None,
            version=_version(visit),
            last=SHOWN,
        )
    except Refused as refused:
        if refused.problem.status != HTTPStatus.NOT_FOUND:
            raise
        return visit.page("inspecting/no-stream.html", HTTPStatus.NOT_FOUND, stream=visit.id("stream"))
    last = shown.events[-1] if shown.events else None
    fields, more_fields = first_fields(last.state if last else None, FIELDS)
    return visit.page(
        "inspecting/stream.html",
        shown=shown,
        entries=[_entry(each, visit.texts) for each in reversed(shown.events)],
        last=last,
        fields=[(name, shown_value(value, visit.texts)) for name, value in fields] if last else [],
        more_fields=more_fields,
        kind=shown.stream.partition("-")[0],
    )


def _version(visit: Visit) -> int | None:
    """Return the version that the page's address names, up to which events are shown."""
    written = visit.request.query_params.get("version", "")
    return int(written) if written.isascii() and written.isdigit() and 0 < int(written[:10]) < 2**31 else None


def _entry(event: StreamEvent, texts: Texts) -> Entry:
    return Entry(event, changes_of(event, texts, CHANGES), max(0, len(event.changed) - CHANGES))


def changes_of(event: StreamEvent, texts: Texts, most: int) -> Sequence[ChangedField]:
    """Return the first fields that an event has changed, in words."""
    return [
        ChangedField(each.field, shown_value(each.before, texts), shown_value(each.after, texts), each)
        for each in event.changed[:most]
    ]
