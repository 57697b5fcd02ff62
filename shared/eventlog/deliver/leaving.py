"""The parking of a batch's records: few statements, and a bounded number of log lines.

A flood of invalid records on a topic must not slow its consumers down, as a statement or a log line for each record
would.
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
"""The greatest weight of the records that one statement parks, unless it is a single record.

Encoding the headers as JSON must not block the process for long."""
DETAIL_CHARACTERS: Final = 2_000
LOGGED_PER_REASON: Final = 5
"""How many records of a batch are logged one by one for each reason. The others are only counted."""


async def park(tx: Connection, consumer: str, records: Sequence[ParkedRecord]) -> None:
    """Store these records with all their bytes."""
    for portion in _portions(records):
        raws = [parked.record.raw for parked in portion]
        envelopes = [parked.record.envelope if parked.record.sequenced else None for parked in portion]
        await tx.execute(
            SQL["park"],
            consumer,
            [raw.topic for raw in raws],
            [raw.partition for raw in raws],
            [raw.offset for raw in raws],
            [envelope and envelope.stream for envelope in envelopes],
            [envelope and envelope.version for envelope in envelopes],
            [parked.reason for parked in portion],
            [as_text(parked.detail)[:DETAIL_CHARACTERS] for parked in portion],
            [parked.holds_stream for parked in portion],
            [raw.key for raw in raws],
            [json.dumps(headers_json(raw.headers)) for raw in raws],
            [raw.value for raw in raws],
        )


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
