"""The live edge as a process over a real Kafka: subscribers end with 1..n, whatever is killed meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from deploy.service import ServicePart
from shared.events.registry import ENTITLEMENTS, MARKETPLACE, topic_of
from shared.services import SERVICES
from tests.console.edges import Client, edge, identity, token
from tests.examples.positions import Store, make_topic, publish
from tests.system import parts
from tests.system.people import Someone, invited
from tests.system.running import System, console_of, system

pytestmark = [pytest.mark.system, pytest.mark.long]

PATH = f"/live/{ENTITLEMENTS}"
ENDLESS = 2**60
"""A position that no event has."""


@pytest.fixture
def issuer() -> Iterator[str]:
    with identity() as url:
        yield url


@pytest.fixture
async def own_kafka(tmp_path: Path) -> AsyncIterator[parts.Kafka]:
    """A Kafka with the services' topics, which the test may kill."""
    server = parts.kafka(tmp_path / "kafka")
    await asyncio.to_thread(server.start)
    for name in SERVICES:
        await make_topic(server.access, topic_of(name))
    yield server
    server.kill()


async def test_subscribers_get_each_event_once_though_the_edge_and_kafka_are_killed(
    own_kafka: parts.Kafka, issuer: str, tmp_path: Path
) -> None:
    """Some begin at the first event, some now; some see all organisations, some their own."""
    access, store = own_kafka.access, Store(("org-1", "org-2"))
    await publish(access, ENTITLEMENTS, store.grow(300))
    console = edge(tmp_path, access, issuer)
    await asyncio.to_thread(console.start)
    operator, mina = token(issuer, "org-0", "olga", "operator"), token(issuer, "org-1", "mina")
    everything = [Client(console.port, f"{PATH}?after=0", operator) for _ in range(2)]
    own = Client(console.port, f"{PATH}?after=0", mina)
    running = [asyncio.create_task(client.run(1_000)) for client in (*everything, own)]
    try:
        async with asyncio.timeout(90):
            await publish(access, ENTITLEMENTS, store.grow(200))
            await until(everything[0], 400)
            await killed(console)
            await publish(access, ENTITLEMENTS, store.grow(200))
            await until(everything[0], 650)
            await asyncio.to_thread(own_kafka.kill)
            await asyncio.to_thread(own_kafka.start)
            await publish(access, ENTITLEMENTS, store.events[600:])  # as a relay that begins again
            await publish(access, ENTITLEMENTS, store.grow(300))
            await asyncio.gather(*running)
    finally:
        console.kill()
    assert all(client.positions == [*range(1, 1_001)] for client in everything)
    assert own.positions == [*range(2, 1_001, 2)]
    assert min(client.connections for client in (*everything, own)) >= 2, "the edge was killed"


async def killed(console: ServicePart) -> None:
    """Kill the edge and start it again on its port."""
    await asyncio.to_thread(console.kill)
    await asyncio.to_thread(console.start)


async def until(client: Client, position: int) -> None:
    while not client.positions or client.positions[-1] < position:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


# ── PostgreSQL ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Market:
    """A whole system with its edge: somebody who opens carts in marketplace, and an operator, who sees them all."""

    system: System
    port: int
    """The edge's."""
    clerk: Someone
    operator: Someone

    async def open_carts(self, count: int) -> None:
        """Open carts, one after another, each once though it may have to be asked for again."""
        for _ in range(count):
            key = token_hex(16)
            while not await asyncio.to_thread(self._opened, key):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    def _opened(self, key: str) -> bool:
        headers = {"Authorization": f"Bearer {self.clerk.token}", "Idempotency-Key": key}
        try:
            answer = self.clerk.http["marketplace"].post("/carts", json={}, headers=headers)
        except httpx.HTTPError:
            return False
        assert answer.is_success or answer.status_code >= 500, answer.text
        return answer.is_success

    def subscribed(self, who: Someone, after: int) -> Client:
        return Client(self.port, f"/live/{MARKETPLACE}?after={after}", who.token)

    async def stored(self, organisation: str = "") -> list[int]:
        """The positions of marketplace's events: all, or those of an organisation's carts."""
        db = await asyncpg.connect(self.system.dsns()["marketplace"])
        try:
            query = """select position from log.events
                where $1 = '' or (tenant = $1 and stream like 'cart-%') order by position"""
            return [row["position"] for row in await db.fetch(query, organisation)]
        finally:
            await db.close()


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with system(tmp_path / "system") as whole, console_of(whole, tmp_path / "console") as url:
        port = urlsplit(url).port
        assert port is not None
        clerk = Someone(whole, {"organisation": {"name": f"Reseller {token_hex(4)}", "kind": "partner"}})
        yield Market(whole, port, clerk, invited(whole, "operator", f"Operator {token_hex(4)}"))


async def test_subscribers_get_each_event_once_though_postgresql_is_killed(market: Market) -> None:
    """The events are a service's: its log is behind the stream, and who asks is looked up in identity's database."""
    postgres = market.system.postgres
    await market.open_carts(20)
    begun = await market.stored()
    everything = [market.subscribed(market.operator, 0) for _ in range(2)]
    late, own = market.subscribed(market.operator, begun[-1]), market.subscribed(market.clerk, 0)
    clients = [*everything, late, own]
    running = [asyncio.create_task(client.run(ENDLESS)) for client in clients]
    opening = asyncio.create_task(market.open_carts(200))
    try:
        async with asyncio.timeout(120):
            await until(everything[0], begun[-1] + 20)
            await asyncio.to_thread(postgres.kill)
            assert not opening.done(), "in the middle of the stream"
            await asyncio.sleep(3)
            await asyncio.to_thread(postgres.start)
            await opening
            await market.open_carts(20)
            stored = await market.stored()
            for client in clients:
                await until(client, stored[-1])
            await asyncio.sleep(1)  # a repeat would come now
    finally:
        for task in (opening, *running):
            task.cancel()
        await asyncio.gather(opening, *running, return_exceptions=True)
    assert stored == [*range(1, len(stored) + 1)] and len(stored) == len(begun) + 220
    assert [client.positions for client in everything] == [stored, stored]
    assert late.positions == stored[len(begun) :]
    assert own.positions == await market.stored(market.clerk.session["organisation_id"])
