"""`python -m tests.torture`: kills a process at every point of its work, one after the other.

The points are found by tracing a run that is left alone. For each, a child runs until it dies there, a second one
finishes its work, and the oracle looks. Children are forks of this process, which has imported everything.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import structlog

from deploy import topics
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair import anchors
from shared.eventlog.write.postgres import open_pool
from tests.databases import execute_as_operator, made
from tests.oracle.evidence import gather
from tests.oracle.verdict import faults
from tests.system import parts
from tests.torture.lines import Point, watch
from tests.torture.workload import CONSUMERS, SERVICE, Bench, effects, heard, play

FORK: Final = multiprocessing.get_context("fork")
TEMPLATE: Final = "torture_template"
WITHIN_S: Final = 90
TRIES: Final = 3
MOST: Final = 0.98
"""At least so many of the points have to be reached: a moment in flight may have passed before the kill."""
IN_FLIGHT: Final = ("return await self._append.fetch(*arguments)", "sent: Awaitable[Any] = await producer.send_batch(")
"""What is sent to a server is killed at many moments of its way, too."""
MOMENTS_S: Final = tuple(n * 0.0004 for n in range(1, 26))


class Servers:
    """One PostgreSQL and one Kafka for all runs; each run has a database and a topic of its own."""

    def __init__(self, url: str, access: KafkaAccess, folder: Path) -> None:
        self.url, self.access, self.folder = url, access, folder

    async def prepare(self) -> None:
        dsn = await made(self.url, TEMPLATE, SERVICE)
        self._role = urlsplit(dsn).netloc
        await topics.ensure(self.access, [topics.Topic(anchors.topic_of_anchors(SERVICE), 1, {})])
        await execute_as_operator(
            dsn, "create table applied (id text, stream text, version int, number bigint generated always as identity)"
        )

    async def bench(self, name: str) -> Bench:
        db = await asyncpg.connect(f"{self.url}/postgres")
        await db.execute(f'create database "{name}" template "{TEMPLATE}" strategy file_copy')
        await db.close()
        topic = f"{SERVICE}.{name}"
        await topics.ensure(self.access, [topics.Topic(topic, 2, {})])
        return Bench(f"postgresql://{self._role}/{name}", self.access, topic, self.folder / f"{name}.jsonl")

    async def drop(self, name: str) -> None:
        db = await asyncpg.connect(f"{self.url}/postgres")
        await db.execute(f'drop database "{name}" with (force)')
        await db.close()


def _child(bench: Bench, name: str, point: Point | None, trace: bool, out: Any) -> None:
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    counts = watch(point) if trace else None
    try:
        asyncio.run(play(bench, name))
    except BaseException:  # noqa: BLE001  # whatever it is, the parent sees the exit code
        traceback.print_exc()
        os._exit(1)
    sys.settrace(None)
    out.send(dict(counts or {}))
    os._exit(0)  # not by way of the parent's threads, which a fork does not have


def _in_child(bench: Bench, name: str, point: Point | None = None, *, trace: bool) -> tuple[int | None, Any]:
    """A fork that plays; its exit code and, if it came to its end, the lines that it executed."""
    receiving, sending = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_child, args=(bench, name, point, trace, sending))
    child.start()
    sending.close()
    try:
        counts = receiving.recv() if receiving.poll(WITHIN_S) else None
    except EOFError:
        counts = None
    child.join(5)
    if child.exitcode is None:
        child.kill()
        child.join()
    return child.exitcode, counts


async def _judged(bench: Bench) -> list[str]:
    found = await gather({SERVICE: bench.dsn}, bench.access, {SERVICE: bench.topic})
    evidence = found[SERVICE]
    evidence.anchors, strange = anchors.from_file(bench.anchors, SERVICE)  # the topic has all runs' anchors
    evidence.asked, wrong = heard(bench.heard)
    wrong += strange
    evidence.expected, evidence.at_ends = CONSUMERS, False  # it stops before it has read what the heir said again
    wrong += faults(evidence)
    wrong += [f"{consumer} has parked {topic}@{offset}: {why}" for consumer, topic, offset, why in evidence.parked]
    if len(evidence.asked) < 20 or any(asked.outcome == "unknown" for asked in evidence.asked):
        wrong.append("the second process did not finish its client's commands")
    pool = await open_pool(bench.dsn, 1, 1)
    try:
        return wrong + await effects(pool)
    finally:
        pool.terminate()


def tried(servers: Servers, number: int, point: Point) -> tuple[str, list[str]]:
    """Whether a child died there ("killed", or "passed" where three never came there), and what is wrong afterwards."""
    fate, wrong = "passed", list[str]()
    for again in range(TRIES):
        fate, wrong = _tried(servers, f"t{number}_{again}", point)
        if fate != "passed" or wrong:
            break
    return fate, wrong


def _tried(servers: Servers, name: str, point: Point) -> tuple[str, list[str]]:
    bench = asyncio.run(servers.bench(name))
    code, _ = _in_child(bench, f"{name}-victim", point, trace=True)
    fate = "killed" if code in (-9, -14) else "passed" if code == 0 else f"ended {code}"
    code, _ = _in_child(bench, f"{name}-heir", trace=False)
    wrong = [] if code == 0 else [f"the process after it ended {code}"]
    wrong += asyncio.run(_judged(bench))
    asyncio.run(servers.drop(name))
    return fate, wrong


def points(servers: Servers) -> list[Point]:
    """Every line that an undisturbed run executes: its first time, and one later time where there are several; and
    moments of what is in flight."""
    bench = asyncio.run(servers.bench("traced"))
    code, counts = _in_child(bench, "traced", trace=True)
    if code != 0 or counts is None:
        raise SystemExit(f"the run that is left alone ended {code}")
    wrong = asyncio.run(_judged(bench))
    if wrong:
        raise SystemExit("the run that is left alone is not clean:\n" + "\n".join(wrong))
    found: list[Point] = []
    for (file, line), times in sorted(counts.items()):
        found.append(Point(file, line))
        if times >= 4:
            found.append(Point(file, line, times // 2))
        if found[-1].source.startswith(IN_FLIGHT):
            found += [Point(file, line, 1 + n % 3, after_s) for n, after_s in enumerate(MOMENTS_S)]
    return found


def _torture(servers: Servers, chosen: Sequence[Point], jobs: int) -> int:
    began, fates, failed = time.monotonic(), {"killed": 0, "passed": 0}, 0
    # Processes, for they fork: the fork of one that has threads may wait for a lock that nobody holds any more.
    with ProcessPoolExecutor(jobs, mp_context=FORK) as workers:
        running = [(point, workers.submit(tried, servers, n, point)) for n, point in enumerate(chosen)]
        for done, (point, attempt) in enumerate(running, start=1):
            error = attempt.exception()
            fate, wrong = attempt.result() if error is None else ("not tried", [repr(error)])
            fates[fate] = fates.get(fate, 0) + 1
            if wrong:
                failed += 1
                print(f"{point} ({fate}): {point.source}\n  " + "\n  ".join(wrong), flush=True)
            if done % 50 == 0:
                print(f"{done} of {len(chosen)} points, {time.monotonic() - began:.0f} s, {failed} failed", flush=True)
    took = time.monotonic() - began
    print(f"{len(chosen)} points in {took:.0f} s: {fates}; {failed} with something lost, doubled or reordered")
    why = amiss(fates, failed)
    print("\n".join(why) or "nothing is amiss", flush=True)
    return 1 if why else 0


def amiss(fates: Mapping[str, int], failed: int) -> list[str]:
    """Why a run doesn't count as passed: what it found, or that it did too little to find anything."""
    points, killed = sum(fates.values()), fates.get("killed", 0)
    why = [f"{failed} points left something wrong"] if failed else []
    if not points:
        why.append("there were no points: nothing was tried")
    elif killed < MOST * points:
        why.append(f"only {killed} of {points} were killed: the others passed their points")
    others = {fate: number for fate, number in fates.items() if number and fate not in ("killed", "passed")}
    if others:
        why.append(f"some ended by themselves: {others}")
    return why


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--points", type=int, help="only so many, spread over all")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    parser.add_argument("--jobs", type=int, default=4, help="runs at a time")
    parser.add_argument("--only", default="", help="only points whose place has this in it, as in relay.py:120")
    chosen = parser.parse_args()
    with started() as servers:
        found = [point for point in points(servers) if chosen.only in str(point)]
        print(f"{len(found)} points, seed {chosen.seed}", flush=True)
        random.Random(chosen.seed).shuffle(found)
        return _torture(servers, found[: chosen.points], chosen.jobs)


@contextmanager
def started() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        with parts.postgres(folder / "postgres") as postgres, parts.kafka(folder / "kafka") as kafka:
            servers = Servers(postgres.url, kafka.access, folder)
            asyncio.run(servers.prepare())
            yield servers


if __name__ == "__main__":
    sys.exit(main())
