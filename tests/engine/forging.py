"""Records that are intact by their own bytes, and are no events of the log in whose topic they lie."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from aiokafka import AIOKafkaProducer

from shared.eventlog.deliver.relay import partition_of
from shared.events.envelope import GENESIS, Envelope, chained, from_headers, to_headers
from shared.events.registry import topic_of
from tests.engine.restoring import SERVICE, Bench
from tests.oracle.evidence import Published, read_topic

TOPIC: Final = topic_of(SERVICE)
PARTITIONS: Final = 6
INVENTED: Final = b"\x33" * 32
"""The hash of no event."""
Kind = Callable[[Published], Published]


def _written(record: Published, envelope: Envelope, value: bytes | None = None) -> Published:
    """The record with another envelope, whose hash fits it."""
    data = (record.value or b"") if value is None else value
    envelope = envelope._replace(hash=chained(envelope, data))
    partition = partition_of(envelope.stream, PARTITIONS)
    return replace(record, partition=partition, key=envelope.stream.encode(), headers=to_headers(envelope), value=data)


def _envelope(record: Published) -> Envelope:
    return from_headers(record.headers, record.key)


def gap(record: Published) -> Published:
    envelope = _envelope(record)._replace(stream="forged", version=7, position=10**9, prevhash=INVENTED)
    return _written(record, envelope)


def without_predecessor(record: Published) -> Published:
    envelope = _envelope(record)._replace(stream="forged", version=7, position=10**9, prevhash=GENESIS)
    return _written(record, envelope)


def far_ahead(record: Published) -> Published:
    """Of a stream that there is."""
    return _written(record, _envelope(record)._replace(version=10_000, position=10**9, prevhash=INVENTED))


def low(record: Published) -> Published:
    return _written(record, _envelope(record)._replace(version=10_000, position=3, prevhash=INVENTED))


def repeat(record: Published) -> Published:
    return _written(record, _envelope(record), (record.value or b"")[:-1] + b" }")


def repeat_elsewhere(record: Published) -> Published:
    return _written(record, _envelope(record)._replace(position=10**9), (record.value or b"")[:-1] + b" }")


def moved(record: Published) -> Published:
    """Byte for byte the event, but for its position, which is not hashed."""
    return replace(record, headers=to_headers(_envelope(record)._replace(position=10**9)))


def copied(record: Published) -> Published:
    return replace(record, partition=(record.partition + 1) % PARTITIONS)


KINDS: Final[Sequence[Kind]] = (
    gap,
    without_predecessor,
    far_ahead,
    low,
    repeat,
    repeat_elsewhere,
    moved,
    copied,
)


async def plant(bench: Bench, *kinds: Kind) -> set[str]:
    """Write a record of each kind behind each partition's last event; answers their places."""
    lying = {record.partition: record for record in await read_topic(TOPIC, bench.access) if _is_genuine(record)}
    places = set()
    async with AIOKafkaProducer(**bench.access.client()) as producer:
        for genuine in lying.values():
            for kind in kinds:
                it = kind(genuine)
                sent = await producer.send_and_wait(
                    TOPIC, it.value, key=it.key, partition=it.partition, headers=it.headers
                )
                places.add(f"{TOPIC}, partition {sent.partition}, offset {sent.offset}")
    return places


def _is_genuine(record: Published) -> bool:
    return (_envelope(record).position or 0) < 10**9 and (_envelope(record).version or 0) < 10_000
