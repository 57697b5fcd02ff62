"""`tenure stream show`: the events of a stream, and its state after each."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Final, NamedTuple

import orjson
import typer
from pydantic_core import to_jsonable_python

from cli.app import Result, group, verb
from cli.context import Context, stream_kinds
from cli.event_search import read_stream
from cli.exit_codes import NOT_FOUND, OperatorError
from cli.options import At
from cli.output import Output, sandbox_mark, when
from cli.sentences import Count, say
from shared.eventlog.decision import Stream
from shared.events.envelope import GENESIS, StoredEvent, chained, stamp
from shared.events.upcasts import decode
from shared.persistent_map import PersistentMap

_LINES: Final = 12
"""The most changed fields that are shown of a state; --json shows all."""

group("stream", "Events of one stream, and its state after each.")


def shape(state: object) -> Any:
    """Return a state as JSON, with the name of its class."""
    return {"is": type(state).__name__, **_fields(to_jsonable_python(_plain(state), fallback=str))}


def _plain(value: Any) -> Any:
    """Return a state with each persistent map as the dict that it stands for."""
    if isinstance(value, PersistentMap):
        return {key: _plain(inner) for key, inner in value.items()}
    if is_dataclass(value) and any(isinstance(getattr(value, field.name), PersistentMap) for field in fields(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return nested fields by their dotted names; a list is one value unless it holds objects."""
    if isinstance(value, dict) and value:
        parts = [flat(inner, f"{path}.{name}" if path else str(name)) for name, inner in value.items()]
        return {name: found for part in parts for name, found in part.items()}
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        parts = [flat(inner, f"{path}[{number}]") for number, inner in enumerate(value)]
        return {name: found for part in parts for name, found in part.items()}
    return {path: value}


class Difference(NamedTuple):
    """A field that an event has changed, added or removed."""

    field: str
    before: Any = None
    after: Any = None
    added: bool = False
    removed: bool = False

    def __str__(self) -> str:
        return f"{self.field} removed" if self.removed else f"{self.field} = {_short(self.after)}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the fields that differ, those first that are there afterwards."""
    found = [
        Difference(name, before.get(name), value, added=name not in before)
        for name, value in after.items()
        if name not in before or before[name] != value
    ]
    return found + [Difference(name, value, removed=True) for name, value in before.items() if name not in after]


def _short(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 300 else f"{text[:300]}…"


def folded(kind: Stream[Any, Any, Any], events: Sequence[StoredEvent], last: int) -> list[Any]:
    """Return the state before the last events, and the state after each of them.

    Personal fields stay sealed, as in the log.
    """
    first, state = len(events) - last, kind.initial
    states = [shape(state)] if first == 0 else []
    for number, event in enumerate(events, start=1):
        state = kind.evolve(state, decode(event.envelope, event.data, trusted=True))
        if number >= first:
            states.append(shape(state))
    return states


def broken(events: Sequence[StoredEvent]) -> str | None:
    """Return where the stream's hash chain is broken, or None."""
    before = GENESIS
    for version, event in enumerate(events, start=1):
        if (event.envelope.version, event.envelope.prevhash) != (version, before):
            return f"version {event.envelope.version} does not continue version {version - 1}"
        if chained(event.envelope, event.data) != event.envelope.hash:
            return f"version {event.envelope.version} does not match its hash"
        before = event.envelope.hash
    return None


async def find_stream(context: Context, stream: str) -> tuple[str, Stream[Any, Any, Any], list[StoredEvent]]:
    """Return a stream's service, its kind and its events.

    Raises:
        OperatorError: There is no such stream.
    """
    kinds = stream_kinds(stream)
    for service, kind in kinds:
        if events := await read_stream(await context.db(service), service, stream):
            return service, kind, events
    if not kinds:
        raise OperatorError(
            f"No service has streams like {stream}: a stream's id is a kind and a key, such as account-1234.", NOT_FOUND
        )
    raise OperatorError(f"{kinds[0][0]} has no stream {stream}.", NOT_FOUND)


@verb("stream show", fails_when="the stream's hash chain is broken")
async def show_stream(
    context: Context,
    output: Output,
    stream: Annotated[str, typer.Argument(help="The stream's id, such as subscription-1234.")],
    at: At = None,
    version: Annotated[int | None, typer.Option(min=1, help="Only up to this version.")] = None,
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="Of these, only the last N events.")] = None,
) -> Result:
    """Show a stream's events and what each changed in its state.

    Personal fields stay sealed. With --last, --json has only the last event's state."""
    service, kind, events = await find_stream(context, stream)
    fault, total = broken(events), len(events)
    upto = [each for each in events[:version] if at is None or each.envelope.time <= at]
    number = len(upto) if last is None else min(last, len(upto))
    shown, states = upto[len(upto) - number :], folded(kind, upto, number)
    fields = [flat(state) for state in states]
    changes = [differences(before, after) for before, after in pairwise(fields)]
    for event, changed in zip(shown, changes, strict=True):
        _print_event(output, event, changed)
    _print_summary(output, service, total, shown, at, fault)
    found = [as_data(event, changed) for event, changed in zip(shown, changes, strict=True)]
    for data, state in list(zip(found, states[1:], strict=True))[0 if last is None else -1 :]:
        data["state"] = state
    return Result(
        {
            "service": service,
            "stream": stream,
            "at": at,
            "looked_at": total,
            "before": len(upto) - number,
            "chain": fault or "whole",
            "events": found,
        },
        ok=fault is None,
    )


def as_data(event: StoredEvent, changes: Sequence[Difference]) -> dict[str, Any]:
    """Return an event with what it changed."""
    envelope = event.envelope
    return {
        "id": envelope.id,
        "type": envelope.type,
        "version": envelope.version,
        "position": envelope.position,
        "time": stamp(envelope.time),
        "actor": envelope.actor,
        "tenant": envelope.tenant,
        "sandbox": envelope.sandbox,
        "correlation": envelope.correlation_id,
        "causation": envelope.causation_id,
        "hash": envelope.hash.hex(),
        "data": orjson.loads(event.data),
        "changed": [change._asdict() for change in changes],
    }


def _print_event(output: Output, event: StoredEvent, changes: Sequence[Difference]) -> None:
    envelope = event.envelope
    by = f"by {envelope.actor or '?'}{sandbox_mark(envelope)}"
    output.line(f"{envelope.version}  {envelope.type}  {when(envelope.time)}  {by}")
    output.line(say("   %(event)s at position %(position)s", event=envelope.id, position=envelope.position or 0))
    for change in changes[:_LINES]:
        output.line(f"     {change}")
    if len(changes) > _LINES:
        fields = Count(len(changes) - _LINES, "more field")
        output.line(say("     and %(fields)s (--json shows all)", fields=fields))


def _print_summary(
    output: Output, service: str, total: int, shown: Sequence[StoredEvent], at: datetime | None, fault: str | None
) -> None:
    read = say("%(events)s read from %(service)s's store", events=Count(total, "event"), service=service)
    if at is not None:
        read = say("%(so)s, %(shown)s of them shown up to %(time)s", so=read, shown=len(shown), time=at)
    elif len(shown) < total:
        read = say("%(so)s, %(shown)s of them shown", so=read, shown=len(shown))
    output.line(
        say("%(so)s; the hash chain is intact.", so=read)
        if fault is None
        else say("%(so)s; THE HASH CHAIN IS BROKEN: %(fault)s.", so=read, fault=fault)
    )
