"""Topics: what a program reads and sends, from the services' AsyncAPI documents."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt
from services.console.pages.topics import pages
from services.console.texts import marked

PROGRAMMERS: Final[frozenset[Kind]] = frozenset({"operator", "publisher"})

AREA: Final = Area(
    name="topics",
    pages=(
        PageAt(path="/topics", show=pages.topics),
        PageAt(path="/topics/{service}", show=pages.topic),
        PageAt(path="/topics/{service}/{event}", show=pages.event),
    ),
    links=(Link(path="/topics", text=marked("Topics"), kinds=PROGRAMMERS),),
)
