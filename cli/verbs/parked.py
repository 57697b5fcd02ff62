"""`tenure parked`: the records that consumers could not process, and their repair."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from difflib import unified_diff
from typing import Annotated, Any, TypeAlias

import orjson
import typer

from cli.app import Planned, Result, change, group, verb
from cli.context import Context, consumers, service_of_consumer, services_of_consumer
from cli.exit_codes import NOT_FOUND, REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Consent, Operation, Outcome
from cli.options import Contents, ServedHelp, contents_of
from cli.output import Output, count, when
from cli.parked_sentences import answered, event_of, name_of, still_parked, was_retried, without, would_retry
from cli.sentences import Count, say
from shared.eventlog.deliver.received import Raw
from shared.eventlog.repair import parked as engine
from shared.eventlog.repair.parked import Retried, Tried
from shared.eventlog.repair.parked_record import Line, Parked

group("parked", "Records that consumers could not process: show, retry, edit, drop.")

OfConsumer: TypeAlias = Annotated[
    str | None, typer.Option("--consumer", help="Only of this consumer, as `tenure status` names it.")
]
OfStream: TypeAlias = Annotated[str | None, typer.Option("--stream", help="Only of this stream.")]
Handles: TypeAlias = Annotated[
    list[str] | None, typer.Argument(help="Handles of records, as `tenure parked ls` shows them.")
]


async def _select(
    context: Context,
    consumer: str | None = None,
    stream: str | None = None,
    handles: Sequence[str] | None = None,
    *,
    behind: bool = False,
) -> list[Parked]:
    """Return the parked records that match, of all services or of the consumer's, oldest first."""
    services = services_of_consumer(consumer)
    found = [await engine.list_parked(await context.db(s), consumer, stream, handles, behind=behind) for s in services]
    return sorted((each for records in found for each in records), key=lambda each: each.time)


async def _one(context: Context, handle: str) -> Parked:
    found = await _select(context, handles=[handle])
    if len(found) != 1:
        which = "No parked record has" if not found else f"{len(found)} records have"
        raise OperatorError(f"{which} the handle {handle}; `tenure parked ls` lists the handles.", NOT_FOUND)
    return found[0]


def as_data(each: Parked) -> dict[str, Any]:
    return {
        "handle": each.handle,
        "consumer": each.consumer,
        "topic": each.raw.topic,
        "partition": each.raw.partition,
        "offset": each.raw.offset,
        "stream": each.stream,
        "version": each.version,
        "type": each.type,
        "reason": each.reason,
        "detail": each.detail,
        "fingerprint": each.fingerprint,
        "holds_stream": each.holds_stream,
        "behind": each.behind,
        "time": each.time,
    }


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────


@verb("parked ls")
async def list_parked(
    context: Context,
    output: Output,
    consumer: OfConsumer = None,
    stream: OfStream = None,
    group: Annotated[str | None, typer.Option("--group", help="Only of this group, by its fingerprint.")] = None,
    behind: Annotated[bool, typer.Option("--behind", help="Also records that only wait behind another one.")] = False,
) -> Result:
    """List parked records, oldest first."""
    selected = await _select(context, consumer, stream, behind=behind)
    found = [each for each in selected if group in (None, each.fingerprint)]
    output.table(
        ("handle", "consumer", "event", "reason", ">behind"),
        [
            (each.handle, each.consumer, event_of(each), f"{each.reason}: {each.detail[:120]}", each.behind)
            for each in found
        ],
    )
    output.line(say("%(those)s shown, of %(all)s parked.", those=Count(len(found), "record"), all=len(selected)))
    return Result({"looked_at": len(selected), "parked": [as_data(each) for each in found]})


@verb("parked group")
async def group_parked(
    context: Context, output: Output, consumer: OfConsumer = None, stream: OfStream = None
) -> Result:
    """Group parked records by their error."""
    selected = await _select(context, consumer, stream)
    groups: dict[str, list[Parked]] = {}
    for each in selected:
        groups.setdefault(each.fingerprint, []).append(each)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    output.table(
        ("group", ">records", ">behind", "since", "consumer, event, error"),
        [
            (
                name,
                f"{len(members):,}",
                f"{sum(each.behind for each in members):,}",
                when(members[0].time),
                f"{members[0].consumer} {members[0].type}: {members[0].shape or members[0].reason}",
            )
            for name, members in ordered
        ],
    )
    records = Count(len(selected), "parked record")
    output.line(say("%(groups)s of %(records)s.", groups=Count(len(groups), "group"), records=records))
    return Result(
        {
            "looked_at": len(selected),
            "groups": [
                {
                    "fingerprint": name,
                    "records": len(members),
                    "behind": sum(each.behind for each in members),
                    "first": members[0].time,
                    "last": members[-1].time,
                    "example": as_data(members[0]),
                }
                for name, members in ordered
            ],
        }
    )


@verb("parked show")
async def show_parked(
    context: Context,
    output: Output,
    handle: Annotated[str, typer.Argument(help="The record's handle.")],
) -> Result:
    """Show one parked record with headers and body. Personal fields stay sealed."""
    each = await _one(context, handle)
    headers = [(name, "" if value is None else value.decode(errors="replace")) for name, value in each.raw.headers]
    value = each.raw.value or b""
    output.fields(
        [
            ("consumer", each.consumer),
            ("record", f"{each.raw.topic}/{each.raw.partition}/{each.raw.offset}"),
            ("parked", when(each.time)),
            ("reason", each.reason),
            ("detail", each.detail),
            ("group", each.fingerprint),
            ("stream", f"{each.stream}@{each.version}" if each.stream else "none, or unreadable"),
            ("behind it", count(each.behind, "record")),
            *headers,
            *(("" if n else "body", line) for n, line in enumerate(value.decode(errors="replace").split("\n"))),
        ]
    )
    return Result({**as_data(each), "key": each.raw.key, "headers": headers, "value": _readable(value)})


def _readable(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError:
        return value


# ── Retry ──────────────────────────────────────────────────────────────────────────────────────────────


@change(
    "parked retry",
    if_cancelled="What was applied stays applied, each record in one transaction. The others stay parked.",
    fails_when="a record still can't be applied",
)
async def retry_parked(
    context: Context,
    output: Output,
    consent: Consent,
    handles: Handles = None,
    group: Annotated[str | None, typer.Option("--group", help="All records of this group, by its fingerprint.")] = None,
    consumer: OfConsumer = None,
    stream: OfStream = None,
    over_gap: Annotated[
        bool, typer.Option("--over-gap", help="Continue past missing versions that are in an unreadable record.")
    ] = False,
) -> Planned:
    """Apply parked records again, each stream's in order, to the consumer that parked them.

    The dry run applies up to 50 records of each stream and rolls back; a reaction's commands are dry runs, too. A
    record is moved to engine.settled in the same transaction as its effect, after its copy was compared."""
    if not (handles or group or consumer or stream):
        raise OperatorError("Say which records to retry: handles, --group, --consumer or --stream.", USAGE)
    selected = await _select(context, consumer, stream, handles or None)
    found = [each for each in selected if group in (None, each.fingerprint)]
    missing = set(handles or ()) - {each.handle for each in found}
    if missing:
        raise OperatorError(
            f"No parked record has the handle {sorted(missing)[0]}; `tenure parked ls` lists the handles.", NOT_FOUND
        )
    services = sorted({service_of_consumer(each.consumer) for each in found})
    plans = [
        await _retry_in(
            context, service, [each for each in found if each.consumer.startswith(f"{service}.")], over_gap=over_gap
        )
        for service in services
    ]
    if plans:
        return plans
    output.line(say("No parked record matches."))
    return Result({"verb": "parked retry", "count": 0, "dry_run": not consent.yes})


async def _retry_in(context: Context, service: str, found: Sequence[Parked], *, over_gap: bool) -> ChangePlan:
    db, lines = await context.db(service, write=True), engine.lines(found)
    tried = [
        (line, await engine.attempt(db, await context.consumer(line.consumer), line, over_gap=over_gap))
        for line in lines
    ]

    async def apply(operation: Operation) -> Outcome:
        retried = [
            (
                line,
                await engine.retry(
                    db,
                    await context.consumer(line.consumer),
                    line,
                    operation.id,
                    over_gap=over_gap,
                    progress=operation.counter,
                ),
            )
            for line in lines
        ]
        return await _check_result(context, service, retried)

    return ChangePlan(
        service=service,
        arguments=[
            *(f"consumer={consumer}" for consumer in sorted({line.consumer for line in lines})),
            *(f"line={name_of(line)}" for line in lines[:50]),
        ],
        total=sum(each.waiting for _, each in tried),
        thing="parked record",
        summary=[text for line, each in tried for text in would_retry(line, each)],
        data={"service": service, "lines": [_tried(line, each) for line, each in tried]},
        apply=apply,
    )


def _tried(line: Line, tried: Tried) -> dict[str, Any]:
    return {
        "consumer": line.consumer,
        "line": name_of(line),
        "would_apply": tried.would_apply,
        "waiting": tried.waiting,
        "stopped": tried.stopped,
        "answers": [answered(answer) for answer in tried.answers or ()],
    }


async def _check_result(context: Context, service: str, retried: Sequence[tuple[Line, Retried]]) -> Outcome:
    """Check what of these lines is still parked."""
    await asyncio.sleep(0.2)
    db, left, summary = await context.db(service), 0, list[str]()
    for line, done in retried:
        still = [each for each in await engine.list_parked(db, line.consumer, line.stream) if _same(each, line)]
        left += sum(1 + each.behind for each in still)
        summary += was_retried(line, done)
    summary.append(still_parked(left))
    lines = [
        {
            "consumer": line.consumer,
            "line": name_of(line),
            "applied": done.applied,
            "repeats": done.repeats,
            "ignored": done.ignored,
            "refused": done.refused,
            "waiting": done.waiting,
            "stopped": done.stopped,
        }
        for line, done in retried
    ]
    return Outcome(left == 0, summary, {"retried": lines, "still_parked": left})


def _same(each: Parked, line: Line) -> bool:
    return each.holds_stream if line.stream is not None else each.place == line.place


# ── Editing, dropping ──────────────────────────────────────────────────────────────────────────────────


@change("parked edit", if_cancelled="The record is edited, or it is as it was.")
async def edit_parked(
    context: Context,
    handle: Annotated[str, typer.Argument(help="The record's handle.")],
    value: Annotated[
        Contents | None,
        typer.Option("--value", parser=contents_of, help="A file with the new body; - for standard input."),
        ServedHelp("The new body."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", help="A header to set, as name=text; with no text it is removed.")
    ] = None,
) -> Planned:
    """Replace the body or headers of a parked record, for its consumer only.

    The original is kept in engine.settled. Log and topic are not changed, so this consumer's tables will differ from
    them."""
    each = await _one(context, handle)
    service = service_of_consumer(each.consumer)
    body = None if value is None else value.read()
    types = consumers(service)[each.consumer.partition(".")[2]].types
    raw, record = engine.edited(each, types, body, _headers(header or ()))
    if raw == each.raw:
        raise OperatorError("Nothing would change: give --value or --header.", USAGE)
    envelope = record.envelope
    before, after = len(each.raw.value or b""), len(raw.value or b"")
    summary = [
        say(
            "%(consumer)s would get %(after)s bytes instead of %(before)s for %(event)s; its type is %(type)s.",
            consumer=each.consumer,
            after=after,
            before=before,
            event=event_of(each),
            type=envelope.type if envelope else "?",
        ),
        *(changes := _changes(each.raw, raw)),
        say("Log and topic are not changed. The record is not applied until `tenure parked retry`."),
    ]
    arguments = [f"handle={handle}", f"consumer={each.consumer}", f"line={name_of(each.line)}"]

    async def apply(operation: Operation) -> Outcome:
        await engine.edit(await context.db(service, write=True), each, record, operation.id)
        operation.counter()
        again = await _one(context, handle)
        same = again.raw.value == raw.value
        result = (
            say("Checked: %(handle)s has the new bytes; the original is in engine.settled.", handle=handle)
            if same
            else say("Checked: %(handle)s does NOT have the new bytes.", handle=handle)
        )
        return Outcome(same, [result], {"handle": handle})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=1,
        thing="record",
        summary=summary,
        data={"handle": handle, "changes": changes},
        apply=apply,
    )


def _changes(before: Raw, after: Raw) -> list[str]:
    """Return removed (-) and added (+) lines of headers and body; JSON is indented."""
    lines = unified_diff(_lines(before), _lines(after), n=0, lineterm="")
    return [f"  {line}" for line in lines if not line.startswith(("---", "+++", "@@"))]


def _lines(raw: Raw) -> list[str]:
    headers = [f"{name}: {(value or b'').decode(errors='backslashreplace')}" for name, value in raw.headers]
    body = raw.value or b""
    with suppress(orjson.JSONDecodeError):
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    return headers + body.decode(errors="backslashreplace").splitlines()


def _headers(given: Sequence[str]) -> dict[str, str]:
    if bad := [text for text in given if "=" not in text]:
        raise OperatorError(f"--header must be name=text, not {bad[0]}.", USAGE)
    return dict(text.split("=", 1) for text in given)


@change("parked drop", if_cancelled="What was given up stays so. The others stay parked.")
async def drop_parked(
    context: Context,
    handles: Annotated[list[str], typer.Argument(help="Handles of records, as `tenure parked ls` shows them.")],
) -> Planned:
    """Give up parked records: their consumer never processes them.

    Their bytes are kept in engine.settled."""
    found = [await _one(context, handle) for handle in dict.fromkeys(handles)]
    services = {service_of_consumer(each.consumer) for each in found}
    if len(services) > 1:
        raise OperatorError(
            f"These records are of {' and '.join(sorted(services))}: drop those of one service at a time.", REFUSED
        )
    service = services.pop()
    summary = [text for each in found for text in without(each)]
    arguments = [f"dropped={each.consumer} {event_of(each)}" for each in found]
    data = {"records": [as_data(each) for each in found]}

    async def apply(operation: Operation) -> Outcome:
        db = await context.db(service, write=True)
        for each in found:
            await engine.drop(db, await context.consumer(each.consumer), each, operation.id)
            operation.counter()
        left = await _select(context, handles=[each.handle for each in found])
        return Outcome(
            not left,
            [still_parked(len(left))],
            {"still_parked": len(left)},
        )

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=len(found),
        thing="record",
        summary=summary,
        data=data,
        apply=apply,
    )
