"""Webhooks in tests: a receiver that can be told to fail, a topic in memory, and the sender beside a bench."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, TypeAlias

from services.identity.domain.webhook import WEBHOOK, State
from services.identity.webhooks.addresses import networks_of
from services.identity.webhooks.delivery import Pace, Parts
from services.identity.webhooks.sender import Sender
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.ordered import Lost
from shared.events.registry import ENTITLEMENTS
from shared.runtime.live.frames import Frame, frame_of
from shared.runtime.live.topic import LiveTopic, Window
from shared.runtime.settings import Settings
from tests.examples.positions import Store, all_placed
from tests.services.identity_bench import Bench

LOOPBACK: Final = "127.0.0.0/8"
QUICK: Final = Pace(first_pause_s=0.02, longest_pause_s=0.1, idle_s=0.05, attempt_s=30)
OK: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class Got(NamedTuple):
    """A request, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def position(self) -> int:
        return int(self.event["position"])

    @property
    def stream(self) -> str:
        return str(self.event["subject"])


Reply: TypeAlias = Callable[[Got], Awaitable[bytes | None]]
"""What a receiver answers; None ends the connection without an answer."""


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def accept(_: Got) -> bytes:
    return OK


class Endpoint:
    """An HTTP server that keeps what it gets, and what of that it has accepted."""

    def __init__(self) -> None:
        self.reply: Reply = accept
        self.got: list[Got] = []
        self.accepted: list[Got] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=seats"

    @property
    def positions(self) -> list[int]:
        """The positions of what was accepted, without repeats, in the order of their first arrival."""
        return [*dict.fromkeys(got.position for got in self.accepted)]

    def of_stream(self, stream: str) -> list[int]:
        return [*dict.fromkeys(got.position for got in self.accepted if got.stream == stream)]

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in [*self._serving]:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            while await self._one(reader, writer):
                pass
        self._serving.discard(task)
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        got = Got(first.split(" ")[1], headers, await reader.readexactly(int(headers["content-length"])))
        self.got.append(got)
        said = await self.reply(got)
        if said is None:
            return False
        if said.split(b" ")[1].startswith(b"2"):
            self.accepted.append(got)
        writer.write(said)
        await writer.drain()
        return True


class Topic(LiveTopic):
    """A topic whose Kafka is a list, which keeps what follows `kept`."""

    def __init__(self, store: Store) -> None:
        super().__init__(ENTITLEMENTS, KafkaAccess(bootstrap=""), asyncio.Semaphore(1))
        self.store, self.kept = store, 0
        self.window = Window(40)
        self.all: list[Frame] = []

    def start(self) -> None:
        self.loaded.set()

    def grow(self, count: int) -> None:
        self.store.grow(count)
        new = [frame_of(event) for event in all_placed(self.store.events)][len(self.all) :]
        self.all += new
        self.window.add(new)
        self._tell({frame.tenant for frame in new})

    async def _from_kafka(self, position: int) -> list[Frame]:
        await asyncio.sleep(0)
        if position < self.kept:
            raise Lost(position, self.kept + 1)
        return self.all[position : position + 30]


class Scene:
    """Somebody with a webhook, the receiver, the topic, and the sender while it runs."""

    def __init__(self, bench: Bench, endpoint: Endpoint, account_id: str, token: str, topic: Topic) -> None:
        self.bench, self.endpoint, self.topic = bench, endpoint, topic
        self.account_id, self.token = account_id, token
        self.webhook_id = self.secret = ""

    async def register(self, **more: Any) -> None:
        """Register the webhook, from the topic's beginning."""
        form = {"name": "Receiver", "address": self.endpoint.url, "topic": ENTITLEMENTS, "after": 0, **more}
        said = await self.bench.when(self.token, "POST", "/webhooks", form)
        assert said.status_code == 200, said.text
        self.webhook_id, self.secret = said.json()["webhook_id"], said.json()["secret"]
        await self.bench.settle()

    async def register_on_a_topic_of_lost_events(self) -> None:
        """Register it from the beginning of a topic that has events after position 100 only."""
        self.topic.grow(200)
        self.topic.kept = 100
        await self.register()

    async def change(self, what: str, **body: Any) -> None:
        said = await self.bench.when(self.token, "POST", f"/webhooks/{self.webhook_id}/{what}", body)
        assert said.status_code == 200, said.text

    async def view(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.bench.when(self.token, "GET", f"/webhooks/{self.webhook_id}")).json()
        return found

    async def state(self) -> State:
        return await self.bench.log.state(WEBHOOK, self.webhook_id)

    @asynccontextmanager
    async def sending(self, pace: Pace = QUICK) -> AsyncIterator[Sender]:
        """Run the sender. On the way out it is killed, whatever it is doing."""
        parts = Parts(
            db=self.bench.pool,
            log=self.bench.log,
            topics={ENTITLEMENTS: self.topic},
            allowed=networks_of(LOOPBACK),
            pace=pace,
        )
        sender = Sender(parts)
        task = asyncio.create_task(sender.run())
        try:
            yield sender
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], bool | Awaitable[bool]], within_s: float = 60) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(within_s):
        while True:
            said = what()
            if said if isinstance(said, bool) else await said:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def scene(bench: Bench, pools: int = 12) -> AsyncIterator[Scene]:
    """A person, a receiver and a topic with events of that person's organisation and of another."""
    bench.app.state.parts.settings = Settings(webhook_networks=LOOPBACK)
    account_id, token = await bench.join("mina")
    me = (await bench.when(token, "GET", "/me")).json()
    endpoint = Endpoint()
    await endpoint.start()
    topic = Topic(Store((me["organisation_id"], "org-elsewhere"), pools))
    try:
        yield Scene(bench, endpoint, account_id, token, topic)
    finally:
        await endpoint.stop()
