"""What a batch leaves is parked with every byte, in few statements, and told of in few lines."""

import json
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from shared.eventlog.deliver import leaving
from shared.eventlog.deliver.leaving import LOGGED_PER_REASON, STATEMENT_BYTES
from shared.eventlog.deliver.plan import ParkedRecord
from shared.eventlog.deliver.received import Raw, headers_of, receive
from shared.eventlog.deliver.tables import SQL, PostgresTables
from shared.events.registry import ENTITLEMENTS
from tests.databases import execute_as_operator

LARGE = [(f"x{number}", b"y") for number in range(3_000)]


def left(number: int, headers: list[tuple[str, bytes | None]] | None = None) -> list[ParkedRecord]:
    """So many records that nobody can read, each with other bytes."""
    found = []
    for offset in range(number):
        plain: list[tuple[str, bytes | None]] = [("\udcff\0", None), ("ce_id", b"%d\xff" % offset)]
        key, value = (None, b"\0%d" % offset) if offset % 2 else (b"k%d" % offset, None)
        record = receive(Raw(ENTITLEMENTS, 0, offset, key, headers or plain, value), frozenset())
        found.append(ParkedRecord(record, record.reason, record.problem or "", holds_stream=False))
    return found


class Counting:
    """A connection that counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    async def execute(self, _query: str, *arguments: Any) -> None:
        self.asked.append(arguments[3])


async def test_a_batch_of_small_records_is_parked_by_one_statement() -> None:
    tx: Any = Counting()
    await leaving.park(PostgresTables(tx), "test.one", left(500))
    assert tx.asked == [list(range(500))]


async def test_large_records_are_parked_by_several_statements_each_of_a_bounded_size() -> None:
    tx: Any = Counting()
    await leaving.park(PostgresTables(tx), "test.one", left(20, [*LARGE]))
    assert [offset for some in tx.asked for offset in some] == list(range(20))
    assert {len(some) for some in tx.asked} == {STATEMENT_BYTES // (40 * len(LARGE) + 100)}


async def test_nothing_that_is_left_is_no_statement() -> None:
    tx: Any = Counting()
    await leaving.park(PostgresTables(tx), "test.one", [])
    assert tx.asked == []


@pytest.mark.system
async def test_many_are_parked_with_identical_bytes_and_again_without_a_change(database: str) -> None:
    db = await asyncpg.connect(database)
    many = left(300)
    for _ in range(2):
        await leaving.park(PostgresTables(db), "test.one", many)
    rows = await db.fetch('select * from engine.parked order by "offset"')
    found = [(r["offset"], r["key"], headers_of(json.loads(r["headers"])), r["value"]) for r in rows]
    raws = [each.record.raw for each in many]
    assert found == [(raw.offset, raw.key, raw.headers, raw.value) for raw in raws]
    again = [many[1], ParkedRecord(many[0].record, "gap", "", False), *_other(many[2])]
    with pytest.raises(asyncpg.RaiseError, match="has parked another record"):
        await leaving.park(PostgresTables(db), "test.one", again)
    await db.close()


def _other(kept: ParkedRecord) -> list[ParkedRecord]:
    raw = kept.record.raw._replace(value=b"another")
    return [ParkedRecord(kept.record._replace(raw=raw), kept.reason, kept.detail, holds_stream=False)]


def test_a_batch_is_told_of_in_few_lines() -> None:
    with capture_logs() as lines:
        leaving.log_parked("test.one", left(500))
    assert [line["event"] for line in lines] == ["event parked"] * LOGGED_PER_REASON + ["more events parked"]
    assert lines[-1]["more"] == 500 - LOGGED_PER_REASON


@pytest.mark.system
@pytest.mark.parametrize("lock", ["none", "wait", "skip"])
async def test_a_batch_is_judged_as_quickly_when_very_much_is_stored(database: str, lock: str) -> None:
    """By what the server reads for the questions that each batch asks, not by a clock.

    The connection has judged a batch before, when nothing was stored: plans of then stay. Rows that other tests have
    deleted would be read, too.
    """
    await execute_as_operator(
        database, "truncate engine.checkpoints, engine.parked, engine.settled, engine.seen, engine.hashes, log.events"
    )
    db = await asyncpg.connect(database)
    asked = [*(["c"], ["t"], [0]), *(["c"], ["s"]), *(["s"], [1]), *(["r"], [1])]
    await db.fetch(SQL["facts"], lock, *asked)
    await execute_as_operator(
        database,
        """insert into engine.checkpoints (consumer, topic, partition, "offset")
        select 'c', 't', n, 1 from generate_series(0, 20000) n;
        insert into engine.parked (consumer, topic, partition, "offset", stream, version, reason, detail, holds_stream,
            headers)
        select 'c', 't', 0, n, 's', n + 1, 'gap', '', true, '[]' from generate_series(1, 20000) n;
        insert into engine.seen (consumer, stream, version) select 'c', n, 1 from generate_series(1, 20000) n;
        insert into engine.hashes (stream, version, hash) select 'r', n, '' from generate_series(1, 20000) n;
        insert into log.events (position, stream, version, id, type, schema, time, correlation_id, causation_id, actor,
            tenant, traceparent, prevhash, hash, command_id, data)
        select n, 's', n, gen_random_uuid(), '', 1, now(), '', '', '', '', '', '', '', '', '{}'
        from generate_series(1, 20000) n""",
    )
    plan = json.loads(
        await db.fetchval(f"explain (analyze, buffers, timing off, format json) {SQL['facts']}", lock, *asked)
    )
    top = plan[0]["Plan"]
    await db.close()
    assert top["Actual Rows"] == 5
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 60, json.dumps(plan, indent=1)
