"""Whether a store and its topic still belong together, looked at before anything is published.

A PostgreSQL that came back from a backup is older than Kafka; a Kafka that lost data is older than PostgreSQL. Going on
in either case would give one position two events, or leave a hole in the topic. So the relay refuses, and while the
topic knows more than the store, the store takes no commands: they would be decided on facts that are out of date.

It is asked before a process decides anything, by a relay before it publishes and as soon as it finds that the store
does not have what was published, and before the first write over a connection that was made anew: PostgreSQL may have
been exchanged beneath running processes.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from shared.eventlog.kafka import KafkaAccess
from shared.eventlog.postgres import PostgresStore
from shared.eventlog.relay import READ_EVENTS
from shared.eventlog.topic import LOOK_BACK, Found, TopicReader, place

FENCE: Final = "the store and its topic differ: "
"""How the guard's reasons begin; `log.fence` and `log.unfence` take no others."""
LOOK_S: Final = 3.0
"""So long a write waits for Kafka after its connection was made anew."""
FURTHER: Final = 20 * READ_EVENTS
"""So many of each partition's records are read before it is said that some are missing."""

log = structlog.get_logger(__name__)


class Guard:
    """Compares a store's head with the last events of each partition of its topic."""

    def __init__(self, store: PostgresStore, service: str, topic: str, access: KafkaAccess) -> None:
        self._store, self._service, self._topic, self._access = store, service, topic, access

    async def __call__(self, relayed: int = 0) -> str | None:
        """Why nothing may be published after the checkpoint `relayed`; None when all is well. Fences the store as long
        as the topic has what the store has not. Raises KafkaError or Unavailable."""
        last = await self._last()
        if why := await self._judged(last):
            return why
        top = last[-1].position if last else 0
        if relayed > top:  # or its last records are repeats
            top = max([found.position for found in await self._last(FURTHER)], default=0)
        if relayed > top:
            return (
                f"{self._topic} ends at position {top}, though {relayed} were published: {relayed - top} events are "
                f"missing there. `tenure restore topic` publishes them again from the store"
            )
        return None

    async def when_back(self) -> None:
        """Before the first write over a connection that was made anew. Without Kafka nothing can be said, and commands
        are taken as they are whenever it is away; the relay looks before it publishes them. Raises Unavailable."""
        try:
            async with asyncio.timeout(LOOK_S):
                last = await self._last()
        except (KafkaError, OSError, TimeoutError) as fault:
            log.warning("PostgreSQL is back, and the topic can't be looked at", topic=self._topic, fault=repr(fault))
            return
        if why := await self._judged(last):
            log.critical("the store and its topic differ: no commands are taken", reason=why)

    async def _last(self, look_back: int = LOOK_BACK) -> list[Found]:
        async with TopicReader(self._topic, self._access) as reader:
            found = [await reader.last(n, self._service, look_back) for n in reader.ends]
        return sorted((f for f in found if f is not None), key=lambda f: f.position)

    async def _judged(self, last: Sequence[Found]) -> str | None:
        """Why the store must not be written to, if so; it is fenced as long as that is so."""
        head = await self._store.position()  # after the topic's ends: what is published meanwhile is no fault
        if why := self._ahead(last, head) or await self._differs(last):
            await self._store.fence(FENCE + why)
            return why
        await self._store.fence(None)
        return None

    def _ahead(self, last: Sequence[Found], head: int) -> str | None:
        if not last or last[-1].position <= head:
            return None
        top = last[-1]
        remedy = "`tenure reconcile` imports them" if head else "`tenure restore store` makes it again from the topic"
        return (
            f"{self._topic} is ahead of the store by {top.position - head} events: the store ends at position {head}, "
            f"the topic at {top.position}, of {top.event.of.time:%Y-%m-%d %H:%M:%S} UTC. {remedy}"
        )

    async def _differs(self, last: Sequence[Found]) -> str | None:
        for found in last:
            stored = await self._store.read(found.position - 1, 1)
            if not stored or stored[0].of.hash != found.event.of.hash:
                return (
                    f"position {found.position} is {found.event.of.stream} version {found.event.of.version} in the "
                    f"topic ({place(found.raw)}) and another event in the store. `tenure verify` says from where on"
                )
        return None
