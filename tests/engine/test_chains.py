"""Forged, altered and repeated records: what isn't a stream's is set aside, and the stream's own events flow on."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.applying import Fault
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.plan import BatchPlan, ConsumerCheckpoint, Known, Seen, plan
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Raw, receive
from shared.eventlog.repair import parked
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.eventlog.write.store import Head
from shared.events import SeatUnassigned
from shared.events.envelope import GENESIS, Envelope, StoredEvent, chained, from_headers, to_headers
from shared.events.registry import ENTITLEMENTS
from tests.databases import execute_as_operator
from tests.examples.engine import COUNTER, Count, head_of, meta, next_events
from tests.examples.records import BODY, TYPES, at, received, topic

FORGED = BODY.replace(b'"a"', b'"mallory"')
INVENTED = bytes(range(32))
"""The hash of no event."""


def placed(raws: Sequence[Raw]) -> list[Raw]:
    """These records one after the other, as a topic has them."""
    return [raw._replace(offset=offset) for offset, raw in enumerate(raws)]


def forged(raw: Raw, **changed: Any) -> Raw:
    """The record with other fields, and the hash that fits them."""
    envelope = from_headers(raw.headers, raw.key)._replace(**changed)
    envelope = envelope._replace(hash=chained(envelope, FORGED))
    return raw._replace(key=envelope.stream.encode(), headers=[*to_headers(envelope)], value=FORGED)


def reasons(result: BatchPlan) -> list[tuple[int, str, bool]]:
    return [(left.record.raw.offset, left.reason, left.holds_stream) for left in result.parked]


def applied(result: BatchPlan) -> list[int]:
    return [record.raw.offset for record in result.apply]


def test_a_version_with_another_hash_is_a_conflict_and_the_next_goes_on() -> None:
    one, two, three = topic("a", "a", "a")
    for other in (forged(one), forged(two)):
        result = plan(received(placed([one, two, other, three])), at())
        assert (applied(result), reasons(result)) == ([0, 1, 3], [(2, "conflict", False)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_position", b"900"),
        ("ce_commandid", b"another"),
        ("ce_partitionkey", b"b"),
        ("content-type", b"text/plain"),
        ("traceparent", b"00"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_only_the_same_bytes_are_a_repeat_also_where_no_hash_covers_them(name: str, value: bytes, later: bool) -> None:
    """An altered copy beside the record in one batch, or after the batch whose marks were kept."""
    one, two, three = topic("a", "a", "a")
    altered = one._replace(headers=[*((n, v) for n, v in one.headers if n != name), (name, value)])
    if later:
        before = plan(received(placed([one, two])), at())
        standing = at(-1, **before.seen)
        standing.known |= before.known
        result = plan(received(placed([one, altered, three])), standing)
        assert (applied(result), reasons(result), result.repeats) == ([2], [(1, "conflict", False)], 1)
    else:
        result = plan(received(placed([one, one, altered, two])), at())
        assert (applied(result), reasons(result), result.repeats) == ([0, 3], [(2, "conflict", False)], 1)


def test_of_a_record_that_was_dealt_with_before_digests_were_kept_the_hash_counts() -> None:
    one, two = topic("a", "a")
    standing = at(-1, a=Seen(1, from_headers(one.headers, one.key).hash))
    standing.known["a", 1] = Known(from_headers(one.headers, one.key).hash)
    altered = one._replace(headers=[*one.headers, ("traceparent", b"00")])
    result = plan(received(placed([altered, two])), standing)
    assert (applied(result), reasons(result), result.repeats) == ([1], [], 1)


def test_what_does_not_continue_the_chain_is_parked_and_the_next_goes_on() -> None:
    one, two, three = topic("a", "a", "a")
    other = forged(two, prevhash=INVENTED)
    result = plan(received(placed([one, other, two, three])), at())
    assert (applied(result), reasons(result)) == ([0, 2, 3], [(1, "broken-chain", False)])


def test_what_can_continue_no_stream_is_forged_and_nothing_is_waited_for() -> None:
    """A first version after another one, and a later version after none."""
    one, two, three = topic("a", "a", "a")
    first = forged(one, stream="b", prevhash=INVENTED)
    later = forged(three, stream="c", prevhash=GENESIS)
    result = plan(received(placed([one, first, later, two])), at())
    assert (applied(result), reasons(result), result.gaps) == ([0, 3], [(1, "forged", False), (2, "forged", False)], [])


@pytest.mark.parametrize("what", ["value", "key", "ce_actor", "ce_hash", "ce_prevhash", "ce_tenant", "ce_time"])
def test_an_altered_record_is_forged_whatever_was_altered(what: str) -> None:
    one, two = topic("a", "a")
    if what in ("value", "key"):
        altered = one._replace(value=FORGED) if what == "value" else one._replace(key=FORGED)
    else:
        other = {"ce_time": b"2026-11-21T12:00:00.000001Z"}.get(what, b"11" * 32)
        altered = one._replace(headers=[(n, other if n == what else v) for n, v in one.headers])
    result = plan(received(placed([altered, one, two])), at())
    assert (applied(result), reasons(result)) == ([1, 2], [(0, "forged", False)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_sequence", b"3000000000"),
        ("ce_sequence", b"0"),
        ("ce_position", b"9223372036854775808"),
        ("ce_position", b"0"),
    ],
)
def test_a_count_that_no_store_holds_is_unreadable(name: str, value: bytes) -> None:
    (raw,) = topic("a")
    wrong = raw._replace(headers=[(n, value if n == name else v) for n, v in raw.headers])
    assert reasons(plan(received([wrong]), at())) == [(0, "unreadable", False)]


def test_no_subject_and_a_key_with_nul_is_unreadable() -> None:
    (raw,) = topic("a")
    wrong = raw._replace(key=b"a\0b", headers=[(n, v) for n, v in raw.headers if n != "ce_subject"])
    assert reasons(plan(received([wrong]), at())) == [(0, "unreadable", False)]


def test_a_stream_of_before_hashes_were_kept_is_believed_once() -> None:
    _, two, three, four = topic("a", "a", "a", "a")
    result = plan(
        received(placed([two, three, forged(two), forged(four, prevhash=INVENTED), four])), at(a=Seen(2, None))
    )
    assert (applied(result), reasons(result)) == ([1, 4], [(2, "conflict", False), (3, "broken-chain", False)])
    assert result.known.keys() == {("a", 2), ("a", 3), ("a", 4)}


def test_a_gap_that_stays_parks_what_lies_behind_it_until_the_missing_version_comes() -> None:
    one, two, three, other = topic("a", "a", "a", "b")
    standing = at()
    standing.not_awaited = {(ENTITLEMENTS, 0)}  # it was waited for, in vain
    result = plan(received(placed([one, three, other])), standing)
    assert (applied(result), reasons(result)) == ([0, 2], [(1, "gap", True)])
    late = at(2, **result.seen)
    late.waiting = {"a"}
    again = plan(received([two._replace(offset=3), three._replace(offset=4)]), late)
    assert (applied(again), reasons(again)) == ([3, 4], [])


def test_a_forged_later_version_does_not_keep_the_genuine_ones_from_coming() -> None:
    raws = topic(*"aaaaa")
    standing = at()
    standing.not_awaited = {(ENTITLEMENTS, 0)}
    far = [forged(raws[3]), forged(raws[4])]
    result = plan(received(placed([raws[0], *far, *raws[1:]])), standing)
    assert (applied(result), reasons(result)) == ([0, 3, 4, 5, 6], [(1, "gap", True), (2, "gap", True)])


def own(*raws: Raw, head: int = 100) -> ConsumerCheckpoint:
    """A consumer of its own service's topic, whose store has these."""
    standing = at()
    standing.own, standing.head = ENTITLEMENTS, head
    for raw in raws:
        envelope = from_headers(raw.headers, raw.key)
        standing.known[envelope.stream, envelope.version or 0] = Known(
            envelope.hash, envelope.position, envelope.command_id
        )
    return standing


def test_what_the_own_store_does_not_have_is_forged() -> None:
    one, two, three = topic("a", "a", "a")
    invented = forged(one, stream="account-victim", position=7)
    elsewhere = forged(two, position=50)._replace(value=two.value)
    result = plan(received(placed([one, invented, forged(two), elsewhere, two, two, three])), own(one, two, three))
    assert applied(result) == [0, 4, 6] and result.repeats == 1
    assert reasons(result) == [(1, "forged", False), (2, "forged", False), (3, "forged", False)]
    assert result.known == {}, "the store itself knows them"


def test_a_position_that_the_store_does_not_have_yet_is_waited_for_then_forged() -> None:
    one, two = topic("a", "a")
    standing = own(one, head=1)
    result = plan(received([one, two]), standing)
    assert (applied(result), result.refetch) == ([0], {(ENTITLEMENTS, 0): 1}) and not result.parked
    standing.not_awaited = {(ENTITLEMENTS, 0)}
    assert reasons(plan(received([one, two]), standing)) == [(1, "forged", False)]


def test_a_record_that_was_not_parsed_is_unparsable_and_makes_its_partition_doubtful() -> None:
    one, _, three = topic("a", "a", "a")
    lost = Raw(ENTITLEMENTS, 0, 1, None, (), b"\xff", "a header without a name")
    result = plan(received([one, lost, three]), at())
    assert (applied(result), reasons(result)) == ([0], [(1, "unparsable", False), (2, "gap", True)])


# ── Over a real database ───────────────────────────────────────────────────────────────────────────────


class Bench:
    """Another service's topic in two consumers of a service, and that service's own."""

    def __init__(self, dsn: str, pool: Any, log: Log) -> None:
        self.dsn, self.pool, self.log = dsn, pool, log

    def consumer(self, name: str, service: str = "test") -> Consumer:
        table = Projection(name, topics=(ENTITLEMENTS,))

        @table.on(SeatUnassigned)
        async def note(tx: Any, event: SeatUnassigned, envelope: Envelope) -> None:
            await tx.execute("insert into applied values ($1, $2, $3)", name, envelope.version, event.account_id)

        return Consumer(service, table, self.pool, self.log, Clocks(utc_now))

    async def applied(self, name: str) -> list[tuple[int, str]]:
        rows = await self.pool.fetch("select version, who from applied where name = $1 order by version", name)
        return [(row["version"], row["who"]) for row in rows]

    async def parked(self, consumer: Consumer) -> list[tuple[int, str]]:
        rows = await parked.list_parked(self.pool, consumer.name, behind=True)
        return [(each.raw.offset, each.reason) for each in rows]


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    await execute_as_operator(
        database, "create table applied (name text, version int, who text, primary key (name, version))"
    )
    yield Bench(database, pool, Log(store, "entitlements"))
    await store.close()
    await pool.close()


async def consume(consumer: Consumer, raws: Sequence[Raw], impatient: bool = False) -> BatchPlan:
    await consumer.assigned([(ENTITLEMENTS, 0)])
    given = {(ENTITLEMENTS, 0)} if impatient else set[tuple[str, int]]()
    return await consumer.consume([receive(raw, TYPES) for raw in raws], given)


@pytest.mark.system
async def test_what_one_consumer_has_dealt_with_all_of_its_service_know_again(bench: Bench) -> None:
    """However long ago: the first of three versions, by a consumer that has not seen it itself."""
    one, two, three = topic("a", "a", "a")
    first, second = bench.consumer("first"), bench.consumer("second")
    await consume(first, [one, two, three])
    await consume(first, [forged(one, actor="x")._replace(offset=3), one._replace(offset=4)])
    assert await bench.parked(first) == [(3, "conflict")]
    await consume(second, placed([forged(one, actor="y"), one, two, three]))
    assert await bench.parked(second) == [(0, "conflict")]
    assert await bench.applied("first") == await bench.applied("second") == [(1, "a"), (2, "a"), (3, "a")]


@pytest.mark.system
async def test_an_invented_event_on_the_own_topic_has_no_effect_and_the_genuine_next_has(bench: Bench) -> None:
    for _ in range(2):
        await bench.log.execute(COUNTER, "n", Count("ana"), meta())
    stored = await bench.log.store.read(0, 10)
    raws = [Raw(ENTITLEMENTS, 0, n, e.envelope.stream.encode(), e.headers(), e.data) for n, e in enumerate(stored)]
    (last,) = next_events("counter-n", head_of(stored), 1, FORGED)
    invented = StoredEvent(last.envelope._replace(position=3), last.data)
    (new,) = next_events("counter-victim", Head(), 1, FORGED)
    stranger = StoredEvent(new.envelope._replace(position=1), new.data)
    records = [Raw(ENTITLEMENTS, 0, 0, e.envelope.stream.encode(), e.headers(), e.data) for e in (stranger, invented)]
    consumer = bench.consumer("own", "entitlements")
    await consume(consumer, placed([*raws, *records]))
    done = await consume(consumer, placed([*raws, *records]), impatient=True)
    assert await bench.parked(consumer) == [(2, "forged"), (3, "forged")] and not done.refetch
    await bench.log.execute(COUNTER, "n", Count("ana"), meta())
    (third,) = await bench.log.store.read(2, 10)
    await consume(consumer, [Raw(ENTITLEMENTS, 0, 4, b"counter-n", third.headers(), third.data)])
    assert await bench.applied("own") == [(1, "ana"), (2, "ana"), (3, "ana")]


@pytest.mark.system
async def test_a_fenced_store_waits_for_what_its_topic_has(bench: Bench) -> None:
    await bench.log.execute(COUNTER, "n", Count("ana"), meta())
    stored = await bench.log.store.read(0, 10)
    ahead = [
        StoredEvent(e.envelope._replace(position=2), e.data) for e in next_events("counter-n", head_of(stored), 1, BODY)
    ]
    raws = [Raw(ENTITLEMENTS, 0, n, b"counter-n", e.headers(), e.data) for n, e in enumerate([*stored, *ahead])]
    await execute_as_operator(bench.dsn, "update log.head set fenced = 'restore it'")
    with pytest.raises(Fault, match="fenced: restore it"):
        await consume(bench.consumer("own", "entitlements"), raws, impatient=True)
    assert await bench.pool.fetchval("select count(*) from engine.parked") == 0


@pytest.mark.system
async def test_a_gap_that_has_closed_is_resumed_in_order_and_a_forged_version_in_it_is_not(bench: Bench) -> None:
    raws = topic(*"aaaa")
    wrong = forged(raws[3], prevhash=INVENTED)._replace(offset=2)
    consumer = bench.consumer("table")
    await consume(consumer, [raws[0], raws[2]._replace(offset=1), wrong], impatient=True)
    assert await bench.parked(consumer) == [(1, "gap"), (2, "gap")]
    (line,) = parked.lines(await parked.list_parked(bench.pool, consumer.name))
    assert "version 2 is missing after 1" in str((await parked.retry(bench.pool, consumer, line, "op")).stopped)
    await consume(consumer, [raws[1]._replace(offset=3), raws[3]._replace(offset=4)])
    assert await bench.applied("table") == [(1, "a"), (2, "a")]
    tried = await parked.attempt(bench.pool, consumer, line)
    assert (tried.would_apply, tried.stopped) == (2, None)
    done = await parked.retry(bench.pool, consumer, line, "op")
    assert (done.applied, done.refused, done.waiting, done.stopped) == (2, 1, 0, None)
    assert await bench.applied("table") == [(1, "a"), (2, "a"), (3, "a"), (4, "a")]
    (left,) = await parked.list_parked(bench.pool, consumer.name)
    assert (left.raw.offset, left.reason, left.holds_stream) == (2, "broken-chain", False)


@pytest.mark.system
async def test_any_bytes_can_be_parked_and_come_back_as_they_were(bench: Bench) -> None:
    consumer = bench.consumer("table")
    headers = [
        ("\0", b"\xff"),
        (b"\xff\xfe".decode(errors="surrogateescape"), None),
        ("", b""),
        ("ce_id", b"\0"),
        ("é", b"x"),
    ]
    raws = [
        Raw(ENTITLEMENTS, 0, 0, b"a\0b\xff", headers, b"\0\xff"),
        Raw(ENTITLEMENTS, 0, 1, None, (), None),
        Raw(ENTITLEMENTS, 0, 2, None, (), b"\xff\0", "a header's name is \0 \udc80"),
    ]
    await consume(consumer, raws)
    found = await parked.list_parked(bench.pool, consumer.name)
    assert [(each.raw.key, each.raw.headers, each.raw.value) for each in found] == [
        (raw.key, [*raw.headers], raw.value) for raw in raws
    ]
    assert [each.reason for each in found] == ["unreadable", "unreadable", "unparsable"]
    for each in found:
        done = await parked.retry(bench.pool, consumer, each.line, "op")
        assert done.stopped and not done.settled
        await parked.drop(bench.pool, consumer, each, "op")
    assert await bench.pool.fetchval("select count(*) from engine.settled where outcome = 'dropped'") == 3
