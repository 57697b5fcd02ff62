"""`tenure timers` and `tenure clock`: timers, and the clocks of sandbox organisations."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
import uuid_utils

from cli import doors
from cli.app import Planned, Result, change, group, verb
from cli.context import Context, services_named
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import parse_time
from cli.output import Output, duration, when
from cli.sentences import Count, say
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)

group("clock", "Clocks of sandbox organisations: show, move.")


@verb("timers")
async def list_timers(
    context: Context,
    output: Output,
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only of this organisation.")] = None,
    name: Annotated[str | None, typer.Option(help="Only timers with this name.")] = None,
    due: Annotated[bool, typer.Option("--due", help="Only timers that are due.")] = False,
    limit: Annotated[int, typer.Option(help="Show at most N timers of each service.", metavar="N")] = 50,
) -> Result:
    """List timers, soonest first."""
    found, total = [], 0
    for each in services_named(service):
        db = await context.db(each)
        total += await db.fetchval(SQL["count"])
        rows = await db.fetch(SQL["timers"], customer, name, due, limit)
        found += [{"service": each, **dict(row)} for row in rows]
    found.sort(key=lambda timer: timer["due_real"])
    now = datetime.now(UTC)
    output.table(("service", "timer", "key", "due", "in"), [_row(timer, now) for timer in found])
    output.line(say("%(timers)s shown, of %(all)s.", timers=Count(len(found), "timer"), all=total))
    return Result({"looked_at": total, "timers": found})


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
    """Return how many seconds each organisation's clock is ahead, by service."""
    found: dict[str, dict[str, int]] = {}
    for service in SERVICES:
        for row in await (await context.db(service)).fetch(SQL["clocks"]):
            found.setdefault(row["organisation_id"], {})[service] = row["ahead_s"]
    return found


@verb("clock show", fails_when="services disagree")
async def show_clocks(context: Context, output: Output) -> Result:
    """List the moved clocks, and whether all services agree on them."""
    found, now = await _clocks(context), datetime.now(UTC)
    disagreeing = [name for name, ahead in found.items() if len({ahead.get(service, 0) for service in SERVICES}) > 1]
    rows = [
        (
            name,
            f"+{duration(max(ahead.values()))}",
            when(now + timedelta(seconds=max(ahead.values()))),
            "not in all services yet" if name in disagreeing else "",
        )
        for name, ahead in found.items()
    ]
    output.table(("organisation", ">ahead", "its time", ""), rows)
    output.line(
        say(
            "Real time is %(time)s; %(clocks)s moved, read from %(services)s.",
            time=now,
            clocks=Count(len(found), "clock"),
            services=Count(len(SERVICES), "service"),
        )
    )
    return Result({"now": now, "clocks": found, "apart": disagreeing}, ok=not disagreeing)


@change(
    "clock move",
    if_cancelled="A request that has reached identity is carried out all the same: `tenure clock show` tells.",
    not_served="It needs the token of a member of the sandbox organisation, who has a page for it.",
)
async def move_clock(
    context: Context,
    to: Annotated[
        datetime, typer.Argument(parser=parse_time, metavar="TIME", help="The new time; clocks only move forward.")
    ],
) -> Planned:
    """Move the clock of a sandbox organisation, in all services.

    The organisation is that of the account whose token is in TENURE_TOKEN."""
    secret = doors.token(context, "a member of the sandbox organisation")
    mine = await doors.ask(context, "identity", "/me/clock", secret)
    organisation, body = mine["organisation_id"], {"to": to.isoformat()}
    key = str(uuid_utils.uuid7())
    await doors.call(context, "identity", "POST", "/clock", key, secret, body, dry_run=True)
    skipped = (to - datetime.fromisoformat(mine["now"])).total_seconds()
    due = await _due(context, organisation, to)
    summary = [
        say(
            "The clock of %(organisation)s would move from %(before)s to %(to)s, %(span)s forward, in every service. "
            "It can't be moved back.",
            organisation=organisation,
            before=datetime.fromisoformat(mine["now"]),
            to=to,
            span=duration(skipped),
        ),
        say("%(timers)s of it would be due at once.", timers=Count(due, "timer")),
    ]

    async def apply(operation: Operation) -> Outcome:
        answer = await doors.call(context, "identity", "POST", "/clock", key, secret, body)
        operation.counter()
        waiting_for = answer["waiting_for"]
        result = say("Every service has the new time.")
        if waiting_for:
            result = say(
                "These services do not have the new time yet: %(services)s. Check with `tenure clock show`.",
                services=", ".join(waiting_for),
            )
        return Outcome(not waiting_for, [result], {"answer": answer})

    return ChangePlan(
        service="identity",
        arguments=[f"organisation={organisation}", f"to={to.isoformat()}"],
        total=1,
        thing="clock",
        summary=summary,
        data={"organisation": organisation, "to": to, "timers_due": due},
        apply=apply,
    )


async def _due(context: Context, organisation: str, to: datetime) -> int:
    dbs = [await context.db(service) for service in SERVICES]
    return sum([await db.fetchval(SQL["count_due"], organisation, to) for db in dbs])
