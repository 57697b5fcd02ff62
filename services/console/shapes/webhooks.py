"""Webhooks, as identity answers."""

from datetime import datetime

from pydantic import BaseModel


class Webhook(BaseModel):
    """A webhook and what became of its events. Of identity's `GET /webhooks/{webhook_id}`."""

    webhook_id: str
    name: str
    address: str
    topic: str
    types: list[str]
    streams: list[str]
    registered_by: str
    client_id: str | None
    state: str
    reason: str | None
    """Why it is parked or has ended."""
    previous_until: datetime | None
    """Until when events are signed with the previous secret, too."""
    position: int | None
    waiting: int
    first_waiting: int | None
    failing_since: datetime | None
    paused_until: datetime | None
    last_answer: str | None
    delivered_at: datetime | None


class Webhooks(BaseModel):
    """A page of webhooks. Of identity's `GET /webhooks`."""

    items: list[Webhook]
    next: str | None = None


class WebhookSecret(BaseModel):
    """A webhook's secret, in the first answer only.

    Of identity's `POST /webhooks` and `POST /webhooks/{webhook_id}/secret`.
    """

    webhook_id: str = ""
    secret: str = ""
