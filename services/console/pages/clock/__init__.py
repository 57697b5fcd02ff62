"""The clock of a sandbox organisation: what it shows, and moving it forward."""

from typing import Final

from services.console.areas import Area, PageAt
from services.console.pages.clock import moving

AREA: Final = Area(name="clock", pages=(PageAt(path="/clock", show=moving.clock, act=moving.move),))
"""A sandbox's banner links to the page; nobody else needs it."""
