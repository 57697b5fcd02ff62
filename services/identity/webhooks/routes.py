"""Webhooks: registration, listing, rotation of secrets, pause, replay and removal."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.identity.domain import rules
from services.identity.domain.account import ACCOUNT
from services.identity.domain.machine import MACHINE, Registered
from services.identity.domain.webhook import (
    WEBHOOK,
    Ended,
    PauseWebhook,
    Reader,
    RegisterWebhook,
    RemoveWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateWebhookSecret,
    Running,
)
from services.identity.projections import webhooks_of
from services.identity.signin.machines import administers_people, visible_machine
from services.identity.webhooks import store
from services.identity.webhooks.addresses import LONGEST, NotAllowed, networks_of, target_of
from services.identity.webhooks.signature import new_secret
from services.identity.webhooks.store import Standing
from shared.eventlog.write.log import Accepted, Log
from shared.eventlog.write.reader import Reader as Streams
from shared.events import WebhookParked, WebhookRegistered
from shared.events.fields import Code, Identifier, LogPosition, Name
from shared.events.registry import topic_of
from shared.runtime.auth import Actor
from shared.runtime.database import Pool
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.lists import By, Listing, ListOf, Page, Search
from shared.runtime.live.event_types import required_types
from shared.runtime.live.positions import require_position
from shared.runtime.problems import Problem, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.scopes import machines as for_machines
from shared.runtime.versions import shown_by_log
from shared.services import SERVICES

COMMANDS: Final = CommandRoutes()
WEBHOOK_QUERIES: Final = APIRouter(route_class=ListRoute)

TOPICS: Final = tuple(topic_of(service) for service in SERVICES)
EXAMPLE: Final = "https://receiver.example.org/tenure"
WebhookState: TypeAlias = Literal["running", "paused", "parked", "ended"]


class NewWebhook(BaseModel):
    """Send the events of a topic to an address, as far as the caller may see them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[Name, Field(json_schema_extra={"example": "Dashboard"})]
    address: Annotated[str, Field(pattern=r"^[!-\[\]-~]+$", max_length=LONGEST, json_schema_extra={"example": EXAMPLE})]
    """An address of the Internet, by https."""
    topic: Annotated[Identifier, Field(json_schema_extra={"example": topic_of("entitlements")})]
    types: Annotated[tuple[Code, ...], Field(max_length=50, json_schema_extra={"example": ["SeatAssigned"]})] = ()
    """The types of events to send; all without any."""
    streams: Annotated[tuple[Identifier, ...], Field(max_length=50, json_schema_extra={"example": []})] = ()
    """The streams whose events to send; all without any."""
    client_id: Identifier | None = None
    """A machine account with the scope `read`, whose events are sent and with which the webhook ends."""
    after: LogPosition | None = None
    """The position after which to begin; without one, with the next event."""


class WebhookSecret(BaseModel):
    """The additional fields of the response, sent once; a lost secret has to be rotated."""

    webhook_id: str
    secret: str
    """As libraries of Standard Webhooks take it."""


class WebhookView(BaseModel):
    webhook_id: str
    name: str
    address: str
    topic: str
    types: list[str]
    streams: list[str]
    organisation_id: str
    registered_by: str
    client_id: str | None
    registered_at: datetime
    state: WebhookState
    reason: str | None
    """Why it is parked or has ended."""
    rotations: int
    previous_until: datetime | None
    """Until when events are signed with the previous secret, too."""
    position: int | None
    """Up to here all events were looked through."""
    waiting: int
    """How many events wait to be accepted."""
    first_waiting: int | None
    """The position of the first of them."""
    failing_since: datetime | None
    paused_until: datetime | None
    """When the address is tried again, if it could not be reached or asked for a pause."""
    last_answer: str | None
    answered_at: datetime | None
    delivered_at: datetime | None
    """When it accepted an event for the last time."""


@COMMANDS.route("POST", "/webhooks", WEBHOOK, extra_response=WebhookSecret, location="/webhooks/{webhook_id}")
async def register_webhook(context: RequestContext[NewWebhook]) -> Addressed[RegisterWebhook]:
    """Complete the command that registers a webhook.

    The webhook's id is derived from the command id, so that a repeated request registers the same one.
    """
    form, actor = context.asked, context.actor
    types = _require_events(form)
    try:
        target_of(form.address, networks_of(context.parts.settings.webhook_networks))
    except NotAllowed as reason:
        raise Problem(
            rule=rules.WEBHOOK_ADDRESS,
            reason=str(reason),
            remedy="Name an address such as https://receiver.example/tenure.",
        ) from None
    if form.after is not None:
        await require_position(context.parts.topic_heads, form.topic, form.after)
    if form.client_id is not None:
        await visible_machine(context.streams, actor, form.client_id)
    webhook_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"webhook:{context.command_id}"))
    registered = WebhookRegistered(
        webhook_id=webhook_id,
        organisation_id=actor.organisation_id,
        account_id=actor.account_id,
        client_id=form.client_id or "",
        name=form.name,
        address=form.address,
        topic=form.topic,
        types=tuple(sorted(types)),
        streams=tuple(sorted(set(form.streams))),
        after=form.after,
        registered_at=context.parts.clocks.real(),
    )
    own = await webhooks_of(context.db, actor.organisation_id, actor.account_id)
    states = [await context.state(WEBHOOK, each) for each in own]
    command = RegisterWebhook(
        registered=registered,
        others=sum(isinstance(state, Running) for state in states),
        reader=await reader_of(context.streams, registered),
    )

    async def secret(_answer: Accepted) -> WebhookSecret | None:
        return await _new_secret(context.db, webhook_id, 0, actor.account_id)

    return Addressed(webhook_id, command, extra_response=secret)


def _require_events(form: NewWebhook) -> frozenset[str]:
    """Return the names of the event types.

    Raises:
        Problem: 409 if there is no such topic, 422 if it has no such events.
    """
    if form.topic not in TOPICS:
        raise Problem(
            rule=rules.WEBHOOK_EVENTS,
            reason=f"There is no topic {form.topic}.",
            remedy=f"The topics are {', '.join(TOPICS)}.",
        )
    return required_types(form.topic, form.types)


async def reader_of(streams: Log | Streams, webhook: WebhookRegistered) -> Reader:
    """Return whose events a webhook is sent, as they are now."""
    account = await streams.state(ACCOUNT, webhook.account_id)
    if not webhook.client_id:
        return Reader(account=account)
    machine = await streams.state(MACHINE, webhook.client_id)
    acts_for = machine.registered.acts_for if isinstance(machine, Registered) else ""
    if not acts_for:
        return Reader(account=account, machine=machine)
    acting = await streams.state(ACCOUNT, acts_for)
    return Reader(account=account, machine=machine, acts_for=acting)


async def _new_secret(db: Pool, webhook_id: str, rotation: int, account_id: str) -> WebhookSecret | None:
    """Create a secret and store it; return None if this rotation has one already."""
    secret = new_secret()
    if not await store.add_secret(db, webhook_id, rotation, secret, account_id):
        return None
    return WebhookSecret(webhook_id=webhook_id, secret=secret)


async def _visible_webhook(streams: Log | Streams, actor: Actor, webhook_id: str) -> Running | Ended:
    """Return the webhook.

    Raises:
        Problem: 404 unless the caller registered it, administers its organisation's people, or is the operator.
    """
    state = await streams.state(WEBHOOK, webhook_id)
    if isinstance(state, Running | Ended):
        made = state.registered
        own = actor.account_id == made.account_id or actor.organisation_kind == "operator"
        if own or (made.organisation_id == actor.organisation_id and await administers_people(streams, actor)):
            return state
    raise unknown("webhook", "See GET /webhooks.")


@COMMANDS.route("POST", "/webhooks/{webhook_id}/secret", WEBHOOK, extra_response=WebhookSecret)
async def rotate_webhook_secret(
    context: RequestContext[RotateWebhookSecret], webhook_id: str
) -> Addressed[RotateWebhookSecret]:
    visible = await _visible_webhook(context.streams, context.actor, webhook_id)
    command = replace(context.asked, now=context.parts.clocks.real(), rotated_by=context.actor.account_id)

    async def secret(_answer: Accepted) -> WebhookSecret | None:
        state = await context.log.state(WEBHOOK, webhook_id)
        if not isinstance(state, Running):
            return None
        return await _new_secret(context.db, webhook_id, state.rotation, visible.registered.account_id)

    return Addressed(webhook_id, command, extra_response=secret)


@COMMANDS.route("POST", "/webhooks/{webhook_id}/pause", WEBHOOK)
async def pause_webhook(context: RequestContext[PauseWebhook], webhook_id: str) -> Addressed[PauseWebhook]:
    await _visible_webhook(context.streams, context.actor, webhook_id)
    return Addressed(webhook_id, PauseWebhook(paused_by=context.actor.account_id))


@COMMANDS.route("POST", "/webhooks/{webhook_id}/resume", WEBHOOK)
async def resume_webhook(context: RequestContext[ResumeWebhook], webhook_id: str) -> Addressed[ResumeWebhook]:
    await _visible_webhook(context.streams, context.actor, webhook_id)
    return Addressed(webhook_id, ResumeWebhook(resumed_by=context.actor.account_id))


@COMMANDS.route("POST", "/webhooks/{webhook_id}/replay", WEBHOOK)
async def replay_webhook(context: RequestContext[ReplayWebhook], webhook_id: str) -> Addressed[ReplayWebhook]:
    webhook = await _visible_webhook(context.streams, context.actor, webhook_id)
    if isinstance(webhook, Running):
        await require_position(context.parts.topic_heads, webhook.registered.topic, context.asked.after)
    return Addressed(webhook_id, replace(context.asked, replayed_by=context.actor.account_id))


@COMMANDS.route("DELETE", "/webhooks/{webhook_id}", WEBHOOK)
async def remove_webhook(context: RequestContext[RemoveWebhook], webhook_id: str) -> Addressed[RemoveWebhook]:
    await _visible_webhook(context.streams, context.actor, webhook_id)
    return Addressed(webhook_id, RemoveWebhook(removed_by=context.actor.account_id))


# ── Queries ────────────────────────────────────────────────────────────────────────────────────────────

WEBHOOKS: Final = Listing(
    key="webhook_id",
    sorts={"webhook_id": By(), "name": By(), "topic": By(), "state": By()},
    order="webhook_id",
)


@WEBHOOK_QUERIES.get("/webhooks", openapi_extra=for_machines())
async def webhooks(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    page: Annotated[Page, Depends(WEBHOOKS.page)],
    topic: Identifier | None = None,
    state: WebhookState | None = None,
    q: Search = "",
) -> ListOf[WebhookView]:
    """List the webhooks of the caller's organisation, by any part of their names.

    The operator lists those of all organisations.

    People who don't administer it only see their own.
    """
    operator = actor.organisation_kind == "operator"
    mine = "" if operator or await administers_people(log, actor) else actor.account_id
    ids = await webhooks_of(db, "" if operator else actor.organisation_id, mine)
    views = await _views(log, db, ids)
    found = [
        view
        for view in views
        if topic in (None, view.topic) and state in (None, view.state) and q.casefold() in view.name.casefold()
    ]
    return WEBHOOKS.select(page, found)


@WEBHOOK_QUERIES.get(
    "/webhooks/{webhook_id}", openapi_extra=for_machines(), dependencies=[shown_by_log(WEBHOOK, "{webhook_id}")]
)
async def webhook(webhook_id: Identifier, actor: CurrentActor, db: Database, log: CurrentLog) -> WebhookView:
    """Return one webhook, and what became of its events."""
    await _visible_webhook(log, actor, webhook_id)
    (view,) = await _views(log, db, [webhook_id])
    return view


async def _views(log: Log, db: Pool, ids: Sequence[str]) -> list[WebhookView]:
    states = await asyncio.gather(*(log.state(WEBHOOK, webhook_id) for webhook_id in ids))
    standing = await store.standing(db, ids)
    known = [state for state in states if isinstance(state, Running | Ended)]
    return [_view(state, standing.get(state.registered.webhook_id)) for state in known]


def _view(webhook: Running | Ended, standing: Standing | None) -> WebhookView:
    made = webhook.registered
    running = webhook if isinstance(webhook, Running) else None
    state, reason = state_of(webhook)
    return WebhookView(
        webhook_id=made.webhook_id,
        name=made.name,
        address=made.address,
        topic=made.topic,
        types=list(made.types),
        streams=list(made.streams),
        organisation_id=made.organisation_id,
        registered_by=made.account_id,
        client_id=made.client_id or None,
        registered_at=made.registered_at,
        state=state,
        reason=reason,
        rotations=0 if running is None else running.rotation,
        previous_until=None if running is None else running.previous_until,
        position=None if standing is None else standing.position,
        waiting=0 if standing is None else standing.waiting,
        first_waiting=None if standing is None else standing.first_waiting,
        failing_since=None if standing is None else standing.failing_since,
        paused_until=None if standing is None else standing.paused_until,
        last_answer=None if standing is None else standing.last_answer or None,
        answered_at=None if standing is None else standing.answered_at,
        delivered_at=None if standing is None else standing.delivered_at,
    )


def state_of(webhook: Running | Ended) -> tuple[WebhookState, str | None]:
    """Return what a webhook does, and why it is parked or has ended."""
    if isinstance(webhook, Ended):
        return "ended", webhook.ended.reason
    if isinstance(webhook.stopped, WebhookParked):
        return "parked", webhook.stopped.reason
    return ("running" if webhook.stopped is None else "paused"), None
