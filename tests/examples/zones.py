"""Time zones where a day begins at unusual instants."""

from typing import Final

FAR_APART: Final = (
    "Pacific/Kiritimati",
    "Pacific/Auckland",
    "Australia/Lord_Howe",
    "America/Los_Angeles",
    "America/Santiago",
    "Africa/Cairo",
)
"""Far ahead of UTC and far behind, with half an hour of summer time, and with a midnight that clocks skip."""
