"""Parks what a batch has left: many records in a statement, and told of in a bounded number of lines.

Whoever floods a topic must not be able to make its consumers slow: a statement a record, or a line of the log a
record, would.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from shared.eventlog.deliver.plan import ALARMING, ParkedRecord, as_text, headers_json, weight
from shared.eventlog.deliver.projection import Connection
from shared.sql import statements

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)

STATEMENT_BYTES: Final = 256 * 1024
"""The most of records (but one, whatever its size) that a statement parks: writing their headers as JSON must not hold
the process up."""
DETAIL_CHARACTERS: Final = 2_000
TOLD_OF_A_REASON: Final = 5
"""So many records of a batch are told of one by one, of each reason; the rest by their number."""


async def park(tx: Connection, consumer: str, left: Sequence[ParkedRecord]) -> None:
    """Note these records with all their bytes."""
    for some in _portions(left):
        raws = [each.record.raw for each in some]
        named = [each.record.envelope if each.record.sequenced else None for each in some]
        await tx.execute(
            SQL["park"],
            consumer,
            [raw.topic for raw in raws],
            [raw.partition for raw in raws],
            [raw.offset for raw in raws],
            [envelope and envelope.stream for envelope in named],
            [envelope and envelope.version for envelope in named],
            [each.reason for each in some],
            [as_text(each.detail)[:DETAIL_CHARACTERS] for each in some],
            [each.holds_stream for each in some],
            [raw.key for raw in raws],
            [json.dumps(headers_json(raw.headers)) for raw in raws],
            [raw.value for raw in raws],
        )


def _portions(left: Sequence[ParkedRecord]) -> Iterator[Sequence[ParkedRecord]]:
    begin, size = 0, 0
    for end, each in enumerate(left):
        more = weight(each.record.raw.headers, each.record.raw.value)
        if end > begin and size + more > STATEMENT_BYTES:
            yield left[begin:end]
            begin, size = end, 0
        size += more
    if left:
        yield left[begin:]


def tell(consumer: str, left: Sequence[ParkedRecord]) -> None:
    """Say what was parked, and why."""
    told = Counter[str]()
    for each in left:
        told[each.reason] += 1
        if told[each.reason] > TOLD_OF_A_REASON:
            continue
        raw, envelope = each.record.raw, each.record.envelope
        say = logger.critical if each.reason in ALARMING else logger.warning
        say(
            "event parked",
            consumer=consumer,
            reason=each.reason,
            detail=as_text(each.detail)[:300],
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset,
            stream=envelope and envelope.stream,
            event_id=envelope and envelope.id,
            holds_stream=each.holds_stream,
        )
    for reason, number in told.items():
        if number > TOLD_OF_A_REASON:
            say = logger.critical if reason in ALARMING else logger.warning
            say("more events parked", consumer=consumer, reason=reason, more=number - TOLD_OF_A_REASON)
