"""The report of a run: what was measured, beside what, and which goals it meets, as Markdown with a drawing."""

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.metadata import version
from math import log10
from pathlib import Path
from statistics import median
from typing import Final

from deploy import jars
from deploy.stack import postgres_bin
from tests.benchmarks.bounds import BOUNDS
from tests.benchmarks.goals import Judged, above_limits, judged, without_yardstick
from tests.benchmarks.runs import APPEND_S, Found

TITLES: Final = {
    "append 1": "Append, 1 client",
    "append 64": "Append, 64 clients",
    "append 256": "Append, 256 clients",
    "pipeline 100": "Command to another service's table, 100/s",
    "pipeline 1000": "Command to another service's table, 1,000/s",
    "start": "Start of a system that was stopped",
    "system": "The whole system: command to the slowest read model of another service, and idle",
    "count": "What an append takes of the interpreter",
    "relay": "The relay, of what 64 clients appended",
    "consume": "A topic consumed into a table, by one process",
    "growth": "Ten times the log, the streams and the tenants",
    "growth-large": "50 million events, beside 1 million",
    "processes": "One to four processes of a service, with the database and the callers on the same cores",
    "web": "Commands over HTTP, the server on one core and its callers on another",
    "repair": "Restore and rebuild, beside psql's COPY of the same events",
    "live": "Live edge, 1,000 clients of 100 organisations, 500 events/s",
    "lists": "Lists, for 1,000 customers with 100,000 seats",
    "pages": "Pages of the console",
}
"""The measurements, by what they are called in the results."""

WIDTH: Final = 260
ROW: Final = 18
LABELS: Final = 540


def shown(results: Mapping[str, Found]) -> str:
    """Return what was measured as text for a terminal: medians, and the extremes of the first figure."""
    return "\n\n".join(
        f"{TITLES[run]}; medians of {_rounds(found)}\n" + "\n".join(_lines(found)) for run, found in results.items()
    )


def _rounds(found: Found) -> int:
    return len(next(iter(found.values())))


def _lines(found: Found) -> Iterator[str]:
    width = min(60, max(map(len, found)))
    for name, results in found.items():
        figures = [key for key, value in results[0].items() if isinstance(value, int | float)]
        cells = [f"{key} {median(each[key] for each in results):,g}" for key in figures]
        first = [each[figures[0]] for each in results]
        yield f"  {name:<{width}} {'  '.join(cells)}  ({min(first):,g} to {max(first):,g})"


def markdown(results: Mapping[str, Found], at: datetime, drawing: Path, *, runs: int = 1) -> str:
    """Return the report of a run, or of several.

    Args:
        drawing: The file of the drawing, as the report's links name it.
        runs: How many runs the measurements are of.
    """
    goals = judged(results)
    compare = "within this run" if runs == 1 else f"within a measurement (they are of {runs} runs)"
    parts = [
        "# Performance",
        f"What `make bench` measured on {at:%Y-%m-%d}, with all guarantees and fsync on. Variants take turns within a "
        "round; a ratio is one of figures of the same round, and what is shown is the median of the rounds, with the "
        f"least and the greatest. Compare {compare} only: machines differ, and so do hours.",
        "\n".join(f"- {each}" for each in machine()),
        "## Goals",
        f"![Each goal's ratio of what was measured to what it should be]({drawing.name})",
        _table(goals),
        *_absent(results),
        *_limits(results),
        *_bounds(goals),
        "Not measured here is the processor time of a command in `make year` beside that of a former checkout.",
        "## Figures",
        f"An append takes {APPEND_S} s. `cpu_us` is the client's processor time for an event.",
        *(f"### {TITLES[run]}\n\n{_figures(found)}" for run, found in results.items() if run not in ("lists", "pages")),
    ]
    return "\n\n".join(parts) + "\n"


def machine() -> Sequence[str]:
    """Return what the run was on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    packages = ", ".join(f"{name} {version(name)}" for name in ("asyncpg", "aiokafka", "pydantic", "uvloop"))
    return (
        f"{os.cpu_count()} cores of {cpu}, {memory} GiB, Linux {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}, {packages}, PostgreSQL {_postgres()}, Kafka {_kafka()}",
    )


def _postgres() -> str:
    said = subprocess.run([postgres_bin() / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]


def _kafka() -> str:
    return next(name.rpartition(":")[2] for jar in jars.jars() if ":kafka-clients:" in (name := jar.coordinate))


def _table(goals: Sequence[Judged]) -> str:
    rows = [
        f"| {each.goal.what} | {number(each.median)} | {number(each.least)} to {number(each.most)} | {each.bound} | "
        f"{'met' if each.met else '**not met**'} |"
        for each in goals
    ]
    return "\n".join(["| what | median | rounds | goal | |", "|---|--:|--:|--:|---|", *rows])


def _absent(results: Mapping[str, Found]) -> Iterator[str]:
    if missing := without_yardstick(results):
        yield f"These yardsticks could not be had, and what is measured beside them is left out: {', '.join(missing)}."


def number(value: float) -> str:
    """Return a figure with three digits, or with all that are before its point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bounds(goals: Sequence[Judged]) -> Iterator[str]:
    missed = list(dict.fromkeys(each.goal.run for each in goals if not each.met))
    if known := [f"- **{TITLES[run]}**: {BOUNDS[run]}" for run in missed if run in BOUNDS]:
        yield "## What bounds what is not met"
        yield "\n".join(known)


def _limits(results: Mapping[str, Found]) -> Iterator[str]:
    asked = [f"{len(results[run]):,} {run}" for run in ("lists", "pages") if run in results]
    if asked:
        above = above_limits(results)
        yield f"Of {' and '.join(asked)}, these are above their limit: " + ("; ".join(above) or "none") + "."


def _figures(found: Found) -> str:
    tables = []
    for name, results in found.items():
        figures = [key for key, value in results[0].items() if isinstance(value, int | float)]
        rows = [
            f"| {key} | {median(each[key] for each in results):,g} | "
            f"{min(each[key] for each in results):,g} to {max(each[key] for each in results):,g} |"
            for key in figures
        ]
        tables.append("\n".join([f"| {name} | median | rounds |", "|---|--:|--:|", *rows]))
    return "\n\n".join(tables)


def svg(goals: Sequence[Judged]) -> str:
    """Return a drawing of how far each goal is met: a bar of its median and a line of its extremes.

    The scale is logarithmic, from a tenth of the goal to ten times; to the right of the middle the goal is met.
    """
    height = ROW * len(goals) + 2 * ROW
    middle = LABELS + WIDTH / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABELS + WIDTH + 10} {height}" role="img" '
        'font-family="sans-serif" font-size="11"><title>How far each goal is met</title>'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{middle}" y="12" text-anchor="middle" fill="#333">← not met · met →</text>'
    ]
    for number, each in enumerate(goals):
        y = ROW * (number + 1.5)
        ends = sorted((_x(each, each.least), _x(each, each.most)))
        x = _x(each, each.median)
        colour = "#1a7f5a" if each.met else "#b3432b"
        parts.append(
            f'<text x="{LABELS - 8}" y="{y + 4:.0f}" text-anchor="end" fill="#333">{escape(each.goal.what)}</text>'
            f'<rect x="{min(x, middle):.1f}" y="{y - 5:.1f}" width="{abs(x - middle):.1f}" height="10" '
            f'fill="{colour}"/>'
            f'<path d="M{ends[0]:.1f},{y:.1f}H{ends[1]:.1f}" stroke="#333"/>'
        )
    parts.append(f'<path d="M{middle},{ROW}V{height - ROW / 2}" stroke="#333" stroke-dasharray="2 2"/></svg>')
    return "\n".join(parts) + "\n"


def _x(each: Judged, value: float) -> float:
    """Return where a figure is drawn: in the middle if it is the goal, to the right of it if it is better."""
    goal = each.goal
    better = value / goal.at_least if goal.at_least is not None else (goal.at_most or 1.0) / max(value, 1e-9)
    return LABELS + WIDTH * (0.5 + max(-1.0, min(1.0, log10(max(better, 1e-9)))) / 2)
