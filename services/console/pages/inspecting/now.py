"""What the system does now: events a second as they come, and the figures of the verb `now`."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from services.console.doors import Unreachable, part_of_page
from services.console.live.edge import LiveEdge
from services.console.live.rates import past
from services.console.pages.inspecting.charts import LatencyChart, RateChart, latency_charts, rate_chart
from services.console.shapes.operations import ConsumerNow, Latency, LatencyHistory, ServiceNow, SystemNow
from services.console.verbs import SERVER, check_operator, result_of
from services.console.visits import Visit
from shared.runtime.live.wanted import visible_to
from shared.runtime.problems import Problem

FIRST_OVER_S = 0.5
OVER_S = 2.0
"""For how long is measured: shortly while a person waits for the page, then longer."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A service with its latency: `recent`, or else since its process began."""

    service: ServiceNow
    latency: Latency
    recent: bool


async def now(visit: Visit) -> Response:
    """Show what the system does; the page's parts renew themselves."""
    check_operator(visit)
    found, latency = await asyncio.gather(_figures(visit, FIRST_OVER_S), _latency(visit))
    return visit.page("inspecting/now.html", chart=await _chart(visit), latency=latency, **_shown(found))


async def figures(visit: Visit) -> Response:
    """Return the figures anew, a part of the page."""
    check_operator(visit)
    found = await _figures(visit, OVER_S)
    return visit.page("inspecting/figures.html", latency=await _latency(visit), **_shown(found))


async def _figures(visit: Visit, over_s: float) -> SystemNow | None:
    """Return the figures; None while the operations server does not answer."""
    try:
        return await result_of(visit, "now", SystemNow, over=over_s)
    except Unreachable:
        return None


async def _latency(visit: Visit) -> Sequence[LatencyChart]:
    """Return a chart of each service; none while the operations server does not answer."""
    try:
        return latency_charts(await visit.see(SERVER, "/latency", LatencyHistory))
    except Unreachable:
        return ()


def _shown(found: SystemNow | None) -> dict[str, object]:
    """Return what the template of the figures needs."""
    if found is None:
        return {"found": None}
    measured = [_measured(each) for each in found.services]
    late = [each for each in found.consumers if each.lag is None or each.lag or each.parked]
    return {
        "found": found,
        "measured": measured,
        "slowest": max((each.latency.p99_s or 0.0 for each in measured), default=0.0),
        "late": sorted(late, key=_behind, reverse=True),
        "furthest": max((each.lag_s or 0.0 for each in found.consumers), default=0.0),
        "most_terms": max((each.renewing + each.asked + each.ending for each in found.terms), default=0),
    }


def _measured(service: ServiceNow) -> Measured:
    recent = service.latency.commands > 0
    return Measured(service, service.latency if recent else service.latency_since_start, recent)


def _behind(consumer: ConsumerNow) -> tuple[float, int]:
    return (consumer.lag_s or 0.0, consumer.lag or 0)


async def _chart(visit: Visit) -> RateChart | None:
    """Return the events of the last minute; None while the console can't read Kafka."""
    edge: LiveEdge | None = visit.request.app.state.live
    if edge is None:
        return None
    edge.start()
    try:
        async with part_of_page():
            actor = (await edge.callers.by(f"Bearer {await visit.token()}")).actor
            topics = await asyncio.gather(*(edge.topic(name, actor) for name in edge.topics))
    except (Problem, Unreachable):
        return None
    return rate_chart(past(topics, visible_to(actor), int(time.time())))
