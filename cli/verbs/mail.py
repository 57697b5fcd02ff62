"""`tenure mail`: what identity's outbox holds; sent again, or given up."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from cli.app import Planned, Result, change, group, verb
from cli.context import Context
from cli.exit_codes import NOT_FOUND, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.output import Output, count, when
from services.identity.mail.outbox import SQL

group("mail", "Mails that identity sends.")

STATES: Final = ("waiting", "sent", "parked", "dropped")
SHOWN_AT_MOST: Final = 200
Ids = Annotated[list[int] | None, typer.Argument(help="Mails, by their numbers.")]


async def _list(context: Context, state: str | None = None, ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
    rows = await (await context.db("identity")).fetch(SQL["list"], state, ids, SHOWN_AT_MOST)
    return [dict(row) for row in rows]


@verb("mail ls")
async def list_mails(
    context: Context,
    output: Output,
    state: Annotated[str | None, typer.Option(help=f"Of this state: {', '.join(STATES)}.")] = None,
) -> Result:
    """List the outbox, oldest first.

    Addresses are not in it: they are found when a mail is sent."""
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
    return Result({"mails": found, **figures})


@change("mail retry")
async def retry_mails(
    context: Context,
    ids: Ids = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that are parked.")] = False,
) -> Planned:
    """Send mails that are parked or were dropped, from their first try.

    What a mail was about may have changed: then none is sent."""
    if not ids and not parked:
        raise OperatorError("Say which: numbers, or --parked.", USAGE)
    found = [each for each in await _chosen(context, ids, "parked") if each["state"] in ("parked", "dropped")]
    return _plan(context, found, "would be tried again", becomes="waiting")


@change("mail drop")
async def drop_mails(context: Context, ids: Ids = None) -> Planned:
    """Give up mails that wait or are parked: they are never sent."""
    if not ids:
        raise OperatorError("Say which, by their numbers.", USAGE)
    found = [each for each in await _chosen(context, ids, "parked") if each["state"] in ("waiting", "parked")]
    return _plan(context, found, "would never be sent", becomes="dropped")


async def _chosen(context: Context, ids: Sequence[int] | None, state: str) -> list[dict[str, Any]]:
    found = await _list(context, None if ids else state, ids or None)
    if missing := set(ids or ()) - {each["id"] for each in found}:
        raise OperatorError(f"There is no mail {sorted(missing)[0]}: `tenure mail ls` lists them.", NOT_FOUND)
    return found


def _plan(context: Context, found: Sequence[dict[str, Any]], what: str, *, becomes: str) -> ChangePlan:
    """Plan to put these mails into another state."""
    ids = [each["id"] for each in found]
    says = [f"Mail {each['id']} ({each['kind']}, {each['state']}: {each['reason'][:200]}) {what}." for each in found]

    async def apply(operation: Operation) -> Outcome:
        db = await context.db("identity", write=True)
        arguments: tuple[Any, ...] = (
            (ids,) if becomes == "waiting" else (ids, f"given up by the operator: {operation.id}")
        )
        changed = await db.fetch(SQL["retry" if becomes == "waiting" else "drop"], *arguments)
        operation.counter(len(changed))
        left = [each for each in await _list(context, None, ids) if each["state"] != becomes]
        sent = [each for each in left if each["state"] == "sent"]
        says = [f"Looked again: {count(len(ids) - len(left) + len(sent), 'mail')} {becomes} or sent."]
        return Outcome(len(left) == len(sent), says, {"changed": [row["id"] for row in changed]})

    return ChangePlan(
        service="identity",
        arguments=[f"mail={number}" for number in ids[:50]],
        total=len(ids),
        thing="mail",
        says=says,
        data={"mails": ids},
        apply=apply,
    )
