"""Given events, when a projection folds another one, then rows. Over a real database, without Kafka."""

from datetime import datetime

import uuid_utils

from shared.eventlog.deliver.projection import Projection
from shared.events import Event
from shared.events.envelope import Envelope
from shared.runtime.database import Pool


def given_tables(projection: Projection, pool: Pool, now: datetime) -> "Tables":
    """Begin a test of the projection, with its tables as they are."""
    return Tables(projection, pool, now)


class Tables:
    """A projection's tables. They change with every `given` and `when`."""

    def __init__(self, projection: Projection, pool: Pool, now: datetime) -> None:
        self.projection, self.pool, self.now = projection, pool, now

    async def given(self, *events: Event, stream: str = "stream-1") -> tuple[str, ...]:
        """Fold the events, in this order; return their ids."""
        return tuple([await self.when(event, stream=stream) for event in events])

    async def when(self, event: Event, *, stream: str = "stream-1") -> str:
        """Fold the event; return its id."""
        source = self.projection.topics[0].partition(".")[0]
        envelope = Envelope(str(uuid_utils.uuid7()), f"urn:tenure:{source}", event.type(), stream, self.now, 1)
        async with self.pool.acquire() as tx, tx.transaction():
            await self.projection.apply(tx, event, envelope)
        return envelope.id

    async def then_rows(self, query: str, *rows: tuple[object, ...]) -> None:
        """Check that the query finds exactly these rows."""
        assert [tuple(row) for row in await self.pool.fetch(query)] == list(rows)
