"""All measurements in one run, the variants in turn within each round: `python -m tests.benchmarks --help`.

PostgreSQL and Kafka are this run's own, in .local. Compare within a run only: machines differ, and so do hours.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from deploy import LOCAL, ROOT, topics
from deploy.stack import Kafka, Postgres
from shared.services import SERVICES
from tests.benchmarks import peers
from tests.benchmarks.lists import MOST_MS
from tests.benchmarks.measure import Result, asked
from tests.benchmarks.pages import MOST_BYTES as MOST_PAGE_BYTES
from tests.benchmarks.pages import MOST_MS as MOST_PAGE_MS

CLIENTS: Final = (1, 64)
RATES: Final = (100, 1_000)
MOST_WAL_BYTES: Final = 1_500
"""Per event of about 300 bytes, at any number of clients."""
FEWEST_EVENTS_A_ROUND_TRIP: Final = 8
"""At 64 clients."""

LISTS_S: Final = 3_600
"""How long the lists may take: they are asked about 2,000 things six times each."""

PAGES_S: Final = 1_200
"""How long the pages may take, with the start of a system."""

LIVE_CLIENTS: Final = 1_000
LIVE_RATE: Final = 500
LIVE_P99_MS: Final = 250
LIVE_S: Final = 300
"""How long the live edge may take, with its start and frozen subscribers."""

SYSTEM_RATES: Final = (20, 100)
IDLE_S: Final = 60
SYSTEM_S: Final = 300
"""How long the whole system may take, with its start."""

REPAIR_S: Final = 1_800
"""How long one step of restore and rebuild may take."""
REPAIRS: Final = (
    ("restore", "events_s", "in_events_s", 0.2),
    ("rebuild", "pools_events_s", "out_events_s", 0.5),
    ("rebuild", "ledger_events_s", "out_events_s", 0.3),
)
"""A variant, its figure, that of psql's COPY beside it, and the ratio that it should have."""

BENCH: Final = LOCAL / "bench"

Variants = Mapping[str, Callable[[], Awaitable[Result]]]
Found = Mapping[str, Sequence[Result]]


def appends(postgres: Postgres, env: Mapping[str, str] | None, clients: int, seconds: float) -> Variants:
    async def ours(variant: str) -> Result:
        command = ["-m", "tests.benchmarks.append", variant, str(clients), str(seconds)]
        return asked(command, {"DATABASE_URL": postgres.url}, ROOT)

    execute: Variants = {"execute()": lambda: ours("execute")}
    if env is None:
        return {"naive asyncpg": lambda: ours("naive"), **execute}
    return {
        "naive asyncpg": lambda: peers.append("naive", clients, seconds, env),
        "group commit": lambda: peers.append("group_lock", clients, seconds, env),
        **execute,
    }


def pipelines(postgres: Postgres, env: Mapping[str, str] | None, folder: Path, rate: int, seconds: int) -> Variants:
    async def ours() -> Result:
        with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
            await topics.ensure(kafka.access)
            return _pipeline(rate, seconds, {"DATABASE_URL": postgres.url, **kafka.access.environment()})

    async def minimal() -> Result:
        assert env is not None
        return peers.pipeline(rate, seconds, env)

    return {"minimal pipeline": minimal, "Tenure": ours} if env is not None else {"Tenure": ours}


def _pipeline(rate: int, seconds: int, env: Mapping[str, str]) -> Result:
    """Both processes of pipeline.py, the consumer first."""
    module = ["-m", "tests.benchmarks.pipeline"]
    arguments = [str(rate), str(seconds)]
    command = [sys.executable, *module, "consumer", *arguments]
    with (BENCH / "consumer.log").open("w") as log:
        consumer = subprocess.Popen(
            command, env={**os.environ, **env}, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert consumer.stdout is not None
        if not consumer.stdout.readline():  # it has its partitions
            raise RuntimeError(f"The consumer ended: {log.name}")
        sent = asked([*module, "service", *arguments], env, ROOT)
        said, _ = consumer.communicate(timeout=60)
        consumed: Result = json.loads(said)
    finally:
        consumer.kill()
        consumer.wait()
    return consumed | sent


def in_turn(variants: Variants, rounds: int) -> Found:
    found: dict[str, list[Result]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            found[name].append(asyncio.run(_awaited(measure)))
    return found


async def _awaited(measure: Callable[[], Awaitable[Result]]) -> Result:
    return await measure()


def show(title: str, found: Found) -> None:
    """Medians, and the smallest and largest of what the first column says."""
    rounds = len(next(iter(found.values())))
    print(f"\n{title}; medians of {rounds}")
    for name, results in found.items():
        cells = [f"{key} {median(r[key] for r in results):,g}" for key in results[0]]
        first = [r[next(iter(results[0]))] for r in results]
        print(f"  {name:<17} {'  '.join(cells)}  ({min(first):,g} to {max(first):,g})")


def ratios(found: Found) -> Sequence[float]:
    """How many times as much `execute()` wrote as the naive append of the same round."""
    pairs = zip(found["execute()"], found["naive asyncpg"], strict=True)
    return [round(ours["events_s"] / naive["events_s"], 2) for ours, naive in pairs]


def too_much(clients: int, results: Sequence[Result]) -> Sequence[str]:
    """What the counters say against the append path; they don't depend on the machine's speed."""
    wal = median(r["wal_bytes"] for r in results)
    shared = median(r["events_a_round_trip"] for r in results)
    wrong = []
    if wal > MOST_WAL_BYTES:
        wrong.append(f"{wal} bytes of WAL an event at {clients} clients; at most {MOST_WAL_BYTES}")
    if clients >= 64 and shared < FEWEST_EVENTS_A_ROUND_TRIP:
        wrong.append(f"{shared} events a round trip at {clients} clients; at least {FEWEST_EVENTS_A_ROUND_TRIP}")
    return wrong


def lists(postgres: Postgres, services: Sequence[str]) -> Found:
    """Measure every list of these services, and print each with the requests whose median is above the limit."""
    command = ["-m", "tests.benchmarks.lists", *services]
    found: Result = asked(command, {"DATABASE_URL": postgres.url}, ROOT, timeout_s=LISTS_S)
    print(f"\nlists, for 1,000 customers with 100,000 seats; each request's median should be at most {MOST_MS:g} ms")
    for name, result in found.items():
        figures = "  ".join(f"{key} {result[key]:,g}" for key in ("requests", "p50_ms", "p99_ms", "max_ms"))
        slowest = f"slowest by median: {result['slowest_ms']:g} ms, {result['slowest']}"
        print(f"  {name:<68} {figures}  {slowest}")
        for request, taken in result["slow"].items():
            print(f"    above the limit: {taken:g} ms, {request}")
    return {name: [result] for name, result in found.items()}


def pages() -> Found:
    """Measure every page that the example's people come to, the slowest first."""
    found: Result = asked(["-m", "tests.benchmarks.pages"], {}, ROOT, timeout_s=PAGES_S)
    print(f"\npages; a document should be there within {MOST_PAGE_MS:g} ms, and is {MOST_PAGE_BYTES:,} bytes at most")
    for name, result in sorted(found.items(), key=lambda each: -float(each[1]["p50_ms"])):
        print(f"  {name:<84} " + "  ".join(f"{key} {value:,g}" for key, value in result.items()))
    return {name: [result] for name, result in found.items()}


def repairs(postgres: Postgres, folder: Path, events: int, rounds: int) -> Found:
    """Measure restore and rebuild beside psql's COPY of the same events, and print their ratios."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        env = {"DATABASE_URL": postgres.url, "BENCH_FOLDER": place, **kafka.access.environment()}

        def step(name: str, *arguments: str) -> Result:
            return asked(["-m", "tests.benchmarks.repair", name, *arguments], env, ROOT, timeout_s=REPAIR_S)

        async def variant(name: str) -> Result:
            return step(name)

        step("fill", str(events))
        found = in_turn({name: partial(variant, name) for name in ("copy", "restore", "rebuild")}, rounds)
    show(f"restore and rebuild of {events:,} events, beside psql's COPY of them out of the log and into one", found)
    for name, figure, limit, goal in REPAIRS:
        pairs = zip(found[name], found["copy"], strict=True)
        each = ", ".join(f"{ours[figure] / copy[limit]:.3f}" for ours, copy in pairs)
        print(f"  {name}'s {figure} / COPY's {limit}, round by round: {each}; the goal is {goal}")
    return found


def live(rounds: int, seconds: int) -> Found:
    """Measure from an event to 1,000 subscribers, those of 100 organisations, with and without frozen ones."""
    command = ["-m", "tests.benchmarks.live", str(LIVE_CLIENTS), str(LIVE_RATE), str(seconds), "100", "5"]
    return {"live edge": [asked(command, {}, ROOT, timeout_s=LIVE_S) for _ in range(rounds)]}


def whole_system(rounds: int, seconds: int) -> Found:
    """Measure from a command to the slowest read model of another service, and what the system takes when idle."""
    command = ["-m", "tests.benchmarks.system", str(seconds), str(IDLE_S), *map(str, SYSTEM_RATES)]
    return {"Tenure": [asked(command, {}, ROOT, timeout_s=SYSTEM_S) for _ in range(rounds)]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measures beside yardsticks.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each pipeline; an append takes 3")
    parser.add_argument("--only", choices=("append", "pipeline", "system", "lists", "pages", "live", "repair"))
    parser.add_argument("--events", type=int, default=100_000, help="that are restored and rebuilt; the goal is of 1 M")
    parser.add_argument("--service", choices=SERVICES, help="whose lists are measured; without it, those of all")
    chosen = parser.parse_args()
    results: dict[str, Found] = {}
    wrong: list[str] = []
    BENCH.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=BENCH, prefix="run-")))
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        env = asyncio.run(peers.environment(postgres, folder)) if peers.HERE.is_dir() else None
        if env is None:
            print(f"The peers' scripts are not in {peers.HERE}: a naive append of our own is the only yardstick.")
        for clients in CLIENTS if chosen.only in (None, "append") else ():
            title = f"append, {clients} client{'s' if clients > 1 else ''}"
            results[title] = found = in_turn(appends(postgres, env, clients, 3), chosen.rounds)
            show(title, found)
            print(f"  execute() / naive, round by round: {', '.join(map(str, ratios(found)))}")
            wrong += too_much(clients, found["execute()"])
        for rate in RATES if chosen.only in (None, "pipeline") else ():
            title = f"command to another service's table, {rate}/s"
            variants = pipelines(postgres, env, folder, rate, chosen.seconds)
            results[title] = in_turn(variants, chosen.rounds)
            show(title, results[title])
        if chosen.only in (None, "system"):
            results["system"] = whole_system(chosen.rounds, max(10, chosen.seconds))
            show(f"the whole system, at {' and '.join(map(str, SYSTEM_RATES))} commands/s and idle", results["system"])
        if chosen.only in (None, "repair"):
            results["repair"] = repairs(postgres, folder, chosen.events, chosen.rounds)
        if chosen.only in (None, "lists"):
            results["lists"] = lists(postgres, [chosen.service] if chosen.service else SERVICES)
        if chosen.only in (None, "pages"):
            results["pages"] = pages()
        if chosen.only in (None, "live"):
            title = f"live edge, {LIVE_CLIENTS} subscribers, {LIVE_RATE} events/s; p99 at most {LIVE_P99_MS} ms"
            results[title] = live(chosen.rounds, max(20, chosen.seconds))
            show(title, results[title])
    kept = BENCH / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    kept.write_text(json.dumps(results, indent=1))
    print(f"\nAll rounds: {kept.relative_to(ROOT)}")
    if wrong:
        sys.exit("Counters beyond their limits: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
