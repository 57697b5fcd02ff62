"""The first page of Operate: what is parked, what runs, and every verb by its subject."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from services.console.names import names_of
from services.console.pages.operating.parked import Groups
from services.console.pages.operating.words import OF_GROUP, SUBJECTS, title_of
from services.console.shapes.operating import Runs, ServedVerb, Verbs
from services.console.verbs import SERVER, check_operator, result_of
from services.console.visits import Visit

RUNS: Final = 10
"""How many of the last runs are shown."""
HAS_A_PAGE: Final = frozenset(
    {
        "now",
        "parked-group",
        "parked-show",
        "parked-edit",
        "refusals-ls",
        "refusals-show",
        "restore-status",
        "stream-find",
    }
)
"""The verbs whose result is a page of its own."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A subject with its verbs and its other pages."""

    title: str
    verbs: Sequence[tuple[str, ServedVerb]]
    pages: Sequence[tuple[str, str]]


async def overview(visit: Visit) -> Response:
    """Show what there is to do."""
    check_operator(visit)
    verbs, runs, groups = await asyncio.gather(
        visit.see(SERVER, "/verbs", Verbs),
        visit.see(SERVER, "/operations", Runs),
        result_of(visit, "parked-group", Groups),
    )
    last = runs.items[:RUNS]
    return visit.page(
        "operating/overview.html",
        shelves=_shelves(verbs, visit),
        not_served=verbs.not_served,
        under_way=[(title_of(each.verb, visit.texts), each) for each in runs.items if each.state == "running"],
        runs=[(title_of(each.verb, visit.texts), each) for each in last],
        groups=groups,
        parked=sum(each.records + each.behind for each in groups.groups),
        names=await names_of(visit, [each.by for each in last]),
    )


def _shelves(verbs: Verbs, visit: Visit) -> Sequence[Shelf]:
    texts, by_name = visit.texts, {each.name: each for each in verbs.items if each.name not in HAS_A_PAGE}
    placed = _places(by_name)
    shelves = [
        Shelf(
            texts.gettext(subject.title),
            [(title_of(name, texts), by_name[name]) for name in placed[subject.title]],
            [(at, texts.gettext(text)) for at, text in subject.pages],
        )
        for subject in SUBJECTS
    ]
    return [shelf for shelf in shelves if shelf.verbs or shelf.pages]


def _places(by_name: Mapping[str, ServedVerb]) -> Mapping[str, Sequence[str]]:
    """Return the names of the verbs by the title of their subject."""
    found = {subject.title: [name for name in subject.verbs if name in by_name] for subject in SUBJECTS}
    named = {name for names in found.values() for name in names}
    for name in by_name:
        if name not in named:
            found[OF_GROUP.get(name.partition("-")[0], SUBJECTS[-1].title)].append(name)
    return found
