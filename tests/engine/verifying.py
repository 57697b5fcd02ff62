"""A store to verify, and what is done to it."""

from collections.abc import Sequence

from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from tests.examples.engine import head_of, write

_SEVENTHS = "id = (select command_id from log.events where position = 7)"

IN_STORE: Sequence[tuple[str, str]] = [
    ("select 1", ""),
    ("update log.events set data = '{\"n\": 2}' where position = 7", "position 7 "),
    ("update log.events set actor = 'another' where position = 7", "position 7 "),
    ("delete from log.events where position = 7", "position 7 was expected here"),
    ("delete from log.events where position > 15", "store, head: it is at 20, "),
    (
        "update log.events set position = case position when 3 then -6 else -3 end where position in (3, 6); "
        "update log.events set position = -position where position < 0",
        "store, positions",
    ),
    ("update log.head set position = 19", "store, head"),
    ("delete from log.batches where last_position > 10", "the last batch ends at"),
    (
        "update log.events set command_id = 'another' where position = 7",
        "store, position 7 (s2 version 2): the store does not know its command, another",
    ),
    (f"delete from log.commands where {_SEVENTHS}", "store, position 7 (s2 version 2): the store does not know"),
    (
        f"update log.commands set id = 'another' where {_SEVENTHS}",
        "store, command another: it is recorded as having made s2 version 2, but no event names it",
    ),
    (
        f"update log.commands set count = 2 where {_SEVENTHS}",
        "it is recorded as having made s2 version 2 to 3, but s2 version 2 name it, from position 7 on",
    ),
    (
        f"update log.commands set first = 2 where {_SEVENTHS}",
        "it is recorded as having made s2 version 3, but s2 version 2 name it",
    ),
    (
        f"update log.commands set stream = 's1' where {_SEVENTHS}",
        "it is recorded as having made s1 version 2, but s2",
    ),
    (
        f"update log.commands set count = 0 where {_SEVENTHS}",
        "it is recorded as having made nothing, but s2 version 2",
    ),
]
"""What is done to a store with five events in each of four streams, and a part of the finding."""


async def filled(dsn: str, rounds: int = 5, heads: dict[str, Head] | None = None) -> dict[str, Head]:
    """Append a round of events, one a stream and each in a batch of its own, and return the streams' heads."""
    store = await PostgresStore(dsn, "entitlements").open()
    heads = heads or {f"s{n}": Head() for n in range(4)}
    for _ in range(rounds):
        for stream, head in heads.items():
            written = write(stream, head)
            await store.append(written)
            heads[stream] = head_of(written.events)
    await store.close()
    return heads
