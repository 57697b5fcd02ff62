"""Charts: events a second, as `static/live.js` draws them anew, and command latency."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from services.console.live.rates import HISTORY_S, Tick
from services.console.shapes.operations import LatencyHistory, ServiceLatency
from shared.services import SERVICES

WIDTH: Final = 600
HEIGHT: Final = 160
TYPES: Final = 12
"""How many types of events are listed, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Line:
    """The line of a service: its corners, and how many events there were."""

    service: str
    points: str
    events: int


@dataclass(frozen=True, slots=True)
class TypeCount:
    """How many events of a type there were."""

    service: str
    type: str
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChart:
    """The chart of the last minute: a line a service, the top of the scale, and the types."""

    lines: Sequence[Line]
    top: int
    types: Sequence[TypeCount]
    more: int
    events: int


def rate_chart(ticks: Sequence[Tick]) -> RateChart:
    """Return the chart of some seconds."""
    rates = {service: [sum(tick.events.get(service, {}).values()) for tick in ticks] for service in SERVICES}
    top = scale(max((max(numbers, default=0) for numbers in rates.values()), default=0))
    types = Counter(
        {
            (service, type_): sum(tick.events.get(service, {}).get(type_, 0) for tick in ticks)
            for service in SERVICES
            for type_ in {name for tick in ticks for name in tick.events.get(service, {})}
        }
    )
    listed = sorted(types.items(), key=lambda item: (-item[1], item[0]))
    return RateChart(
        lines=[Line(service, _points(numbers, top), sum(numbers)) for service, numbers in rates.items()],
        top=top,
        types=[TypeCount(service, type_, number) for (service, type_), number in listed[:TYPES]],
        more=max(0, len(listed) - TYPES),
        events=sum(types.values()),
    )


def scale(most: int) -> int:
    """Return the number at the top of a scale: 4, or 1, 2 or 5 with as many noughts as it takes."""
    top = 4
    for size in (10**exponent * digit for exponent in range(1, 9) for digit in (1, 2, 5)):
        if top >= most:
            break
        top = size
    return top


def _points(numbers: Sequence[int], top: int) -> str:
    return " ".join(
        f"{place * WIDTH / (HISTORY_S - 1):.1f},{HEIGHT - number * HEIGHT / top:.1f}"
        for place, number in enumerate(numbers)
    )


# ── Command latency ────────────────────────────────────────────────────────────────────────────────────

LATENCY_HEIGHT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyChart:
    """The command latency of a service over time."""

    service: str
    p50: str
    p99: str
    """The curves as paths, interrupted where there was no command; "" if there was none at all."""
    top_ms: int
    most_ms: int
    """The greatest p99."""
    commands: int
    minutes: int
    """How long a time the chart shows."""
    width: int = WIDTH
    height: int = LATENCY_HEIGHT


def latency_charts(history: LatencyHistory) -> Sequence[LatencyChart]:
    """Return a chart of each service over the whole time that is kept."""
    return [_latency_chart(service, history) for service in SERVICES]


def _latency_chart(service: str, history: LatencyHistory) -> LatencyChart:
    span_s = history.every_s * history.kept
    ages = [((history.at - each.at).total_seconds(), each.services.get(service)) for each in history.intervals]
    points = [(WIDTH * (1 - age_s / span_s), found) for age_s, found in ages if age_s <= span_s]
    most = max((found.p99_s or 0.0 for _, found in points if found), default=0.0) * 1000
    top = scale(ceil(most))

    def curve(value: Callable[[ServiceLatency], float | None]) -> str:
        corners = [(x, None if found is None else value(found)) for x, found in points]
        return _curve([(x, None if y is None else LATENCY_HEIGHT * (1 - 1000 * y / top)) for x, y in corners])

    return LatencyChart(
        service=service,
        p50=curve(lambda found: found.p50_s),
        p99=curve(lambda found: found.p99_s),
        top_ms=top,
        most_ms=ceil(most),
        commands=sum(found.commands for _, found in points if found),
        minutes=round(span_s / 60),
    )


def _curve(corners: Sequence[tuple[float, float | None]]) -> str:
    """Return a path through the corners that have a height; one alone is a point."""
    parts, drawn = list[str](), False
    for x, y in corners:
        if y is not None:
            parts.append(f"{'L' if drawn else 'M'}{x:.1f},{y:.1f}" + ("" if drawn else "h0"))
        drawn = y is not None
    return "".join(parts)
