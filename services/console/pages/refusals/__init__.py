"""Refusals, looked up afterwards: the person's own, and for the operator everybody's."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt
from services.console.pages.refusals import pages
from services.console.texts import marked

OPERATOR: Final[frozenset[Kind]] = frozenset({"operator"})

AREA: Final = Area(
    name="refusals",
    pages=(
        PageAt(path="/refusals", show=pages.refusals),
        PageAt(path="/refusals/{command_id:path}", show=pages.refusal),
    ),
    links=(Link(path="/refusals", text=marked("Refusals"), kinds=OPERATOR),),
)
