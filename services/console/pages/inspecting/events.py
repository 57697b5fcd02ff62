"""One event: why it happened, what followed from it, and what it changed."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from services.console.doors import Refused
from services.console.pages.inspecting.graphs import Related
from services.console.pages.inspecting.streams import changes_of
from services.console.pages.inspecting.values import first_fields, shown_value
from services.console.shapes.operations import Explained, RelatedEvent, ShownStream, StreamEvent
from services.console.verbs import check_operator, result_of
from services.console.visits import Visit

SEARCHED: Final = 20_000
"""How many records of publishers' topics are read for a page; the command line reads more."""
LISTED: Final = 60
FIELDS: Final = 80
"""How many fields are shown of its data, and of those that it has changed."""


async def event(visit: Visit) -> Response:
    """Show an event with its causes and effects; of a command, what followed from it."""
    check_operator(visit)
    wanted = visit.id("event_id")
    try:
        found = await result_of(visit, "why", Explained, event=wanted, search=SEARCHED)
    except Refused as refused:
        if refused.problem.status != HTTPStatus.NOT_FOUND:
            raise
        return visit.page("inspecting/no-event.html", HTTPStatus.NOT_FOUND, event_id=wanted)
    related = Related(found.events, found.asked_keys)
    asked = next((each for each in found.events if each.key in related.asked), None)
    stored = await _stored(visit, asked)
    fields, more_fields = first_fields(stored.data if stored else None, FIELDS)
    return visit.page(
        "inspecting/event.html",
        found=found,
        asked=asked,
        stored=stored,
        fields=[(name, shown_value(value, visit.texts)) for name, value in fields] if stored else [],
        more_fields=more_fields,
        changes=changes_of(stored, visit.texts, FIELDS) if stored else [],
        more_changes=max(0, len(stored.changed) - FIELDS) if stored else 0,
        graph=related.graph(),
        causes=related.causes(asked.key) if asked else [],
        effects=related.below(asked.key, LISTED) if asked else [],
        firsts=_firsts(found.events),
        incomplete=_incomplete(found),
    )


async def _stored(visit: Visit, asked: RelatedEvent | None) -> StreamEvent | None:
    """Return the event as its store has it; None of a publisher's, and of a command."""
    if asked is None or asked.service is None:
        return None
    shown = await result_of(visit, "stream-show", ShownStream, stream=asked.stream, version=asked.version, last=1)
    return shown.events[-1] if shown.events else None


def _firsts(events: Sequence[RelatedEvent]) -> Sequence[RelatedEvent]:
    """Return the events whose cause is none of these."""
    known = {each.key for each in events}
    return [each for each in events if each.cause not in known]


def _incomplete(found: Explained) -> bool:
    """Return whether more may belong to it than was searched for."""
    unread = found.inbound is not None and found.inbound.problem is not None
    return bool(unread or found.cut_off or found.not_followed.correlations or found.not_followed.publishers_events)
