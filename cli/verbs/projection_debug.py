"""`tenure step` and `tenure as-of`: a projection folded event by event, or up to a moment.

Both fold into separate tables; the live tables are not changed.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
import typer

from cli.app import Planned, Result, change, verb
from cli.context import Context, projection_named
from cli.exit_codes import FAULTS, REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome
from cli.options import ProjectionName, parse_time
from cli.output import Output, sandbox_mark, when
from cli.sentences import Count, say
from cli.verbs.streams import find_stream
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair import scratch
from shared.eventlog.repair.asof import AsOf, RowChange, Stepped, as_of, drop_kept, step
from shared.eventlog.repair.scratch import bare, code_of
from shared.eventlog.write.postgres import TRANSIENT
from shared.events.envelope import StoredEvent, stamp
from shared.events.registry import topic_of
from shared.sql import statements, with_names

SQL: Final = statements(__file__)

_LINES: Final = 12


# ── Step by step ───────────────────────────────────────────────────────────────────────────────────────


@verb("step")
async def step_by_step(
    context: Context,
    output: Output,
    projection: ProjectionName,
    stream: Annotated[str, typer.Argument(help="The stream's id, such as pool-1234.")],
) -> Result:
    """Show what each event of a stream changes in a projection's rows.

    Folds the stream into empty temporary tables, so rows of other streams are missing. The live tables are not
    changed. Personal fields stay sealed."""
    service, found = projection_named(projection)
    owner, _, events = await find_stream(context, stream)
    if topic_of(owner) not in found.topics:
        raise OperatorError(
            f"{projection} does not read {topic_of(owner)}, the topic of {stream}. It reads {', '.join(found.topics)}.",
            REFUSED,
        )
    steps = await _stepped(projection, found, events, context.dsn(service))
    for each in steps:
        _print_step(output, each)
    folded, changes = sum(each.folded for each in steps), sum(len(each.changes) for each in steps)
    output.line(
        say(
            "%(events)s read from %(service)s's store, %(folded)s folded, %(changes)s.",
            events=Count(len(steps), "event"),
            service=owner,
            folded=folded,
            changes=Count(changes, "row change"),
        )
    )
    return Result(
        {
            "projection": projection,
            "stream": stream,
            "looked_at": len(steps),
            "folded": folded,
            "steps": [_as_data(each) for each in steps],
        }
    )


async def _stepped(name: str, found: Projection, events: Sequence[StoredEvent], dsn: str) -> list[Stepped]:
    """Fold the events one by one.

    Raises:
        OperatorError: A fold failed, most likely because rows of other streams are missing.
    """
    try:
        return await step(found, events, dsn)
    except (scratch.CannotRebuild, scratch.CannotFold, *TRANSIENT):
        raise
    except Exception as error:
        raise OperatorError(
            f"A fold of {name} failed on this stream, possibly because rows of other streams are missing here: "
            f"{type(error).__name__}: {error}",
            FAULTS,
        ) from error


def _print_step(output: Output, each: Stepped) -> None:
    envelope = each.envelope
    event = f"{envelope.version}  {envelope.type}  {when(envelope.time)}{sandbox_mark(envelope)}"
    if each.changes:
        output.line(event)
    elif each.folded:
        output.line(say("%(event)s: no change", event=event))
    else:
        output.line(say("%(event)s: not folded by this projection", event=event))
    for row in each.changes:
        if row.before is None:
            output.line(say("   %(table)s: row inserted", table=row.table))
        elif row.after is None:
            output.line(say("   %(table)s: row deleted", table=row.table))
        else:
            output.line(say("   %(table)s: row updated", table=row.table))
        lines = _columns(row)
        for text in lines[:_LINES]:
            output.line(f"     {text}")
        if len(lines) > _LINES:
            columns = Count(len(lines) - _LINES, "more column")
            output.line(say("     and %(columns)s (--json shows all)", columns=columns))


def _columns(change: RowChange) -> list[str]:
    before, after = change.before, change.after
    if before is None or after is None:
        return [f"{name} = {_short(value)}" for name, value in (after or before or {}).items() if value is not None]
    unchanged = [f"{name} = {_short(value)}" for name, value in after.items() if name not in change.changed][:2]
    changed = [f"{name} = {_short(before.get(name))} -> {_short(after.get(name))}" for name in change.changed]
    return [*changed, f"(in the row with {', '.join(unchanged)})"] if unchanged else changed


def _short(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= 60 else f"{text[:59]}…"


def _as_data(each: Stepped) -> dict[str, Any]:
    envelope = each.envelope
    changes = [{"table": c.table, "before": c.before, "after": c.after, "changed": c.changed} for c in each.changes]
    return {
        "version": envelope.version,
        "position": envelope.position,
        "id": envelope.id,
        "type": envelope.type,
        "time": stamp(envelope.time),
        "sandbox": envelope.sandbox,
        "folded": each.folded,
        "changes": changes,
    }


# ── As of ──────────────────────────────────────────────────────────────────────────────────────────────


@change(
    "as-of",
    if_cancelled="The live tables are not touched. Tables that are not complete are dropped.",
    read_only_by_default=True,
    long=True,
)
async def as_of_moment(
    context: Context,
    output: Output,
    projection: ProjectionName,
    position: Annotated[
        int | None, typer.Option("--position", min=0, help="As of this position of its service's log.")
    ] = None,
    time: Annotated[
        datetime | None,
        typer.Option("--time", parser=parse_time, metavar="TIME", help="As of this time, or 15m, 2h, 3d ago."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Show N rows of each table.", metavar="N")] = 5,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the tables, so that later moments start from them.")
    ] = False,
    drop: Annotated[
        str | None, typer.Option("--drop", metavar="SCHEMA", help="Drop the tables kept in this schema.")
    ] = None,
) -> Planned:
    """Show a projection's tables as of a position or a time.

    The tables are folded into a separate schema, from the start or from the nearest kept tables, and dropped
    afterwards unless --keep is given. Without --position or --time, kept tables are listed. Only --keep and --drop
    change something, and need --yes."""
    service, found = projection_named(projection)
    asked = (position is not None) + (time is not None)
    if asked > 1 or (drop is not None and (asked or keep)) or (keep and not asked):
        raise OperatorError("Give one of --position and --time, with or without --keep; or --drop alone.", USAGE)
    if drop is not None:
        return await _drop(context, service, found, drop)
    if not asked:
        return await _list(context, output, service, found)

    def folding(keep: bool) -> AbstractAsyncContextManager[AsOf]:
        dsn, kafka = context.dsn(service), context.kafka_access
        return as_of(service, found, dsn, kafka, position=position, time=time, keep=keep)

    async with folding(False) as tables:
        shown = await _shown(context, output, service, found, tables, rows)
    if not keep:
        return Result(shown)
    moment = f"position={position}" if position is not None else f"time={stamp(tables.time)}"
    summary = [say("These tables would be kept in a separate schema.")]
    arguments, rows_kept = [f"projection={projection}", moment], sum(tables.tables.values()) or 1

    async def apply(operation: Operation) -> Outcome:
        async with folding(True) as kept:
            operation.counter(rows_kept)
        schemas = [row["schema"] for row in await (await context.db(service)).fetch(SQL["kept"], projection)]
        ok = kept.schema in schemas
        others = len(schemas) - ok
        result = [
            say("Kept in the schema %(schema)s.", schema=kept.schema),
            say("Checked: it exists, with %(others)s others of %(name)s.", others=others, name=projection)
            if ok
            else say("Checked: it does NOT exist, with %(others)s others of %(name)s.", others=others, name=projection),
        ]
        return Outcome(ok, [*result], {"schema": kept.schema})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=rows_kept,
        thing="row",
        summary=summary,
        data=shown,
        mode="--keep",
        apply=apply,
    )


async def _shown(
    context: Context, output: Output, service: str, found: Projection, tables: AsOf, rows: int
) -> dict[str, Any]:
    db, first, name = await context.db(service), dict[str, list[Any]](), f"{service}.{found.name}"
    for table, number in tables.tables.items():
        output.line(say("%(table)s: %(rows)s", table=table, rows=Count(number, "row")))
        query = with_names(SQL["rows"], schema=tables.schema, table=bare(table))
        first[table] = [orjson.loads(row["row"]) for row in await db.fetch(query, rows)]
        for row in first[table]:
            output.line(
                "    " + ", ".join(f"{name} {_short(value)}" for name, value in row.items() if value is not None)
            )
    output.line(
        say(
            "%(projection)s as of %(moment)s: %(events)s folded from %(start)s, of %(streams)s in total.",
            projection=name,
            moment=tables.time
            if tables.position is None
            else say(
                "position %(position)s of %(service)s's log, %(time)s",
                position=tables.position,
                service=service,
                time=tables.time,
            ),
            events=Count(tables.events, "event"),
            start=say("the start")
            if tables.from_kept is None
            else say("the kept tables %(schema)s", schema=tables.from_kept),
            streams=Count(tables.streams, "stream"),
        )
    )
    return {
        "projection": name,
        "position": tables.position,
        "time": stamp(tables.time),
        "streams": tables.streams,
        "folded": tables.events,
        "from_kept": tables.from_kept,
        "tables": dict(tables.tables),
        "rows": first,
    }


async def _list(context: Context, output: Output, service: str, found: Projection) -> Result:
    name = f"{service}.{found.name}"
    kept = await (await context.db(service)).fetch(SQL["kept"], name)
    now = code_of(found)
    output.table(
        ("schema", ">position", "time", "rows"),
        [
            (
                row["schema"],
                row["position"],
                when(row["time"]) + ("" if row["folds"] == now else " (other folds)"),
                sum(orjson.loads(row["covers"])["tables"].values()),
            )
            for row in kept
        ],
    )
    output.line(say("%(moments)s of %(name)s kept.", moments=Count(len(kept), "moment"), name=name))
    shown = [{**dict(row), "covers": orjson.loads(row["covers"]), "same_folds": row["folds"] == now} for row in kept]
    return Result({"projection": name, "kept": shown})


async def _drop(context: Context, service: str, found: Projection, schema: str) -> ChangePlan:
    name, db = f"{service}.{found.name}", await context.db(service)
    if schema not in [row["schema"] for row in await db.fetch(SQL["kept"], name)]:
        raise scratch.CannotRebuild(
            f"No tables of {name} are kept in a schema {schema}; `tenure as-of {name}` lists those kept."
        )

    async def apply(operation: Operation) -> Outcome:
        await drop_kept(context.dsn(service), schema)
        operation.counter()
        left = await db.fetchval(SQL["is_there"], schema)
        result = say("Checked: the schema STILL exists.") if left else say("Checked: the schema is dropped.")
        return Outcome(not left, [result])

    return ChangePlan(
        service=service,
        arguments=[f"projection={name}", f"schema={schema}"],
        total=1,
        thing="schema",
        summary=[say("The schema %(schema)s and its tables would be dropped.", schema=schema)],
        data={"schema": schema},
        mode="--drop",
        apply=apply,
    )
