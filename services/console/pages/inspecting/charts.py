"""A chart of events a second, by service, as `static/live.js` draws it anew each second."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.console.live.rates import HISTORY_S, Tick
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
