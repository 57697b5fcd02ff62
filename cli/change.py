"""How every verb that changes something goes: it says exactly what would happen; does it when told to and why; looks
again; and leaves an event of its own (`OperationPerformed`) in the log of the service that it changed."""

import getpass
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer
import uuid_utils

from cli.context import Context
from cli.exit_codes import DONE, FAULTS, REFUSED, USAGE, OperatorError
from cli.operation import Outcome as Outcome
from cli.output import Counter, Output, count
from shared.eventlog.log import Log, Meta, Refused, utc_now
from shared.eventlog.operations import OPERATION, Begin, Command, End


@dataclass(frozen=True, slots=True)
class Go:
    """Whether to do it, who does, and why."""

    yes: bool = False
    reason: str = ""
    actor: str = ""


def me() -> str:
    """Who is at the keyboard: TENURE_ACTOR, or the login name and the machine."""
    given = os.environ.get("TENURE_ACTOR")
    if given:
        return given
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"operator:{name}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Change:
    """What a verb would do. `total` is how many things it would touch, of which `thing` is the word; `says` the rest of
    what there is to know, a line each; `data` the same for a program."""

    verb: str
    service: str
    arguments: Sequence[str]
    total: int
    thing: str
    says: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    afterwards: bool = False
    """Recorded only when it is done: there is no log before, or what is added to it would be in the way."""


Do = Callable[[str, Counter], Awaitable[Outcome]]
"""Does it; is given the operation's stream id, and is to count what it has done."""


async def carry_out(context: Context, output: Output, change: Change, go: Go, do: Do) -> int:
    """The whole way. Returns the exit code."""
    return await carry_out_all(context, output, [(change, do)], go)


async def carry_out_all(context: Context, output: Output, changes: Sequence[tuple[Change, Do]], go: Go) -> int:
    """The whole way of one verb that concerns several services: they are shown together, decided about once, and done
    one after the other, each recorded in its own log. Stops at the first that raises."""
    for change, _ in changes:
        for text in change.says:
            output.line(text)
    told = [_shown(change) for change, _ in changes]
    if not (total := sum(change.total for change, _ in changes)):
        output.line(f"Nothing to do: no {changes[0][0].thing}s are concerned.")
        _result(output, [{**each, "dry_run": not go.yes} for each in told])
        return DONE
    go = _decided(context, output, changes[0][0], total, go)
    if not go.yes:
        output.line(f"Dry run: nothing was changed. `{changes[0][0].verb}` with --yes and --reason would do it.")
        _result(output, [{**each, "dry_run": True} for each in told])
        return DONE
    results = [await _carry_out(context, output, change, go, do) for change, do in changes if change.total]
    _result(output, results)
    return DONE if all(result["ok"] for result in results) else FAULTS


def _shown(change: Change) -> dict[str, Any]:
    return {"verb": change.verb, "count": change.total, **change.data}


def _result(output: Output, results: Sequence[Mapping[str, Any]]) -> None:
    """One document, whatever the number of services."""
    if len(results) == 1:
        output.result(results[0])
        return
    count_ = sum(result["count"] for result in results)
    alike = {name: results[0][name] for name in ("verb", "dry_run")}
    oks = [result["ok"] for result in results if "ok" in result]
    output.result({**alike, "count": count_, **({"ok": all(oks)} if oks else {}), "changes": results})


async def _carry_out(context: Context, output: Output, change: Change, go: Go, do: Do) -> dict[str, Any]:
    name = str(uuid_utils.uuid7())
    operation = OPERATION.id(name)
    actor = _ascii(go.actor or me())

    async def note(step: str, command: Command) -> None:
        await _note(await context.log(change.service), name, actor, step, command)

    begin = Begin(change.verb, tuple(change.arguments), actor, go.reason)
    if not change.afterwards:
        await note("begin", begin)
    try:
        with output.progress(change.verb, change.total) as counter:
            outcome = await do(operation, counter)
    except BaseException as error:
        result = str(error) if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"
        if not change.afterwards:
            try:
                await note("end", End("failed", result[:1000]))
            except Exception as another:  # noqa: BLE001  # what went wrong first is what has to be told
                output.note(f"That it failed could not be recorded in {change.service}'s log ({another!r}).")
        raise
    if change.afterwards:
        await note("begin", begin)
    await note("end", End("done" if outcome.ok else "failed", " ".join(outcome.says)[:1000]))
    for text in outcome.says:
        output.line(text)
    output.line(f"Recorded as {operation} in {change.service}'s log.")
    return {**_shown(change), "dry_run": False, "ok": outcome.ok, "operation": operation, **outcome.data}


def _decided(context: Context, output: Output, change: Change, total: int, go: Go) -> Go:
    """With --yes it needs a reason; without, a person at a terminal is asked for both."""
    if go.yes:
        if not go.reason.strip():
            raise OperatorError("Say why, for the record: --reason TEXT.", USAGE)
        return go
    if output.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return go
    output.line(f"{count(total, change.thing)} at {context.where}.")
    if not typer.confirm("Do it?", default=False):
        return go
    reason = go.reason or typer.prompt("Why (for the record)")
    return Go(True, reason, go.actor)


async def _note(log: Log, name: str, actor: str, step: str, command: Command) -> None:
    meta = Meta(f"operation:{name}:{step}", actor, utc_now(), OPERATION.id(name))
    answer = await log.execute(OPERATION, name, command, meta)
    if isinstance(answer, Refused):
        raise OperatorError(f"{answer.reason} {answer.remedy}", REFUSED)


def _ascii(text: str) -> str:
    """As an actor can stand in a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:200].strip() or "operator"
