"""The live edge as a process over a real Kafka: subscribers end with 1..n, whatever is killed meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.stack import ServicePart
from shared.events.registry import ENTITLEMENTS, topic_of
from shared.services import SERVICES
from tests.console.edges import Client, edge, identity, token
from tests.examples.positions import Store, make_topic, publish
from tests.system import parts

pytestmark = [pytest.mark.system, pytest.mark.long]

PATH = f"/live/{ENTITLEMENTS}"


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
