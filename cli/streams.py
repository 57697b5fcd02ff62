"""`tenure stream show` and `tenure why`: what happened to one thing, and what followed from one event."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
import typer
from pydantic_core import to_jsonable_python
from rich.text import Text
from rich.tree import Tree

from cli.app import APP, At, Json, run
from cli.ends import DONE, FAULTS, NOT_FOUND, Trouble
from cli.place import SERVICES, Place, stream_kinds
from cli.say import Say, count, duration, plain, when
from cli.stores import Found, Looked, children, find, read_stream, related
from shared.eventlog.decision import Stream
from shared.events.envelope import GENESIS, StoredEvent, chained, stamp
from shared.events.upcasts import decode

_LINES: Final = 12
"""Changed fields that are shown of a state; --json shows all."""

STREAM: Final = typer.Typer(no_args_is_help=True, help="One stream: its events, and the state after each.")
APP.add_typer(STREAM, name="stream")


def shape(state: object) -> Any:
    """A state as JSON, a union's member by its name."""
    return {"is": type(state).__name__, **_fields(to_jsonable_python(state, fallback=str))}


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names; a list is one value unless it holds objects."""
    if isinstance(value, dict) and value:
        parts = [flat(inner, f"{path}.{name}" if path else str(name)) for name, inner in value.items()]
        return {name: found for part in parts for name, found in part.items()}
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        parts = [flat(inner, f"{path}[{number}]") for number, inner in enumerate(value)]
        return {name: found for part in parts for name, found in part.items()}
    return {path: value}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The fields that are not as before, a line each."""
    lines = [
        f"{name} = {_short(value)}" for name, value in after.items() if name not in before or before[name] != value
    ]
    return lines + [f"{name} is gone" for name in before if name not in after]


def _short(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 300 else f"{text[:300]}…"


def folded(kind: Stream[Any, Any, Any], events: Sequence[StoredEvent]) -> list[Any]:
    """The state after each event. Personal fields are as the log has them: sealed."""
    states, state = [], kind.initial
    for event in events:
        state = kind.evolve(state, decode(event.of, event.data))
        states.append(shape(state))
    return states


def broken(events: Sequence[StoredEvent]) -> str | None:
    """Where the chain of hashes breaks, if it does."""
    before = GENESIS
    for version, event in enumerate(events, start=1):
        if (event.of.version, event.of.prevhash) != (version, before):
            return f"version {event.of.version} does not continue version {version - 1}"
        if chained(event.of, event.data) != event.of.hash:
            return f"version {event.of.version} is not what was hashed"
        before = event.of.hash
    return None


async def find_stream(place: Place, stream: str) -> tuple[str, Stream[Any, Any, Any], list[StoredEvent]]:
    """Whose it is, its kind, and its events. Trouble where there is none."""
    kinds = stream_kinds(stream)
    for service, kind in kinds:
        if events := await read_stream(await place.db(service), service, stream):
            return service, kind, events
    if not kinds:
        raise Trouble(
            f"No service has streams like {stream}: an id is a kind and a key, as in account-1234.", NOT_FOUND
        )
    raise Trouble(f"{kinds[0][0]} has no stream {stream}.", NOT_FOUND)


@STREAM.command("show")
def show(
    stream: Annotated[str, typer.Argument(help="The stream's id, as in subscription-…")],
    at: At = None,
    json: Json = False,
) -> None:
    """A stream's events and what each changed in its state. Personal fields stay sealed.

    Ends with 1 when its chain of hashes is broken."""

    async def work(place: Place, say: Say) -> int:
        service, kind, events = await find_stream(place, stream)
        fault, total = broken(events), len(events)
        shown = [event for event in events if at is None or event.of.time <= at]
        states = folded(kind, shown)
        before: dict[str, Any] = flat(shape(kind.initial))
        for event, state in zip(shown, states, strict=True):
            after = flat(state)
            _told(say, event, changed(before, after))
            before = after
        _ended(say, service, total, len(shown), at, fault)
        say.result(
            {"service": service, "stream": stream, "at": at, "looked_at": total, "chain": fault or "whole",
             "events": [as_data(event, state) for event, state in zip(shown, states, strict=True)]}
        )  # fmt: skip
        return DONE if fault is None else FAULTS

    run(json, work)


def as_data(event: StoredEvent, state: Any) -> dict[str, Any]:
    of = event.of
    return {"id": of.id, "type": of.type, "version": of.version, "position": of.position, "time": stamp(of.time),
            "actor": of.actor, "tenant": of.tenant, "correlation": of.correlation_id, "causation": of.causation_id,
            "hash": of.hash.hex(), "data": orjson.loads(event.data), "state": state}  # fmt: skip


def _told(say: Say, event: StoredEvent, changes: Sequence[str]) -> None:
    of = event.of
    say.line(f"{of.version}  {of.type}  {when(of.time)}  by {of.actor or '?'}")
    say.line(f"   {of.id} at position {of.position:,}")
    for text in changes[:_LINES]:
        say.line(f"     {text}")
    if len(changes) > _LINES:
        say.line(f"     and {count(len(changes) - _LINES, 'more field')} (--json shows all)")


def _ended(say: Say, service: str, total: int, shown: int, at: datetime | None, fault: str | None) -> None:
    as_of = "" if at is None else f", {shown} of them by {when(at)}"
    whole = "their chain is whole" if fault is None else f"THE CHAIN IS BROKEN: {fault}"
    say.line(f"Looked at {count(total, 'event')} in {service}'s store{as_of}; {whole}.")


# ── why ────────────────────────────────────────────────────────────────────────────────────────────────


@APP.command()
def why(
    event: Annotated[str, typer.Argument(help="The event's id.")],
    whole: Annotated[bool, typer.Option("--all", help="The other events of its correlation, too.")] = False,
    json: Json = False,
) -> None:
    """What led to an event and what followed from it, over all services."""

    async def work(place: Place, say: Say) -> int:
        looked = Looked()
        asked = await find(place, event.lower(), looked)
        found = await related(place, asked, looked)
        shown = found if whole else kin(found, asked)
        for tree in trees(shown, asked):
            if not say.json:
                say.out.print(tree)
        others = f", {len(found) - len(shown):,} more of its correlation (--all)" if len(shown) < len(found) else ""
        say.line(f"{count(len(shown), 'event')}{others}; looked at {count(looked.events, 'event')} in "
                 f"{len(SERVICES)} stores.")  # fmt: skip
        say.result({"asked": asked.of.id, "looked_at": looked.events, "events": [_node(each) for each in shown]})
        return DONE

    run(json, work)


def kin(found: Sequence[Found], asked: Found) -> list[Found]:
    """Those that have the first cause in common with the one that was asked for."""
    known = {each.of.id: each for each in found}
    root, seen = asked, {asked.of.id}
    while (cause := known.get(root.of.causation_id)) is not None and cause.of.id not in seen:
        root = cause
        seen.add(cause.of.id)
    by_cause, waiting, reached = children(found), [root], {root.of.id}
    while waiting:
        effects = [each for each in by_cause.get(waiting.pop().of.id, ()) if each.of.id not in reached]
        reached |= {each.of.id for each in effects}
        waiting += effects
    return [each for each in found if each.of.id in reached]


def _node(found: Found) -> dict[str, Any]:
    of = found.of
    return {"id": of.id, "type": of.type, "service": found.service, "stream": of.stream, "version": of.version,
            "time": stamp(of.time), "actor": of.actor, "causation": of.causation_id,
            "correlation": of.correlation_id}  # fmt: skip


def trees(found: Sequence[Found], asked: Found) -> list[Tree]:
    """The events as trees, each under the one that caused it; what has no cause among them is a root."""
    by_cause, known, start = children(found), {each.of.id for each in found}, found[0].of.time
    roots: dict[str, Tree] = {}
    for each in found:
        cause = each.of.causation_id
        if cause in known and cause != each.of.id:
            continue
        label = f"because of the command {cause}" if ":" in cause else f"because of {cause}, from outside"
        label = label if cause else "begun here"
        root = roots.setdefault(cause, Tree(Text(plain(label)), guide_style="dim"))
        _grow(root, each, by_cause, asked, start)
    return list(roots.values())


def _grow(root: Tree, first: Found, by_cause: Mapping[str, Sequence[Found]], asked: Found, start: datetime) -> None:
    """Adds an event and all that followed. Not recursive: a chain of renewals has no end."""
    waiting, seen = [(root, first)], set()
    while waiting:
        parent, each = waiting.pop()
        if each.of.id in seen:
            continue
        seen.add(each.of.id)
        mark = "  <- asked" if each.of.id == asked.of.id else ""
        late = duration((each.of.time - start).total_seconds())
        branch = parent.add(
            Text(plain(f"{each.of.type}  {each.service} +{late}{mark}\n{each.of.stream}@{each.of.version}"))
        )
        waiting += [(branch, effect) for effect in reversed(by_cause.get(each.of.id, ()))]
