"""`tenure parked`: what consumers could not deal with; shown, grouped, put right, resumed, given up."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import orjson
import typer

from cli.app import Planned, Result, change, group, verb
from cli.context import Context, consumers
from cli.exit_codes import NOT_FOUND, REFUSED, USAGE, OperatorError
from cli.operation import ChangePlan, Consent, Operation, Outcome
from cli.output import Output, count, when
from shared.eventlog.deliver.plan import Raw
from shared.eventlog.repair import parked as engine
from shared.eventlog.repair.parked import Line, Parked, Retried, Tried
from shared.eventlog.write.log import Accepted, Answer
from shared.services import SERVICES

group("parked", "Events that a consumer could not deal with, and their streams.")

OfConsumer: TypeAlias = Annotated[str | None, typer.Option("--consumer", help="Of this consumer, as status names it.")]
OfStream: TypeAlias = Annotated[str | None, typer.Option("--stream", help="Of this stream.")]
Handles: TypeAlias = Annotated[list[str] | None, typer.Argument(help="Records, by their handles.")]


async def _look(
    context: Context,
    consumer: str | None = None,
    stream: str | None = None,
    handles: Sequence[str] | None = None,
    *,
    behind: bool = False,
) -> list[Parked]:
    """Parked records over the services, or of the consumer's own."""
    services = SERVICES if consumer is None else (_service(consumer),)
    found = [await engine.list_parked(await context.db(s), consumer, stream, handles, behind=behind) for s in services]
    return sorted((each for some in found for each in some), key=lambda each: each.time)


def _service(consumer: str) -> str:
    service, _, own = consumer.partition(".")
    if service not in SERVICES or own not in consumers(service):
        raise OperatorError(f"There is no consumer {consumer}: `tenure status` lists them.", NOT_FOUND)
    return service


async def _one(context: Context, handle: str) -> Parked:
    found = await _look(context, handles=[handle])
    if len(found) != 1:
        how = "Nothing parked has" if not found else f"{len(found)} records have"
        raise OperatorError(f"{how} the handle {handle}: `tenure parked ls` lists what there is.", NOT_FOUND)
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


# ── Looking ────────────────────────────────────────────────────────────────────────────────────────────


@verb("parked ls")
async def list_parked(
    context: Context,
    output: Output,
    consumer: OfConsumer = None,
    stream: OfStream = None,
    group: Annotated[str | None, typer.Option("--group", help="Of this group, by its fingerprint.")] = None,
    behind: Annotated[bool, typer.Option("--behind", help="Those, too, that only wait behind another.")] = False,
) -> Result:
    """List what is parked, oldest first."""
    looked = await _look(context, consumer, stream, behind=behind)
    found = [each for each in looked if group in (None, each.fingerprint)]
    output.table(
        ("handle", "consumer", "event", "why", ">behind"),
        [
            (each.handle, each.consumer, _event(each), f"{each.reason}: {each.detail[:120]}", each.behind)
            for each in found
        ],
    )
    output.line(f"{count(len(found), 'record')} parked; looked at {len(looked):,}.")
    return Result({"looked_at": len(looked), "parked": [as_data(each) for each in found]})


def _event(each: Parked) -> str:
    at = f"{each.raw.topic}/{each.raw.partition}/{each.raw.offset}"
    return f"{each.type or '?'} {each.stream}@{each.version}" if each.stream else f"{each.type or '?'} {at}"


@verb("parked group")
async def group_parked(context: Context, output: Output, consumer: OfConsumer = None) -> Result:
    """Group what is parked by the fault: a group is what fails for the same cause."""
    looked = await _look(context, consumer)
    groups: dict[str, list[Parked]] = {}
    for each in looked:
        groups.setdefault(each.fingerprint, []).append(each)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    output.table(
        ("group", ">records", ">behind", "since", "consumer, event, fault"),
        [
            (
                name,
                f"{len(some):,}",
                f"{sum(each.behind for each in some):,}",
                when(some[0].time),
                f"{some[0].consumer} {some[0].type}: {engine.shape(some[0].detail) or some[0].reason}",
            )
            for name, some in ordered
        ],
    )
    output.line(f"{count(len(groups), 'group')}; looked at {count(len(looked), 'record')}.")
    return Result(
        {
            "looked_at": len(looked),
            "groups": [
                {
                    "fingerprint": name,
                    "records": len(some),
                    "behind": sum(each.behind for each in some),
                    "first": some[0].time,
                    "last": some[-1].time,
                    "example": as_data(some[0]),
                }
                for name, some in ordered
            ],
        }
    )


@verb("parked show")
async def show_parked(
    context: Context,
    output: Output,
    handle: Annotated[str, typer.Argument(help="The record's handle.")],
) -> Result:
    """Show one parked record, whole. Personal fields stay sealed."""
    each = await _one(context, handle)
    headers = [(name, "" if value is None else value.decode(errors="replace")) for name, value in each.raw.headers]
    value = each.raw.value or b""
    output.fields(
        [
            ("consumer", each.consumer),
            ("place", f"{each.raw.topic}/{each.raw.partition}/{each.raw.offset}"),
            ("parked", when(each.time)),
            ("reason", each.reason),
            ("detail", each.detail),
            ("group", each.fingerprint),
            ("stream", f"{each.stream}@{each.version}" if each.stream else "none, or not readable"),
            ("behind it", count(each.behind, "record")),
            *headers,
            ("body", value.decode(errors="replace")),
        ]
    )
    return Result({**as_data(each), "key": each.raw.key, "headers": headers, "value": _readable(value)})


def _readable(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except ValueError:
        return value


# ── Retry ──────────────────────────────────────────────────────────────────────────────────────────────


@change("parked retry", fails_when="a record still can't be applied")
async def retry_parked(
    context: Context,
    output: Output,
    consent: Consent,
    handles: Handles = None,
    group: Annotated[str | None, typer.Option("--group", help="All of a group.")] = None,
    consumer: OfConsumer = None,
    stream: OfStream = None,
    over_gap: Annotated[
        bool, typer.Option("--over-gap", help="Go on where versions are missing that an unreadable record stands for.")
    ] = False,
) -> Planned:
    """Apply parked records, each stream's in order, to the consumer that parked them.

    The dry run applies them, too, and takes it back; a reaction's commands are only considered. A record is copied
    to engine.settled, the copy compared, and only then taken out, in the transaction of its effect."""
    if not (handles or group or consumer or stream):
        raise OperatorError("Say what to retry: handles, --group, --consumer or --stream.", USAGE)
    looked = await _look(context, consumer, stream, handles or None)
    found = [each for each in looked if group in (None, each.fingerprint)]
    missing = set(handles or ()) - {each.handle for each in found}
    if missing:
        raise OperatorError(f"Nothing parked has the handle {sorted(missing)[0]}: see `tenure parked ls`.", NOT_FOUND)
    services = sorted({_service(each.consumer) for each in found})
    plans = [
        await _retry_in(
            context, service, [each for each in found if each.consumer.startswith(f"{service}.")], over_gap=over_gap
        )
        for service in services
    ]
    if plans:
        return plans
    output.line("Nothing that is parked is meant by that.")
    return Result({"verb": "parked retry", "count": 0, "dry_run": not consent.yes})


async def _retry_in(context: Context, service: str, found: Sequence[Parked], *, over_gap: bool) -> ChangePlan:
    db, lines = await context.db(service, write=True), engine.lines(found)
    tried = [
        (line, await engine.attempt(db, await context.consumer(line.consumer), line, over_gap=over_gap))
        for line in lines
    ]

    async def apply(operation: Operation) -> Outcome:
        gone = [
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
        return await _looked_again(context, service, gone)

    return ChangePlan(
        service=service,
        arguments=[
            *(f"consumer={consumer}" for consumer in sorted({line.consumer for line in lines})),
            *(f"line={_name(line)}" for line in lines[:50]),
        ],
        total=sum(each.waiting for _, each in tried),
        thing="parked record",
        says=[said for line, each in tried for said in _would(line, each)],
        data={"service": service, "lines": [_tried(line, each) for line, each in tried]},
        apply=apply,
    )


def _name(line: Line) -> str:
    return line.stream if line.stream is not None else "{1}/{2}/{3}".format(*line.place)


def _would(line: Line, tried: Tried) -> list[str]:
    """What a retry of a line would come to, for a person."""
    more = tried.waiting - tried.would_apply
    text = f"{line.consumer} {_name(line)}: {tried.would_apply:,} of {count(tried.waiting, 'record')} can be applied"
    if tried.stopped:
        return [f"{text}; then it stops: {tried.stopped}"]
    later = f" ({more:,} more are tried when it is done)" if more > 0 else ""
    return [text + later, *(f"    {_answered(answer)}" for answer in tried.answers or ())]


def _answered(answer: Answer) -> str:
    if isinstance(answer, Accepted):
        events = ", ".join(each.event.type() for each in answer.events)
        return f"{answer.stream}: {events or 'nothing new'}"
    return f"{answer.stream}: refused by {answer.rule}"


def _tried(line: Line, tried: Tried) -> dict[str, Any]:
    return {
        "consumer": line.consumer,
        "line": _name(line),
        "would_apply": tried.would_apply,
        "waiting": tried.waiting,
        "stopped": tried.stopped,
        "answers": [_answered(answer) for answer in tried.answers or ()],
    }


async def _looked_again(context: Context, service: str, gone: Sequence[tuple[Line, Retried]]) -> Outcome:
    """The second look: what of these lines is still parked."""
    await asyncio.sleep(0.2)
    db, left, says = await context.db(service), 0, []
    for line, done in gone:
        still = [each for each in await engine.list_parked(db, line.consumer, line.stream) if _same(each, line)]
        left += sum(1 + each.behind for each in still)
        others = f", {done.repeats:,} repeats, {done.ignored:,} of no concern to it" * bool(done.repeats + done.ignored)
        says.append(f"{line.consumer} {_name(line)}: {done.applied:,} applied{others}.")
        if done.refused:
            says.append(f"{count(done.refused, 'record')} of them are not the stream's, and hold it no longer.")
        if done.stopped:
            says.append(f"It stopped, and {count(done.waiting, 'record')} wait: {done.stopped}.")
    says.append(f"Looked again: {count(left, 'record')} of these still parked.")
    lines = [
        {
            "consumer": line.consumer,
            "line": _name(line),
            "applied": done.applied,
            "repeats": done.repeats,
            "ignored": done.ignored,
            "refused": done.refused,
            "waiting": done.waiting,
            "stopped": done.stopped,
        }
        for line, done in gone
    ]
    return Outcome(left == 0, says, {"retried": lines, "still_parked": left})


def _same(each: Parked, line: Line) -> bool:
    return each.holds_stream if line.stream is not None else each.place == line.place


# ── Putting right, giving up ───────────────────────────────────────────────────────────────────────────


@change("parked edit")
async def edit_parked(
    context: Context,
    handle: Annotated[str, typer.Argument(help="The record's handle.")],
    value: Annotated[str | None, typer.Option("--value", help="A file with the new body; - is standard input.")] = None,
    header: Annotated[list[str] | None, typer.Option("--header", help="name=text; an empty text removes it.")] = None,
) -> Planned:
    """Replace the bytes of a parked record, for its consumer alone; the original is kept.

    The log and the topic stay as they are, so this consumer will hold something else than they say."""
    each = await _one(context, handle)
    service = _service(each.consumer)
    body = None if value is None else (sys.stdin.buffer.read() if value == "-" else _file(value))
    types = consumers(service)[each.consumer.partition(".")[2]].types
    raw, record = engine.edited(each, types, body, _headers(header or ()))
    if raw == each.raw:
        raise OperatorError("Nothing would be different: give --value or --header.", USAGE)
    envelope = record.envelope
    before, after = len(each.raw.value or b""), len(raw.value or b"")
    says = [
        f"{each.consumer} would get {after:,} bytes instead of {before:,} for {_event(each)}; it reads as "
        f"{envelope.type if envelope else '?'}.",
        *(changes := _changes(each.raw, raw)),
        "The log and the topic keep what they have. Nothing is applied: `tenure parked retry` does that.",
    ]
    arguments = [f"handle={handle}", f"consumer={each.consumer}", f"line={_name(each.line)}"]

    async def apply(operation: Operation) -> Outcome:
        await engine.edit(await context.db(service, write=True), each, record, operation.id)
        operation.counter()
        again = await _one(context, handle)
        same = again.raw.value == raw.value
        holds = "holds" if same else "does NOT hold"
        said = f"Looked again: {handle} {holds} the new bytes; the old are in engine.settled."
        return Outcome(same, [said], {"handle": handle})

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=1,
        thing="record",
        says=says,
        data={"handle": handle, "changes": changes},
        apply=apply,
    )


def _changes(before: Raw, after: Raw) -> list[str]:
    """What goes (-) and what comes (+), line by line of the headers and of the body, which is set out if it is JSON."""
    lines = unified_diff(_lines(before), _lines(after), n=0, lineterm="")
    return [f"  {line}" for line in lines if not line.startswith(("---", "+++", "@@"))]


def _lines(raw: Raw) -> list[str]:
    headers = [f"{name}: {(value or b'').decode(errors='backslashreplace')}" for name, value in raw.headers]
    body = raw.value or b""
    with suppress(orjson.JSONDecodeError):
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    return headers + body.decode(errors="backslashreplace").splitlines()


def _file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise OperatorError(f"{name} can't be read: {error.strerror}.", NOT_FOUND) from error


def _headers(given: Sequence[str]) -> dict[str, str]:
    if bad := [text for text in given if "=" not in text]:
        raise OperatorError(f"--header reads name=text, not {bad[0]}.", USAGE)
    return dict(text.split("=", 1) for text in given)


@change("parked drop")
async def drop_parked(
    context: Context,
    handles: Annotated[list[str], typer.Argument(help="Records, by their handles.")],
) -> Planned:
    """Give records up: their consumer will never have their effect.

    Their bytes are kept in engine.settled."""
    found = [await _one(context, handle) for handle in dict.fromkeys(handles)]
    services = {_service(each.consumer) for each in found}
    if len(services) > 1:
        raise OperatorError(f"These are of {' and '.join(sorted(services))}: drop one service's at a time.", REFUSED)
    service = services.pop()
    says = [
        f"{each.consumer} would go on without {_event(each)} ({each.reason}: {each.detail[:200]})."
        + (f" {count(each.behind, 'record')} behind it would wait for a retry." if each.behind else "")
        for each in found
    ]
    arguments = [f"dropped={each.consumer} {_event(each)}" for each in found]
    data = {"records": [as_data(each) for each in found]}

    async def apply(operation: Operation) -> Outcome:
        db = await context.db(service, write=True)
        for each in found:
            await engine.drop(db, await context.consumer(each.consumer), each, operation.id)
            operation.counter()
        left = await _look(context, handles=[each.handle for each in found])
        return Outcome(
            not left,
            [f"Looked again: {count(len(left), 'record')} of these still parked."],
            {"still_parked": len(left)},
        )

    return ChangePlan(
        service=service,
        arguments=arguments,
        total=len(found),
        thing="record",
        says=says,
        data=data,
        apply=apply,
    )
