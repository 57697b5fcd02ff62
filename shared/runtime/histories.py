"""Histories: who did what, when and why, read from a stream itself.

@LISTS.get("/subscriptions/{subscription_id}/history")
async def history(subscription_id: Identifier, log: CurrentLog, page: HistoryPage, ...) -> History:
    ...  # 404 unless the caller may see the subscription
    return await history_of(log, SUBSCRIPTION, subscription_id, page)
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from fastapi import Depends
from pydantic import BaseModel

from shared.eventlog.decision import Stream
from shared.eventlog.write.log import Log
from shared.events.base import Event
from shared.events.envelope import MAX_VERSION, Envelope
from shared.runtime.lists import By, Listing, Page

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)

SCANNED: Final = 2_000
"""The number of events that are read for a page at most."""
_BATCH: Final = 500

HISTORY: Final = Listing(key="event_id", sorts={"version": By(int)}, order="version")
HistoryPage: TypeAlias = Annotated[Page, Depends(HISTORY.page)]
"""The part of a history that a request asks for: `sort=version`, the oldest first, or `sort=-version`."""


class HistoryEntry(BaseModel):
    """An event: what happened, when, by whom, and in consequence of what."""

    version: int
    at: datetime
    actor: str
    """The account that acted, or the service, timer or policy that did."""
    type: str
    data: dict[str, Any]
    """The event's fields, with the reason if one was given; those of a forgotten person are empty."""
    event_id: str
    command_id: str
    causation_id: str
    """The event or the request that led to it."""
    correlation_id: str
    sandbox: bool
    """Whether the event belongs to a sandbox."""


class History(BaseModel):
    items: list[HistoryEntry]
    next: str | None
    """Send it as `after` for the next entries; null at the end. A page may have fewer entries than its limit."""


async def history_of(
    log: Log,
    stream: Stream[S, C, E],
    key: str,
    page: Page,
    concerns: Callable[[Event], bool] = lambda _: True,
) -> History:
    """Return a page of a stream's history.

    Args:
        concerns: Whether an event belongs to the history, if not all of the stream's events do.
    """
    version = MAX_VERSION if page.descending else 0
    if page.after is not None:
        version = min(max(int(str(page.after[0])), 0), MAX_VERSION)
    entries: list[HistoryEntry] = []
    scanned = 0
    while True:
        size = min(_BATCH, SCANNED - scanned)
        stored = await log.store.history(stream.id(key), version, size, newest_first=page.descending)
        for (envelope, _), event in zip(stored, await log.opened(stored), strict=True):
            if len(entries) == page.limit:
                return History(items=entries, next=page.cursor(version, "-"))
            version = envelope.version or 0
            if concerns(event):
                entries.append(_entry(envelope, event))
        if len(stored) < size:
            return History(items=entries, next=None)
        scanned += size
        if scanned >= SCANNED:
            return History(items=entries, next=page.cursor(version, "-"))


def _entry(envelope: Envelope, event: Event) -> HistoryEntry:
    return HistoryEntry(
        version=envelope.version or 0,
        at=envelope.time,
        actor=envelope.actor,
        type=envelope.type,
        data=json.loads(event.data()),
        event_id=envelope.id,
        command_id=envelope.command,
        causation_id=envelope.causation_id,
        correlation_id=envelope.correlation_id,
        sandbox=envelope.sandbox,
    )
