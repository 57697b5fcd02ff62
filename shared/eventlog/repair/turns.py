"""The turn of a parked record in its stream: next, repeat, early or refused."""

from typing import Any, Final, Literal, NamedTuple

from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.plan import Seen, broken, continues, contradiction
from shared.eventlog.deliver.received import Raw, digest_of
from shared.eventlog.deliver.tables import PostgresTables
from shared.events.envelope import Envelope
from shared.sql import statements

SQL: Final = statements(__file__)
CHAINED: Final = frozenset({"forged", "broken-chain", "conflict", "gap"})
"""The parking reasons that concern a record's place in its stream."""


class Turn(NamedTuple):
    """The place of a record in its stream, relative to what the consumer has processed.

    It is the next event of its stream, a repeat, too early (a version before it is missing), or refused: not an event
    of this stream.
    """

    kind: Literal["next", "repeat", "early", "refused"]
    fault: tuple[str, str] = ("", "")
    """The parking reason and its details, if the record is refused."""


async def turn(
    tx: Any, consumer: Consumer, raw: Raw, envelope: Envelope, seen: Seen, *, edited: bool, over_gap: bool
) -> Turn:
    """Classify a record as the consumer's plan would.

    Args:
        seen: the last version of the stream that the consumer has processed.
        edited: an operator has edited the record, so its bytes may differ from those of the known event.
        over_gap: accept the record although versions before it are missing.
    """
    own, version = raw.topic == consumer.own, envelope.version or 0
    this = (envelope.stream, version)
    known = (await PostgresTables(tx).facts({}, [this] if own else [], [] if own else [this])).known
    if (fault := contradiction(envelope, known.get(this), own=own, raw=None if edited else raw)) is not None:
        return Turn("refused", fault)
    if version <= seen.version:
        return Turn("repeat")
    if over_gap:
        return Turn("next")
    if version > seen.version + 1:
        return Turn("early")
    return Turn("next") if continues(envelope, seen) else Turn("refused", ("broken-chain", broken(envelope, seen)))


async def seen(tx: Any, consumer: str, stream: str | None) -> Seen:
    """Return the last version of the stream that the consumer has processed."""
    row = None if stream is None else await tx.fetchrow(SQL["reached"], consumer, stream)
    return Seen() if row is None else Seen(row["version"], row["hash"])


async def reach(tx: Any, consumer: Consumer, raw: Raw, stream: str | None, seen: Seen, *, edited: bool) -> None:
    """Note that the consumer has processed this version.

    The hash of an event of another service's stream is noted for all consumers of this service. The digest of an edited
    record is not, because the topic has the original.
    """
    await tx.execute(SQL["reach"], consumer.name, stream, seen.version, seen.hash, seen.tenant)
    if raw.topic != consumer.own and seen.hash is not None:
        await tx.execute(SQL["known"], stream, seen.version, seen.hash, None if edited else digest_of(raw))
