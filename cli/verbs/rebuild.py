"""`tenure rebuild`: a projection's tables made anew while the service runs, switched when they agree."""

from typing import Annotated, Any, Final

import typer

from cli.app import Planned, change
from cli.context import Context, projection_named
from cli.exit_codes import REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import ProjectionName
from cli.output import count, duration, when
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair.rebuild import SQL as REBUILDS
from shared.eventlog.repair.rebuild import WORKERS, From, Rebuild, RebuildProgress, Report, drop_old, old_schema
from shared.eventlog.repair.scratch import bare, home
from shared.sql import statements, with_names

SQL: Final = statements(__file__)


@change("rebuild", fails_when="the tables differ")
async def rebuild_projection(
    context: Context,
    projection: ProjectionName,
    source: Annotated[
        str, typer.Option("--source", help="Where the service's own events come from: store or kafka.")
    ] = "store",
    workers: Annotated[int, typer.Option("--workers", min=1, max=32, help="So many fold at once.")] = WORKERS,
    switch_differing: Annotated[
        bool, typer.Option("--switch-differing", help="Switch, too, where the new tables are not as the live ones.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop-old", help="Drop the tables that its rebuilds have replaced.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Drop the new tables of one that has begun.")] = False,
) -> Planned:
    """Make a projection's tables anew beside the live ones; switch when both agree.

    The service runs on. Interrupted, the next run goes on with it. Where they differ, nothing is switched, and
    both can be looked at. The old tables are kept until --drop-old."""
    service, found = projection_named(projection)
    if drop and give_up:
        raise OperatorError("Say either --drop-old or --give-up.", USAGE)
    if source not in ("store", "kafka"):
        raise OperatorError(f"--source is store or kafka, not {source}.", USAGE)
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
    Rebuild(service, found, "", context.settings.kafka)  # says so when it is one that can't be
    if not await db.fetchval(REBUILDS["known"], name):
        raise OperatorError(
            f"No consumer {name} has ever run on this database, so there is nothing to rebuild: start the "
            "service, and it folds all there is.",
            REFUSED,
        )
    total, rows = int(await db.fetchval(REBUILDS["total"], name)), await _rows(context, service, found)
    begun = await db.fetchrow(REBUILDS["open"], name)
    says = [
        f"{count(total, 'event')} would be folded anew, of {name}'s streams, from the {_from(source)},",
        f"by {count(workers, 'worker')}, into {count(len(rows), 'table')}:",
        *(f"    {table} (now {count(number, 'row')})" for table, number in rows.items()),
        f"They take the live ones' place, {'whether they agree or not' if switch else 'if they agree'}.",
    ]
    if begun is not None:
        says.append(
            f"Rebuild {begun['id']} of {when(begun['started'])} has begun: it would go on with that, from the "
            f"{_from(begun['source'])} by {begun['workers']}. {begun['detail']}".rstrip()
        )
    arguments = [f"projection={name}", f"source={source}", f"workers={workers}", f"switch_differing={switch}".lower()]
    data = {"projection": name, "tables": rows, "begun": dict(begun) if begun else None}

    async def apply(operation: Operation) -> Outcome:
        def told(at: RebuildProgress) -> None:
            operation.counter.at(at.stage, min(at.folded, at.total), at.total)

        settings = context.settings
        once = Rebuild(service, found, settings.dsn(service), settings.kafka, source=source, workers=workers, told=told)
        report = await once.run(on_difference="switch" if switch else "stop")
        return await _looked_again(context, service, found, report)

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=total,
        thing="event",
        says=says,
        data=data,
        apply=apply,
    )


def _from(source: str) -> str:
    return "store" if source == "store" else "topics"


async def _rows(context: Context, service: str, found: Projection) -> dict[str, int]:
    db = await context.db(service)
    queries = {table: with_names(SQL["rows"], schema=home(table), table=bare(table)) for table in found.tables}
    return {table: int(await db.fetchval(query)) for table, query in queries.items()}


async def _looked_again(context: Context, service: str, found: Projection, report: Report) -> Outcome:
    """The second look: what engine.rebuilds says, and the tables that readers now see."""
    db = await context.db(service)
    state = await db.fetchval(SQL["state"], report.id)
    rows, says = await _rows(context, service, found), []
    for table, each in report.tables.items():
        agree = "agree" if each.agrees else f"DIFFER: {count(each.new_rows, 'row')} anew"
        says.append(f"{table}: {count(each.rows, 'row')} live, digests {agree}")
    if report.state == "switched":
        says.append(
            f"Folded {count(report.events, 'event')} in {duration(report.folding_s)}; the consumer waited "
            f"{duration(report.blocked_s)} for the switch."
        )
        says.append(
            f"The old tables are in the schema {report.old} until `tenure rebuild {report.consumer} --drop-old`."
        )
    else:
        says.append(f"Not switched: {report.detail} (--switch-differing, or --give-up)")
    told = ", ".join(f"{table} has {count(number, 'row')}" for table, number in rows.items())
    says.append(f"Looked again: rebuild {report.id} is noted as {state}; {told}.")
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
    return Outcome(report.state == state == "switched", says, data)


async def _drop_old(context: Context, service: str, found: Projection) -> ChangePlan:
    name, db = f"{service}.{found.name}", await context.db(service)
    kept = await db.fetch(SQL["switched"], name)
    says = [f"The schema {old_schema(row['id'])}, replaced {when(row['ended'])}, would be dropped." for row in kept]
    arguments = [f"projection={name}", *(f"schema={old_schema(row['id'])}" for row in kept)]
    data = {"projection": name, "schemas": [old_schema(row["id"]) for row in kept]}

    async def apply(operation: Operation) -> Outcome:
        for row in kept:
            await drop_old(context.settings.dsn(service), row["id"])
            operation.counter()
        left = len(await db.fetch(SQL["switched"], name))
        return Outcome(not left, [f"Looked again: {count(left, 'old schema')} left."], {"left": left})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=len(kept),
        thing="old schema",
        says=says,
        data=data,
        mode="--drop-old",
        apply=apply,
    )


async def _give_up(context: Context, service: str, found: Projection) -> ChangePlan:
    name, db = f"{service}.{found.name}", await context.db(service)
    begun = await db.fetchrow(REBUILDS["open"], name)
    says = (
        []
        if begun is None
        else [
            f"Rebuild {begun['id']} of {when(begun['started'])} ({begun['state']}): its schema {begun['schema']} would "
            "be dropped. The live tables stay as they are."
        ]
    )
    arguments = [f"projection={name}", *([f"schema={begun['schema']}"] if begun else [])]

    async def apply(operation: Operation) -> Outcome:
        await Rebuild(service, found, context.settings.dsn(service), context.settings.kafka).give_up()
        operation.counter()
        left = await db.fetchrow(REBUILDS["open"], name)
        return Outcome(left is None, [f"Looked again: {'nothing of it is' if left is None else 'it is STILL'} there."])

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=int(begun is not None),
        thing="begun rebuild",
        says=says,
        data={"projection": name},
        mode="--give-up",
        apply=apply,
    )
