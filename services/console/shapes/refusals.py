"""Refusals, as every service keeps them."""

from datetime import datetime

from pydantic import BaseModel


class Refusal(BaseModel):
    """A refusal that a service has stored.

    Of identity's `GET /refusals/{command_id}`, marketplace's `GET /refusals/{command_id}`, entitlements's
    `GET /refusals/{command_id}` and distribution's `GET /refusals/{command_id}`.
    """

    command_id: str
    command: str | None
    """The name of the refused command."""
    account_id: str | None
    """Who was refused; None for a reaction, a timer, or somebody without an account."""
    stream: str | None
    request: str | None
    rule: str
    reason: str
    remedy: str
    because: list[str]
    """The ids of the events that justify the refusal."""
    refused_at: datetime


class Refusals(BaseModel):
    """A page of refusals.

    Of identity's `GET /refusals`, marketplace's `GET /refusals`, entitlements's `GET /refusals` and distribution's
    `GET /refusals`.
    """

    items: list[Refusal]
    next: str | None = None
