"""`tenure webhook`: webhooks, what became of their events, and pause, resume and replay."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

import typer

from cli.app import Planned, Result, change, group, verb
from cli.context import Context
from cli.event_search import head
from cli.exit_codes import NOT_FOUND, REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Output, when
from cli.sentences import Count, Sentence, say
from services.identity.domain.invitation import OPERATOR
from services.identity.domain.webhook import (
    WEBHOOK,
    Command,
    Ended,
    PauseWebhook,
    ReplayWebhook,
    ResumeWebhook,
    Running,
)
from services.identity.projections import webhooks_of
from services.identity.webhooks import store
from services.identity.webhooks.routes import state_of
from services.identity.webhooks.store import Standing
from shared.eventlog.write.log import Meta, Refused, utc_now
from shared.events.registry import service_of

group("webhook", "Webhooks: list, show, pause, resume, replay.")

STATES: Final = {
    "running": say("running"),
    "paused": say("paused"),
    "parked": say("parked"),
    "ended": say("ended"),
}
_DONE_OR_NOT: Final = "The webhook is changed, or it is as it was."
Id: TypeAlias = Annotated[str, typer.Argument(help="The webhook's id, as `tenure webhook ls` shows it.")]


async def _one(context: Context, webhook_id: str) -> Running | Ended:
    state = await (await context.log("identity")).state(WEBHOOK, webhook_id)
    if not isinstance(state, Running | Ended):
        raise OperatorError(f"There is no webhook {webhook_id}; `tenure webhook ls` lists the webhooks.", NOT_FOUND)
    return state


def _data(webhook: Running | Ended, standing: Standing | None) -> dict[str, Any]:
    """Return what is shown of a webhook: not its address, which is personal."""
    made, (state, reason) = webhook.registered, state_of(webhook)
    return {
        "webhook_id": made.webhook_id,
        "name": made.name,
        "organisation_id": made.organisation_id,
        "account_id": made.account_id,
        "client_id": made.client_id or None,
        "topic": made.topic,
        "types": list(made.types),
        "streams": list(made.streams),
        "registered_at": made.registered_at,
        "state": state,
        "reason": reason,
        "position": None if standing is None else standing.position,
        "waiting": 0 if standing is None else standing.waiting,
        "first_waiting": None if standing is None else standing.first_waiting,
        "failing_since": None if standing is None else standing.failing_since,
        "paused_until": None if standing is None else standing.paused_until,
        "last_answer": "" if standing is None else standing.last_answer,
        "answered_at": None if standing is None else standing.answered_at,
        "delivered_at": None if standing is None else standing.delivered_at,
    }


@verb("webhook ls")
async def list_webhooks(
    context: Context,
    output: Output,
    state: Annotated[str | None, typer.Option(help=f"Only of this state: {', '.join(STATES)}.")] = None,
) -> Result:
    """List webhooks, with the number of events that wait for each."""
    if state not in (None, *STATES):
        raise OperatorError(f"There is no state {state}; the states are {', '.join(STATES)}.", USAGE)
    db = await context.db("identity")
    ids = await webhooks_of(db)
    standing = await store.standing(db, ids)
    listed = [_data(await _one(context, each), standing.get(each)) for each in ids]
    found = [each for each in listed if state in (None, each["state"])]
    output.table(
        ("webhook", "name", "topic", "state", ">waiting", "failing since", "last answer"),
        [
            (
                each["webhook_id"],
                each["name"],
                each["topic"],
                each["state"],
                each["waiting"],
                when(each["failing_since"]) if each["failing_since"] else "",
                each["last_answer"][:60],
            )
            for each in found
        ],
    )
    waiting = sum(each["waiting"] for each in listed)
    output.line(
        say(
            "%(webhooks)s shown, of %(all)s; %(events)s waiting.",
            webhooks=Count(len(found), "webhook"),
            all=len(listed),
            events=Count(waiting, "event"),
        )
    )
    return Result({"webhooks": found, "waiting": waiting})


@verb("webhook show")
async def show_webhook(context: Context, output: Output, webhook: Id) -> Result:
    """Show a webhook and what became of its events.

    Its address is shown to its person only."""
    found = await _one(context, webhook)
    standing = await store.standing(await context.db("identity"), [webhook])
    data = _data(found, standing.get(webhook))
    output.table(("field", "value"), [(name, _text(value)) for name, value in data.items()])
    return Result(data)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


@change("webhook pause", if_cancelled=_DONE_OR_NOT)
async def pause_webhook(context: Context, webhook: Id) -> Planned:
    """Send nothing to a webhook until it is resumed."""
    return await _plan(context, webhook, PauseWebhook(paused_by=OPERATOR), say("would be sent nothing more for now"))


@change("webhook resume", if_cancelled=_DONE_OR_NOT)
async def resume_webhook(context: Context, webhook: Id) -> Planned:
    """Go on with the event that a paused or parked webhook stopped at."""
    return await _plan(context, webhook, ResumeWebhook(resumed_by=OPERATOR), say("would go on where it stopped"))


@change("webhook replay", if_cancelled=_DONE_OR_NOT)
async def replay_webhook(
    context: Context,
    webhook: Id,
    position: Annotated[
        int, typer.Option("--from", min=1, metavar="POSITION", help="The first event to send, sent before or not.")
    ],
) -> Planned:
    """Send a webhook its events from a position on, sent before or not.

    A paused or parked webhook goes on."""
    topic = (await _one(context, webhook)).registered.topic
    newest = await head(await context.db(service_of(topic)))
    if position > newest + 1:
        raise OperatorError(f"The newest event of {topic} has position {newest:,}.", REFUSED)
    command = ReplayWebhook(after=position - 1, replayed_by=OPERATOR)
    effect = say("would be sent its events from position %(position)s on", position=position)
    return await _plan(context, webhook, command, effect)


async def _plan(context: Context, webhook_id: str, command: Command, effect: Sentence) -> ChangePlan:
    """Return the plan to give a webhook a command."""
    found = await _one(context, webhook_id)
    before, reason = state_of(found)
    if isinstance(found, Ended):
        raise OperatorError(f"Webhook {webhook_id} has ended for good ({reason}).", REFUSED)
    changes = bool(WEBHOOK.decide(command, found))

    async def apply(operation: Operation) -> Outcome:
        log = await context.log("identity")
        answer = await log.execute(WEBHOOK, webhook_id, command, Meta(operation.id, OPERATOR, utc_now()))
        if isinstance(answer, Refused):
            raise OperatorError(f"{answer.reason} {answer.remedy}", REFUSED)
        operation.counter(1)
        state, _ = state_of(await _one(context, webhook_id))
        data: Mapping[str, object] = {"state": state}
        result = say("Checked: webhook %(webhook)s is %(state)s.", webhook=webhook_id, state=STATES[state])
        return Outcome(bool(answer.events), [result], data)

    said = STATES[before] if reason is None else say("%(so)s: %(why)s", so=STATES[before], why=reason)
    summary = say(
        "Webhook %(webhook)s (%(name)s, %(state)s) %(effect)s.",
        webhook=webhook_id,
        name=found.registered.name,
        state=said,
        effect=effect,
    )
    return ChangePlan(
        service="identity",
        arguments=[f"webhook={webhook_id}", f"command={type(command).__name__}"],
        total=int(changes),
        thing="webhook",
        summary=[summary] if changes else [],
        data={"webhook": webhook_id},
        apply=apply,
    )
