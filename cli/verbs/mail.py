"""`tenure mail`: identity's outbox, with retry and drop, and what became of notifications."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, get_args

import typer

from cli.app import Planned, Result, change, group, verb
from cli.context import Context
from cli.exit_codes import NOT_FOUND, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Output, when
from cli.sentences import Count, Sentence, in_a_row, say
from services.identity.mail.outbox import SQL
from services.identity.notifications import store
from services.identity.notifications.store import MailState

group("mail", "Identity's outbox of mails: list, retry, drop.")

STATES: Final = ("waiting", "sent", "parked", "dropped")
STATE: Final = {
    "waiting": say("waiting"),
    "sent": say("sent"),
    "parked": say("parked"),
    "dropped": say("dropped"),
}
SHOWN_AT_MOST: Final = 200
_ALL_OR_NONE: Final = "All of these mails are changed, or none."
Ids = Annotated[list[int] | None, typer.Argument(help="Numbers of mails, as `tenure mail ls` shows them.")]


async def _list(context: Context, state: str | None = None, ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
    rows = await (await context.db("identity")).fetch(SQL["list"], state, ids, SHOWN_AT_MOST)
    return [dict(row) for row in rows]


@verb("mail ls")
async def list_mails(
    context: Context,
    output: Output,
    state: Annotated[str | None, typer.Option(help=f"Only of this state: {', '.join(STATES)}.")] = None,
) -> Result:
    """List the mails of the outbox, oldest first.

    It holds no addresses: they are looked up when a mail is sent."""
    if state not in (None, *STATES):
        raise OperatorError(f"There is no state {state}; the states are {', '.join(STATES)}.", USAGE)
    figures = dict(await (await context.db("identity")).fetchrow(SQL["figures"]))
    found = await _list(context, state)
    output.table(
        ("mail", "kind", "about", "state", ">tries", "since", "why"),
        [
            (
                each["id"],
                each["kind"],
                each["about"] or "(an address)",
                each["state"],
                each["tries"],
                when(each["created_at"]),
                each["reason"][:100],
            )
            for each in found
        ],
    )
    output.line(
        say(
            "%(mails)s shown; %(waiting)s waiting, %(parked)s parked.",
            mails=Count(len(found), "mail"),
            waiting=figures["waiting"],
            parked=figures["parked"],
        )
    )
    return Result({"mails": found, **figures})


@verb("mail notifications")
async def list_notifications(
    context: Context,
    output: Output,
    state: Annotated[str | None, typer.Option(help=f"Only of this state: {', '.join(get_args(MailState))}.")] = None,
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
) -> Result:
    """List the last notifications, and what became of their mails.

    Whom each went to, not what it says: texts are composed when they are read."""
    states = get_args(MailState)
    if state not in (None, *states):
        raise OperatorError(f"There is no state {state}; the states are {', '.join(states)}.", USAGE)
    db = await context.db("identity")
    figures = {row["mail"]: row["number"] for row in await db.fetch(store.SQL["delivered_figures"])}
    found = [dict(row) for row in await db.fetch(store.SQL["delivered_last"], state, account, SHOWN_AT_MOST)]
    output.table(
        ("kind", "account", "event", "since", "inbox", "mail", "why"),
        [
            (
                each["kind"],
                each["account_id"],
                each["event_id"],
                when(each["told_at"]),
                "yes" if each["in_inbox"] else "no",
                each["mail"],
                each["mail_reason"][:100],
            )
            for each in found
        ],
    )
    counted = [_delivered(name, figures[name]) for name in states if name in figures]
    figured = in_a_row(counted) if counted else say("there are none")
    output.line(say("%(those)s shown; %(figures)s.", those=Count(len(found), "notification"), figures=figured))
    return Result({"notifications": found, "figures": figures})


def _delivered(state: MailState, number: int) -> Sentence:
    match state:
        case "off":
            return say("%(number)s without a mail, as the person chose", number=number)
        case "waiting":
            return say("%(number)s waiting", number=number)
        case "sent":
            return say("%(number)s sent", number=number)
        case "bounced":
            return say("%(number)s bounced", number=number)
        case "suppressed":
            return say("%(number)s suppressed", number=number)


@change("mail retry", if_cancelled=_ALL_OR_NONE)
async def retry_mails(
    context: Context,
    ids: Ids = None,
    parked: Annotated[bool, typer.Option("--parked", help="All parked mails.")] = False,
) -> Planned:
    """Send parked or dropped mails again, with a new count of attempts.

    A mail whose occasion no longer exists is not sent."""
    if not ids and not parked:
        raise OperatorError("Say which mails: their numbers, or --parked.", USAGE)
    found = [each for each in await _chosen(context, ids, "parked") if each["state"] in ("parked", "dropped")]
    return _plan(context, found, say("would be sent again"), becomes="waiting")


@change("mail drop", if_cancelled=_ALL_OR_NONE)
async def drop_mails(context: Context, ids: Ids = None) -> Planned:
    """Give up waiting or parked mails: they are never sent."""
    if not ids:
        raise OperatorError("Say which mails, by their numbers.", USAGE)
    found = [each for each in await _chosen(context, ids, "parked") if each["state"] in ("waiting", "parked")]
    return _plan(context, found, say("would never be sent"), becomes="dropped")


async def _chosen(context: Context, ids: Sequence[int] | None, state: str) -> list[dict[str, Any]]:
    found = await _list(context, None if ids else state, ids or None)
    if missing := set(ids or ()) - {each["id"] for each in found}:
        raise OperatorError(f"There is no mail {sorted(missing)[0]}; `tenure mail ls` lists the mails.", NOT_FOUND)
    return found


def _plan(context: Context, found: Sequence[dict[str, Any]], effect: Sentence, *, becomes: str) -> ChangePlan:
    """Return the plan to change the state of these mails."""
    ids = [each["id"] for each in found]
    summary = [
        say(
            "Mail %(number)s (%(kind)s, %(state)s: %(reason)s) %(effect)s.",
            number=str(each["id"]),
            kind=each["kind"],
            state=STATE[each["state"]],
            reason=each["reason"][:200],
            effect=effect,
        )
        for each in found
    ]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db("identity", write=True)
        arguments: tuple[Any, ...] = (
            (ids,) if becomes == "waiting" else (ids, f"given up by the operator: {operation.id}")
        )
        changed = await db.fetch(SQL["retry" if becomes == "waiting" else "drop"], *arguments)
        operation.counter(len(changed))
        left = [each for each in await _list(context, None, ids) if each["state"] != becomes]
        sent = [each for each in left if each["state"] == "sent"]
        mails = Count(len(ids) - len(left) + len(sent), "mail")
        result = (
            say("Checked: %(mails)s waiting or sent.", mails=mails)
            if becomes == "waiting"
            else say("Checked: %(mails)s dropped or sent.", mails=mails)
        )
        return Outcome(len(left) == len(sent), [result], {"changed": [row["id"] for row in changed]})

    return ChangePlan(
        service="identity",
        arguments=[f"mail={number}" for number in ids[:50]],
        total=len(ids),
        thing="mail",
        summary=summary,
        data={"mails": ids},
        apply=apply,
    )
