"""Machines' credentials, as identity answers."""

from datetime import datetime

from pydantic import BaseModel


class Machine(BaseModel):
    """A machine's account. Of identity's `GET /machines/{client_id}`."""

    client_id: str
    name: str
    organisation_id: str
    scopes: list[str]
    acts_for: str | None
    registered_by: str
    expires_at: datetime
    previous_until: datetime | None
    """Until when the secret before the latest is valid, too."""
    revoked_by: str | None


class Machines(BaseModel):
    """A page of machines' accounts. Of identity's `GET /machines`."""

    items: list[Machine]
    next: str | None = None


class MachineSecret(BaseModel):
    """A machine's secret, in the first answer only.

    Of identity's `POST /machines` and `POST /machines/{client_id}/secret`.
    """

    client_id: str = ""
    client_secret: str = ""
