"""The table of notifications: which events are told to whom, and in which words."""

from collections.abc import Mapping, Sequence
from typing import Final

from services.identity.domain import notifications_of_people, notifications_of_sales, notifications_of_use
from services.identity.domain.notification_rows import Notification
from shared.events.base import Event

ROWS: Final = (*notifications_of_people.ROWS, *notifications_of_sales.ROWS, *notifications_of_use.ROWS)

TABLE: Final[Mapping[str, Notification]] = {row.template: row for row in ROWS}
"""The rows by the names of their templates."""


def rows_of(event: Event) -> Sequence[Notification]:
    """Return the rows of this event."""
    return [row for row in ROWS if isinstance(event, row.event) and row.applies(event)]


def told_events() -> frozenset[type[Event]]:
    """Return the event types of which anything is told."""
    return frozenset(row.event for row in ROWS)
