"""`tenure mail`: what identity's outbox holds; sent again, or given up."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from cli.app import APP, ByWhom, Json, Reason, Yes, run
from cli.change import Change, Go, Outcome, carry_out
from cli.context import Context
from cli.exit_codes import DONE, NOT_FOUND, USAGE, OperatorError
from cli.output import Counter, Output, count, when
from services.identity.outbox import SQL

MAIL: Final = typer.Typer(no_args_is_help=True, help="Mails that identity sends.")
APP.add_typer(MAIL, name="mail")

STATES: Final = ("waiting", "sent", "parked", "dropped")
SHOWN_AT_MOST: Final = 200
Ids = Annotated[list[int] | None, typer.Argument(help="Mails, by their numbers.")]


async def _list(context: Context, state: str | None = None, ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
    rows = await (await context.db("identity")).fetch(SQL["list"], state, ids, SHOWN_AT_MOST)
    return [dict(row) for row in rows]


@MAIL.command("ls")
def ls(
    state: Annotated[str | None, typer.Option(help=f"Of this state: {', '.join(STATES)}.")] = None, json: Json = False
) -> None:
    """The outbox, oldest first. Addresses are not in it: they are found when a mail is sent."""

    async def work(context: Context, output: Output) -> int:
        if state not in (None, *STATES):
            raise OperatorError(f"There is no state {state}: they are {', '.join(STATES)}.", USAGE)
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
        output.line(f"{count(len(found), 'mail')} shown; {figures['waiting']:,} wait, {figures['parked']:,} parked.")
        output.result({"mails": found, **figures})
        return DONE

    run(json, work)


@MAIL.command("retry")
def retry(
    ids: Ids = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that are parked.")] = False,
    yes: Yes = False,
    reason: Reason = "",
    actor: ByWhom = "",
    json: Json = False,
) -> None:
    """Sends mails that are parked or were dropped, from their first try. What it was about may have changed: then none
    is sent."""

    async def work(context: Context, output: Output) -> int:
        if not ids and not parked:
            raise OperatorError("Say which: numbers, or --parked.", USAGE)
        found = [each for each in await _chosen(context, ids, "parked") if each["state"] in ("parked", "dropped")]
        return await _change(
            context, output, "mail retry", "would be tried again", found, Go(yes, reason, actor), "waiting"
        )

    run(json, work)


@MAIL.command("drop")
def drop(ids: Ids = None, yes: Yes = False, reason: Reason = "", actor: ByWhom = "", json: Json = False) -> None:
    """Gives up mails that wait or are parked: they are never sent."""

    async def work(context: Context, output: Output) -> int:
        if not ids:
            raise OperatorError("Say which, by their numbers.", USAGE)
        found = [each for each in await _chosen(context, ids, "parked") if each["state"] in ("waiting", "parked")]
        return await _change(
            context, output, "mail drop", "would never be sent", found, Go(yes, reason, actor), "dropped"
        )

    run(json, work)


async def _chosen(context: Context, ids: Sequence[int] | None, state: str) -> list[dict[str, Any]]:
    found = await _list(context, None if ids else state, ids or None)
    if missing := set(ids or ()) - {each["id"] for each in found}:
        raise OperatorError(f"There is no mail {sorted(missing)[0]}: `tenure mail ls` lists them.", NOT_FOUND)
    return found


async def _change(
    context: Context, output: Output, verb: str, what: str, found: Sequence[dict[str, Any]], go: Go, becomes: str
) -> int:
    """The whole way of a verb that puts these mails into another state."""
    ids = [each["id"] for each in found]
    says = [f"Mail {each['id']} ({each['kind']}, {each['state']}: {each['reason'][:200]}) {what}." for each in found]
    change = Change(verb, "identity", [f"mail={number}" for number in ids[:50]], len(ids), "mail", says, {"mails": ids})

    async def do(operation: str, counter: Counter) -> Outcome:
        db = await context.db("identity", write=True)
        arguments: tuple[Any, ...] = (ids,) if becomes == "waiting" else (ids, f"given up by the operator: {operation}")
        changed = await db.fetch(SQL["retry" if becomes == "waiting" else "drop"], *arguments)
        counter(len(changed))
        left = [each for each in await _list(context, None, ids) if each["state"] != becomes]
        sent = [each for each in left if each["state"] == "sent"]
        says = [f"Looked again: {count(len(ids) - len(left) + len(sent), 'mail')} {becomes} or sent."]
        return Outcome(len(left) == len(sent), says, {"changed": [row["id"] for row in changed]})

    return await carry_out(context, output, change, go, do)
