"""`tenure step` and `tenure as-of`: what a projection makes of events, one by one or up to a moment, beside the live
tables."""

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
from cli.output import Output, count, when
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
    stream: Annotated[str, typer.Argument(help="The stream's id, as in pool-…")],
) -> Result:
    """Show what each event of a stream changes in a projection's rows, from empty tables.

    Rows that other streams' events made aren't there. In tables of its own, of which nothing stays. Personal fields
    stay sealed."""
    service, found = projection_named(projection)
    owner, _, events = await find_stream(context, stream)
    if topic_of(owner) not in found.topics:
        raise OperatorError(
            f"{projection} does not read {topic_of(owner)}, where {stream} is: it reads {', '.join(found.topics)}.",
            REFUSED,
        )
    steps = await _stepped(projection, found, events, context.settings.dsn(service))
    for each in steps:
        _told(output, each)
    folded, changes = sum(each.folded for each in steps), sum(len(each.changes) for each in steps)
    output.line(
        f"Looked at {count(len(steps), 'event')} of {owner}'s store: {folded:,} folded, "
        f"{count(changes, 'row')} changed."
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
    """A fold may raise whatever it likes, and mostly because rows of other streams aren't there."""
    try:
        return await step(found, events, dsn)
    except (scratch.CannotRebuild, scratch.CannotFold, *TRANSIENT):
        raise
    except Exception as error:
        raise OperatorError(
            f"A fold of {name} fails on this stream alone, or on what other streams' rows would have to be "
            f"there for: {type(error).__name__}: {error}",
            FAULTS,
        ) from error


def _told(output: Output, each: Stepped) -> None:
    envelope = each.envelope
    nothing = "" if each.changes else ": changes nothing" if each.folded else ": no fold for it"
    output.line(f"{envelope.version}  {envelope.type}  {when(envelope.time)}{nothing}")
    for row in each.changes:
        what = "a new row" if row.before is None else "a row less" if row.after is None else "a row changed"
        output.line(f"   {row.table}: {what}")
        lines = _columns(row)
        for text in lines[:_LINES]:
            output.line(f"     {text}")
        if len(lines) > _LINES:
            output.line(f"     and {count(len(lines) - _LINES, 'more column')} (--json shows all)")


def _columns(change: RowChange) -> list[str]:
    before, after = change.before, change.after
    if before is None or after is None:
        return [f"{name} = {_short(value)}" for name, value in (after or before or {}).items() if value is not None]
    kept = [f"{name} = {_short(value)}" for name, value in after.items() if name not in change.changed][:2]
    changed = [f"{name} = {_short(before.get(name))} -> {_short(after.get(name))}" for name in change.changed]
    return [*changed, f"(of the row with {', '.join(kept)})"] if kept else changed


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
        "folded": each.folded,
        "changes": changes,
    }


# ── As of ──────────────────────────────────────────────────────────────────────────────────────────────


@change("as-of", mostly_looks=True)
async def as_of_moment(
    context: Context,
    output: Output,
    projection: ProjectionName,
    position: Annotated[
        int | None, typer.Option("--position", min=0, help="As of this position of its service's store.")
    ] = None,
    time: Annotated[
        datetime | None,
        typer.Option("--time", parser=parse_time, metavar="TIME", help="As of this time (or 15m, 2h, 3d ago)."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Show so many rows of each table.")] = 5,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the tables: a later moment starts from them.")] = False,
    drop: Annotated[str | None, typer.Option("--drop", metavar="SCHEMA", help="Drop tables that were kept.")] = None,
) -> Planned:
    """Show a projection's tables as of a position or a time, in a schema that no reader sees.

    Folded from the start or from the nearest kept tables; dropped when shown, unless --keep. Without a moment it
    lists what is kept. Only --keep and --drop change something, and need --yes."""
    service, found = projection_named(projection)
    asked = (position is not None) + (time is not None)
    if asked > 1 or (drop is not None and (asked or keep)) or (keep and not asked):
        raise OperatorError("Say one moment, --position or --time, with or without --keep; or --drop alone.", USAGE)
    if drop is not None:
        return await _drop(context, service, found, drop)
    if not asked:
        return await _list(context, output, service, found)

    def folding(keep: bool) -> AbstractAsyncContextManager[AsOf]:
        dsn, kafka = context.settings.dsn(service), context.settings.kafka
        return as_of(service, found, dsn, kafka, position=position, time=time, keep=keep)

    async with folding(False) as tables:
        shown = await _shown(context, output, service, found, tables, rows)
    if not keep:
        return Result(shown)
    moment = f"position={position}" if position is not None else f"time={stamp(tables.time)}"
    says = ["These tables would be kept, in a schema of their own."]
    arguments, rows_kept = [f"projection={projection}", moment], sum(tables.tables.values()) or 1

    async def apply(operation: Operation) -> Outcome:
        async with folding(True) as kept:
            operation.counter(rows_kept)
        there = [row["schema"] for row in await (await context.db(service)).fetch(SQL["kept"], projection)]
        ok = kept.schema in there
        says = [
            f"Kept in the schema {kept.schema}.",
            f"Looked again: it is {'there' if ok else 'NOT there'}, with {len(there) - ok:,} others of {projection}.",
        ]
        return Outcome(ok, says, {"schema": kept.schema})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=rows_kept,
        thing="row",
        says=says,
        data=shown,
        mode="--keep",
        apply=apply,
    )


async def _shown(
    context: Context, output: Output, service: str, found: Projection, tables: AsOf, rows: int
) -> dict[str, Any]:
    db, first = await context.db(service), dict[str, list[Any]]()
    for table, number in tables.tables.items():
        output.line(f"{table}: {count(number, 'row')}")
        query = with_names(SQL["rows"], schema=tables.schema, table=bare(table))
        first[table] = [orjson.loads(row["row"]) for row in await db.fetch(query, rows)]
        for row in first[table]:
            output.line(
                "    " + ", ".join(f"{name} {_short(value)}" for name, value in row.items() if value is not None)
            )
    own = "" if tables.position is None else f"position {tables.position:,} of {service}'s store, "
    start = "the start" if tables.from_kept is None else f"what {tables.from_kept} keeps"
    output.line(
        f"{service}.{found.name} as of {own}{when(tables.time)}: {count(tables.events, 'event')} folded from "
        f"{start}, of {count(tables.streams, 'stream')} in all."
    )
    return {
        "projection": f"{service}.{found.name}",
        "position": tables.position,
        "time": stamp(tables.time),
        "streams": tables.streams,
        "folded": tables.events,
        "from_kept": tables.from_kept,
        "tables": dict(tables.tables),
        "rows": first,
    }


async def _list(context: Context, output: Output, service: str, found: Projection) -> Result:
    kept = await (await context.db(service)).fetch(SQL["kept"], f"{service}.{found.name}")
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
    output.line(f"{count(len(kept), 'moment')} of {service}.{found.name} kept.")
    shown = [{**dict(row), "covers": orjson.loads(row["covers"]), "same_folds": row["folds"] == now} for row in kept]
    return Result({"projection": f"{service}.{found.name}", "kept": shown})


async def _drop(context: Context, service: str, found: Projection, schema: str) -> ChangePlan:
    name, db = f"{service}.{found.name}", await context.db(service)
    if schema not in [row["schema"] for row in await db.fetch(SQL["kept"], name)]:
        raise scratch.CannotRebuild(
            f"No tables of {name} are kept in a schema {schema}: `tenure as-of {name}` lists them."
        )

    async def apply(operation: Operation) -> Outcome:
        await drop_kept(context.settings.dsn(service), schema)
        operation.counter()
        left = await db.fetchval(SQL["is_there"], schema)
        return Outcome(not left, [f"Looked again: the schema is {'STILL there' if left else 'gone'}."])

    return ChangePlan(
        service=service,
        arguments=[f"projection={name}", f"schema={schema}"],
        total=1,
        thing="schema",
        says=[f"The schema {schema} with its tables would be dropped."],
        data={"schema": schema},
        mode="--drop",
        apply=apply,
    )
