"""How a change goes: it says exactly what would happen; does it when told to and why; looks again; and leaves an event
of its own (`OperationPerformed`) in the log of the service that it changed."""

import getpass
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import typer
import uuid_utils

from cli.context import Context
from cli.exit_codes import DONE, FAULTS, REFUSED, USAGE, OperatorError
from cli.output import Counter, Output, count
from shared.eventlog.write.log import Log, Meta, Refused, utc_now
from shared.eventlog.write.operations import OPERATION, Begin, Command, End


@dataclass(frozen=True, slots=True)
class Consent:
    """What was given with --yes, --reason and --actor."""

    yes: bool = False
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A change that is being made: the stream that records it, who makes it and why, and its progress bar."""

    id: str
    actor: str
    reason: str
    counter: Counter

    @property
    def by(self) -> str:
        """Who and why, in one line."""
        return ": ".join(part for part in (self.actor, self.reason.strip()) if part)


@dataclass(slots=True)
class Outcome:
    """What came of a change, after a second look. `ok` is false when something of it was not reached."""

    ok: bool
    says: list[str]
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """What a verb would change in one service, and the function that changes it.

    `total` is how many things it would touch, each a `thing`; `says` the rest of what a person has to know, a line
    each; `data` the same for a program. `arguments` go into the record. `mode` is the option that makes the verb do
    something else than it does without, for the record's verb: `--drop-old`.
    """

    service: str
    arguments: Sequence[str]
    total: int
    thing: str
    says: Sequence[str] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    mode: str = ""
    recorded_afterwards: bool = False
    """There is no log before the change, or an event that is added to it would be in the way."""
    apply: Callable[[Operation], Awaitable[Outcome]]


async def carry_out(context: Context, output: Output, verb: str, plans: Sequence[ChangePlan], consent: Consent) -> int:
    """Show all plans of a verb together, ask once, apply one after the other. Return the exit code.

    Each is recorded in its own service's log. Stops at the first that raises.
    """
    verb = f"{verb} {plans[0].mode}".rstrip()
    for plan in plans:
        for text in plan.says:
            output.line(text)
    planned = [_as_data(verb, plan) for plan in plans]
    if not (total := sum(plan.total for plan in plans)):
        output.line(f"Nothing to do: no {plans[0].thing}s are concerned.")
        _result(output, [{**each, "dry_run": not consent.yes} for each in planned])
        return DONE
    consent = _confirmed(context, output, count(total, plans[0].thing), consent)
    if not consent.yes:
        output.line(f"Dry run: nothing was changed. `{verb}` with --yes and --reason would do it.")
        _result(output, [{**each, "dry_run": True} for each in planned])
        return DONE
    applied = [await _apply(context, output, verb, plan, consent) for plan in plans if plan.total]
    _result(output, [each for each, _ in applied])
    return DONE if all(ok for _, ok in applied) else FAULTS


def _as_data(verb: str, plan: ChangePlan) -> dict[str, object]:
    return {"verb": verb, "count": plan.total, **plan.data}


def _result(output: Output, results: Sequence[Mapping[str, object]]) -> None:
    """Write one document, whatever the number of services."""
    if len(results) == 1:
        output.result(results[0])
        return
    alike = {name: results[0][name] for name in ("verb", "dry_run")}
    total = sum(number for each in results if isinstance(number := each["count"], int))
    oks = [each["ok"] for each in results if "ok" in each]
    output.result({**alike, "count": total, **({"ok": all(oks)} if oks else {}), "changes": results})


async def _apply(
    context: Context, output: Output, verb: str, plan: ChangePlan, consent: Consent
) -> tuple[dict[str, object], bool]:
    """Apply one plan between the two events of its record. Return the result for a program, and whether all is done."""
    name = str(uuid_utils.uuid7())
    who = consent.actor or operator_name()
    actor = _ascii(who)

    async def record(step: str, command: Command) -> None:
        await record_step(await context.log(plan.service), name, actor, step, command)

    begin = Begin(verb, tuple(plan.arguments), actor, consent.reason)
    if not plan.recorded_afterwards:
        await record("begin", begin)
    try:
        with output.progress(verb, plan.total) as counter:
            operation = Operation(id=OPERATION.id(name), actor=who, reason=consent.reason, counter=counter)
            outcome = await plan.apply(operation)
    except BaseException as error:
        result = str(error) if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"
        if not plan.recorded_afterwards:
            try:
                await record("end", End("failed", result[:1000]))
            except Exception as another:  # noqa: BLE001  # what went wrong first is what has to be told
                output.note(f"That it failed could not be recorded in {plan.service}'s log ({another!r}).")
        raise
    if plan.recorded_afterwards:
        await record("begin", begin)
    await record("end", End("done" if outcome.ok else "failed", " ".join(outcome.says)[:1000]))
    for text in outcome.says:
        output.line(text)
    output.line(f"Recorded as {operation.id} in {plan.service}'s log.")
    data = {"dry_run": False, "ok": outcome.ok, "operation": operation.id, **outcome.data}
    return {**_as_data(verb, plan), **data}, outcome.ok


def _confirmed(context: Context, output: Output, what: str, consent: Consent) -> Consent:
    """With --yes it needs a reason; without, a person at a terminal is asked for both."""
    if consent.yes:
        if not consent.reason.strip():
            raise OperatorError("Say why, for the record: --reason TEXT.", USAGE)
        return consent
    if output.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return consent
    output.line(f"{what} at {context.where}.")
    if not typer.confirm("Do it?", default=False):
        return consent
    reason = consent.reason or typer.prompt("Why (for the record)")
    return Consent(True, reason, consent.actor)


async def record_step(log: Log, name: str, actor: str, step: str, command: Command) -> None:
    """Append one of the two events of an operation's record."""
    meta = Meta(f"operation:{name}:{step}", actor, utc_now(), OPERATION.id(name))
    answer = await log.execute(OPERATION, name, command, meta)
    if isinstance(answer, Refused):
        raise OperatorError(f"{answer.reason} {answer.remedy}", REFUSED)


def operator_name() -> str:
    """Who is at the keyboard: TENURE_ACTOR, or the login name and the machine."""
    given = os.environ.get("TENURE_ACTOR")
    if given:
        return given
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"operator:{name}@{socket.gethostname()}"


def _ascii(text: str) -> str:
    """As an actor can stand in a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:200].strip() or "operator"
