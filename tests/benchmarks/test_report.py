"""The report of a run: which goals are met, and that a drawing shows each."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.benchmarks.__main__ import ALL
from tests.benchmarks.bounds import BOUNDS
from tests.benchmarks.goals import GOALS, judged, without_yardstick
from tests.benchmarks.report import TITLES, markdown, number, shown, svg
from tests.benchmarks.runs import CLIENTS, RATES, Found


def appended(events_s: int, p99_ms: float) -> dict[str, Any]:
    return {"events_s": events_s, "p99_ms": p99_ms, "wal_bytes": 1_000, "events_a_round_trip": 20}


FOUND: Found = {
    "naive asyncpg": [appended(5_000, 40), appended(1_000, 40), appended(6_000, 40)],
    "execute()": [appended(21_000, 8), appended(4_500, 30), appended(18_000, 9)],
}


def test_a_ratio_is_of_one_round_and_the_median_decides() -> None:
    throughput, tail = (each for each in judged({"append 64": FOUND}) if each.goal.beside)
    assert (throughput.median, throughput.least, throughput.most, throughput.met) == (4.2, 3.0, 4.5, True)
    assert (tail.median, tail.met) == (0.225, True)


def test_a_goal_without_its_yardstick_is_not_judged() -> None:
    alone = {"execute()": FOUND["execute()"]}
    assert {each.goal.what for each in judged({"append 64": alone})} == {
        "append, 64 clients: bytes of WAL an event",
        "append, 64 clients: events a round trip",
    }


def test_a_yardstick_that_could_not_be_had_is_said() -> None:
    assert "Emmett" in without_yardstick({"append 64": FOUND})
    assert "naive asyncpg" not in without_yardstick({"append 64": FOUND})
    page = markdown({"append 64": FOUND}, datetime(2026, 1, 1, tzinfo=UTC), Path("bench.svg"))
    assert "could not be had, and what is measured beside them is left out: Emmett, eventsourcing" in page


def test_a_goal_that_is_missed_is_said_and_drawn_to_the_left() -> None:
    goals = judged({"append 64": {"naive asyncpg": FOUND["naive asyncpg"], "execute()": [appended(5_000, 8)] * 3}})
    page = markdown({"append 64": FOUND}, datetime(2026, 1, 1, tzinfo=UTC), Path("bench.svg"))
    assert "| 4.2 | 3 to 4.5 | ≥ 4 | met |" in page
    drawn = ElementTree.fromstring(svg(goals))
    bars = [each for each in drawn.iter("{http://www.w3.org/2000/svg}rect") if each.get("height") == "10"]
    assert len(bars) == len(goals)
    middle = max(float(each.get("x", 0)) for each in bars)
    assert [float(bar.get("x", 0)) < middle for bar in bars] == [not each.met for each in goals]


def test_what_bounds_a_missed_goal_is_said() -> None:
    missed: Found = {"naive asyncpg": FOUND["naive asyncpg"], "execute()": [appended(5_000, 8)] * 3}
    pages = [markdown({"append 64": each}, datetime(2026, 1, 1, tzinfo=UTC), Path("a.svg")) for each in (missed, FOUND)]
    assert [BOUNDS["append 64"] in page for page in pages] == [True, False]
    assert set(BOUNDS) <= set(TITLES)


def test_a_figure_has_three_digits_or_all_before_its_point() -> None:
    assert [number(each) for each in (1_510.4, 122, 99.95, 0.3459, 0.00057)] == [
        "1,510",
        "122",
        "100",
        "0.346",
        "0.00057",
    ]


def test_every_measurement_has_a_title_and_every_goal_a_measurement() -> None:
    runs = {f"append {clients}" for clients in CLIENTS} | {f"pipeline {rate}" for rate in RATES}
    runs |= set(ALL) - {"append", "pipeline"}
    assert runs == set(TITLES)
    assert {goal.run for goal in GOALS} <= set(TITLES)
    assert shown({"append 64": FOUND}).startswith("Append, 64 clients; medians of 3\n  naive asyncpg")
