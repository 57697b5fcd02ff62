"""What became of publishers' events, looked up by their senders and by the operator."""

import json
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Path
from pydantic import BaseModel

from shared.events.envelope import publisher_of
from shared.runtime.http import CurrentActor, Database
from shared.runtime.problems import unknown
from shared.runtime.scopes import machines
from shared.runtime.visibility import sells
from shared.sql import Row, statements

SQL: Final = statements(__file__)
AT_MOST: Final = 100
"""The most outcomes of one event that are shown: a sender may repeat it without end."""
QUERIES: Final = APIRouter()
"""For services that decide on publishers' events."""
Attribute: TypeAlias = Annotated[str, Path(max_length=500, pattern=r"^[!-~][ -~]*$")]
"""The value of a CloudEvents attribute."""


class RecordOutcome(BaseModel):
    """What became of one record of the event."""

    status: Literal["accepted", "rejected", "waiting"]
    """`waiting`: it failed for no fault of its sender's, and the operator decides. It has another outcome then."""
    rule: str | None
    """The rule by which it was rejected, or why it is parked; null if it was accepted."""
    reason: str
    remedy: str
    because: list[str]
    """The ids of the events that justify the rejection."""
    events: list[str]
    """The ids of the events that followed from it in this service; none if it changed nothing."""
    topic: str
    partition: int
    offset: int
    time: datetime


class EventOutcomes(BaseModel):
    """What became of an event, by its records."""

    source: str
    id: str
    type: str
    outcomes: list[RecordOutcome]
    """The newest 100, the newest first. A record that repeats the event has its answer again."""


@QUERIES.get("/events/{source}/{event_id:path}", openapi_extra=machines("read", "events:publish"))
async def event_outcomes(source: Attribute, event_id: Attribute, actor: CurrentActor, db: Database) -> EventOutcomes:
    """Return what became of a publisher's event: accepted, rejected with the rule, or waiting.

    It is known to the service that decides on the event's type. The publisher sees its own events, the operator all.
    """
    publisher = publisher_of(source)
    rows = await db.fetch(SQL["of_event"], source, event_id, AT_MOST) if sells(actor, publisher) and publisher else []
    if not rows:
        raise unknown("event", "Check its source and id, and ask the service that decides on its type.")
    outcomes = [_outcome(row) for row in rows]
    return EventOutcomes(source=source, id=event_id, type=rows[0]["type"], outcomes=outcomes)


def _outcome(row: Row) -> RecordOutcome:
    return RecordOutcome(
        status=row["status"],
        rule=row["rule"] or None,
        reason=row["reason"],
        remedy=row["remedy"],
        because=json.loads(row["because"]),
        events=json.loads(row["events"]),
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        time=row["time"],
    )
