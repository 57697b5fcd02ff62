"""`tenure timers` and `tenure clock`: what is due when, and what time it is for whom."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
import uuid_utils

from cli import doors
from cli.app import Planned, Result, change, group, verb
from cli.context import Context
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import parse_time
from cli.output import Output, count, duration, when
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)

group("clock", "The time of sandbox organisations.")


@verb("timers")
async def list_timers(
    context: Context,
    output: Output,
    service: Annotated[str | None, typer.Option(help="Of this service.")] = None,
    customer: Annotated[str | None, typer.Option(help="About this organisation.")] = None,
    name: Annotated[str | None, typer.Option(help="Of this name.")] = None,
    due: Annotated[bool, typer.Option("--due", help="Only what is due already.")] = False,
    limit: Annotated[int, typer.Option(help="Show at most so many of a service.")] = 50,
) -> Result:
    """List what is to be done when, soonest first."""
    if service is not None and service not in SERVICES:
        raise OperatorError(f"There is no service {service}: they are {', '.join(SERVICES)}.", NOT_FOUND)
    found, looked = [], 0
    for each in SERVICES if service is None else (service,):
        db = await context.db(each)
        looked += await db.fetchval(SQL["count"])
        rows = await db.fetch(SQL["timers"], customer, name, due, limit)
        found += [{"service": each, **dict(row)} for row in rows]
    found.sort(key=lambda timer: timer["due_real"])
    now = datetime.now(UTC)
    output.table(("service", "timer", "key", "due there", "in"), [_row(timer, now) for timer in found])
    output.line(f"{count(len(found), 'timer')} shown; looked at {looked:,}.")
    return Result({"looked_at": looked, "timers": found})


def _row(timer: dict[str, Any], now: datetime) -> tuple[object, ...]:
    away = (timer["due_real"] - now).total_seconds()
    ahead = f" (+{duration(timer['ahead_s'])})" if timer["ahead_s"] else ""
    return (
        timer["service"],
        timer["name"],
        timer["key"],
        when(timer["due"]) + ahead,
        f"due {duration(-away)} ago" if away < 0 else duration(away),
    )


# ── Clocks ─────────────────────────────────────────────────────────────────────────────────────────────


async def _clocks(context: Context) -> dict[str, dict[str, int]]:
    """How far each organisation is ahead, by service."""
    found: dict[str, dict[str, int]] = {}
    for service in SERVICES:
        for row in await (await context.db(service)).fetch(SQL["clocks"]):
            found.setdefault(row["organisation_id"], {})[service] = row["ahead_s"]
    return found


@verb("clock show", fails_when="services do not agree")
async def show_clocks(context: Context, output: Output) -> Result:
    """List the organisations whose clock was moved, and whether all services agree."""
    found, now = await _clocks(context), datetime.now(UTC)
    apart = [name for name, ahead in found.items() if len({ahead.get(service, 0) for service in SERVICES}) > 1]
    rows = [
        (
            name,
            f"+{duration(max(ahead.values()))}",
            when(now + timedelta(seconds=max(ahead.values()))),
            "not in all services yet" if name in apart else "",
        )
        for name, ahead in found.items()
    ]
    output.table(("organisation", ">ahead", "its time", ""), rows)
    output.line(f"Real time is {when(now)}; {count(len(found), 'clock')} moved, looked at {len(SERVICES)} services.")
    return Result({"now": now, "clocks": found, "apart": apart}, ok=not apart)


@change("clock move")
async def move_clock(
    context: Context,
    to: Annotated[
        datetime, typer.Argument(parser=parse_time, metavar="TIME", help="What time it becomes; forward only.")
    ],
) -> Planned:
    """Move the clock of the sandbox organisation of TENURE_TOKEN's member, in all services."""
    secret = doors.token(context, "somebody of the sandbox")
    mine = await doors.ask(context, "identity", "/me/clock", secret)
    organisation, body = mine["organisation_id"], {"to": to.isoformat()}
    key = str(uuid_utils.uuid7())
    await doors.call(context, "identity", "POST", "/clock", key, secret, body, dry_run=True)
    skipped = (to - datetime.fromisoformat(mine["now"])).total_seconds()
    due = await _due(context, organisation, to)
    says = [
        f"It is {when(datetime.fromisoformat(mine['now']))} for {organisation}; it would be {when(to)}, "
        f"{duration(skipped)} later, in every service, for good.",
        f"{count(due, 'timer')} of its would be due at once.",
    ]

    async def apply(operation: Operation) -> Outcome:
        answer = await doors.call(context, "identity", "POST", "/clock", key, secret, body)
        operation.counter()
        lacking = answer["waiting_for"]
        says = [f"Not every service has the new time yet: {', '.join(lacking)}. See `tenure clock show`."]
        return Outcome(not lacking, says if lacking else ["Every service has the new time."], {"answer": answer})

    return ChangePlan(
        service="identity",
        arguments=[f"organisation={organisation}", f"to={to.isoformat()}"],
        total=1,
        thing="clock",
        says=says,
        data={"organisation": organisation, "to": to, "timers_due": due},
        apply=apply,
    )


async def _due(context: Context, organisation: str, to: datetime) -> int:
    dbs = [await context.db(service) for service in SERVICES]
    return sum([await db.fetchval(SQL["count_due"], organisation, to) for db in dbs])
