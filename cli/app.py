"""The command `tenure`: its verbs, and how each of them is run and ends."""

import asyncio
import logging
import os
import sys
import warnings
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import asyncpg
import httpx
import structlog
import typer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from cli.context import Context
from cli.exit_codes import INTERRUPTED, MEANING, OWN_FAULT, REFUSED, UNREACHABLE, USAGE, OperatorError
from cli.output import Output, plain, time_of
from shared.eventlog import restore, scratch, topic
from shared.eventlog.consumer import Fault
from shared.eventlog.kafka import InvalidKafkaSettings
from shared.eventlog.parked import NotNow
from shared.eventlog.postgres import TRANSIENT
from shared.eventlog.store import Conflict, Unavailable

_CODES: Final = "\n\n".join(f"{code}: {meaning}" for code, meaning in MEANING.items())
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

Work = Callable[[Context, Output], Awaitable[int]]


def _time(text: str) -> datetime:
    try:
        return time_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do it; otherwise it is only said what would happen.")]
Reason: TypeAlias = Annotated[str, typer.Option("--reason", help="Why, for the record. Needed with --yes.")]
ByWhom: TypeAlias = Annotated[
    str, typer.Option("--actor", help="Who, for the record; otherwise TENURE_ACTOR, or your login name.")
]
Since: TypeAlias = Annotated[
    datetime | None, typer.Option("--since", parser=_time, metavar="TIME", help="From this time on (or 15m, 2h, 3d).")
]
Until: TypeAlias = Annotated[
    datetime | None, typer.Option("--until", parser=_time, metavar="TIME", help="Up to this time.")
]
At: TypeAlias = Annotated[
    datetime | None, typer.Option("--at", parser=_time, metavar="TIME", help="As of this time (or 15m, 2h, 3d ago).")
]


def run(json: bool, work: Work) -> None:
    """Runs a verb and ends the process: with its exit code, or with one sentence and the code of what went wrong."""
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
    """Libraries report what they retry: it is said once, at the end, by whoever gives up."""
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # an alarm must not stand in a document of --json
    )
    warnings.simplefilter("ignore", ResourceWarning)


def explained(error: Exception) -> tuple[str, int]:
    """What went wrong in one sentence, and the exit code."""
    match error:
        case OperatorError():
            return str(error), error.code
        case NotNow():
            return f"{_capital(str(error))}.", REFUSED
        case restore.Refused() | scratch.Trouble() | scratch.CannotFold():
            return _capital(str(error)), REFUSED
        case topic.Missing() | topic.Differs():
            return f"{_capital(str(error))}. `tenure verify` looks at all of it.", REFUSED
        case asyncpg.InvalidCatalogNameError():
            return (
                f"PostgreSQL has no such database ({error}): `python -m deploy.databases` makes it; or correct "
                "DATABASE_URL.",
                UNREACHABLE,
            )
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.InvalidSchemaNameError():
            return (
                f"The database is not of this version of Tenure ({error}): `python -m deploy.databases` brings it "
                "up to date.",
                UNREACHABLE,
            )
        case asyncpg.InsufficientPrivilegeError():
            return f"PostgreSQL refuses this role ({error}): DATABASE_URL should name the operator's.", UNREACHABLE
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"PostgreSQL does not let us in ({error}): correct DATABASE_URL.", UNREACHABLE
        case KafkaError():
            return f"Kafka does not answer as it should ({_of(error)}): start it, or correct KAFKA_BOOTSTRAP.", 3
        case httpx.HTTPError():
            return f"The service does not answer ({_of(error)}): start it, or correct its TENURE_SERVICE_URL.", 3
        case Fault() | Unavailable() | Conflict():
            return f"It could not be done now, and nothing was left half done ({error}): try again in a moment.", 3
        case InvalidKafkaSettings():
            return str(error), USAGE
        case ValidationError():
            return f"A setting in the environment can't be read: {error.errors()[0]['msg']}.", USAGE
        case _ if isinstance(error, TRANSIENT):
            return f"PostgreSQL can't be reached ({_of(error)}): start it, or correct DATABASE_URL.", UNREACHABLE
        case _:
            return f"This is a fault of tenure's own ({_of(error)}): TENURE_DEBUG=1 shows where.", OWN_FAULT


def _of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def main(arguments: Any = None) -> None:
    APP(args=arguments, prog_name="tenure")
