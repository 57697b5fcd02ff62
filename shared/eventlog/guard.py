"""Whether a store and its topic still belong together, looked at before anything is published.

A PostgreSQL that came back from a backup is older than Kafka; a Kafka that lost data is older than PostgreSQL. Going on
in either case would give one position two events, or leave a hole in the topic. So the relay refuses, and while the
topic knows more than the store, the store takes no commands: they would be decided on facts that are out of date.
"""

from typing import Final

from shared.eventlog.postgres import PostgresStore
from shared.eventlog.topic import Found, TopicReader, place

FENCE: Final = "the store and its topic differ: "
"""How the guard's reasons begin."""


class Guard:
    """Compares a store's head with the last events of each partition of its topic."""

    def __init__(self, store: PostgresStore, service: str, topic: str, bootstrap: str) -> None:
        self._store, self._service, self._topic, self._bootstrap = store, service, topic, bootstrap

    async def __call__(self, relayed: int = 0) -> str | None:
        """Why nothing may be published after the checkpoint `relayed`; None when all is well. Fences the store as long
        as the topic has what the store has not. Raises KafkaError or Unavailable."""
        async with TopicReader(self._topic, self._bootstrap) as reader:
            found = [await reader.last(n, self._service) for n in reader.ends]
        last = sorted((f for f in found if f is not None), key=lambda f: f.position)
        head = await self._store.position()  # after the topic's ends: what is published meanwhile is no fault
        if why := self._ahead(last, head) or await self._differs(last):
            await self._store.fence(FENCE + why)
            return why
        await self._store.fence(None, unless=FENCE)
        top = last[-1].position if last else 0
        if relayed > top:
            return (
                f"{self._topic} ends at position {top}, though {relayed} were published: {relayed - top} events are "
                f"missing there. `tenure restore topic` publishes them again from the store"
            )
        return None

    def _ahead(self, last: list[Found], head: int) -> str | None:
        if not last or last[-1].position <= head:
            return None
        top = last[-1]
        remedy = "`tenure reconcile` imports them" if head else "`tenure restore store` makes it again from the topic"
        return (
            f"{self._topic} is ahead of the store by {top.position - head} events: the store ends at position {head}, "
            f"the topic at {top.position}, of {top.event.of.time:%Y-%m-%d %H:%M:%S} UTC. {remedy}"
        )

    async def _differs(self, last: list[Found]) -> str | None:
        for found in last:
            stored = await self._store.read(found.position - 1, 1)
            if not stored or stored[0].of.hash != found.event.of.hash:
                return (
                    f"position {found.position} is {found.event.of.stream} version {found.event.of.version} in the "
                    f"topic ({place(found.raw)}) and another event in the store. `tenure verify` says from where on"
                )
        return None
