"""Options and arguments that several verbs share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from cli.exit_codes import NOT_FOUND, OperatorError
from cli.output import time_of

_CHANGE: Final = "Applying the change (a dry run without --yes)"


def parse_time(text: str) -> datetime:
    """Return the time that was typed.

    Raises:
        BadParameter: The text is not a time.
    """
    try:
        return time_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a file that an option names.

    The operations server takes them instead of the name.
    """

    read: Callable[[], bytes]
    """Raises OperatorError if the file can't be read."""


def contents_of(file: str) -> Contents:
    """Return the contents of a file, or of standard input if its name is `-`."""

    def read() -> bytes:
        try:
            return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        except OSError as error:
            raise OperatorError(f"{file} can't be read: {error.strerror}.", NOT_FOUND) from error

    return Contents(read)


@dataclass(frozen=True, slots=True)
class ServedHelp:
    """The help of a parameter at the operations server, if it differs from the command line's."""

    text: str


# ── Added by the decorators of `cli.app` ────────────────────────────────────────────────────────────────

Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Apply the change, without asking.", rich_help_panel=_CHANGE)
]
Reason: TypeAlias = Annotated[
    str, typer.Option("--reason", help="The reason, for the record. Required with --yes.", rich_help_panel=_CHANGE)
]
Actor: TypeAlias = Annotated[
    str,
    typer.Option(
        "--actor",
        help="Who makes the change, for the record. Default: TENURE_ACTOR, or the login name.",
        rich_help_panel=_CHANGE,
    ),
]

# ── Named by verbs ──────────────────────────────────────────────────────────────────────────────────────

Since: TypeAlias = Annotated[
    datetime | None,
    typer.Option("--since", parser=parse_time, metavar="TIME", help="Only from this time on, or 15m, 2h, 3d ago."),
]
Until: TypeAlias = Annotated[
    datetime | None, typer.Option("--until", parser=parse_time, metavar="TIME", help="Only up to this time.")
]
At: TypeAlias = Annotated[
    datetime | None,
    typer.Option("--at", parser=parse_time, metavar="TIME", help="As of this time, or 15m, 2h, 3d ago."),
]
ProjectionName: TypeAlias = Annotated[
    str, typer.Argument(help="The projection, such as entitlements.pools.", metavar="SERVICE.PROJECTION")
]
