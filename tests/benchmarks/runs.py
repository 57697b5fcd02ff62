"""The measurements, each with its variants in turn within a round, on a PostgreSQL and a Kafka of this run."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from deploy import LOCAL, ROOT, topics
from deploy.stack import Kafka, Postgres
from tests.benchmarks import peers, stores
from tests.benchmarks.measure import Result, asked
from tests.benchmarks.stores import Stores

APPEND_S: Final = 3
CLIENTS: Final = (1, 64, 256)
OTHERS_CLIENTS: Final = 64
"""With how many clients the event stores of other people are measured."""
RATES: Final = (100, 1_000)
LIVE_CLIENTS: Final = 1_000
LIVE_RATE: Final = 500
SYSTEM_RATES: Final = (20, 100, 400)
IDLE_S: Final = 30

LISTS_S: Final = 3_600
"""How long the lists may take: they are asked about 2,000 things six times each."""
PAGES_S: Final = 1_200
"""How long the pages may take, with the start of a system."""
LIVE_S: Final = 300
"""How long the live edge may take, with its start and frozen subscribers."""
SYSTEM_S: Final = 300
"""How long the whole system may take, with its start."""
REPAIR_S: Final = 1_800
"""How long one step of restore and rebuild may take."""
GROWTH_S: Final = 600
"""How long the growth may take: 220,000 events are appended before the first round."""
LARGE_S: Final = 7_200
"""How long the growth to 50 million events may take; to fill the stores takes half an hour and 40 GB."""
CONSUMED: Final = 30_000
"""The number of events that are consumed."""
PROCESSES_S: Final = 900
"""How long the numbers of processes may take."""
START_S: Final = 600
"""How long the starts may take."""
WEB_S: Final = 3
"""How long each kind of request is sent."""

BENCH: Final = LOCAL / "bench"

Variants: TypeAlias = Mapping[str, Callable[[], Awaitable[Result]]]
Found: TypeAlias = Mapping[str, Sequence[Result]]
"""What each variant said, round by round."""


def appends(
    postgres: Postgres, env: Mapping[str, str] | None, others: Stores, clients: int, seconds: float
) -> Variants:
    async def ours(variant: str) -> Result:
        command = ["-m", "tests.benchmarks.append", variant, str(clients), str(seconds)]
        return asked(command, {"DATABASE_URL": postgres.url}, ROOT)

    async def other(name: str) -> Result:
        return await asyncio.to_thread(stores.append, others[name], postgres, clients, seconds)

    both: Variants = {"COPY": lambda: ours("copy"), "execute()": lambda: ours("execute")}
    if clients == OTHERS_CLIENTS:
        both = {**{name: partial(other, name) for name in others}, **both}
    if env is None:
        return {"naive asyncpg": lambda: ours("naive"), **both}
    return {
        "naive asyncpg": lambda: peers.append("naive", clients, seconds, env),
        "group commit": lambda: peers.append("group_lock", clients, seconds, env),
        **both,
    }


def counts(postgres: Postgres) -> Found:
    """Count what an append takes of the interpreter."""
    return {"execute()": [asked(["-m", "tests.benchmarks.counting"], {"DATABASE_URL": postgres.url}, ROOT)]}


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


def lists(postgres: Postgres, services: Sequence[str]) -> Found:
    """Measure every list of these services, for 1,000 customers with 100,000 seats."""
    command = ["-m", "tests.benchmarks.lists", *services]
    found: Result = asked(command, {"DATABASE_URL": postgres.url}, ROOT, timeout_s=LISTS_S)
    return {name: [result] for name, result in found.items()}


def pages() -> Found:
    """Measure every page that the example's people come to, the slowest first."""
    found: Result = asked(["-m", "tests.benchmarks.pages"], {}, ROOT, timeout_s=PAGES_S)
    slowest_first = sorted(found.items(), key=lambda each: -float(each[1]["p50_ms"]))
    return {name: [result] for name, result in slowest_first}


def live(rounds: int, seconds: int) -> Found:
    """Measure from an event to 1,000 subscribers, those of 100 organisations, with and without frozen ones."""
    command = ["-m", "tests.benchmarks.live", str(LIVE_CLIENTS), str(LIVE_RATE), str(seconds), "100", "5"]
    return {"Tenure": [asked(command, {}, ROOT, timeout_s=LIVE_S) for _ in range(rounds)]}


def whole_system(rounds: int, seconds: int, idle_s: int, rates: Sequence[int]) -> Found:
    """Measure from a command to the slowest read model of another service, and what the system takes when idle."""
    command = ["-m", "tests.benchmarks.system", str(seconds), str(idle_s), *map(str, rates)]
    return {"Tenure": [asked(command, {}, ROOT, timeout_s=SYSTEM_S) for _ in range(rounds)]}


def web(postgres: Postgres, folder: Path, rounds: int, seconds: float) -> Found:
    """Measure a durable command over HTTP beside an empty application, and many commands in a request."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        asyncio.run(topics.ensure(kafka.access))
        env = {"DATABASE_URL": postgres.url, **kafka.access.environment()}

        async def variant(name: str) -> Result:
            return asked(["-m", "tests.benchmarks.web", name, str(seconds)], env, ROOT)

        named = {
            "empty Starlette + pydantic": "bare",
            "POST /carts": "command",
            "grants of credits, one by one": "single",
            "grants of credits, in bulk": "bulk",
        }
        return in_turn({name: partial(variant, each) for name, each in named.items()}, rounds)


def relays(postgres: Postgres, folder: Path, rounds: int, seconds: float) -> Found:
    """Measure how fast the relay publishes what 64 clients appended."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        asyncio.run(topics.ensure(kafka.access))
        env = {"DATABASE_URL": postgres.url, **kafka.access.environment()}
        command = ["-m", "tests.benchmarks.relaying", "64", str(seconds)]
        return {"relay": [asked(command, env, ROOT) for _ in range(rounds)]}


def consumption(postgres: Postgres, folder: Path, events: int, rounds: int) -> Found:
    """Measure how fast one process consumes a topic into a table, beside a handler that does nothing."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        asyncio.run(topics.ensure(kafka.access))
        env = {"DATABASE_URL": postgres.url, **kafka.access.environment()}

        async def step(name: str) -> Result:
            return asked(["-m", "tests.benchmarks.consuming", name, str(events)], env, ROOT)

        asyncio.run(step("fill"))
        named = {"FastStream, empty batch handler": "faststream", "Tenure": "tables"}
        return in_turn({name: partial(step, each) for name, each in named.items()}, rounds)


def growth(postgres: Postgres, folder: Path, rounds: int) -> Found:
    """Measure what an event costs with ten times as many events, streams and tenants."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        env = {"DATABASE_URL": postgres.url, **kafka.access.environment()}
        return asked(["-m", "tests.benchmarks.growth", str(rounds)], env, ROOT, timeout_s=GROWTH_S)


def growth_large(postgres: Postgres, folder: Path, rounds: int) -> Found:
    """Measure a store of 50 million events beside one of a million."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        env = {"DATABASE_URL": postgres.url, **kafka.access.environment()}
        return asked(["-m", "tests.benchmarks.large", str(rounds)], env, ROOT, timeout_s=LARGE_S)


def processes(postgres: Postgres, folder: Path, rounds: int) -> Found:
    """Measure appends, HTTP and consumption by one to four processes of a service."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        env = {"DATABASE_URL": postgres.url, **kafka.access.environment()}
        return asked(["-m", "tests.benchmarks.processes", str(rounds)], env, ROOT, timeout_s=PROCESSES_S)


def starts(rounds: int) -> Found:
    """Measure how long a stopped system with data takes until everything is ready again."""
    return asked(["-m", "tests.benchmarks.starting", str(rounds)], {}, ROOT, timeout_s=START_S)


def repairs(postgres: Postgres, folder: Path, others: Stores, events: int, rounds: int) -> Found:
    """Measure restore and rebuild beside psql's COPY of the same events, and rebuilds of other people's stores."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Kafka(Path(place)) as kafka:
        env = {"DATABASE_URL": postgres.url, "BENCH_FOLDER": place, **kafka.access.environment()}

        def step(name: str, *arguments: str) -> Result:
            return asked(["-m", "tests.benchmarks.repair", name, *arguments], env, ROOT, timeout_s=REPAIR_S)

        async def variant(name: str) -> Result:
            return step(name)

        async def other(name: str) -> Result:
            return await asyncio.to_thread(stores.rebuild, others[name], postgres, stores.REBUILT[name])

        step("fill", str(events))
        ours: Variants = {name: partial(variant, name) for name in ("copy", "restore", "rebuild")}
        return in_turn({**{name: partial(other, name) for name in others}, **ours}, rounds)
