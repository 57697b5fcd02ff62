"""The live edge under load: from a published event to 1,000 subscribers, and what frozen ones cost the others.

    python -m tests.benchmarks.live CLIENTS RATE SECONDS TENANTS [FROZEN]

Starts a Kafka, a stand-in for identity and one edge. Prints the result as JSON.
"""

import asyncio
import gc
import json
import multiprocessing
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Final

import psutil
from aiokafka import AIOKafkaProducer

from deploy import LOCAL
from deploy.stack import Kafka
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.events.registry import ENTITLEMENTS, topic_of
from shared.services import SERVICES
from tests.benchmarks.measure import Result
from tests.console.edges import edge, identity, token
from tests.examples.positions import Store, make_topic

WARM_S: Final = 4.0
FROZEN_S: Final = 45.0
"""How long frozen subscribers are watched; they should be dropped within 30 s."""
BATCH_S: Final = 0.02


class Receiver(asyncio.Protocol):
    """A subscriber that notes how old each event is when it comes."""

    def __init__(self, request: bytes, ages: list[float]) -> None:
        self._request, self._ages, self._rest, self._transport = request, ages, b"", asyncio.Transport()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            at = block.find(b'"time":"')
            if at >= 0:
                said = block[at + 8 : at + 34].decode()
                self._ages.append(now - datetime.fromisoformat(said).replace(tzinfo=UTC).timestamp())

    def freeze(self) -> None:
        self._transport.pause_reading()


def request(issuer: str, number: int, organisation: str, kind: str = "customer") -> bytes:
    held = token(issuer, organisation, f"a-{number}", kind, 3_600)
    return f"GET /live/{ENTITLEMENTS} HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {held}\r\n\r\n".encode()


def subscribe(port: int, requests: Sequence[bytes], frozen: Sequence[bytes], told: Connection) -> None:
    """The process of the subscribers: one phase for each message, until None comes."""
    gc.freeze()  # its own pauses are not the edge's
    asyncio.run(_subscribe(port, requests, frozen, told))


async def _subscribe(port: int, requests: Sequence[bytes], frozen: Sequence[bytes], told: Connection) -> None:
    loop, ages, stopped = asyncio.get_running_loop(), list[float](), list[Receiver]()
    for number, each in enumerate(requests):
        if number == 1:
            await asyncio.sleep(3)  # from then on the edge knows the endings of sessions by itself
        await loop.create_connection(partial(Receiver, each, ages), "127.0.0.1", port)
    told.send([])
    while (phase := await asyncio.to_thread(told.recv)) is not None:
        if phase == "freeze":
            for each in frozen:
                _, held = await loop.create_connection(partial(Receiver, each, []), "127.0.0.1", port)
                stopped.append(held)
            await asyncio.sleep(2)
            for held in stopped:
                held.freeze()
        else:
            told.send(list(ages))
        ages.clear()


async def publish(access: KafkaAccess, store: Store, rate: int, stop: asyncio.Event) -> None:
    """Publish events of the present time, some every 20 ms."""
    async with AIOKafkaProducer(**access.client(), acks="all", enable_idempotence=True) as producer:
        begin, sent = time.monotonic(), 0
        while not stop.is_set():
            due = int((time.monotonic() - begin) * rate) - sent
            for event in store.grow(due, time=datetime.now(UTC)):
                key = event.envelope.stream.encode()
                await producer.send(ENTITLEMENTS, event.data, key=key, headers=event.headers())
            sent += due
            await asyncio.sleep(BATCH_S)


def streams(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
        (line,) = [line for line in page.read().decode().splitlines() if line.startswith("tenure_live_streams")]
    return int(float(line.split()[-1]))


def figures(ages: Sequence[float], seconds: float) -> Result:
    cuts = quantiles(ages, n=100)
    return {
        "p50_ms": round(cuts[49] * 1000, 1),
        "p99_ms": round(cuts[98] * 1000, 1),
        "max_ms": round(max(ages) * 1000, 1),
        "events_s": round(len(ages) / seconds),
    }


async def measure(folder: Path, clients: int, rate: int, seconds: float, tenants: int, frozen: int) -> Result:
    organisations = [f"org-{n}" for n in range(max(1, tenants))]
    with Kafka(folder / "kafka") as kafka, identity() as issuer:
        for name in SERVICES:
            await make_topic(kafka.access, topic_of(name))
        most = str(clients + frozen + 100)
        room = {"TENURE_CONNECTIONS": most, "TENURE_CONNECTIONS_OF_A_SOURCE": most}
        with edge(folder, kafka.access, issuer, **room) as console:
            kind = "customer" if tenants else "operator"
            asked = [request(issuer, n, organisations[n % len(organisations)], kind) for n in range(clients)]
            still = [request(issuer, clients + n, "org-x", "operator") for n in range(frozen)]
            ours, theirs = multiprocessing.Pipe()
            child = multiprocessing.get_context("spawn").Process(
                target=subscribe, args=(console.port, asked, still, theirs), daemon=True
            )
            child.start()
            await asyncio.to_thread(ours.recv)
            stop = asyncio.Event()
            publishing = asyncio.create_task(publish(kafka.access, Store(organisations, 240), rate, stop))
            while await asyncio.to_thread(streams, console.port) < clients:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
            await asyncio.sleep(WARM_S)
            process = psutil.Process(console.pid)

            async def phase(lasting: float) -> tuple[Result, float]:
                before, begun = sum(process.cpu_times()[:2]), time.monotonic()
                await asyncio.sleep(lasting)
                took = time.monotonic() - begun
                ours.send("ages")
                ages = await asyncio.to_thread(ours.recv)
                used = (sum(process.cpu_times()[:2]) - before) / took
                return figures(ages, took), used

            ours.send("ages")  # of the start: forgotten
            await asyncio.to_thread(ours.recv)
            result, used = await phase(seconds)
            result |= {"edge_cpu": round(used, 2), "edge_mib": process.memory_info().rss // 2**20}
            if frozen:
                ours.send("freeze")
                await asyncio.sleep(2.5)
                begun, dropped_s = time.monotonic(), FROZEN_S
                measured = asyncio.create_task(phase(seconds))
                while time.monotonic() - begun < FROZEN_S:
                    if await asyncio.to_thread(streams, console.port) <= clients:
                        dropped_s = time.monotonic() - begun
                        break
                    await asyncio.sleep(0.5)
                beside, _ = await measured
                result |= {"frozen_dropped_s": round(dropped_s, 1), "beside_frozen_p99_ms": beside["p99_ms"]}
            stop.set()
            await publishing
            ours.send(None)
            child.join(5)
            return result


def main() -> None:
    clients, rate, seconds, tenants, *frozen = map(int, sys.argv[1:])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    place = LOCAL / "bench"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix="live-") as folder:
        made = measure(Path(folder), clients, rate, seconds, tenants, *(frozen or [0]))
        print(json.dumps(asyncio.run(made)))


if __name__ == "__main__":
    main()
