"""All measurements in one run, the variants in turn within each round: `python -m tests.benchmarks --help`.

PostgreSQL and Kafka are this run's own, in .local. Compare within a run only: machines differ, and so do hours. What
`make year` takes is not measured here: its yardstick is a former checkout, and each run takes many minutes.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from deploy import ROOT, OperatorError
from deploy.stack import Postgres
from shared.services import SERVICES
from tests.benchmarks import peers, report, runs, stores
from tests.benchmarks.goals import judged
from tests.benchmarks.runs import BENCH, Found

ALL: Final = (
    "append",
    "count",
    "relay",
    "consume",
    "growth",
    "growth-large",
    "web",
    "processes",
    "pipeline",
    "system",
    "start",
    "repair",
    "live",
    "lists",
    "pages",
)
LONG: Final = ("lists", "pages", "growth-large")
"""What is measured only on request: it takes an hour."""
QUICK: Final = ("append", "count", "relay", "consume", "system")
QUICK_S: Final = 10
QUICK_EVENTS: Final = 3_000


def chosen() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measures beside yardsticks.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help=f"of each pipeline; an append takes {runs.APPEND_S}")
    parser.add_argument("--only", choices=ALL, action="append", help=f"without it, all but {', '.join(LONG)}")
    parser.add_argument("--events", type=int, default=100_000, help="that are restored and rebuilt; the goal is of 1 M")
    parser.add_argument("--service", choices=SERVICES, help="whose lists are measured; without it, those of all")
    parser.add_argument(
        "--quick", action="store_true", help="judge the counters only, which no machine's speed changes"
    )
    parser.add_argument(
        "--adding", type=Path, action="append", default=[], help="the figures of an earlier run, for the report"
    )
    parser.add_argument("--report", type=Path, help="the Markdown file to write; its drawing is written beside it")
    return parser.parse_args()


def steps(
    options: argparse.Namespace, folder: Path, postgres: Postgres, wanted: Sequence[str]
) -> Mapping[str, Callable[[], Found]]:
    """Return what measures each run that is wanted, in order."""
    quick: bool = options.quick
    rounds, seconds, append_s = (1, 1, 1) if quick else (options.rounds, options.seconds, runs.APPEND_S)
    env = asyncio.run(peers.environment(postgres, folder)) if peers.HERE.is_dir() and not quick else None
    others = stores.installed() if not quick and {"append", "repair"} & {*wanted} else {}
    idle_s, rates = (0, runs.SYSTEM_RATES[:1]) if quick else (runs.IDLE_S, runs.SYSTEM_RATES)
    appends = {
        f"append {clients}": partial(runs.in_turn, runs.appends(postgres, env, others, clients, append_s), rounds)
        for clients in runs.CLIENTS
    }
    pipelines = {
        f"pipeline {rate}": partial(runs.in_turn, runs.pipelines(postgres, env, folder, rate, seconds), rounds)
        for rate in runs.RATES
    }
    all_steps: Mapping[str, Callable[[], Found]] = {
        **appends,
        "count": lambda: runs.counts(postgres),
        "relay": lambda: runs.relays(postgres, folder, rounds, append_s),
        "consume": lambda: runs.consumption(postgres, folder, QUICK_EVENTS if quick else runs.CONSUMED, rounds),
        "growth": lambda: runs.growth(postgres, folder, rounds),
        "growth-large": lambda: runs.growth_large(postgres, folder, rounds),
        "web": lambda: runs.web(postgres, folder, rounds, runs.WEB_S),
        "processes": lambda: runs.processes(postgres, folder, rounds),
        **pipelines,
        "system": lambda: runs.whole_system(rounds, max(QUICK_S, seconds), idle_s, rates),
        "start": lambda: runs.starts(rounds),
        "repair": lambda: runs.repairs(postgres, folder, others, options.events, rounds),
        "live": lambda: runs.live(rounds, max(20, seconds)),
        "lists": lambda: runs.lists(postgres, [options.service] if options.service else SERVICES),
        "pages": runs.pages,
    }
    return {run: step for run, step in all_steps.items() if run.partition(" ")[0] in wanted}


def measured(options: argparse.Namespace, folder: Path, postgres: Postgres) -> tuple[dict[str, Found], Sequence[str]]:
    """Measure what was chosen; print what begins, and each measurement as soon as it is there.

    Returns:
        What was measured, and the runs that failed.
    """
    wanted = QUICK if options.quick else options.only or [each for each in ALL if each not in LONG]
    results: dict[str, Found] = {}
    failed: list[str] = []
    begin, taken = time.monotonic(), steps(options, folder, postgres, wanted)
    for number, (run, step) in enumerate(taken.items(), start=1):
        minutes = (time.monotonic() - begin) / 60
        print(f"\n{number} of {len(taken)}, after {minutes:.1f} minutes: {report.TITLES[run]} …", flush=True)
        try:
            results[run] = step()
        except (RuntimeError, OperatorError, OSError, subprocess.TimeoutExpired) as why:
            failed.append(run)
            print(f"It failed: {why}", flush=True)
        else:
            print(report.shown({run: results[run]}), flush=True)
    return results, failed


def main() -> None:
    options = chosen()
    BENCH.mkdir(parents=True, exist_ok=True)
    if not peers.HERE.is_dir():
        print(f"The peers' scripts are not in {peers.HERE}: there is no minimal pipeline to compare with.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=BENCH, prefix="run-")))
        results, failed = measured(options, folder, stack.enter_context(Postgres(folder / "postgres")))
    now = datetime.now(UTC)
    kept = BENCH / f"{now:%Y%m%dT%H%M%SZ}.json"
    kept.write_text(json.dumps(results, indent=1))
    print(f"\nAll rounds: {kept.relative_to(ROOT)}")
    for earlier in options.adding:
        results = json.loads(earlier.read_text()) | results
    goals = judged(results)
    for each in goals:
        if each.goal.counts or not options.quick:
            met = "met    " if each.met else "NOT MET"
            print(f"  {met} {each.goal.what}: {report.number(each.median)}; goal {each.bound}")
    if options.report:
        drawing = options.report.with_suffix(".svg")
        options.report.write_text(report.markdown(results, now, drawing, runs=1 + len(options.adding)))
        drawing.write_text(report.svg(goals))
    _fail([each.goal.what for each in goals if each.goal.counts and not each.met], failed)


def _fail(counters: Sequence[str], failed: Sequence[str]) -> None:
    wrong = [f"Counters beyond their limits: {'; '.join(counters)}"] if counters else []
    wrong += [f"Not measured, as it failed: {'; '.join(failed)}"] if failed else []
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
