"""The command `tenure`: how a verb is declared, and how each is run and ends.

A verb is a function below a decorator. The name is as it is typed, the docstring is the help, and a parameter is an
argument or an option of the verb's own, declared as Typer reads it:

    @verb("timers")
    async def list_timers(context: Context, output: Output, customer: str | None = None) -> Result:

A parameter annotated `Context`, `Output` or `Consent` is no option: it is handed in. The decorator adds the rest:

- `@verb`: `--json`, the result as one document, and exit code 1 for a result that is not ok;
- `@change`: besides, `--yes`, `--reason` and `--actor`. The function changes nothing and returns a `ChangePlan`; what
  then happens (dry run, confirmation, the record in the log, the second look) is `cli.operation.carry_out`.
"""

import asyncio
import inspect
import logging
import os
import pkgutil
import sys
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import structlog
import typer

from cli.context import Context
from cli.exit_codes import DONE, FAULTS, INTERRUPTED, MEANING
from cli.explain import explained
from cli.operation import ChangePlan, Consent, carry_out
from cli.options import Actor, Reason, Yes
from cli.output import Output, plain

_CODES: Final = "\n".join(f"- {code}: {meaning}" for code, meaning in MEANING.items())
APP: Final = typer.Typer(
    name="tenure",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Looks at a Tenure system and puts it right. A verb that changes something is a dry run unless told --yes.\n\n"
    "It finds the system by DATABASE_URL, KAFKA_BOOTSTRAP and TENURE_SERVICE_URL; what is unset is read from a system "
    f"that runs on this machine.\n\nExit codes:\n\n{_CODES}",
)
_LOOKING: Final = "Verbs that only look"
_CHANGING: Final = "Verbs that change something (without --yes a dry run)"
_SUBJECTS: Final = "Verbs by subject"
_GROUPS: Final[dict[str, typer.Typer]] = {"": APP}


@dataclass(frozen=True, slots=True)
class Result:
    """What a verb found: `data` is the document of --json, or None where the verb has written its own.

    Not `ok` is exit code 1: it ran, and something is wrong.
    """

    data: Mapping[str, object] | None
    ok: bool = True


Planned: TypeAlias = ChangePlan | Sequence[ChangePlan] | Result
"""What a change would do; a plan for each service that it concerns. A result where there is nothing to change."""

_Verb = TypeVar("_Verb", bound=Callable[..., Awaitable[Result]])
_Change = TypeVar("_Change", bound=Callable[..., Awaitable[Planned]])
Work = Callable[[Context, Output], Awaitable[int]]


def group(name: str, summary: str) -> None:
    """Declare the first word of verbs that have two."""
    _GROUPS[name] = typer.Typer(no_args_is_help=True, help=summary)
    APP.add_typer(_GROUPS[name], name=name, rich_help_panel=_SUBJECTS)


def verb(name: str, *, fails_when: str = "", json_help: str = "Answer in JSON.") -> Callable[[_Verb], _Verb]:
    """Declare a verb that only looks. `fails_when` says in its help when its result is not ok."""

    def declare(function: _Verb) -> _Verb:
        async def work(request: _Request) -> int:
            return _written(request.output, await function(**request.arguments))

        _declare(
            name, function, work, panel=_LOOKING, fails_when=fails_when, shared={"json": (_json(json_help), False)}
        )
        return function

    return declare


def change(name: str, *, fails_when: str = "", mostly_looks: bool = False) -> Callable[[_Change], _Change]:
    """Declare a verb that changes something: its function looks only, and returns the plan.

    One that `mostly_looks` changes something with some of its options only; help lists it among those that look.
    """

    def declare(function: _Change) -> _Change:
        async def work(request: _Request) -> int:
            planned = await function(**request.arguments)
            if isinstance(planned, Result):
                return _written(request.output, planned)
            plans = [planned] if isinstance(planned, ChangePlan) else planned
            return await carry_out(request.context, request.output, name, plans, request.consent)

        shared = {"yes": (Yes, False), "reason": (Reason, ""), "actor": (Actor, ""), "json": (_json(), False)}
        panel = _LOOKING if mostly_looks else _CHANGING
        _declare(name, function, work, panel=panel, fails_when=fails_when, shared=shared)
        return function

    return declare


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One run of a verb: what it is given, and its function's arguments."""

    context: Context
    output: Output
    consent: Consent
    arguments: Mapping[str, Any]


def _declare(
    name: str,
    function: Callable[..., object],
    work: Callable[[_Request], Awaitable[int]],
    *,
    panel: str,
    fails_when: str,
    shared: Mapping[str, tuple[object, object]],
) -> None:
    """Register a verb with Typer: its own options, and then the shared ones, each with its type and default."""
    declared = inspect.signature(function, eval_str=True).parameters.values()
    injected = {each.name: each.annotation for each in declared if each.annotation in (Context, Output, Consent)}

    def command(**given: Any) -> None:
        json = given.pop("json")
        consent = Consent(**{option: given.pop(option) for option in shared if option != "json"})

        async def run_within(context: Context, output: Output) -> int:
            values = {Context: context, Output: output, Consent: consent}
            arguments = {**given, **{parameter: values[kind] for parameter, kind in injected.items()}}
            return await work(_Request(context=context, output=output, consent=consent, arguments=arguments))

        run(json, run_within)

    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in declared if each.name not in injected]
    added = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for option, (kind, default) in shared.items()
    ]
    command.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]  # what Typer reads
    parent, _, word = name.rpartition(" ")
    summary = inspect.cleandoc(function.__doc__ or "") + (f"\n\nEnds with 1 when {fails_when}." if fails_when else "")
    _GROUPS[parent].command(word, help=summary, rich_help_panel=None if parent else panel)(command)


def _json(summary: str = "Answer in JSON.") -> object:
    return Annotated[bool, typer.Option("--json", help=summary)]


def _written(output: Output, result: Result) -> int:
    if result.data is not None:
        output.result(result.data)
    return DONE if result.ok else FAULTS


def run(json: bool, work: Work) -> None:
    """Run a verb and end the process: with its exit code, or with one sentence and the code of what went wrong."""
    output = Output(json)
    quieten()
    try:
        code = asyncio.run(_within(work, output))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        if os.environ.get("TENURE_DEBUG"):
            raise
        sentence, code = explained(error)
        if json:
            output.record({"error": sentence, "code": code})
        else:
            output.err.print(plain(sentence), style="bold red", soft_wrap=True)
    raise typer.Exit(code)


async def _within(work: Work, output: Output) -> int:
    async with Context() as context:
        return await work(context, output)


def quieten() -> None:
    """Silence libraries that report what they retry: whoever gives up says it once, at the end."""
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # an alarm must not stand in a document of --json
    )
    warnings.simplefilter("ignore", ResourceWarning)


def loaded() -> typer.Typer:
    """The command with all its verbs: those of every module in `cli.verbs`."""
    for module in pkgutil.iter_modules([str(Path(__file__).with_name("verbs"))]):
        import_module(f"cli.verbs.{module.name}")
    APP.registered_commands.sort(key=lambda each: (each.rich_help_panel != _LOOKING, str(each.name)))
    return APP


def main(arguments: Sequence[str] | None = None) -> None:
    loaded()(args=arguments, prog_name="tenure")
