"""The reading of record batches from Kafka, with any bytes in them.

If aiokafka's fetcher cannot decode a record, such as one with a header name that is not UTF-8, it fetches the batch
again for ever. It also silently skips a record whose offset is not above the one before it. This module reads such a
batch a second time with a parser that accepts any bytes. A header name that is not UTF-8 keeps its bytes as lone
surrogates. Bytes that cannot be parsed as a record become the value of a record of their own. This module also
decompresses batches, up to a limit, because a few kilobytes of gzip can decompress to gigabytes, which no table could
store.

Importing this module replaces aiokafka's own reader in every consumer of the process.

Source: https://kafka.apache.org/documentation/#recordbatch
"""

import asyncio
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

from shared.eventlog.deliver.received import Raw, Received, receive, weight
from shared.events.registry import is_inbound

Header = tuple[str, bytes | None]

UNPARSED: Final = "\udc00unparsed"
"""The name of the header that marks a record of raw bytes; its value is the reason.

No sender can write this name, because `surrogateescape` never produces U+DC00."""
READ_BYTES: Final = 256 * 1024
"""The weight of records after which other tasks get a turn, so that a flood of large records does not block them."""
_LENGTH: Final = struct.Struct(">qi")
_BATCH: Final = struct.Struct(">qiibIhiqqqhii")
"""The header of a record batch of version 2."""
_MAGIC_AT: Final = 16
_TIME_OF_APPEND: Final = 0x08
_ATTRIBUTES_AT: Final = 21
_CODEC: Final = 0x07
_GZIP: Final = 1
_CODECS: Final[Mapping[int, str]] = {2: "snappy", 3: "lz4", 4: "zstd"}
"""The compression codecs that are not read here, for lack of a library that can stop at a limit."""
UNPACKED_AT_MOST: Final = 4 * 1024 * 1024
"""The most bytes of records in a decompressed batch: four times the broker's limit for an uncompressed one."""
_LATEST_MS: Final = 4_102_444_800_000
"""The end of 2099: a later time is no record's."""
RECORDS_AT_MOST: Final = 200_000
"""The most records in a batch, which is more than an uncompressed one has room for."""


class Corrupt(ValueError):
    """Bytes cannot be read as a record or a batch. The message says why."""


class Record(NamedTuple):
    """A record with the attributes of one from aiokafka's own reader."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    checksum: None = None


def raw_of(record: Any) -> Raw:
    """Return a fetched record with its topic, partition, offset and bytes."""
    headers: Sequence[Header] = record.headers
    if headers and headers[0][0] == UNPARSED:
        why = (headers[0][1] or b"").decode()
        return Raw(record.topic, record.partition, record.offset, None, (), record.value, why)
    arrived = _arrival(record.timestamp) if is_inbound(record.topic) else None
    return Raw(record.topic, record.partition, record.offset, record.key, headers, record.value, "", arrived)


async def receive_all(records: Sequence[Any], types: frozenset[str], now: datetime) -> list[Received]:
    """Read fetched records. Other tasks get a turn between large ones.

    Args:
        types: The event types that are handled.
        now: The real time.
    """
    received, size = list[Received](), 0
    for record in records:
        received.append(receive(raw_of(record), types, now))
        size += weight(record.headers, record.value)
        if size >= READ_BYTES:
            size = 0
            await asyncio.sleep(0)
    return received


def _arrival(milliseconds: Any) -> datetime | None:
    """Return the time of a record that Kafka appended then; None if it has no such time."""
    if not isinstance(milliseconds, int) or not 0 < milliseconds < _LATEST_MS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


class Batch:
    """A record batch, read by aiokafka, or by this module if aiokafka cannot read it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._strict: Any = MemoryRecords(data).next_batch()
        self._iterator: Iterator[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the batch's header, which the broker has checked."""
        return getattr(self._strict, name)

    def __iter__(self) -> Iterator[Any]:
        first, last = self._strict.base_offset, self._strict.next_offset - 1
        records = self._records(last)
        if not _ordered(records, first, last):
            records = _renumbered(records, first, last, self._data)
        self._iterator = iter(records)
        return self._iterator

    def _records(self, last: int) -> list[Any]:
        if self._data[_MAGIC_AT] < 2:
            return list(self._strict)
        try:
            plain = _unpacked(self._data)
        except Corrupt as why:
            return [_raw(last, self._strict.max_timestamp, self._data, str(why))]
        try:
            return list(MemoryRecords(plain).next_batch())
        except Exception as fault:  # noqa: BLE001  # Whatever aiokafka cannot read is read again here.
            return _tolerant(plain, f"{type(fault).__name__}: {fault}")

    def __next__(self) -> Any:
        return next(iter(self) if self._iterator is None else self._iterator)


class Batches:
    """The batches of a fetched partition, a replacement of aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def size_in_bytes(self) -> int:
        return len(self._data)

    def _end(self) -> int | None:
        """Return where the next batch ends, or None if it was not fetched whole."""
        if len(self._data) - self._at < _LENGTH.size:
            return None
        end = self._at + _LENGTH.size + int(_LENGTH.unpack_from(self._data, self._at)[1])
        return end if end <= len(self._data) else None

    def has_next(self) -> bool:
        return self._end() is not None

    def next_batch(self) -> Batch | None:
        end = self._end()
        if end is None:
            return None
        data, self._at = bytes(self._data[self._at : end]), end
        return Batch(data)


fetcher.MemoryRecords = Batches


def _ordered(records: Sequence[Any], first: int, last: int) -> bool:
    """Return whether the offsets increase and are within the batch."""
    before = first - 1
    for record in records:
        if record.offset <= before:
            return False
        before = record.offset
    return before <= last


def _renumbered(records: Sequence[Any], first: int, last: int, data: bytes) -> list[Record]:
    """Return the records with the offsets that the broker counts.

    If the broker counts fewer records, return the batch as one record of raw bytes.
    """
    if len(records) > last - first + 1:
        return [_raw(last, 0, data, f"the batch has {len(records)} records for {last - first + 1} offsets")]
    return [Record(first + n, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for n, r in enumerate(records)]


def _raw(offset: int, timestamp: int, data: bytes, why: str) -> Record:
    return Record(offset, timestamp, 0, None, data, ((UNPARSED, why.encode(errors="backslashreplace")),))


def _unpacked(data: bytes) -> bytes:
    """Return the batch without compression.

    Raises:
        Corrupt: The batch cannot be decompressed, or is too large.
    """
    fields = _BATCH.unpack_from(data)
    attributes, count = fields[5], fields[12]
    if count > RECORDS_AT_MOST:
        raise Corrupt(f"the batch has {count} records; the limit is {RECORDS_AT_MOST}")
    packing = attributes & _CODEC
    if not packing:
        return data
    if packing != _GZIP:
        raise Corrupt(f"the batch is compressed by {_CODECS.get(packing, packing)}; only gzip is supported")
    records = _gunzipped(data[_BATCH.size :])
    plain = bytearray(data[: _BATCH.size] + records)
    struct.pack_into(">i", plain, _LENGTH.size - 4, len(plain) - _LENGTH.size)
    struct.pack_into(">h", plain, _ATTRIBUTES_AT, attributes & ~_CODEC)
    return bytes(plain)


def _gunzipped(packed: bytes) -> bytes:
    member = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        records = member.decompress(packed, UNPACKED_AT_MOST + 1)
    except zlib.error as fault:
        raise Corrupt(f"the batch cannot be decompressed: {fault}") from None
    if len(records) > UNPACKED_AT_MOST:
        raise Corrupt(f"the batch decompresses to more than {UNPACKED_AT_MOST // 1024} KiB")
    if not member.eof or member.unused_data:
        raise Corrupt("the batch cannot be decompressed: its gzip data ends before or after the batch")
    return records


def _tolerant(data: bytes, why: str) -> list[Record]:
    """Read as much as possible of an uncompressed batch.

    Args:
        why: The error of aiokafka's reader.
    """
    fields = _BATCH.unpack_from(data)
    first, attributes, last, began, latest, count = (fields[n] for n in (0, 5, 6, 7, 8, 12))
    times = (latest, 1) if attributes & _TIME_OF_APPEND else (began, 0)
    body = data[_BATCH.size :]
    records: list[Record] = []
    at = 0
    for number in range(count):
        try:
            length, start = _varint(body, at)
            if length < 0 or start + length > len(body):
                raise Corrupt(f"a record of {length} bytes, but only {len(body) - start} bytes are left")
        except Corrupt as cut:
            records.append(_raw(first + last, latest, body[at:], f"{cut}; {why}"))
            break
        piece, at = body[start : start + length], start + length
        try:
            records.append(_record(piece, first, times))
        except Corrupt as fault:
            records.append(_raw(first + number, latest, piece, f"{fault}; {why}"))
    return records


def _record(piece: bytes, first: int, times: tuple[int, int]) -> Record:
    """Return the record of these bytes, which do not include its length.

    Raises:
        Corrupt: The bytes are not a record.
    """
    if not piece:
        raise Corrupt("a record of 0 bytes")
    elapsed, at = _varint(piece, 1)
    delta, at = _varint(piece, at)
    key, at = _bytes(piece, at)
    value, at = _bytes(piece, at)
    count, at = _varint(piece, at)
    if not 0 <= count <= len(piece):
        raise Corrupt(f"a record with {count} headers")
    headers: list[Header] = []
    for _ in range(count):
        name, at = _bytes(piece, at)
        content, at = _bytes(piece, at)
        if name is None:
            raise Corrupt("a header without a name")
        headers.append((name.decode(errors="surrogateescape"), content))
    if at != len(piece):
        raise Corrupt(f"{len(piece) - at} bytes after a record's headers")
    begins, kind = times
    return Record(first + delta, begins if kind else begins + elapsed, kind, key, value, tuple(headers))


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise Corrupt(f"a length of {length} bytes, but only {len(data) - at} bytes are left")
    return data[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a zigzag-encoded number and where it ends.

    Raises:
        Corrupt: The number is cut off or too long.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Corrupt("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise Corrupt("a number of more than ten bytes")
