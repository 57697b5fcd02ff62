"""The routes of a person's inbox and preferences, and the operator's list of mails.

Whether a notification was read is no event: it is a mark in the private table, which only its person sets.
"""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from services.identity.domain.account import ACCOUNT, OpenedAccount, SetNotificationPreferences
from services.identity.domain.notifications import KINDS, NotificationKind, choice_of
from services.identity.notifications.store import SQL, UNREAD_AT_MOST, MailState, Stored
from services.identity.notifications.texts import Text, composed, words_of
from shared.eventlog.write.log import Log
from shared.events.fields import Address, Identifier, OptionalIdentifier
from shared.rules import OPERATOR_ONLY
from shared.runtime.auth import Actor
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.lists import By, Listing, ListOf, Page
from shared.runtime.people import person_of_list
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.scopes import machines

ROUTES: Final = APIRouter(route_class=ListRoute)
COMMANDS: Final = CommandRoutes()

INBOX: Final = Listing(
    SQL["inbox"], key="notification_id", sorts={"told": By(datetime, "told_at")}, order="-told", limit=20
)
DELIVERED: Final = Listing(
    SQL["delivered"], key="notification_id", sorts={"told": By(datetime, "told_at")}, order="-told"
)


class NotificationView(BaseModel):
    """A notification in a person's inbox, in the person's language."""

    notification_id: str
    kind: str
    title: str
    text: str
    happened_at: datetime
    """By the clock of the person's organisation."""
    told_at: datetime
    read: bool
    contract_id: str | None = None
    subscription_id: str | None = None
    rollout_id: str | None = None
    page: str | None = None
    """The path of the console's page where the person can see to it, below the console's URL."""


class Unread(BaseModel):
    """How many notifications a person has not read."""

    unread: int
    """At most 100, which stands for 100 or more."""
    at_most: int = UNREAD_AT_MOST


class MarkRead(BaseModel):
    """Which notifications are marked as read: these, or all up to one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    notification_ids: Annotated[list[Identifier], Field(min_length=1, max_length=200)] | None = None
    until: Identifier | None = None
    """The newest notification that the person has seen."""

    @model_validator(mode="after")
    def _is_one(self) -> "MarkRead":
        if (self.notification_ids is None) == (self.until is None):
            raise ValueError("give either the ids of notifications or the newest one")
        return self


class PreferenceView(BaseModel):
    """How a person gets one kind of notifications."""

    kind: NotificationKind
    label: str
    """What the kind is about, in the person's language."""
    email: bool
    inbox: bool
    required: bool
    """Whether one of the two has to stay."""


class Preferences(BaseModel):
    kinds: list[PreferenceView]
    email_verified: bool
    """Nothing is mailed to an address that is not verified."""


class DeliveredView(BaseModel):
    """What became of a notification, for the operator: whom it went to, not what it says."""

    notification_id: str
    account_id: str
    event_id: str
    kind: str
    happened_at: datetime
    told_at: datetime
    in_inbox: bool
    mail: MailState
    reason: str | None
    """Why no mail was sent, or the server's answer to one that bounced."""
    mail_at: datetime | None


async def _person(log: Log, actor: Actor) -> OpenedAccount:
    account = await log.state(ACCOUNT, actor.account_id)
    if not isinstance(account, OpenedAccount):
        raise unknown("account")
    return account


@ROUTES.get("/me/notifications", openapi_extra=machines())
async def my_notifications(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    page: Annotated[Page, Depends(INBOX.page)],
    state: Literal["all", "unread"] = "all",
    kind: NotificationKind | None = None,
) -> ListOf[NotificationView]:
    """List the caller's notifications, the newest first."""
    person = await _person(log, actor)
    found = await INBOX.fetch(db, page, actor.account_id, state == "unread", kind or "")
    rows = [Stored(**dict(row)) for row in found.rows]
    texts = await composed(db, log, person, rows)
    return ListOf(items=_views(rows, texts), next=found.next)


def _views(rows: Sequence[Stored], texts: Sequence[Text]) -> list[NotificationView]:
    return [
        NotificationView(
            notification_id=row.notification_id,
            kind=row.kind,
            title=text.title,
            text=text.text,
            happened_at=row.happened_at,
            told_at=row.told_at,
            read=row.read_at is not None,
            contract_id=_id(text.facts.get("contract_id")),
            subscription_id=_id(text.facts.get("subscription_id")),
            rollout_id=_id(text.facts.get("rollout_id")),
            page=text.page or None,
        )
        for row, text in zip(rows, texts, strict=True)
    ]


def _id(fact: JsonValue) -> str | None:
    return fact if isinstance(fact, str) and fact else None


@ROUTES.get("/me/notifications/unread", openapi_extra=machines())
async def unread(actor: CurrentActor, db: Database) -> Unread:
    """Return how many notifications the caller has not read, up to 100."""
    return Unread(unread=await db.fetchval(SQL["unread"], actor.account_id, UNREAD_AT_MOST))


@ROUTES.post("/me/notifications/read", status_code=HTTPStatus.NO_CONTENT)
async def mark_read(form: MarkRead, actor: CurrentActor, db: Database) -> None:
    """Mark some of the caller's notifications as read, or all that were told up to one."""
    if form.notification_ids is not None:
        await db.execute(SQL["read_these"], actor.account_id, form.notification_ids)
    else:
        await db.execute(SQL["read_until"], actor.account_id, form.until)


@ROUTES.get("/me/notification-preferences", openapi_extra=machines())
async def preferences(actor: CurrentActor, log: CurrentLog) -> Preferences:
    """Return how the caller gets each kind of notifications."""
    person = await _person(log, actor)
    words = words_of(person)
    choices = {kind: choice_of(kind, person.notifications) for kind in KINDS}
    kinds = [
        PreferenceView(
            kind=kind,
            label=words.gettext(KINDS[kind].label),
            email=choice.email,
            inbox=choice.inbox,
            required=KINDS[kind].required,
        )
        for kind, choice in choices.items()
    ]
    return Preferences(kinds=kinds, email_verified=person.verified)


@COMMANDS.route("PUT", "/me/notification-preferences", ACCOUNT)
async def set_preferences(
    context: RequestContext[SetNotificationPreferences],
) -> Addressed[SetNotificationPreferences]:
    return Addressed(context.actor.account_id, context.asked)


@ROUTES.get("/notifications")
async def delivered(
    actor: CurrentActor,
    db: Database,
    request: Request,
    page: Annotated[Page, Depends(DELIVERED.page)],
    mail: MailState | None = None,
    kind: NotificationKind | None = None,
    account_id: OptionalIdentifier = "",
    email: Address | None = None,
) -> ListOf[DeliveredView]:
    """List what people were told and what became of the mails: for the operator."""
    if actor.organisation_kind != "operator":
        raise Problem(
            rule=OPERATOR_ONLY,
            reason="Only the operator sees what was mailed to everybody.",
            remedy="Your own notifications are in your inbox (GET /me/notifications).",
        )
    person = await person_of_list(request, account_id or None, email)
    found = await DELIVERED.fetch(db, page, mail, kind or "", person)
    items = [DeliveredView(**{**dict(row), "reason": row["mail_reason"] or None}) for row in found.rows]
    return ListOf(items=items, next=found.next)
