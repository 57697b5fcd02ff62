"""Webhooks while identity, which sends them, is killed."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from functools import partial
from secrets import token_hex

import asyncpg
import pytest

from shared.events.registry import MARKETPLACE
from tests.services.webhooked import OK, Endpoint, Got, until
from tests.system.people import Someone
from tests.system.running import System
from tests.system.scene import Scene

pytestmark = [pytest.mark.system, pytest.mark.slow]

CARTS, LINES = 40, 3


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    await made.start()
    yield made
    await made.stop()


async def fetched(running: System, query: str, *values: object) -> list[asyncpg.Record]:
    db = await asyncpg.connect(running.dsns()["marketplace"])
    try:
        return list(await db.fetch(query, *values))
    finally:
        await db.close()


def fill_carts(clerk: Someone, product_id: str) -> Sequence[str]:
    """Open carts and put lines into them; the streams."""

    def post(path: str, body: dict[str, object]) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {clerk.fresh()}", "Idempotency-Key": token_hex(16)}
        answer = clerk.http["marketplace"].post(path, json=body, headers=headers)
        assert answer.is_success, answer.text
        found: dict[str, object] = answer.json()["events"][0]["data"]
        return found

    carts = [post("/carts", {})["cart_id"] for _ in range(CARTS)]
    for seats in range(1, LINES + 1):
        for cart in carts:
            post(f"/carts/{cart}/lines", {"product_id": product_id, "seats": seats})
    return [f"cart-{cart}" for cart in carts]


def awaits_an_answer(endpoint: Endpoint, reached: int) -> bool:
    """Whether this many have arrived, and the sender waits for what is said of more."""
    return len(endpoint.positions) >= reached and len(endpoint.got) > len(endpoint.accepted)


async def test_every_event_arrives_in_its_streams_order_though_identity_is_killed_while_it_sends(
    running: System, scene: Scene, endpoint: Endpoint
) -> None:
    clerk, chance = scene.people["clerk"], random.Random(5)
    (head,) = await fetched(running, "select position from log.head")
    streams = await asyncio.to_thread(fill_carts, clerk, scene.ids["product_id"])
    query = "select position, id, stream from log.events where position > $1 and stream = any($2) order by position"
    stored = {row["position"]: row for row in await fetched(running, query, head["position"], streams)}
    assert len(stored) == CARTS * (1 + LINES)

    async def slow(_: Got) -> bytes:
        await asyncio.sleep(chance.uniform(0.02, 0.2))
        return OK

    endpoint.reply = slow
    form: dict[str, object] = {"name": "Receiver", "address": endpoint.url, "topic": MARKETPLACE, "streams": streams}
    form["after"] = head["position"]
    registered = await asyncio.to_thread(clerk.ask, "POST", "/webhooks", form, clerk.fresh())
    for reached in (len(stored) // 4, len(stored) // 2):
        await until(partial(awaits_an_answer, endpoint, reached))
        await asyncio.to_thread(running.services["identity"].kill)
        assert len(endpoint.positions) < len(stored), "while it sends"
        await asyncio.to_thread(running.services["identity"].start)
    await until(lambda: len(endpoint.positions) == len(stored), 90)  # the sender's lease expires first
    await asyncio.to_thread(clerk.ask, "DELETE", f"/webhooks/{registered['webhook_id']}", None, clerk.fresh())

    assert sorted(endpoint.positions) == [*stored]
    for stream in streams:
        assert endpoint.of_stream(stream) == [n for n, row in stored.items() if row["stream"] == stream]
    assert all(got.headers["webhook-id"] == str(stored[got.position]["id"]) for got in endpoint.got)
    assert len(endpoint.got) > len(stored), "what was under way is sent again, with its id"
