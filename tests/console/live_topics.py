"""A live edge in memory, whose topic has what a test puts there, and whose one caller is known."""

import asyncio
import time
from typing import Any, Final

from services.console.live.callers import Callers, Subscriber
from services.console.live.edge import LiveEdge
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.events.registry import ENTITLEMENTS
from shared.runtime.auth import Actor
from shared.runtime.live.frames import Frame, frame_of
from shared.runtime.live.topic import LiveTopic
from tests.examples.positions import Store, all_placed

MINA: Final = Actor(account_id="mina", organisation_id="org-1", organisation_kind="customer", session_id="s-1")


class TopicInMemory(LiveTopic):
    """A topic of events of two organisations, without a reader."""

    def __init__(self, events: int = 0) -> None:
        super().__init__(ENTITLEMENTS, KafkaAccess(bootstrap=""), asyncio.Semaphore(1))
        self._store = Store(("org-1", "org-2"))
        self.loaded.set()
        self.grow(events)

    def start(self) -> None:
        """Start nothing."""

    def grow(self, count: int) -> list[Frame]:
        """Return the next events, which are on the topic now."""
        found = [frame_of(event) for event in all_placed(self._store.grow(count))]
        self.window.add(found)
        return found


class OneCaller:
    """Takes every token for Mina's, until her session has ended."""

    def __init__(self) -> None:
        self.ended = False

    async def actor(self, _authorization: str | None) -> Actor:
        return MINA

    def accepted_until(self, _token: str) -> float:
        return time.time() + 60

    async def good(self, _actor: Actor, _token: str) -> bool:
        return not self.ended

    def knows_of(self, _actor: Actor) -> bool:
        return self.ended


def callers(known: OneCaller | None = None) -> Callers:
    caller: Any = known or OneCaller()
    return Callers(caller, caller)


def subscriber() -> Subscriber:
    return Subscriber(actor=MINA, token="t", until=time.time() + 60)


class EdgeInMemory(LiveEdge):
    """An edge with one topic."""

    def start(self) -> None:
        """Start nothing."""


def edge(topic: LiveTopic) -> LiveEdge:
    endings: Any = OneCaller()
    return EdgeInMemory(
        callers=callers(), topics={topic.topic: topic}, snapshots={topic.topic: "http://s"}, endings=endings
    )
