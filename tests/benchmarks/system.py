"""The whole system: how long a command takes, and what idling costs.

It takes as long as the slowest read model of another service:

    python -m tests.benchmarks.system SECONDS IDLE_S RATE...

Starts a PostgreSQL, a Kafka and the four services. People change their names; every projection of the other services
that notes such names has to have seen the change. Latencies count from the moment at which a command was meant to be
sent (open loop). Prints the result as JSON.
"""

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import psutil

from deploy.forked import warm_up
from services import definitions
from shared.events import ProfileUpdated
from tests.benchmarks.measure import Result, quantiles, say
from tests.system.rest import noting
from tests.system.running import System, system

PEOPLE: Final = 64
WARM_S: Final = 3
SETTLE_S: Final = 5.0
SEEN: Final = """select stream, min(version) from engine.seen where stream = any($1) and consumer = any($2)
    group by stream having count(*) = $3"""
"""The last version of each stream that all of these consumers have seen."""

CONNECTIONS: Final = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
STATISTICS_S: Final = 1.5
"""After which PostgreSQL has written down what its backends did."""

READERS: Final = noting(definitions(), ProfileUpdated, "identity")


class Seen:
    """When one service's read models have seen which versions."""

    def __init__(self, db: asyncpg.Connection, consumers: list[str]) -> None:
        self.db, self._consumers = db, consumers
        self._moved = asyncio.Event()
        self._waiting: dict[str, dict[int, asyncio.Future[int]]] = {}

    async def begin(self) -> None:
        await self.db.add_listener("checkpoints", lambda *_: self._moved.set())

    def at(self, stream: str, version: int) -> asyncio.Future[int]:
        """Wait until this version is seen. Return the time, in nanoseconds."""
        self._moved.set()
        return self._waiting.setdefault(stream, {}).setdefault(version, asyncio.get_running_loop().create_future())

    async def follow(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            rows = await self.db.fetch(SEEN, list(self._waiting), self._consumers, len(self._consumers))
            now = time.monotonic_ns()
            for stream, seen in rows:
                waiting = self._waiting[stream]
                for version in [each for each in waiting if each <= seen]:
                    waiting.pop(version).set_result(now)
                if not waiting:
                    del self._waiting[stream]


def processes(folder: Path) -> Iterator[psutil.Process]:
    """Yield all processes of the system."""
    own = [each for each in psutil.process_iter() if str(folder) in " ".join(_line(each))]
    for each in {*own, *psutil.Process().children(recursive=True)}:
        yield each
        if "postgres" in _line(each)[0]:
            yield from each.children(recursive=True)


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [""]
    except psutil.Error:
        return [""]


def used(folder: Path) -> Mapping[int, tuple[float, int]]:
    """Return each process's processor time in seconds and its memory in bytes, without shared pages."""
    found = {}
    for each in processes(folder):
        try:
            found[each.pid] = sum(each.cpu_times()[:2]), each.memory_full_info().uss
        except psutil.Error:
            continue
    return found


def largest_service(running: System, folder: Path) -> int:
    """Return the memory of the largest of the services' processes, in MiB."""
    memory = used(folder)
    return max(memory[service.pid][1] for service in running.services.values() if service.pid) >> 20


async def transactions(db: "asyncpg.Connection[asyncpg.Record]") -> int:
    """Return how many transactions the server has committed for the services."""
    return int(await db.fetchval("select sum(xact_commit) from pg_stat_database where datname is not null"))


def meter(folder: Path) -> Callable[[], float]:
    """Return a function that returns the processor time of the system since now, in seconds."""
    before = used(folder)
    return lambda: sum(cpu - before.get(pid, (0.0, 0))[0] for pid, (cpu, _) in used(folder).items())


async def _person(identity: httpx.AsyncClient, number: int) -> tuple[dict[str, str], dict[str, str]]:
    profile = {
        "email": f"person-{number}@bench.example",
        "name": f"Person {number}",
        "country": "DE",
        "time_zone": "Europe/Berlin",
        "locale": "en-GB",
    }
    joining = {"password": "correct horse battery staple", "organisation": {"name": f"O {number}", "kind": "customer"}}
    answer = await identity.post("/accounts", json=profile | joining)
    assert answer.status_code < 300, answer.text
    return profile, {"Authorization": f"Bearer {answer.json()['session']['access_token']}"}


async def measured(running: System, folder: Path, seconds: int, idle_s: float, rates: list[int]) -> Result:
    result: Result = {}
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(
            httpx.AsyncClient(base_url=running.env["TENURE_IDENTITY_URL"], timeout=60)
        )
        followed = []
        for name, consumers in READERS.items():
            if not consumers:
                continue
            db = await asyncpg.connect(running.dsns()[name])
            stack.push_async_callback(db.close)
            followed.append(Seen(db, consumers))
            await followed[-1].begin()
        server = await asyncpg.connect(running.dsns()[next(iter(READERS))])  # of its own: the others are being used
        stack.push_async_callback(server.close)
        following = [asyncio.create_task(each.follow()) for each in followed]
        people = [await _person(identity, number) for number in range(PEOPLE)]

        async def change(number: int, meant: int) -> tuple[int, int]:
            profile, headers = people[number % PEOPLE]
            told: Any = await identity.put("/me/profile", json=profile | {"name": f"N {number}"}, headers=headers)
            assert told.status_code < 300, told.text
            answered, answer = time.monotonic_ns(), told.json()
            seen = [each.at(answer["stream"], answer["version"]) for each in followed]
            async with asyncio.timeout(60):
                return answered - meant, max(await asyncio.gather(*seen)) - meant

        numbers = itertools.count()
        for rate in rates:
            committed, cpu = await transactions(server), meter(folder)
            begin, total = time.monotonic_ns() + 50_000_000, rate * (seconds + WARM_S)
            async with asyncio.TaskGroup() as sending:
                sent = []
                for number in range(total):
                    meant = begin + number * 1_000_000_000 // rate
                    await asyncio.sleep(max(0, meant - time.monotonic_ns()) / 1e9)
                    sent.append(sending.create_task(change(next(numbers), meant)))
            taken = [each.result() for each in sent[rate * WARM_S :]]
            result |= quantiles([answered for answered, _ in taken], f"{rate}_answered_")
            result |= quantiles([seen for _, seen in taken], f"{rate}_seen_")
            result[f"{rate}_cpu_ms"] = round(cpu() * 1000 / total, 2)
            await asyncio.sleep(STATISTICS_S)
            result[f"{rate}_transactions"] = round((await transactions(server) - committed) / total, 1)
        result["connections"] = int(await server.fetchval(CONNECTIONS))
        for task in following:
            task.cancel()
    if idle_s:
        await asyncio.sleep(SETTLE_S)
        cpu, began = meter(folder), time.monotonic()
        await asyncio.sleep(idle_s)
        result["idle_percent"] = round(100 * cpu() / (time.monotonic() - began), 1)
    result["service_mib"] = largest_service(running, folder)
    result["memory_mib"] = sum(memory for _, memory in used(folder).values()) >> 20
    return result


def main() -> None:
    seconds, idle_s, *rates = map(int, sys.argv[1:])
    warm_up()
    with tempfile.TemporaryDirectory(prefix="system-") as place:
        folder = Path(place)
        with system(folder, forked=True) as running:
            say(asyncio.run(measured(running, folder, seconds, idle_s, rates)))


if __name__ == "__main__":
    main()
