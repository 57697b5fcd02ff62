"""Record batches written by hand, with whatever bytes in them, and a way to get them into Kafka."""

import gzip
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from shared.eventlog.deliver.kafka import KafkaAccess


class Written(NamedTuple):
    """A record as it is written: header names are bytes."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes | None, bytes | None]] = ()
    delta: int | None = None
    """Its offset in the batch, where that is not its place."""


def varint(number: int) -> bytes:
    value = (number << 1) ^ (number >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def body(record: Written, place: int = 0) -> bytes:
    """A record without its length."""
    headers = b"".join(_bytes(name) + _bytes(value) for name, value in record.headers)
    delta = place if record.delta is None else record.delta
    start = b"\0" + varint(0) + varint(delta)
    return start + _bytes(record.key) + _bytes(record.value) + varint(len(record.headers)) + headers


def batch(bodies: Sequence[bytes], *, offset: int = 0, zipped: bool = False, count: int | None = None) -> bytes:
    """A batch of these records, each with its length before it."""
    records = b"".join(varint(len(each)) + each for each in bodies)
    return raw_batch(records, len(bodies) if count is None else count, offset=offset, zipped=zipped)


def raw_batch(records: bytes, count: int, *, offset: int = 0, zipped: bool = False) -> bytes:
    content = gzip.compress(records) if zipped else records
    now = time.time_ns() // 1_000_000
    rest = struct.pack(">hiqqqhii", int(zipped), count - 1, now, now, -1, -1, -1, count) + content
    head = struct.pack(">ibI", -1, 2, calc_crc32c(rest))
    return struct.pack(">qi", offset, len(head) + len(rest)) + head + rest


def read(records: Sequence[Written], *, zipped: bool = False) -> bytes:
    """A batch of these records."""
    return batch([body(record, place) for place, record in enumerate(records)], zipped=zipped)


async def send(access: KafkaAccess, topic: str, partition: int, batches: Sequence[tuple[bytes, int]]) -> list[int]:
    """Send batches as they are, each with its number of records. Returns their first offsets; raises what the broker
    says against them."""
    producer = AIOKafkaProducer(**access.client(), acks="all")
    await producer.start()
    try:
        offsets = []
        for data, count in batches:
            builder = producer.create_batch()
            builder._buffer, builder._relative_offset = bytearray(data), count
            builder.close()
            sent = await (await producer.send_batch(builder, topic, partition=partition))
            offsets.append(sent.offset)
        return offsets
    finally:
        await producer.stop()
