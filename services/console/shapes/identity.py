"""The answers of identity's routes, as far as the pages read them."""

from datetime import datetime

from pydantic import BaseModel


class Tokens(BaseModel):
    """A session's tokens. Of identity's `POST /sessions` and `POST /sessions/refresh`."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: str


class SignedUp(BaseModel):
    """The answer to a sign-up. Of identity's `POST /accounts`."""

    session: Tokens | None = None
    """Missing if the answer repeats that to an earlier request."""


class Account(BaseModel):
    """The person's account. Of identity's `GET /me`."""

    account_id: str
    organisation_id: str
    organisation_name: str
    organisation_kind: str
    name: str
    email: str | None = None
    email_verified: bool | None = None
    country: str | None = None
    time_zone: str | None = None
    locale: str | None = None
    sandbox: bool = False


class Clock(BaseModel):
    """The organisation's time. Of identity's `GET /me/clock`."""

    sandbox: bool
    ahead_s: int
    now: datetime
