"""Machines' credentials: registered with scopes and an expiry, given new secrets, revoked."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt
from services.console.pages.machines import pages
from services.console.texts import marked

OPERATOR: Final[frozenset[Kind]] = frozenset({"operator"})

AREA: Final = Area(
    name="machines",
    pages=(
        PageAt(path="/machines", show=pages.machines),
        PageAt(path="/machines/new", show=pages.new, act=pages.register),
        PageAt(path="/machines/{client_id}", show=pages.machine, act=pages.change),
    ),
    links=(Link(path="/machines", text=marked("Machines"), kinds=OPERATOR),),
)
