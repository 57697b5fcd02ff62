"""The parking of a batch's records: few statements, and a bounded number of log lines.

A flood of invalid records on a topic must not slow its consumers down, as a statement or a log line for each record
would.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from shared.eventlog.deliver.plan import ParkedRecord
from shared.eventlog.deliver.received import ALARMING, as_text, weight
from shared.eventlog.deliver.tables import ConsumerTables

logger = structlog.get_logger(__name__)

STATEMENT_BYTES: Final = 256 * 1024
"""The greatest weight of the records that one statement parks, unless it is a single record.

Encoding the headers as JSON must not block the process for long."""
LOGGED_PER_REASON: Final = 5
"""How many records of a batch are logged one by one for each reason. The others are only counted."""


async def park(tables: ConsumerTables, consumer: str, records: Sequence[ParkedRecord]) -> None:
    """Store these records with all their bytes."""
    for portion in _portions(records):
        await tables.park(consumer, portion)


def _portions(records: Sequence[ParkedRecord]) -> Iterator[Sequence[ParkedRecord]]:
    begin, size = 0, 0
    for end, parked in enumerate(records):
        more = weight(parked.record.raw.headers, parked.record.raw.value)
        if end > begin and size + more > STATEMENT_BYTES:
            yield records[begin:end]
            begin, size = end, 0
        size += more
    if records:
        yield records[begin:]


def log_parked(consumer: str, records: Sequence[ParkedRecord]) -> None:
    """Log what was parked, and why."""
    counts = Counter[str]()
    for parked in records:
        counts[parked.reason] += 1
        if counts[parked.reason] > LOGGED_PER_REASON:
            continue
        raw, envelope = parked.record.raw, parked.record.envelope
        log = logger.critical if parked.reason in ALARMING else logger.warning
        log(
            "event parked",
            consumer=consumer,
            reason=parked.reason,
            detail=as_text(parked.detail)[:300],
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset,
            stream=envelope and envelope.stream,
            event_id=envelope and envelope.id,
            holds_stream=parked.holds_stream,
        )
    for reason, number in counts.items():
        if number > LOGGED_PER_REASON:
            log = logger.critical if reason in ALARMING else logger.warning
            log("more events parked", consumer=consumer, reason=reason, more=number - LOGGED_PER_REASON)
