"""Histories: who did what, when and why, as every service tells them."""

from datetime import datetime

from pydantic import BaseModel, JsonValue


class HistoryEntry(BaseModel):
    """An event as a page tells it."""

    at: datetime
    actor: str
    type: str
    data: dict[str, JsonValue]
    event_id: str = ""


class History(BaseModel):
    """A page of a history.

    Of identity's `GET /contracts/{contract_id}/history`, marketplace's `GET /subscriptions/{subscription_id}/history`
    and entitlements's `GET /pools/{subscription_id}/history`.
    """

    items: list[HistoryEntry]
    next: str | None = None
