"""What is being restored: how far it is, how fast, and what an interrupted one waits for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from starlette.responses import Response

from services.console.pages.operating.words import title_of, worded
from services.console.shapes.operating import Run, Runs
from services.console.shapes.operations import Restores, ServiceRestore
from services.console.verbs import SERVER, check_operator, result_of
from services.console.visits import Visit

RUNNING: Final = ("running", "restoring", "publishing")
"""The states of a restore that goes on."""
RESTORING: Final = ("restore-store", "restore-topic", "reconcile")
OVER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A service whose store or topic is being restored, or waits for that."""

    restore: ServiceRestore
    why: Markup
    runs: Sequence[tuple[str, Run]]
    """Its runs on this operations server; a restore may also run elsewhere."""
    continued_by: str
    """The verb that continues it, as it is in paths; "" if there is none."""


async def restores(visit: Visit) -> Response:
    """Show the restores; the page follows those that are under way."""
    check_operator(visit)
    found, runs = await asyncio.gather(
        result_of(visit, "restore-status", Restores, over=OVER_S), visit.see(SERVER, "/operations", Runs)
    )
    running = [each for each in runs.items if each.verb in RESTORING and each.state == "running"]
    return visit.page(
        "operating/restores.html",
        found=found,
        shown=[_shown(each, running, visit) for each in found.services if each.state != "open"],
        open=[each for each in found.services if each.state == "open"],
        moves=bool(running) or any(each.state in RUNNING for each in found.services),
        titles={name: title_of(name, visit.texts) for name in RESTORING},
    )


def _shown(restore: ServiceRestore, running: Sequence[Run], visit: Visit) -> Shown:
    runs = [
        (title_of(each.verb, visit.texts), each)
        for each in running
        if each.parameters.get("service") == restore.service
    ]
    return Shown(restore, worded(restore.why, visit.texts), runs, (restore.continued_by or "").replace(" ", "-"))
