"""Options and arguments that several verbs have, declared once."""

from datetime import datetime
from typing import Annotated, Final, TypeAlias

import typer

from cli.output import time_of

_CHANGE: Final = "To make the change (without --yes it is a dry run)"


def parse_time(text: str) -> datetime:
    """Read a time as it is typed; a usage error where it is none."""
    try:
        return time_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


# ── Added by the decorators of `cli.app` ────────────────────────────────────────────────────────────────

Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Do it, instead of only saying what would happen.", rich_help_panel=_CHANGE)
]
Reason: TypeAlias = Annotated[
    str, typer.Option("--reason", help="Why, for the record. Needed with --yes.", rich_help_panel=_CHANGE)
]
Actor: TypeAlias = Annotated[
    str,
    typer.Option(
        "--actor",
        help="Who, for the record; otherwise TENURE_ACTOR, or your login name.",
        rich_help_panel=_CHANGE,
    ),
]

# ── Named by verbs ──────────────────────────────────────────────────────────────────────────────────────

Since: TypeAlias = Annotated[
    datetime | None,
    typer.Option("--since", parser=parse_time, metavar="TIME", help="From this time on (or 15m, 2h, 3d)."),
]
Until: TypeAlias = Annotated[
    datetime | None, typer.Option("--until", parser=parse_time, metavar="TIME", help="Up to this time.")
]
At: TypeAlias = Annotated[
    datetime | None,
    typer.Option("--at", parser=parse_time, metavar="TIME", help="As of this time (or 15m, 2h, 3d ago)."),
]
ProjectionName: TypeAlias = Annotated[
    str, typer.Argument(help="The projection, as entitlements.pools.", metavar="SERVICE.PROJECTION")
]
