"""A service's figures as `GET /metrics` has them, and what happened between two readings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_WANTED: Final = (
    "tenure_command",
    "tenure_events_appended",
    "tenure_parked_",
    "tenure_relay_behind_",
    "tenure_timers_",
    "kafka_consumergroup_lag",
)
"""The beginnings of the lines that are read: the rest of the page is many times as long."""

_LATENCY: Final = "tenure_command_seconds_bucket"

Histogram = Mapping[float, float]
"""How many took at most these seconds."""


@dataclass(kw_only=True, slots=True)
class Scraped:
    """The figures of one process."""

    commands: dict[str, float] = field(default_factory=dict)
    """By outcome, since the process began; so are `events` (by type) and `latency`."""
    events: dict[str, float] = field(default_factory=dict)
    latency: dict[float, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    parked: dict[str, float] = field(default_factory=dict)
    """By consumer; `lag` and `lag_s` are of the partition that is furthest behind."""
    lag: dict[str, float] = field(default_factory=dict)
    lag_s: dict[str, float] = field(default_factory=dict)


def scraped(page: str) -> Scraped:
    """Return the figures of a page of metrics.

    Raises:
        ValueError: It is not such a page.
    """
    found = Scraped()
    for name, labels, value in _samples(page):
        match name:
            case "tenure_commands_total":
                _add(found.commands, labels["outcome"], value)
            case "tenure_events_appended_total":
                _add(found.events, labels["type"], value)
            case name if name == _LATENCY:
                found.latency[float(labels["le"])] = value
            case "tenure_parked_records":
                _add(found.parked, labels["consumer"], value)
            case "kafka_consumergroup_lag":
                _add(found.lag, labels["consumergroup"], value)
            case "kafka_consumergroup_lag_seconds":
                found.lag_s[labels["consumergroup"]] = max(found.lag_s.get(labels["consumergroup"], 0.0), value)
            case _ if not labels.keys() - {"service_name"}:
                found.gauges[name] = value
    return found


def latency_in(page: str) -> Histogram:
    """Return how long commands took since the process began, from a page of metrics."""
    return {float(labels["le"]): value for _, labels, value in _samples(page, (f"{_LATENCY}{{",))}


def _samples(page: str, wanted: tuple[str, ...] = _WANTED) -> Iterator[tuple[str, Mapping[str, str], float]]:
    lines = (line for line in page.splitlines() if line.startswith(wanted))
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def _add(found: dict[str, float], key: str, value: float) -> None:
    found[key] = found.get(key, 0.0) + value


def since(now: Mapping[str, float], before: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Return how many a second were added to each counter.

    Of a process that began again, what its counters have now was added.
    """
    grown = {key: _grown(value, before.get(key, 0.0)) for key, value in now.items()}
    return {key: round(value / seconds, 3) for key, value in grown.items() if value}


def between(now: Histogram, before: Histogram) -> Histogram:
    """Return the histogram of what came between two readings.

    Of a process that began again, the later one is returned.
    """
    if any(before.get(bound, 0.0) > value for bound, value in now.items()):
        return now
    return {bound: value - before.get(bound, 0.0) for bound, value in now.items()}


def _grown(now: float, before: float) -> float:
    return now - before if now >= before else now


def quantile(histogram: Histogram, part: float) -> float | None:
    """Return the seconds within which this part of a histogram lies; None if it is empty.

    It is interpolated within a bucket. Beyond the last bound it is that bound.

    Source: Prometheus, `histogram_quantile`.
    """
    bounds: Sequence[float] = sorted(histogram)
    total = histogram[bounds[-1]] if bounds else 0.0
    if not total:
        return None
    wanted, below, lower = part * total, 0.0, 0.0
    for bound in bounds:
        if histogram[bound] >= wanted and histogram[bound] > below:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (wanted - below) / (histogram[bound] - below)
        below, lower = histogram[bound], bound
    return lower
