"""`tenure rebuild`: the rebuild of a projection's tables while the service runs."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from cli.app import Planned, change
from cli.context import Context, projection_named
from cli.exit_codes import REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import ProjectionName
from cli.output import duration
from cli.sentences import Count, Sentence, say
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair.rebuild import SQL as REBUILDS
from shared.eventlog.repair.rebuild import WORKERS, From, Rebuild, RebuildProgress, Report, drop_old, old_schema
from shared.eventlog.repair.scratch import bare, home
from shared.events.registry import topic_of
from shared.sql import Row, statements, with_names

SQL: Final = statements(__file__)


@change(
    "rebuild",
    if_cancelled="Until the switch, the live tables stay as they are. The new tables stay in their schema: the next "
    "rebuild continues with them, or drops them with --give-up.",
    fails_when="the tables differ",
    long=True,
)
async def rebuild_projection(
    context: Context,
    projection: ProjectionName,
    source: Annotated[
        str, typer.Option("--source", help="Where to read the service's own events from: store or kafka.")
    ] = "store",
    workers: Annotated[int, typer.Option("--workers", min=1, max=32, help="The number of parallel workers.")] = WORKERS,
    switch_differing: Annotated[
        bool, typer.Option("--switch-differing", help="Switch even if the new tables differ from the live ones.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop-old", help="Drop the old tables that rebuilds have replaced.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Drop the new tables of an unfinished rebuild.")] = False,
) -> Planned:
    """Rebuild a projection's tables beside the live ones; switch if both agree.

    The service keeps running. If the tables differ, nothing is switched and the new tables stay in their schema for
    inspection. The old tables are kept until --drop-old."""
    service, found = projection_named(projection)
    if drop and give_up:
        raise OperatorError("Give only one of --drop-old and --give-up.", USAGE)
    if source not in ("store", "kafka"):
        raise OperatorError(f"--source must be store or kafka, not {source}.", USAGE)
    if drop:
        return await _drop_old(context, service, found)
    if give_up:
        return await _give_up(context, service, found)
    way: From = "kafka" if source == "kafka" else "store"
    return await _rebuild(context, service, found, way, workers, switch=switch_differing)


async def _rebuild(
    context: Context, service: str, found: Projection, source: From, workers: int, *, switch: bool
) -> ChangePlan:
    name, db = f"{service}.{found.name}", await context.db(service)
    Rebuild(service, found, "", context.settings.kafka)  # raises if this projection can't be rebuilt
    if not await db.fetchval(REBUILDS["known"], name):
        raise OperatorError(
            f"The consumer {name} has never run on this database, so there is nothing to rebuild. Start the service: "
            "it folds all events.",
            REFUSED,
        )
    total, rows = int(await db.fetchval(REBUILDS["total"], name)), await _rows(context, service, found)
    begun = await db.fetchrow(REBUILDS["open"], name)
    summary: list[str] = [
        say(
            "%(events)s of %(projection)s's streams would be folded again, from %(source)s, by %(workers)s, into "
            "%(tables)s:",
            events=Count(total, "event"),
            projection=name,
            source=_from(source),
            workers=Count(workers, "worker"),
            tables=Count(len(rows), "table"),
        ),
        *(
            say("    %(table)s (now %(rows)s)", table=table, rows=Count(number, "row"))
            for table, number in rows.items()
        ),
        say("They would replace the live tables even if they differ.")
        if switch
        else say("They would replace the live tables if both agree."),
    ]
    summary += _unfinished(begun)
    arguments = [f"projection={name}", f"source={source}", f"workers={workers}", f"switch_differing={switch}".lower()]
    data = {"projection": name, "tables": rows, "begun": dict(begun) if begun else None}

    async def apply(operation: Operation) -> Outcome:
        def report_progress(at: RebuildProgress) -> None:
            operation.counter.at(at.stage, min(at.folded, at.total), at.total)

        only_own = set(found.topics) == {topic_of(service)}
        rebuild = Rebuild(
            service,
            found,
            context.dsn(service),
            context.settings.kafka if source == "store" and only_own else context.kafka_access,
            source=source,
            workers=workers,
            progress=report_progress,
        )
        report = await rebuild.run(on_difference="switch" if switch else "stop")
        return await _check_result(context, service, found, report)

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=total,
        thing="event",
        summary=summary,
        data=data,
        confirms=[*arguments, *([f"rebuild={begun['id']}"] if begun else [])],
        apply=apply,
    )


def _unfinished(begun: Row | None) -> Sequence[str]:
    """Return what is said of a rebuild that has begun, if there is one."""
    if begun is None:
        return []
    said = say(
        "Rebuild %(rebuild)s, begun %(time)s, is unfinished and would continue from %(source)s by %(workers)s.",
        rebuild=begun["id"],
        time=begun["started"],
        source=_from(begun["source"]),
        workers=Count(begun["workers"], "worker"),
    )
    return [said, *([begun["detail"]] if begun["detail"] else [])]


def _from(source: str) -> Sentence:
    return say("the store") if source == "store" else say("the topics")


async def _rows(context: Context, service: str, found: Projection) -> dict[str, int]:
    db = await context.db(service)
    queries = {table: with_names(SQL["rows"], schema=home(table), table=bare(table)) for table in found.tables}
    return {table: int(await db.fetchval(query)) for table, query in queries.items()}


async def _check_result(context: Context, service: str, found: Projection, report: Report) -> Outcome:
    """Check the state in engine.rebuilds and count the rows of the live tables."""
    db = await context.db(service)
    state = await db.fetchval(SQL["state"], report.id)
    rows, summary = await _rows(context, service, found), list[str]()
    for table, each in report.tables.items():
        rows_live = Count(each.rows, "row")
        summary.append(
            say("%(table)s: %(rows)s live, digests agree", table=table, rows=rows_live)
            if each.agrees
            else say(
                "%(table)s: %(rows)s live, digests DIFFER: %(new)s in the new table",
                table=table,
                rows=rows_live,
                new=Count(each.new_rows, "row"),
            )
        )
    if report.state == "switched":
        summary.append(
            say(
                "Folded %(events)s in %(folding)s; the consumer was blocked for %(blocked)s by the switch.",
                events=Count(report.events, "event"),
                folding=duration(report.folding_s),
                blocked=duration(report.blocked_s),
            )
        )
        summary.append(
            say(
                "The old tables are in the schema %(schema)s until `tenure rebuild %(projection)s --drop-old`.",
                schema=report.old or "",
                projection=report.consumer,
            )
        )
    else:
        summary.append(f"Not switched: {report.detail} (see --switch-differing and --give-up)")
    row_counts = ", ".join(f"{table} {number:,}" for table, number in rows.items())
    summary.append(
        say(
            "Checked: the state of rebuild %(rebuild)s is %(state)s; rows now: %(rows)s.",
            rebuild=report.id,
            state=state,
            rows=row_counts,
        )
    )
    data: dict[str, Any] = {
        "rebuild": report.id,
        "state": state,
        "folded": report.events,
        "folding_s": report.folding_s,
        "blocked_s": report.blocked_s,
        "agrees": report.agrees,
        "old": report.old,
        "rows_now": rows,
        "compared": {table: each._asdict() for table, each in report.tables.items()},
    }
    return Outcome(report.state == state == "switched", summary, data)


async def _drop_old(context: Context, service: str, found: Projection) -> ChangePlan:
    name, db = f"{service}.{found.name}", await context.db(service)
    kept = await db.fetch(SQL["switched"], name)
    summary = [
        say(
            "The schema %(schema)s, replaced %(time)s, would be dropped.",
            schema=old_schema(row["id"]),
            time=row["ended"],
        )
        for row in kept
    ]
    arguments = [f"projection={name}", *(f"schema={old_schema(row['id'])}" for row in kept)]
    data = {"projection": name, "schemas": [old_schema(row["id"]) for row in kept]}

    async def apply(operation: Operation) -> Outcome:
        for row in kept:
            await drop_old(context.dsn(service), row["id"])
            operation.counter()
        left = len(await db.fetch(SQL["switched"], name))
        return Outcome(not left, [say("Checked: %(schemas)s left.", schemas=Count(left, "old schema"))], {"left": left})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=len(kept),
        thing="old schema",
        summary=summary,
        data=data,
        mode="--drop-old",
        apply=apply,
    )


async def _give_up(context: Context, service: str, found: Projection) -> ChangePlan:
    name, db = f"{service}.{found.name}", await context.db(service)
    begun = await db.fetchrow(REBUILDS["open"], name)
    summary = (
        []
        if begun is None
        else [
            say(
                "The schema %(schema)s of rebuild %(rebuild)s, begun %(time)s (%(state)s), would be dropped. The live "
                "tables are not changed.",
                schema=begun["schema"],
                rebuild=begun["id"],
                time=begun["started"],
                state=begun["state"],
            )
        ]
    )
    arguments = [f"projection={name}", *([f"schema={begun['schema']}"] if begun else [])]

    async def apply(operation: Operation) -> Outcome:
        await Rebuild(service, found, context.dsn(service), context.settings.kafka).give_up()
        operation.counter()
        left = await db.fetchrow(REBUILDS["open"], name)
        dropped = say("Checked: the rebuild is dropped.") if left is None else say("Checked: the rebuild STILL exists.")
        return Outcome(left is None, [dropped])

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=int(begun is not None),
        thing="unfinished rebuild",
        summary=summary,
        data={"projection": name},
        mode="--give-up",
        apply=apply,
    )
