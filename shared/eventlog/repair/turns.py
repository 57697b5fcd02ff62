"""Whether it is a parked record's turn: the next of its stream, a repeat, too early, or not the stream's at all."""

from typing import Any, Final, Literal, NamedTuple

from shared.eventlog.deliver.consumer import SQL as CHECKPOINTS
from shared.eventlog.deliver.consumer import Consumer, known_of
from shared.eventlog.deliver.plan import Raw, Seen, broken, continues, contradiction, digest_of
from shared.events.envelope import Envelope
from shared.sql import statements

SQL: Final = statements(__file__)
CHAINED: Final = frozenset({"forged", "broken-chain", "conflict", "gap"})
"""The reasons for which a record is parked because of its place in its stream."""


class Turn(NamedTuple):
    """What a record is in its stream now; of one that is refused, the reason and why."""

    kind: Literal["next", "repeat", "early", "refused"]
    fault: tuple[str, str] = ("", "")


async def turn(
    tx: Any, consumer: Consumer, raw: Raw, envelope: Envelope, seen: Seen, *, edited: bool, over_gap: bool
) -> Turn:
    """Judge a record as the consumer's plan would, where it has come as far as `seen`."""
    own, version = raw.topic == consumer.own, envelope.version or 0
    rows = await tx.fetch(CHECKPOINTS["stored" if own else "known"], [envelope.stream], [version])
    known = known_of(rows[0]) if rows else None
    if (fault := contradiction(envelope, known, own=own, raw=None if edited else raw)) is not None:
        return Turn("refused", fault)
    if version <= seen.version:
        return Turn("repeat")
    if over_gap:
        return Turn("next")
    if version > seen.version + 1:
        return Turn("early")
    return Turn("next") if continues(envelope, seen) else Turn("refused", ("broken-chain", broken(envelope, seen)))


async def seen(tx: Any, consumer: str, stream: str | None) -> Seen:
    """The last version of the stream that the consumer has dealt with."""
    row = None if stream is None else await tx.fetchrow(SQL["reached"], consumer, stream)
    return Seen() if row is None else Seen(row["version"], row["hash"])


async def reach(tx: Any, consumer: Consumer, raw: Raw, stream: str | None, seen: Seen) -> None:
    """Note that the consumer has dealt with this version; of another service's stream, for all of this service."""
    await tx.execute(SQL["reach"], consumer.name, stream, seen.version, seen.hash, seen.tenant)
    if raw.topic != consumer.own and seen.hash is not None:
        await tx.execute(SQL["known"], stream, seen.version, seen.hash, digest_of(raw))
