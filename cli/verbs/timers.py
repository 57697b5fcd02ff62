"""`tenure timers` and `tenure clock`: what is due when, and what time it is for whom."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
import uuid_utils

from cli import doors
from cli.app import APP, ByWhom, Json, Reason, Yes, _time, run
from cli.change import Change, Go, Outcome, carry_out
from cli.context import SERVICES, Context
from cli.exit_codes import DONE, FAULTS, NOT_FOUND, OperatorError
from cli.output import Counter, Output, count, duration, when
from shared.sql import statements

SQL: Final = statements(__file__)

CLOCK: Final = typer.Typer(no_args_is_help=True, help="The time of sandbox organisations.")
APP.add_typer(CLOCK, name="clock")


@APP.command()
def timers(
    service: Annotated[str | None, typer.Option(help="Of this service.")] = None,
    customer: Annotated[str | None, typer.Option(help="About this organisation.")] = None,
    name: Annotated[str | None, typer.Option(help="Of this name.")] = None,
    due: Annotated[bool, typer.Option("--due", help="Only what is due already.")] = False,
    limit: Annotated[int, typer.Option(help="Show at most so many of a service.")] = 50,
    json: Json = False,
) -> None:
    """What is to be done when, soonest first."""

    async def work(context: Context, output: Output) -> int:
        if service is not None and service not in SERVICES:
            raise OperatorError(f"There is no service {service}: they are {', '.join(SERVICES)}.", NOT_FOUND)
        found, looked = [], 0
        for each in SERVICES if service is None else (service,):
            db = await context.db(each)
            looked += await db.fetchval("select count(*) from engine.timers")
            rows = await db.fetch(SQL["timers"], customer, name, due, limit)
            found += [{"service": each, **dict(row)} for row in rows]
        found.sort(key=lambda timer: timer["due_real"])
        now = datetime.now(UTC)
        output.table(("service", "timer", "key", "due there", "in"), [_row(timer, now) for timer in found])
        output.line(f"{count(len(found), 'timer')} shown; looked at {looked:,}.")
        output.result({"looked_at": looked, "timers": found})
        return DONE

    run(json, work)


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


@CLOCK.command("show")
def show(json: Json = False) -> None:
    """The organisations whose clock was moved, and whether all services agree. Ends with 1 when they don't."""

    async def work(context: Context, output: Output) -> int:
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
        output.line(
            f"Real time is {when(now)}; {count(len(found), 'clock')} moved, looked at {len(SERVICES)} services."
        )
        output.result({"now": now, "clocks": found, "apart": apart})
        return FAULTS if apart else DONE

    run(json, work)


@CLOCK.command("move")
def move(
    to: Annotated[datetime, typer.Argument(parser=_time, metavar="TIME", help="What time it becomes; forward only.")],
    yes: Yes = False,
    reason: Reason = "",
    actor: ByWhom = "",
    json: Json = False,
) -> None:
    """Moves the clock of a sandbox organisation, whose member TENURE_TOKEN is of, in all services."""

    async def work(context: Context, output: Output) -> int:
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
        change = Change(
            "clock move",
            "identity",
            [f"organisation={organisation}", f"to={to.isoformat()}"],
            1,
            "clock",
            says,
            {"organisation": organisation, "to": to, "timers_due": due},
        )

        async def do(operation: str, counter: Counter) -> Outcome:  # noqa: ARG001
            answer = await doors.call(context, "identity", "POST", "/clock", key, secret, body)
            counter()
            lacking = answer["waiting_for"]
            says = [f"Not every service has the new time yet: {', '.join(lacking)}. See `tenure clock show`."]
            return Outcome(not lacking, says if lacking else ["Every service has the new time."], {"answer": answer})

        return await carry_out(context, output, change, Go(yes, reason, actor), do)

    run(json, work)


async def _due(context: Context, organisation: str, to: datetime) -> int:
    question = "select count(*) from engine.timers where customer = $1 and due <= $2"
    return sum([await (await context.db(service)).fetchval(question, organisation, to) for service in SERVICES])
