"""Whether a service's tables are what its events make: all of them folded once more, from nothing, and compared.

A consumer's notes say what it has dealt with; this doesn't believe them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import asyncpg

from shared.eventlog.deliver.bundles import Bundles, renaming
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair.scratch import bare, digests, make
from shared.events.registry import topic_of
from shared.events.upcasts import decode
from shared.sql import with_names
from tests.oracle.evidence import Evidence, Stored

AT_ONCE: Final = 500
SCHEMA: Final = "judged"


async def differences(
    service: str, projections: Sequence[Projection], dsn: str, found: Mapping[str, Evidence]
) -> list[str]:
    """The tables that differ, in words. The system should be at rest; nothing is left behind in the database."""
    db = await asyncpg.connect(dsn, command_timeout=60)
    try:
        return [wrong for projection in projections for wrong in await _compared(service, projection, db, found)]
    finally:
        await db.close()


async def _compared(service: str, projection: Projection, db: Any, found: Mapping[str, Evidence]) -> list[str]:
    consumer = f"{service}.{projection.name}"
    undone = db.transaction(isolation="repeatable_read")
    await undone.start()
    try:
        live = await digests(db, projection)
        await make(db, projection, SCHEMA)
        await db.execute(f'set local search_path = "{SCHEMA}"')
        await _fold(consumer, projection, db, found)
        if projection.carry_over_sql:
            await db.execute(with_names(projection.carry_over_sql, new=SCHEMA))
        anew = await digests(db, projection, SCHEMA)
    finally:
        await undone.rollback()
    return [
        f"{consumer}: {table} has {live[table][0]} rows, a replay makes {anew[table][0]} and they differ"
        for table in projection.tables
        if live[table] != anew[table]
    ]


async def _fold(consumer: str, projection: Projection, db: Any, found: Mapping[str, Evidence]) -> None:
    rewrite = renaming({table: f'"{SCHEMA}".{bare(table)}' for table in projection.tables if "." in table})
    for evidence in found.values():
        if topic_of(evidence.service) in projection.topics:
            events = _dealt_with(consumer, projection, evidence)
            while batch := list(islice(events, AT_ONCE)):
                bundles = Bundles(db, rewrite, projection.in_bulk)
                for event in batch:
                    envelope = event.envelope
                    await projection.apply(
                        bundles.of_stream(envelope.stream), decode(envelope, event.data, trusted=True), envelope
                    )
                await bundles.send()


def _dealt_with(consumer: str, projection: Projection, evidence: Evidence) -> Iterator[Stored]:
    """What waits is not among it."""
    for event in evidence.events:
        seen = evidence.seen.get((consumer, event.envelope.stream), 0)
        if event.envelope.type in projection.types and (event.envelope.version or 0) <= seen:
            yield event
