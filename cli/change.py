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

from cli.ends import DONE, FAULTS, REFUSED, USAGE, Trouble
from cli.place import Place
from cli.say import Counter, Say, count
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


@dataclass(slots=True)
class Outcome:
    """What came of it, after a second look. `ok` is false when something of it was not reached."""

    ok: bool
    says: list[str]
    data: dict[str, Any] = field(default_factory=dict)


Do = Callable[[str, Counter], Awaitable[Outcome]]
"""Does it; is given the operation's stream id, and is to count what it has done."""


async def carry_out(place: Place, say: Say, change: Change, go: Go, do: Do) -> int:
    """The whole way. Returns the exit code."""
    for text in change.says:
        say.line(text)
    shown = {"verb": change.verb, "count": change.total, **change.data}
    if change.total == 0:
        say.line(f"Nothing to do: no {change.thing}s are concerned.")
        say.result({**shown, "dry_run": not go.yes})
        return DONE
    go = _decided(place, say, change, go)
    if not go.yes:
        say.line(f"Dry run: nothing was changed. `{change.verb}` with --yes and --reason would do it.")
        say.result({**shown, "dry_run": True})
        return DONE
    name = str(uuid_utils.uuid7())
    operation = OPERATION.id(name)
    actor = _ascii(go.actor or me())

    async def note(step: str, command: Command) -> None:
        await _note(await place.log(change.service), name, actor, step, command)

    begin = Begin(change.verb, tuple(change.arguments), actor, go.reason)
    if not change.afterwards:
        await note("begin", begin)
    try:
        with say.progress(change.verb, change.total) as counter:
            outcome = await do(operation, counter)
    except BaseException as error:
        result = str(error) if isinstance(error, Trouble) else f"{type(error).__name__}: {error}"
        if not change.afterwards:
            await note("end", End("failed", result[:1000]))
        raise
    if change.afterwards:
        await note("begin", begin)
    await note("end", End("done" if outcome.ok else "failed", " ".join(outcome.says)[:1000]))
    for text in outcome.says:
        say.line(text)
    say.line(f"Recorded as {operation} in {change.service}'s log.")
    say.result({**shown, "dry_run": False, "ok": outcome.ok, "operation": operation, **outcome.data})
    return DONE if outcome.ok else FAULTS


def _decided(place: Place, say: Say, change: Change, go: Go) -> Go:
    """With --yes it needs a reason; without, a person at a terminal is asked for both."""
    if go.yes:
        if not go.reason.strip():
            raise Trouble("Say why, for the record: --reason TEXT.", USAGE)
        return go
    if say.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return go
    say.line(f"{count(change.total, change.thing)} at {place.where}.")
    if not typer.confirm("Do it?", default=False):
        return go
    reason = go.reason or typer.prompt("Why (for the record)")
    return Go(True, reason, go.actor)


async def _note(log: Log, name: str, actor: str, step: str, command: Command) -> None:
    meta = Meta(f"operation:{name}:{step}", actor, utc_now(), OPERATION.id(name))
    answer = await log.execute(OPERATION, name, command, meta)
    if isinstance(answer, Refused):
        raise Trouble(f"{answer.reason} {answer.remedy}", REFUSED)


def _ascii(text: str) -> str:
    """As an actor can stand in a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:200].strip() or "operator"
