"""Batches that aiokafka's own reader gives up on: read to the last byte, and their partition flows."""

import asyncio
import gzip
import json
import uuid
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Raw
from shared.eventlog.deliver.records import UNPACKED_AT_MOST, Batches, raw_of
from shared.eventlog.repair.parked import list_parked
from shared.eventlog.repair.sources import Topics
from shared.eventlog.repair.topic import TopicReader
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import CsnIssued
from shared.events.envelope import Envelope
from shared.events.registry import INBOUND
from tests.databases import execute_as_operator
from tests.engine.batches import Written, batch, body, raw_batch, read, send, varint
from tests.system import parts

PLAIN = Written(b"k", b"v", [(b"a", b"1"), (b"b", None)])
BAD_NAME = Written(b"k\0", b"\xff", [(b"\xff\xfe", b"1"), (b"\0", b"2"), (b"", None)])


def fetched(*batches: bytes, at: int = 0) -> list[Raw]:
    """What the fetcher gives of these bytes, from an offset on."""
    records = PartitionRecords(TopicPartition("t", 0), Batches(b"".join(batches)), [], at, None, None, True, 0)
    return [raw_of(record) for record in records]


def unchecked(data: bytes) -> list[Any]:
    """What is read of a batch whose checksum does not fit."""
    return list(Batches(data).next_batch() or ())


def names(raw: Raw) -> list[bytes]:
    return [name.encode(errors="surrogateescape") for name, _ in raw.headers]


def test_every_consumer_of_the_process_reads_this_way() -> None:
    assert fetcher.MemoryRecords is Batches


@pytest.mark.parametrize("zipped", [False, True])
def test_header_names_that_are_no_text_keep_their_bytes(zipped: bool) -> None:
    found = fetched(read([PLAIN, BAD_NAME, PLAIN], zipped=zipped))
    assert [(raw.offset, raw.key, raw.value) for raw in found] == [
        (0, b"k", b"v"),
        (1, b"k\0", b"\xff"),
        (2, b"k", b"v"),
    ]
    assert names(found[1]) == [b"\xff\xfe", b"\0", b""]
    assert [value for _, value in found[1].headers] == [b"1", b"2", None]
    assert not any(raw.unparsed for raw in found)


def test_a_record_that_cannot_be_read_is_cut_out_with_its_bytes() -> None:
    for piece in (
        body(Written(b"k", b"v", [(None, b"1")]), 1),
        body(PLAIN, 1) + b"\0",
        body(PLAIN, 1)[:-1],
        b"\0" + b"\xff" * 11,
        b"",
        b"\0" + varint(0) + varint(1) + varint(-1) + varint(-1) + varint(-7),
        b"\0" + varint(0) + varint(1) + varint(2**40),
    ):
        found = fetched(batch([body(PLAIN), piece, body(PLAIN, 2)]))
        assert [raw.offset for raw in found] == [0, 1, 2], piece
        assert [bool(raw.unparsed) for raw in found] == [False, True, False], piece
        assert (found[1].value, found[1].key, [*found[1].headers]) == (piece, None, [])


def test_what_cannot_be_cut_is_kept_as_one_record_and_the_next_batch_follows() -> None:
    first = varint(len(body(PLAIN))) + body(PLAIN)
    for rest in (b"\xff" * 12, varint(500) + b"abc", varint(-5) + b"abc"):
        found = fetched(raw_batch(first + rest, 3), batch([body(PLAIN)], offset=3))
        assert [(raw.offset, bool(raw.unparsed)) for raw in found] == [(0, False), (2, True), (3, False)]
        assert found[1].value == rest


def test_a_body_that_cannot_be_unzipped_is_kept_whole() -> None:
    data = bytearray(read([PLAIN, PLAIN], zipped=True))
    broken = raw_batch(b"no gzip", 2)[:-7]
    whole = bytearray(broken + b"no gzip")
    whole[22] = 1  # the codec
    found = list(Batches(bytes(whole)).next_batch() or ())
    assert [(record.offset, record.value) for record in found] == [(1, bytes(whole))]
    assert len(list(Batches(bytes(data)).next_batch() or ())) == 2


@pytest.mark.parametrize(
    ("bomb", "why"),
    [
        (Written(b"k", bytes(50_000_000)), "decompresses to more than"),
        (Written(b"k", b"{}", [(b"ce_x", bytes(50_000_000))]), "decompresses to more than"),
        (Written(b"k", b"{}", [(b"", None)] * 3_000_000), "decompresses to more than"),
    ],
    ids=["value", "header", "headers"],
)
def test_a_batch_that_unpacks_to_very_much_is_kept_packed(bomb: Written, why: str) -> None:
    data = read([PLAIN, bomb], zipped=True)
    found = fetched(data, read([PLAIN]).replace(bytes(8), (2).to_bytes(8), 1))
    assert [(raw.offset, bool(raw.unparsed)) for raw in found] == [(1, True), (2, False)]
    assert found[0].value == data and why in found[0].unparsed


def test_a_batch_of_very_many_records_is_kept_packed() -> None:
    data = batch([body(Written(None, None))] * 200_001, zipped=True)
    assert len(data) < 100_000
    (found,) = fetched(data)
    assert (found.offset, found.value) == (200_000, data) and "200001 records" in found.unparsed


def test_what_fills_the_bound_is_read() -> None:
    large = Written(b"k", bytes(UNPACKED_AT_MOST - 100), [(b"a", b"1")])
    found = fetched(read([PLAIN, large, BAD_NAME], zipped=True))
    assert [(raw.offset, raw.unparsed) for raw in found] == [(0, ""), (1, ""), (2, "")]
    assert found[1].value == large.value


@pytest.mark.parametrize(("number", "name"), [(2, "snappy"), (3, "lz4"), (4, "zstd"), (5, "5")])
def test_a_batch_of_another_packing_is_kept_as_it_is(number: int, name: str) -> None:
    data = bytearray(read([PLAIN, PLAIN]))
    data[22] = number
    (found,) = unchecked(bytes(data))
    assert (found.offset, found.value) == (1, bytes(data))
    assert f"compressed by {name};" in found.headers[0][1].decode()


def test_bytes_behind_a_gzip_are_not_passed_over() -> None:
    data = bytearray(raw_batch(gzip.compress(varint(len(body(PLAIN))) + body(PLAIN)) + b"more", 1))
    data[22] = 1
    (found,) = unchecked(bytes(data))
    assert found.value == bytes(data) and b"before or after" in found.headers[0][1]


def test_records_that_say_the_same_offset_are_all_given() -> None:
    """aiokafka passes over those whose offset is not above the one before."""
    same = [Written(b"%d" % n, b"v", delta=0) for n in range(3)]
    assert [(raw.offset, raw.key) for raw in fetched(read(same))] == [(0, b"0"), (1, b"1"), (2, b"2")]
    beyond = [Written(b"%d" % n, b"v", delta=9 * n) for n in range(3)]
    assert [(raw.offset, raw.key) for raw in fetched(read(beyond))] == [(0, b"0"), (1, b"1"), (2, b"2")]


def test_a_batch_that_is_read_from_its_middle_gives_the_rest_the_same() -> None:
    data = batch([body(PLAIN), body(BAD_NAME, 1), b"", body(PLAIN, 3)])
    assert fetched(data, at=2) == fetched(data)[2:]


def test_every_byte_changed_or_cut_loses_no_offset() -> None:
    """Whatever a record's bytes are: each offset of the batch is given once at most, the last one always, and whatever
    follows the batch is read."""
    bodies = [body(PLAIN), body(BAD_NAME, 1), body(PLAIN, 2)]
    records = b"".join(varint(len(each)) + each for each in bodies)
    for at in range(len(records)):
        for byte in (0, 1, 0x7F, 0x80, 0xFF, records[at] ^ 1):
            changed = records[:at] + bytes([byte]) + records[at + 1 :]
            offsets = [raw.offset for raw in fetched(raw_batch(changed, 3), batch([body(PLAIN)], offset=3))]
            assert offsets == sorted(set(offsets)) and offsets[-2:] == [2, 3], (at, byte)
        offsets = [raw.offset for raw in fetched(raw_batch(records[:at], 3), batch([body(PLAIN)], offset=3))]
        assert offsets == sorted(set(offsets)) and offsets[-2:] == [2, 3], at


# ── Real Kafka ─────────────────────────────────────────────────────────────────────────────────────────

SAID = CsnIssued(csn="5100000001", organisation_id="o", publisher="p").data()


def said(id_: str, name: bytes = b"x") -> Written:
    headers = [
        (b"ce_specversion", b"1.0"),
        (b"ce_id", id_.encode()),
        (b"ce_source", b"urn:publisher:p"),
        (b"ce_type", b"CsnIssued"),
        (b"ce_time", b"2026-11-21T04:03:00Z"),
        (name, b"y"),
    ]
    return Written(b"o", SAID, headers)


async def fresh(kafka: parts.Kafka) -> str:
    """An inbound topic of its own."""
    topic = f"{INBOUND}.p{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(**kafka.access.client())
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    return topic


@pytest.mark.system
async def test_what_the_broker_takes_is_read_by_everything_that_reads_topics(kafka: parts.Kafka) -> None:
    topic = await fresh(kafka)
    good = (read([PLAIN]), 1)
    same = read([Written(b"%d" % n, b"v", delta=0) for n in range(3)])
    await send(kafka.access, topic, 0, [good, (read([PLAIN, BAD_NAME]), 2), (read([BAD_NAME], zipped=True), 1), good])
    refused = 0
    for hostile, count in (
        (batch([body(Written(b"k", b"v", [(None, b"1")]))]), 1),
        (batch([body(PLAIN) + b"\0"]), 1),
        (raw_batch(varint(500) + b"abc", 1), 1),
        (same, 3),
    ):
        try:
            await send(kafka.access, topic, 0, [(hostile, count)])
        except KafkaError:
            refused += 1
    await send(kafka.access, topic, 0, [good])
    async with TopicReader(topic, kafka.access) as reader:
        at, found = dict(reader.starts), list[Raw]()
        while batches := await reader.read(at, at):
            found += [raw for some in batches.values() for raw in some]
    assert [raw.offset for raw in found] == list(range(reader.ends[0])), "each offset once"
    assert [names(raw) for raw in found[2:4]] == [[b"\xff\xfe", b"\0", b""]] * 2
    assert found[-1].key == b"k" and refused >= 2, "the broker itself refuses what no reader could cut"
    async with Topics(kafka.access, frozenset()) as topics:
        async with asyncio.timeout(20):
            reached = [done async for done, _ in topics.between({}, await topics.ends([(topic, 0)]))]
    assert reached[-1] == {(topic, 0): reader.ends[0] - 1}


@pytest.mark.system
async def test_a_partition_flows_past_header_names_that_are_no_text(database: str, kafka: parts.Kafka) -> None:
    topic = await fresh(kafka)
    publisher = topic.rsplit(".", 1)[1]
    store = await PostgresStore(database, "marketplace").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    await execute_as_operator(database, "create table applied (id text primary key)")
    table = Projection(database.rsplit("/", 1)[1], topics=(topic,))

    @table.on(CsnIssued)
    async def note(tx: Any, _event: CsnIssued, envelope: Envelope) -> None:
        await tx.execute("insert into applied values ($1)", envelope.id)

    def by(record: Written) -> Written:
        source = f"urn:publisher:{publisher}".encode()
        value = (record.value or b"").replace(b'"p"', b'"%s"' % publisher.encode())
        return record._replace(
            value=value, headers=[(n, source if n == b"ce_source" else v) for n, v in record.headers]
        )

    hostile = [said("nul", b"\0"), said("not text", b"\xff"), said("in ce", b"ce_\xff")]
    records = [by(each) for each in (said("one"), *hostile, said("two"))]
    sent: Sequence[tuple[bytes, int]] = [(read(records), len(records)), *((read([each]), 1) for each in records[1:4])]
    await send(kafka.access, topic, 0, [*sent, (read([by(said("three"))]), 1)])
    consumer = Consumer("test", table, pool, Log(store, "marketplace"), Clocks(utc_now))
    running = asyncio.create_task(ConsumerHost(consumer.name, [consumer], kafka.access).run())
    try:
        async with asyncio.timeout(30):
            while await pool.fetchval("select count(*) from applied") < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        parked = await list_parked(pool, consumer.name)
        assert [each.raw.offset for each in parked] == [1, 2, 3, 5, 6, 7]
        for each, record in zip(parked, records[1:4] * 2, strict=True):
            assert (each.raw.key, each.raw.value, names(each.raw)) == (
                record.key,
                record.value,
                [n for n, _ in record.headers],
            )
            assert (each.reason, each.holds_stream) == ("unreadable", False)
            json.dumps(each.detail)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()
        await pool.close()
