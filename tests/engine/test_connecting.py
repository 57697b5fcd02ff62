"""Connections that read topics are opened and closed, whatever their client does and whoever is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.eventlog.deliver import ordered
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.ordered import OrderedTopic
from shared.eventlog.repair import sources, topic
from shared.eventlog.repair.sources import Topics
from shared.eventlog.repair.topic import TopicReader, ends_of

ACCESS = KafkaAccess(bootstrap="127.0.0.1:1")


class Connections:
    """The connections of a client."""

    def __init__(self, made: list[str]) -> None:
        self._made = made

    async def close(self) -> None:
        self._made.append("closed")


class Stuck:
    """A client whose task has missed its cancellation, so that its `stop` waits without end until it is cancelled."""

    made: ClassVar[list[str]] = []

    def __init__(self, *_: object, **__: object) -> None:
        self._client = Connections(self.made)

    async def start(self) -> None:
        raise KafkaConnectionError("it is away")

    async def stop(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.made.append("stopped")


class Slow(Stuck):
    """A client that loses a connection if it is cancelled while it starts."""

    async def start(self) -> None:
        await asyncio.sleep(0.05)
        self.made.append("started")


async def _read() -> None:
    async with TopicReader("t", ACCESS):
        pass


async def _read_in_order() -> None:
    async with OrderedTopic("t", ACCESS):
        pass


async def _read_between() -> None:
    async with Topics(ACCESS, frozenset()) as topics:
        await topics.ends([("t", 0)])


USES = [_read, _read_in_order, _read_between, lambda: ends_of("t", ACCESS, 1.0)]


def by(client: type[Stuck], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let all that reads topics do so by this client; the result is what becomes of it."""
    for module in (ordered, sources, topic):
        monkeypatch.setattr(module, "AIOKafkaConsumer", client)
    made: list[str] = []
    monkeypatch.setattr(client, "made", made)
    return made


@pytest.mark.parametrize("use", USES)
async def test_a_client_that_does_not_stop_holds_nobody_up(
    use: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `verify` that was cancelled went on for ever, and counted among the operations that run."""
    made = by(Stuck, monkeypatch)
    async with asyncio.timeout(30):
        with pytest.raises(KafkaConnectionError):
            await use()
    assert made == ["stopped", "closed"]


@pytest.mark.parametrize("use", USES)
async def test_who_is_cancelled_while_a_client_starts_leaves_no_connection(
    use: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = by(Slow, monkeypatch)
    using = asyncio.ensure_future(use())
    await asyncio.sleep(0.01)
    using.cancel()
    await asyncio.wait({using}, timeout=30)
    assert using.cancelled() and made == ["started", "stopped", "closed"]
