"""One to four processes of a service: `python -m tests.benchmarks.processes ROUNDS`.

Appends: 256 clients in all, each process with a log of its own over one store; once with streams of its own, and once
with all streams, as behind a load balancer, where a process's cache is behind the others' appends. HTTP: 64 connections
divided among processes of marketplace's routes. Consumption: a backlog is published while the processes are stopped.
The database, Kafka and the callers are on the same cores. `… append DATABASE` is a process that appends: it reads a
line of JSON for each run. DATABASE_URL is the server, KAFKA_BOOTSTRAP the broker. Prints a list of results, a round
each, for each number of processes.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import structlog
import uvloop

from deploy import ROOT, topics
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.write.log import Accepted, Log
from shared.eventlog.write.postgres import PostgresStore
from tests.benchmarks.consuming import Published, prepared, until_rows, workers
from tests.benchmarks.load import closed_loop, post, same
from tests.benchmarks.measure import SEATS, SERVICE, STREAMS, Assign, Result, as_service, fresh, meta, say
from tests.benchmarks.pipeline import TOPIC
from tests.benchmarks.web import CONNECTIONS, services, token
from tests.examples.positions import publish

NUMBERS: Final = (1, 2, 3, 4)
CLIENTS: Final = 256
"""Of all processes together, so that each of four still has 64."""
SECONDS: Final = 1.5
BACKLOG: Final = 10_000


async def append(dsn: str) -> None:
    """Append as each line of standard input says; print how many events were appended."""
    log = Log(await PostgresStore(dsn, SERVICE).open(), SERVICE)
    say({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        run = json.loads(line)
        end, appended = time.monotonic() + SECONDS, 0

        async def client(streams: Sequence[int], end: float) -> None:
            nonlocal appended
            while True:
                for stream in streams:
                    if time.monotonic() > end:
                        return
                    answer = await log.execute(SEATS, str(stream), Assign(stream), meta())
                    assert isinstance(answer, Accepted)
                    appended += 1

        streams = range(run["first"], STREAMS, run["step"])
        await asyncio.gather(*(client(streams[number :: run["clients"]], end) for number in range(run["clients"])))
        say({"appended": appended})


@contextlib.contextmanager
def appending(dsn: str, number: int) -> Iterator[Sequence["subprocess.Popen[str]"]]:
    """Start processes that append to a store."""
    command = [sys.executable, "-m", "tests.benchmarks.processes", "append", dsn]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    try:
        for each in processes:
            _read(each)
        yield processes
    finally:
        for each in processes:
            each.kill()
            each.communicate()


def _read(process: "subprocess.Popen[str]") -> Result:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "a process of the service ended"
    result: Result = json.loads(line)
    return result


def appended(processes: Sequence["subprocess.Popen[str]"], *, shared: bool) -> int:
    """Let these processes append at the same time, to the same streams or each to its own; return events/s."""
    for place, each in enumerate(processes):
        assert each.stdin is not None
        first, step = (0, 1) if shared else (place, len(processes))
        each.stdin.write(json.dumps({"first": first, "step": step, "clients": CLIENTS // len(processes)}) + "\n")
        each.stdin.flush()
    written: Sequence[int] = [_read(each)["appended"] for each in processes]
    return round(sum(written) / SECONDS)


def appends() -> list[Result]:
    dsn = asyncio.run(_store())
    with appending(dsn, max(NUMBERS)) as processes:
        return [
            {
                "append_events_s": appended(processes[:number], shared=False),
                "append_shared_events_s": appended(processes[:number], shared=True),
            }
            for number in NUMBERS
        ]


async def _store() -> str:
    return await as_service(await fresh(os.environ["DATABASE_URL"], "bench_processes"), SERVICE)


def requests() -> list[Result]:
    with services("marketplace", max(NUMBERS)) as (parts, issuer):
        request = same(post("/carts", b"{}", token(issuer, "partner")))
        ports = [part.port for part in parts]
        loads = [closed_loop(ports[:number], request, CONNECTIONS, SECONDS) for number in NUMBERS]
    return [{"requests_s": load.result["requests_s"]} for load in loads]


def consumption(published: Published) -> list[Result]:
    """Consume a backlog by one process, then by one more each time."""
    dsn, results = asyncio.run(prepared("bench_processes")), []
    with ExitStack() as stack:
        running = list[int]()
        rows = published.made
        for _ in NUMBERS:
            running += stack.enter_context(workers(dsn, 1)).pids
            backlog = published.grow(BACKLOG)
            asyncio.run(until_rows(dsn, rows))
            for pid in running:
                os.kill(pid, signal.SIGSTOP)
            asyncio.run(publish(KafkaAccess.from_environment(), TOPIC, backlog))
            for pid in running:
                os.kill(pid, signal.SIGCONT)
            begin, rows = time.perf_counter(), rows + BACKLOG
            asyncio.run(until_rows(dsn, rows))
            results.append({"consume_events_s": round(BACKLOG / (time.perf_counter() - begin))})
    return results


def run(rounds: int) -> Result:
    asyncio.run(topics.ensure(KafkaAccess.from_environment()))
    found: dict[str, list[Result]] = {named(number): [] for number in NUMBERS}
    published = Published()
    for _ in range(rounds):
        for results, *kinds in zip(found.values(), appends(), requests(), consumption(published), strict=True):
            results.append({figure: value for kind in kinds for figure, value in kind.items()})
    return dict(found)


def named(number: int) -> str:
    return f"{number} process{'es' if number > 1 else ''}"


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the results'
    if sys.argv[1] == "append":
        uvloop.run(append(sys.argv[2]))
    else:
        say(run(int(sys.argv[1])))
