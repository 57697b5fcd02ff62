"""Execution of the verbs that change something.

Shows the plan, asks for confirmation, applies the change, checks the result, and records `OperationPerformed` events
in the log of the service that was changed.
"""

import asyncio
import getpass
import hashlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import typer
import uuid_utils

from cli.context import Context
from cli.exit_codes import DONE, FAULTS, REFUSED, USAGE, OperatorError
from cli.output import Counter, Output, count
from cli.sentences import say
from shared.eventlog.write.log import Log, Meta, Refused, utc_now
from shared.eventlog.write.operations import OPERATION, Begin, Command, End


@dataclass(frozen=True, slots=True)
class Consent:
    """The values of --yes, --reason and --actor."""

    yes: bool = False
    reason: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A change in progress: its id (a stream's), actor, reason and progress bar."""

    id: str
    actor: str
    reason: str
    counter: Counter

    @property
    def by(self) -> str:
        """The actor and the reason, in one line."""
        return ": ".join(part for part in (self.actor, self.reason.strip()) if part)


@dataclass(slots=True)
class Outcome:
    """The result of a change, as checked afterwards; `ok` is false if it is incomplete."""

    ok: bool
    summary: list[str]
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """What a verb would change in one service, and the function that changes it.

    `total` is the number of things that it would change, `thing` their name in the singular, `summary` the description
    for a person in lines, and `data` the same for a program. `arguments` are recorded. `mode` is the option that
    selects another action of the verb, such as `--drop-old`; it is recorded with the verb's name.
    """

    service: str
    arguments: Sequence[str]
    total: int
    thing: str
    summary: Sequence[str] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    mode: str = ""
    recorded_afterwards: bool = False
    """Record the begin after the change: before it there is no log, or the log must not get another event."""
    confirms: Sequence[str] | None = None
    """What a confirmation is of, if the summary has figures that change by themselves, such as a running service's
    number of events. None means the summary."""
    apply: Callable[[Operation], Awaitable[Outcome]]


async def carry_out(context: Context, output: Output, verb: str, plans: Sequence[ChangePlan], consent: Consent) -> int:
    """Show a verb's plans, ask once, apply them one by one and return the exit code.

    Each is recorded in its own service's log. An exception of one prevents those after it.
    """
    verb = full_name(verb, plans)
    show_plans(output, plans)
    if not (total := sum(plan.total for plan in plans)):
        write_planned(output, verb, plans, dry_run=not consent.yes)
        return DONE
    consent = _confirmed(context, output, count(total, plans[0].thing), consent)
    if not consent.yes:
        output.line(f"Dry run: nothing was changed. To apply it, run `tenure {verb}` again with --yes and --reason.")
        write_planned(output, verb, plans, dry_run=True)
        return DONE
    return await apply_plans(context, output, verb, plans, consent)


def full_name(verb: str, plans: Sequence[ChangePlan]) -> str:
    """Return the verb with the option that selects another action of it."""
    return f"{verb} {plans[0].mode}".rstrip()


def show_plans(output: Output, plans: Sequence[ChangePlan]) -> None:
    for plan in plans:
        for text in plan.summary:
            output.line(text)
    if not any(plan.total for plan in plans):
        output.line(say("Nothing to do: nothing would change."))


def write_planned(output: Output, verb: str, plans: Sequence[ChangePlan], *, dry_run: bool) -> None:
    """Write the result of a dry run."""
    _result(output, [{**_as_data(verb, plan), "dry_run": dry_run} for plan in plans])


async def apply_plans(
    context: Context, output: Output, verb: str, plans: Sequence[ChangePlan], consent: Consent
) -> int:
    """Apply the plans one by one, record each, write the result and return the exit code.

    A cancellation that comes when a plan is applied already prevents those after it.
    """
    waiting, applied = [plan for plan in plans if plan.total], list[_Applied]()
    while waiting:
        applied.append(await _apply(context, output, verb, waiting.pop(0), consent))
        if waiting and applied[-1].cancelled is not None:
            raise applied[-1].cancelled
    _result(output, [each.data for each in applied])
    return DONE if all(each.ok for each in applied) else FAULTS


def digest_of(verb: str, arguments: Mapping[str, object], plans: Sequence[ChangePlan]) -> str:
    """Return a digest of what a confirmation of these plans is of."""
    shown = [
        [plan.service, plan.mode, *(plan.confirms if plan.confirms is not None else (str(plan.total), *plan.summary))]
        for plan in plans
    ]
    text = orjson.dumps([verb, arguments, shown], option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(text).hexdigest()[:32]


def _as_data(verb: str, plan: ChangePlan) -> dict[str, object]:
    return {"verb": verb, "count": plan.total, **plan.data}


def _result(output: Output, results: Sequence[Mapping[str, object]]) -> None:
    """Write one JSON document, whatever the number of services."""
    if len(results) == 1:
        output.result(results[0])
        return
    common = {name: results[0][name] for name in ("verb", "dry_run")}
    total = sum(number for each in results if isinstance(number := each["count"], int))
    oks = [each["ok"] for each in results if "ok" in each]
    output.result({**common, "count": total, **({"ok": all(oks)} if oks else {}), "changes": results})


class _Applied(NamedTuple):
    """The result of a plan, and the cancellation that came when it was applied already."""

    data: dict[str, object]
    ok: bool
    cancelled: asyncio.CancelledError | None


async def _apply(context: Context, output: Output, verb: str, plan: ChangePlan, consent: Consent) -> _Applied:
    """Apply and record one plan."""
    name = str(uuid_utils.uuid7())
    who = consent.actor or operator_name()
    actor = _ascii(who)

    recorded = False

    async def write(steps: Mapping[str, Command]) -> None:
        nonlocal recorded
        for step, command in steps.items():
            await record_step(await context.log(plan.service), name, actor, step, command)
            recorded = True

    begin = Begin(verb, tuple(plan.arguments), actor, consent.reason)
    try:
        if not plan.recorded_afterwards and (cancelled := await _uncancelled(write({"begin": begin}))) is not None:
            raise cancelled
        with output.progress(verb, plan.total) as counter:
            operation = Operation(id=OPERATION.id(name), actor=who, reason=consent.reason, counter=counter)
            outcome = await plan.apply(operation)
    except BaseException as error:
        result = _failure(error)
        if recorded:
            try:
                await _uncancelled(write({"end": End("failed", result[:1000])}))
            except Exception as another:  # noqa: BLE001  # the first error is the one to report
                output.note(f"The failure could not be recorded in {plan.service}'s log ({another!r}).")
        raise
    end = End("done" if outcome.ok else "failed", " ".join(outcome.summary)[:1000])
    cancelled = await _uncancelled(write({"begin": begin, "end": end} if plan.recorded_afterwards else {"end": end}))
    for text in outcome.summary:
        output.line(text)
    output.line(say("Recorded as %(operation)s in %(service)s's log.", operation=operation.id, service=plan.service))
    data = {"dry_run": False, "ok": outcome.ok, "operation": operation.id, **outcome.data}
    return _Applied({**_as_data(verb, plan), **data}, outcome.ok, cancelled)


async def _uncancelled(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Await this to its end, however often it is cancelled, and return the first cancellation.

    So no operation is left without its end in the log.
    """
    task, cancelled = asyncio.ensure_future(work), None
    while True:
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = cancelled or error
        else:
            return cancelled


def _failure(error: BaseException) -> str:
    """Return an error as the record has it; of a cancellation, who has cancelled it and why."""
    if isinstance(error, asyncio.CancelledError):
        return str(error) or "interrupted"
    return str(error) if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"


def _confirmed(context: Context, output: Output, what: str, consent: Consent) -> Consent:
    """Ask for confirmation and a reason at a terminal; with --yes require --reason.

    Raises:
        OperatorError: --yes was given without a reason.
    """
    if consent.yes:
        if not consent.reason.strip():
            raise OperatorError("--yes needs a reason for the record: add --reason TEXT.", USAGE)
        return consent
    if output.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return consent
    output.line(f"{what} at {context.where}.")
    if not typer.confirm("Apply this change?", default=False):
        return consent
    reason = consent.reason or typer.prompt("Reason (for the record)")
    return Consent(True, reason, consent.actor)


async def record_step(log: Log, name: str, actor: str, step: str, command: Command) -> None:
    """Append one of the two events of an operation's record."""
    meta = Meta(f"operation:{name}:{step}", actor, utc_now(), OPERATION.id(name))
    answer = await log.execute(OPERATION, name, command, meta)
    if isinstance(answer, Refused):
        raise OperatorError(f"{answer.reason} {answer.remedy}", REFUSED)


def operator_name() -> str:
    """Return TENURE_ACTOR, or the login name and the host name."""
    given = os.environ.get("TENURE_ACTOR")
    if given:
        return given
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"operator:{name}@{socket.gethostname()}"


def _ascii(text: str) -> str:
    """Return the text as an actor: printable ASCII of at most 200 characters, fit for a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:200].strip() or "operator"
