"""What the measurements should say: each goal is one row of the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.benchmarks.lists import MOST_MS as MOST_LIST_MS
from tests.benchmarks.pages import MOST_BYTES as MOST_PAGE_BYTES
from tests.benchmarks.pages import MOST_MS as MOST_PAGE_MS
from tests.benchmarks.runs import OTHERS_CLIENTS, Found
from tests.benchmarks.stores import EMMETT, EVENTSOURCING

MOST_WAL_BYTES: Final = {1: 2_500, 64: 1_500, 256: 1_500}
"""For an event of about 300 bytes, by the number of clients. With one, pages that are written for the first time after
a checkpoint weigh the more, the fewer events a run has."""


LEAST_GROWTH: Final = 1.2
"""Of two processes on two cores, which the database, Kafka and the callers use, too."""
LEAST_APPENDS: Final = 0.95
"""Appends don't fall if more processes share the same clients; equal runs differ by a few per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound for a figure, or for its ratio to a yardstick's figure of the same round.

    Attributes:
        run: The measurement.
        figure: The variant's name and its figure's.
        beside: The yardstick's, or None if the figure itself is bounded.
        counts: Whether it is a counter, which does not depend on the machine's speed.
    """

    what: str
    run: str
    figure: tuple[str, str]
    beside: tuple[str, str] | None = None
    at_least: float | None = None
    at_most: float | None = None
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal with what was measured, as the median and the extremes of the rounds."""

    goal: Goal
    median: float
    least: float
    most: float

    @property
    def met(self) -> bool:
        low, high = self.goal.at_least, self.goal.at_most
        return (low is None or self.median >= low) and (high is None or self.median <= high)

    @property
    def bound(self) -> str:
        goal = self.goal
        return f"≥ {goal.at_least:g}" if goal.at_least is not None else f"≤ {goal.at_most:g}"


def _system() -> Iterator[Goal]:
    for rate, p50, p99 in ((20, 15, 40), (100, 25, 70), (400, 60, 200)):
        what = f"command to the slowest read model of another service, {rate}/s"
        for name, most in (("p50", p50), ("p99", p99)):
            yield Goal(
                what=f"{what}, {name} in ms", run="system", figure=("Tenure", f"{rate}_seen_{name}_ms"), at_most=most
            )
    for figure, what, most in (
        ("idle_percent", "idle, in % of a core", 8),
        ("service_mib", "memory of the largest service, in MiB", 110),
    ):
        yield Goal(what=what, run="system", figure=("Tenure", figure), at_most=most)
    for figure, what, most in (
        ("20_transactions", "transactions a command, in all services, at 20/s", 60),
        ("connections", "connections to PostgreSQL", 90),
    ):
        yield Goal(what=what, run="system", figure=("Tenure", figure), at_most=most, counts=True)


def _appends() -> Iterator[Goal]:
    ours, naive, copy = ("execute()", "events_s"), ("naive asyncpg", "events_s"), ("COPY", "events_s")
    for clients, beside, least in ((1, naive, 1.0), (64, naive, 4.0), (256, copy, 0.25)):
        many = f"{clients} client{'s' if clients > 1 else ''}"
        what = f"append, {many}: events/s beside {beside[0]}"
        yield Goal(what=what, run=f"append {clients}", figure=ours, beside=beside, at_least=least)
        yield Goal(
            what=f"append, {many}: bytes of WAL an event",
            run=f"append {clients}",
            figure=("execute()", "wal_bytes"),
            at_most=MOST_WAL_BYTES[clients],
            counts=True,
        )
    for store, least in ((EMMETT, 10), (EVENTSOURCING, 13)):
        yield Goal(
            what=f"append, {OTHERS_CLIENTS} clients: events/s beside {store}",
            run=f"append {OTHERS_CLIENTS}",
            figure=ours,
            beside=(store, "events_s"),
            at_least=least,
        )
    yield Goal(
        what="append, 64 clients: p99 beside naive asyncpg",
        run="append 64",
        figure=("execute()", "p99_ms"),
        beside=("naive asyncpg", "p99_ms"),
        at_most=0.25,
    )
    yield Goal(
        what="append, 64 clients: events a round trip",
        run="append 64",
        figure=("execute()", "events_a_round_trip"),
        at_least=8,
        counts=True,
    )


def _counts() -> Iterator[Goal]:
    for figure, what, most in (
        ("calls", "calls of functions", 300),
        ("blocks_kept", "blocks of memory kept", 1),
        ("peak_bytes", "bytes allocated at a time", 16_384),
    ):
        yield Goal(
            what=f"append, 1 client: {what}, an event",
            run="count",
            figure=("execute()", figure),
            at_most=most,
            counts=True,
        )


def _relay() -> Iterator[Goal]:
    yield Goal(
        what="relay: events/s beside those of the append at 64 clients",
        run="relay",
        figure=("relay", "events_s"),
        beside=("relay", "appended_s"),
        at_least=1,
    )
    yield Goal(
        what="relay of a backlog: requests to Kafka with events, an event",
        run="relay",
        figure=("relay", "produce_requests"),
        at_most=0.01,
        counts=True,
    )


def _consumption() -> Iterator[Goal]:
    yield Goal(
        what="consume into a table, one process: events/s beside FastStream's empty batch handler",
        run="consume",
        figure=("Tenure", "events_s"),
        beside=("FastStream, empty batch handler", "events_s"),
        at_least=0.6,
    )
    yield Goal(
        what="consume a backlog: requests to Kafka an event",
        run="consume",
        figure=("Tenure", "requests"),
        at_most=0.05,
        counts=True,
    )


def _growth() -> Iterator[Goal]:
    for figure, what in (
        ("append_us", "processor time of an append"),
        ("consume_us", "processor time of a consumed event"),
        ("memory_mib", "memory of the appending process"),
    ):
        yield Goal(
            what=f"ten times the log, the streams, the tenants: {what}, to that before",
            run="growth",
            figure=("ten times", figure),
            beside=("once", figure),
            at_most=1.1,
        )


def _growth_large() -> Iterator[Goal]:
    for way, what in (
        ("append", "1,000 streams, ids of 1,000 accounts"),
        ("new_streams", "new streams, ids of 1,000 accounts"),
        ("random_ids", "1,000 streams, random ids"),
    ):
        yield Goal(
            what=f"50 million events: appends a second, {what}, to those at 1 million",
            run="growth-large",
            figure=("50 million", f"{way}_events_s"),
            beside=("1 million", f"{way}_events_s"),
            at_least=0.9,
        )
    yield Goal(
        what="50 million events: a process's start until it is ready, in s more than at 1 million",
        run="growth-large",
        figure=("50 million", "restart_more_s"),
        at_most=5,
    )


def _processes() -> Iterator[Goal]:
    for figure, what in (("consume_events_s", "events consumed"), ("requests_s", "commands over HTTP")):
        yield Goal(
            what=f"two processes of a service: {what} a second, to those of one",
            run="processes",
            figure=("2 processes", figure),
            beside=("1 process", figure),
            at_least=LEAST_GROWTH,
        )
    for number in (2, 3, 4):
        yield Goal(
            what=f"{number} processes of a service: events appended a second, to those of one",
            run="processes",
            figure=(f"{number} processes", "append_events_s"),
            beside=("1 process", "append_events_s"),
            at_least=LEAST_APPENDS,
        )


def _web() -> Iterator[Goal]:
    yield Goal(
        what="durable command over HTTP, one core: requests/s beside empty Starlette + pydantic",
        run="web",
        figure=("POST /carts", "requests_s"),
        beside=("empty Starlette + pydantic", "requests_s"),
        at_least=0.4,
    )
    yield Goal(
        what="bulk of 1,000 commands: commands/s beside one command a request",
        run="web",
        figure=("grants of credits, in bulk", "commands_s"),
        beside=("grants of credits, one by one", "commands_s"),
        at_least=5,
    )


def _pipelines() -> Iterator[Goal]:
    for rate in (100, 1_000):
        for quantile, most in (("p50", 1.2), ("p99", 1.5)):
            yield Goal(
                what=f"command to another service's table, {rate}/s: {quantile} beside the minimal pipeline",
                run=f"pipeline {rate}",
                figure=("Tenure", f"in_table_{quantile}_ms"),
                beside=("minimal pipeline", f"in_table_{quantile}_ms"),
                at_most=most,
            )


def _repairs() -> Iterator[Goal]:
    for what, figure, copied, least in (
        ("restore of a store", ("restore", "events_s"), "in_events_s", 0.2),
        ("rebuild, one statement an event", ("rebuild", "pools_events_s"), "out_events_s", 0.5),
        ("rebuild, several statements an event", ("rebuild", "ledger_events_s"), "out_events_s", 0.3),
    ):
        yield Goal(
            what=f"{what}: events/s beside psql's COPY",
            run="repair",
            figure=figure,
            beside=("copy", copied),
            at_least=least,
        )
    for store in (EMMETT, EVENTSOURCING):
        yield Goal(
            what=f"rebuild, one statement an event: events/s beside {store}",
            run="repair",
            figure=("rebuild", "pools_events_s"),
            beside=(store, "events_s"),
            at_least=100,
        )


GOALS: Final[Sequence[Goal]] = (
    *_appends(),
    *_counts(),
    *_relay(),
    *_consumption(),
    *_growth(),
    *_growth_large(),
    *_web(),
    *_processes(),
    *_pipelines(),
    *_system(),
    Goal(what="`make up` again, until all is ready, in s", run="start", figure=("make up", "again_s"), at_most=6),
    *_repairs(),
    Goal(what="live edge, 1,000 clients, 500/s: p99 in ms", run="live", figure=("Tenure", "p99_ms"), at_most=250),
    Goal(
        what="live edge: p99 beside frozen clients, to p99 without",
        run="live",
        figure=("Tenure", "beside_frozen_p99_ms"),
        beside=("Tenure", "p99_ms"),
        at_most=1.1,
    ),
)


def judged(results: Mapping[str, Found]) -> Sequence[Judged]:
    """Return the goals of what was measured; those without their yardstick are left out."""
    return [each for goal in GOALS if (each := _judged(goal, results.get(goal.run, {}))) is not None]


def without_yardstick(results: Mapping[str, Found]) -> Sequence[str]:
    """Return the yardsticks that goals of these measurements miss."""
    missing = (
        goal.beside[0]
        for goal in GOALS
        if goal.beside is not None and goal.run in results and not results[goal.run].get(goal.beside[0])
    )
    return [*dict.fromkeys(missing)]


def _judged(goal: Goal, found: Found) -> Judged | None:
    name, figure = goal.figure
    if not found.get(name) or figure not in found[name][0]:
        return None
    values = [float(result[figure]) for result in found[name]]
    if goal.beside is not None:
        yardstick, its_figure = goal.beside
        if not found.get(yardstick):
            return None
        values = [ours / its[its_figure] for ours, its in zip(values, found[yardstick], strict=True)]
    return Judged(goal, median(values), min(values), max(values))


def above_limits(results: Mapping[str, Found]) -> Sequence[str]:
    """Return the lists and pages that take longer, or are larger, than they may."""
    slow = [
        f"{name}: {request}, {taken:g} ms of {MOST_LIST_MS:g}"
        for name, (result,) in results.get("lists", {}).items()
        for request, taken in result["slow"].items()
    ]
    for name, (result,) in results.get("pages", {}).items():
        if result["p50_ms"] > MOST_PAGE_MS:
            slow.append(f"{name}: {result['p50_ms']:g} ms of {MOST_PAGE_MS:g}")
        if result["bytes"] > MOST_PAGE_BYTES:
            slow.append(f"{name}: {result['bytes']:,} bytes of {MOST_PAGE_BYTES:,}")
    return slow
