"""Declaration and execution of the verbs of `tenure`.

A verb is a subcommand, such as `parked retry`: a decorated function. The decorator takes its name as it is typed; the
docstring is its help; each parameter is an argument or an option, declared in Typer's notation:

    @verb("timers")
    async def list_timers(context: Context, output: Output, customer: str | None = None) -> Result:

Parameters annotated `Context`, `Output` or `Consent` are not options: they are passed in. The decorator adds the rest:

- `@verb`: `--json`, which prints the result as one document, and exit code 1 for a result that is not ok;
- `@change`: the same, and `--yes`, `--reason` and `--actor`. The function reads only and returns a `ChangePlan`;
  `cli.operation.carry_out` does the dry run, the confirmation, the record in the log and the check of the result.

`VERBS` has every declaration. The operations server (`cli.serving`) serves the verbs by them.
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
from cli.explain import explain
from cli.operation import ChangePlan, Consent, carry_out
from cli.options import Actor, Reason, Yes
from cli.output import Output, plain
from cli.recorded import recorded
from cli.watch import watched

_CODES: Final = "\n".join(f"- {code}: {meaning}" for code, meaning in MEANING.items())
APP: Final = typer.Typer(
    name="tenure",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Inspect and repair a Tenure system. Commands that change something are dry runs unless --yes is given.\n\n"
    "DATABASE_URL, KAFKA_BOOTSTRAP and `TENURE_<SERVICE>_URL` name the system. Where one is unset, the address of the "
    f"system that runs on this machine is used.\n\nExit codes:\n\n{_CODES}",
)
_READING: Final = "Read-only commands"
_CHANGING: Final = "Commands that change something (a dry run without --yes)"
_SUBJECTS: Final = "Command groups"
_GROUPS: Final[dict[str, typer.Typer]] = {"": APP}


NOTHING_CHANGED: Final = "Nothing is changed."
"""What a verb leaves behind that is cancelled while it only reads, as every dry run does."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a verb.

    `data` is the document that --json prints, or None if the verb wrote its output itself. If `ok` is false, the exit
    code is 1: the verb ran, and something is wrong.
    """

    data: Mapping[str, object] | None
    ok: bool = True


Planned: TypeAlias = ChangePlan | Sequence[ChangePlan] | Result
"""The plan of a change, or one plan for each service concerned; a result if there is nothing to change."""

_Verb = TypeVar("_Verb", bound=Callable[..., Awaitable[Result]])
_Change = TypeVar("_Change", bound=Callable[..., Awaitable[Planned]])
Work = Callable[[Context, Output], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A declared verb."""

    name: str
    """As it is typed."""
    function: Callable[..., Awaitable[Planned]]
    changes: bool
    fails_when: str
    long: bool
    """Whether it may take minutes, so that the operations server does not answer with its result."""
    not_served: str
    """Why the operations server does not serve it; "" if it does."""
    if_cancelled: str = NOTHING_CHANGED
    """What is left behind if it is cancelled, or interrupted, before its end."""

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The function's parameters that are typed, by name."""
        declared = inspect.signature(self.function, eval_str=True).parameters
        return {name: each for name, each in declared.items() if each.annotation not in _INJECTED}

    def arguments(
        self, context: Context, output: Output, consent: Consent, given: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the arguments of the function: those given, and those that are passed in."""
        values = {Context: context, Output: output, Consent: consent}
        declared = inspect.signature(self.function, eval_str=True).parameters.values()
        passed_in = {each.name: values[each.annotation] for each in declared if each.annotation in _INJECTED}
        return {**given, **passed_in}


_INJECTED: Final = (Context, Output, Consent)
VERBS: Final[dict[str, Declaration]] = {}
"""All verbs by name, once `load_verbs` has imported their modules."""


def group(name: str, summary: str) -> None:
    """Declare a group: the first word of verbs that have two."""
    _GROUPS[name] = typer.Typer(no_args_is_help=True, help=summary)
    APP.add_typer(_GROUPS[name], name=name, rich_help_panel=_SUBJECTS)


def verb(
    name: str, *, fails_when: str = "", json_help: str = "Print JSON.", long: bool = False, not_served: str = ""
) -> Callable[[_Verb], _Verb]:
    """Declare a read-only verb.

    Args:
        name: As it is typed; two words for a verb of a group.
        fails_when: For the help: when the result is not ok.
        json_help: The help of --json.
        long: Whether it may take minutes.
        not_served: Why the operations server does not serve it, if it does not.
    """

    def declare(function: _Verb) -> _Verb:
        async def work(request: _Request) -> int:
            return _write_result(request.output, await function(**request.arguments))

        declared = Declaration(
            name=name, function=function, changes=False, fails_when=fails_when, long=long, not_served=not_served
        )
        _declare(declared, work, panel=_READING, shared={"json": (_json(json_help), False)})
        return function

    return declare


def change(
    name: str,
    *,
    if_cancelled: str,
    fails_when: str = "",
    read_only_by_default: bool = False,
    long: bool = False,
    not_served: str = "",
) -> Callable[[_Change], _Change]:
    """Declare a verb that changes something; its function only reads, and returns the plan.

    Args:
        name: As it is typed; two words for a verb of a group.
        if_cancelled: What is left behind if it is cancelled while it applies its plan, in sentences.
        fails_when: For the help: when the result is not ok.
        read_only_by_default: Whether the verb changes something with some of its options only. The help lists it
            among the read-only commands.
        long: Whether it may take minutes, also as a dry run.
        not_served: Why the operations server does not serve it, if it does not.
    """

    def declare(function: _Change) -> _Change:
        async def work(request: _Request) -> int:
            planned = await function(**request.arguments)
            if isinstance(planned, Result):
                return _write_result(request.output, planned)
            return await carry_out(request.context, request.output, name, as_plans(planned), request.consent)

        shared = {"yes": (Yes, False), "reason": (Reason, ""), "actor": (Actor, ""), "json": (_json(), False)}
        panel = _READING if read_only_by_default else _CHANGING
        declared = Declaration(
            name=name,
            function=function,
            changes=True,
            fails_when=fails_when,
            long=long,
            not_served=not_served,
            if_cancelled=if_cancelled,
        )
        _declare(declared, work, panel=panel, shared=shared)
        return function

    return declare


def as_plans(planned: ChangePlan | Sequence[ChangePlan]) -> Sequence[ChangePlan]:
    return [planned] if isinstance(planned, ChangePlan) else planned


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One run of a verb, with the arguments of its function."""

    context: Context
    output: Output
    consent: Consent
    arguments: Mapping[str, Any]


def _declare(
    declared: Declaration,
    work: Callable[[_Request], Awaitable[int]],
    *,
    panel: str,
    shared: Mapping[str, tuple[object, object]],
) -> None:
    """Register a verb with Typer: its own options first, then the shared ones.

    `shared` has each shared option's type and default.
    """
    VERBS[declared.name] = declared

    def command(**given: Any) -> None:
        json = given.pop("json")
        consent = Consent(**{option: given.pop(option) for option in shared if option != "json"})

        async def run_within(context: Context, output: Output) -> int:
            arguments = declared.arguments(context, output, consent, given)
            return await work(_Request(context=context, output=output, consent=consent, arguments=arguments))

        run(declared.name, json, run_within)

    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in declared.parameters.values()]
    added = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for option, (kind, default) in shared.items()
    ]
    command.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]  # what Typer reads
    parent, _, own_name = declared.name.rpartition(" ")
    summary = inspect.cleandoc(declared.function.__doc__ or "") + (
        f"\n\nThe exit code is 1 if {declared.fails_when}." if declared.fails_when else ""
    )
    summary += f"\n\nIf it is interrupted: {declared.if_cancelled}" if declared.changes else ""
    _GROUPS[parent].command(own_name, help=summary, rich_help_panel=None if parent else panel)(command)


def _json(summary: str = "Print JSON.") -> object:
    return Annotated[bool, typer.Option("--json", help=summary)]


def _write_result(output: Output, result: Result) -> int:
    if result.data is not None:
        output.result(result.data)
    return DONE if result.ok else FAULTS


def run(verb: str, json: bool, work: Work) -> None:
    """Run a verb and end the process with its exit code.

    Where the verb raises, print the error as one sentence; its kind determines the exit code.
    """
    output = Output(json)
    silence_libraries()
    try:
        code = asyncio.run(_within(verb, work, output))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # the reader of a pipe has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        if os.environ.get("TENURE_DEBUG"):
            raise
        sentence, code = explain(error)
        if json:
            output.record({"error": sentence, "code": code})
        else:
            output.err.print(plain(sentence), style="bold red", soft_wrap=True)
    raise typer.Exit(code)


async def _within(verb: str, work: Work, output: Output) -> int:
    with recorded(verb):
        async with Context() as context:
            return await watched(context, work(context, output))


def silence_libraries() -> None:
    """Silence the logs of libraries; `run` prints an error that ends the verb, once."""
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # standard output is for the document of --json
    )
    warnings.simplefilter("ignore", ResourceWarning)


def load_verbs() -> typer.Typer:
    """Import every module in `cli.verbs` and return the command with their verbs."""
    for module in pkgutil.iter_modules([str(Path(__file__).with_name("verbs"))]):
        import_module(f"cli.verbs.{module.name}")
    APP.registered_commands.sort(key=lambda each: (each.rich_help_panel != _READING, str(each.name)))
    return APP


def main(arguments: Sequence[str] | None = None) -> None:
    load_verbs()(args=arguments, prog_name="tenure")
