"""What was parked is resumed in order, once, while its consumer runs; nothing of it is ever thrown away."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.applying import Fault, Overtaken
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.projection import Dispatch, Projection, ReactionContext, Reactions
from shared.eventlog.deliver.received import Raw, Received, receive
from shared.eventlog.repair import checkpoints, parked
from shared.eventlog.repair.parked_record import Line, fingerprint, shape
from shared.eventlog.write.log import Log, Refused, utc_now
from shared.eventlog.write.postgres import PostgresStore
from shared.events import SeatUnassigned
from shared.events.envelope import Envelope
from shared.events.registry import ENTITLEMENTS
from tests.databases import execute_as_operator
from tests.examples.engine import COUNTER, Count
from tests.examples.records import TYPES, topic, without

pytestmark = pytest.mark.system


class Bench:
    """A projection that fails for the events it is told to, and what an operator does about it."""

    def __init__(self, pool: Any, log: Log) -> None:
        self.pool, self.log = pool, log
        self.fails: dict[tuple[str, int], Exception] = {}
        self.slow: asyncio.Event | None = None
        table = Projection("table", topics=(ENTITLEMENTS,))

        @table.on(SeatUnassigned)
        async def seat_unassigned(tx: Any, _event: SeatUnassigned, envelope: Envelope) -> None:
            if failure := self.fails.get((envelope.stream, envelope.version or 0)):
                raise failure
            await tx.execute("insert into applied (stream, version) values ($1, $2)", envelope.stream, envelope.version)
            if self.slow is not None:
                await self.slow.wait()

        self.consumer = Consumer("test", table, pool, log, Clocks(utc_now))

    async def consume(self, raws: list[Raw], consumer: Consumer | None = None) -> None:
        await (consumer or self.consumer).consume([receive(raw, TYPES) for raw in raws])

    async def applied(self) -> list[tuple[str, int]]:
        """In the order in which they were."""
        return [(r["stream"], r["version"]) for r in await self.pool.fetch("select * from applied order by number")]

    async def line(self, consumer: Consumer | None = None) -> Line:
        (line,) = parked.lines(await parked.list_parked(self.pool, (consumer or self.consumer).name))
        return line

    async def retry(self, line: Line | None = None, **how: Any) -> parked.Retried:
        return await parked.retry(self.pool, self.consumer, line or await self.line(), "operation-1", **how)

    async def settled(self) -> list[tuple[str, int]]:
        rows = await self.pool.fetch("select outcome, version from engine.settled order by settled")
        return [(row["outcome"], row["version"]) for row in rows]


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    store = await PostgresStore(database, "entitlements").open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=6)
    await execute_as_operator(
        database, "create table applied (number bigint generated always as identity, stream text, version int)"
    )
    made = Bench(pool, Log(store, "entitlements"))
    await made.consumer.assigned([(ENTITLEMENTS, 0)])
    yield made
    await store.close()
    await pool.close()


async def test_a_stream_resumes_in_order_and_its_consumer_goes_on_after_it(bench: Bench) -> None:
    raws = topic("a", "a", "b", "a", "b", "a")
    bench.fails = {("a", 2): ZeroDivisionError("a bug")}
    await bench.consume(raws[:5])
    (first,) = await parked.list_parked(bench.pool)
    assert (first.version, first.reason, first.behind, first.type) == (2, "failed", 1, "SeatUnassigned")
    stopped = await bench.retry()
    assert (stopped.settled, stopped.waiting, stopped.stopped) == (0, 2, "failed: ZeroDivisionError: a bug")
    bench.fails = {}
    counted: list[int] = []
    done = await bench.retry(progress=counted.append)
    assert (done.applied, done.waiting, done.stopped, sum(counted)) == (2, 0, None, 2)
    await bench.consume(raws[5:])
    assert await bench.applied() == [("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("a", 4)]
    assert await parked.list_parked(bench.pool) == []
    assert await bench.settled() == [("applied", 2), ("applied", 3)]


async def test_a_line_that_fails_in_its_middle_keeps_what_went_well(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x"), ("a", 3): KeyError("y")}
    await bench.consume(topic("a", "a", "a", "a"))
    del bench.fails["a", 1]
    done = await bench.retry()
    assert (done.applied, done.waiting, done.stopped) == (2, 2, "failed: KeyError: 'y'")
    (first,) = await parked.list_parked(bench.pool)
    assert (first.version, first.reason, first.behind) == (3, "failed", 1)
    assert await bench.applied() == [("a", 1), ("a", 2)]


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x"), ("a", 3): KeyError("y")}
    await bench.consume(topic("a", "a", "a"))
    tried = await parked.attempt(bench.pool, bench.consumer, await bench.line())
    assert (tried.would_apply, tried.waiting, tried.stopped) == (0, 3, "KeyError: 'x'")
    bench.fails.pop(("a", 1))
    tried = await parked.attempt(bench.pool, bench.consumer, await bench.line())
    assert (tried.would_apply, tried.waiting, tried.stopped) == (2, 3, "KeyError: 'y'")
    assert (await bench.applied(), await bench.settled()) == ([], [])


async def test_a_passing_fault_leaves_the_line_as_it_was(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x")}
    await bench.consume(topic("a", "a"))
    bench.fails = {("a", 2): ConnectionResetError()}
    with pytest.raises(Fault):
        await bench.retry()
    assert await bench.applied() == []
    bench.fails = {}
    assert (await bench.retry()).applied == 2


async def test_the_running_consumer_waits_and_neither_doubles_nor_skips(bench: Bench) -> None:
    """A retry in the middle of its transaction, while the consumer gets the next event of the stream."""
    raws = topic("a", "a", "a", "b")
    bench.fails = {("a", 1): KeyError("x")}
    await bench.consume(raws[:2])
    bench.fails, bench.slow = {}, asyncio.Event()
    retrying = asyncio.create_task(bench.retry())
    await asyncio.sleep(0.3)
    consuming = asyncio.create_task(bench.consume(raws[2:]))
    await asyncio.sleep(0.3)
    assert not retrying.done() and not consuming.done()
    bench.slow.set()
    done, _ = await asyncio.gather(retrying, consuming)
    assert (done.applied, done.waiting) == (2, 0)
    assert await bench.applied() == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert await parked.list_parked(bench.pool) == []


async def test_two_operators_at_once_apply_once(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x")}
    await bench.consume(topic(*"a" * 120))
    bench.fails, line = {}, await bench.line()
    both = await asyncio.gather(bench.retry(line), bench.retry(line))
    assert sum(each.applied for each in both) == 120
    assert await bench.applied() == [("a", version) for version in range(1, 121)]


async def test_a_gap_stops_a_line_until_the_missing_record_is_put_right(bench: Bench) -> None:
    raws = topic("a", "a", "a")
    broken = [raws[0], without(raws[1], "ce_id"), raws[2]]
    await bench.consume(broken)
    unreadable, waiting = await parked.list_parked(bench.pool)
    assert (unreadable.reason, unreadable.stream, waiting.version) == ("unreadable", None, 3)
    stopped = await bench.retry(waiting.line)
    assert (
        stopped.stopped is not None
        and "version 3 can't be applied, because version 2 is missing after 1" in stopped.stopped
    )
    with pytest.raises(parked.CannotApply, match="can't be read"):
        parked.edited(unreadable, TYPES, None, {"ce_time": "noon"})
    _, record = parked.edited(unreadable, TYPES, None, {"ce_id": "found"})
    await parked.edit(bench.pool, unreadable, record, "operation-2")
    with pytest.raises(parked.CannotApply, match="list the parked records again"):
        await parked.edit(bench.pool, unreadable, record, "operation-2")
    (line,) = parked.lines(await parked.list_parked(bench.pool))
    assert (await bench.retry(line)).applied == 2
    assert await bench.applied() == [("a", 1), ("a", 2), ("a", 3)]
    assert await bench.settled() == [("edited", None), ("applied", 2), ("applied", 3)]


async def test_a_gap_may_be_accepted(bench: Bench) -> None:
    raws = topic("a", "a", "a", "a")
    await bench.consume([raws[0], without(raws[1], "ce_id"), raws[2], raws[3]])
    unreadable, waiting = await parked.list_parked(bench.pool)
    await parked.drop(bench.pool, bench.consumer, unreadable, "operation-3")
    assert (await bench.retry(waiting.line)).applied == 0
    assert (await bench.retry(waiting.line, over_gap=True)).applied == 2
    assert await bench.applied() == [("a", 1), ("a", 3), ("a", 4)]


async def test_a_partition_goes_on_once_its_unreadable_record_was_given_up(bench: Bench) -> None:
    """The version that it hid never comes: its stream is parked and shown, and all the others flow on."""
    raws = topic("a", "a", "b", "a", "b")
    await bench.consume([raws[0], without(raws[1], "ce_id")])
    (unreadable,) = await parked.list_parked(bench.pool)
    await parked.drop(bench.pool, bench.consumer, unreadable, "operation-3")
    await bench.consume(raws[2:])
    assert await bench.applied() == [("a", 1), ("b", 1), ("b", 2)]
    assert (await bench.retry(over_gap=True)).applied == 1
    assert (await bench.applied())[-1] == ("a", 3)


async def test_what_was_parked_of_a_topic_that_was_made_anew_hides_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new topic has other records at the places of those that are parked."""
    bench.fails = {("a", 1): KeyError("x")}
    b, one, two, three = topic("b", "a", "a", "a")
    await bench.consume([b, one, two])
    edited = (await parked.list_parked(bench.pool))[0]
    raw, record = parked.edited(edited, TYPES, None, {"ce_actor": "mended"})
    await parked.edit(bench.pool, edited, record, "operation-8")
    for again in ([one, two, three, b], [one, b, two, three]):  # lost twice
        async with bench.pool.acquire() as tx, tx.transaction():
            await checkpoints.read_again(tx, [("test.table", ENTITLEMENTS, 0)])
        await bench.consumer.assigned([(ENTITLEMENTS, 0)])
        await bench.consume([raw._replace(offset=offset) for offset, raw in enumerate(again)])
    places = {(each.raw.partition, each.raw.offset) for each in await parked.list_parked(bench.pool, behind=True)}
    assert places == {(-2, 1), (-2, 2), (-3, 0), (-3, 1), (-3, 2), (0, 0), (0, 2), (0, 3)}
    seen: list[str] = []
    apply = bench.consumer.apply

    async def noted(tx: Any, record: Received) -> None:
        seen.append(record.envelope.actor if record.envelope else "")
        await apply(tx, record)

    bench.fails = {}
    monkeypatch.setattr(bench.consumer, "apply", noted)
    done = await bench.retry()
    assert (done.applied, done.repeats, done.waiting) == (3, 5, 0)
    assert await bench.applied() == [("b", 1), ("a", 1), ("a", 2), ("a", 3)]
    assert [seen[0], raw.topic] == ["mended", ENTITLEMENTS], "what was edited comes before what it replaced"


async def test_the_original_of_an_edited_record_is_a_repeat(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x")}
    raws = topic("a", "a")
    await bench.consume(raws[:1])
    await bench.consume(raws[1:])
    (second,) = [each for each in await parked.list_parked(bench.pool, behind=True) if each.version == 2]
    _, record = parked.edited(second, TYPES, None, {"ce_actor": "mended"})
    await parked.edit(bench.pool, second, record, "operation-6")
    bench.fails = {}
    assert (await bench.retry()).applied == 2
    await bench.pool.execute("""update engine.checkpoints set "offset" = -1""")
    await bench.consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(raws)
    assert await parked.list_parked(bench.pool) == []
    assert await bench.applied() == [("a", 1), ("a", 2)]


async def test_a_record_is_not_parked_in_the_place_of_another(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x"), ("b", 1): KeyError("y")}
    raws = topic("a")
    await bench.consume(raws)

    async def back() -> None:
        await bench.pool.execute("""update engine.checkpoints set "offset" = -1""")
        await bench.consumer.assigned([(ENTITLEMENTS, 0)])

    await back()
    await bench.consume(raws)  # the same one may come again,
    (first,) = await parked.list_parked(bench.pool)
    _, record = parked.edited(first, TYPES, None, {"ce_actor": "mended"})
    await parked.edit(bench.pool, first, record, "operation-9")
    await back()
    await bench.consume(raws)  # and does not undo what was edited.
    assert dict((await parked.list_parked(bench.pool))[0].raw.headers)["ce_actor"] == b"mended"
    await back()
    with pytest.raises(asyncpg.RaiseError, match=r"parked another record of entitlements\.events\.v1 at partition 0"):
        await bench.consume(topic("b"))
    assert await bench.pool.fetchval("""select "offset" from engine.checkpoints""") == -1


async def test_only_the_first_of_a_stream_can_be_dropped_and_its_bytes_are_kept(bench: Bench) -> None:
    raws = topic("a", "a", "a")
    bench.fails = {("a", 1): KeyError("x")}
    await bench.consume(raws)
    first, second, _ = await parked.list_parked(bench.pool, behind=True)
    with pytest.raises(parked.CannotApply, match="drop the one before it first"):
        await parked.drop(bench.pool, bench.consumer, second, "operation-4")
    await parked.drop(bench.pool, bench.consumer, first, "operation-4")
    assert (await bench.retry()).applied == 2
    assert await bench.applied() == [("a", 2), ("a", 3)]
    row = await bench.pool.fetchrow("select * from engine.settled where outcome = 'dropped'")
    assert (row["value"], row["operation"], row["detail"]) == (raws[0].value, "operation-4", "KeyError: 'x'")


async def test_an_edit_changes_neither_stream_nor_version(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x")}
    await bench.consume(topic("a"))
    (first,) = await parked.list_parked(bench.pool)
    with pytest.raises(parked.CannotApply, match="version 1 of a, which can't be changed"):
        parked.edited(first, TYPES, None, {"ce_sequence": "2"})


async def test_copies_of_events_are_applied_once_more_to_one_consumer(bench: Bench) -> None:
    raws = topic("a", "a")
    await bench.consume(raws)
    copies = [raw._replace(partition=parked.FROM_STORE, offset=n) for n, raw in enumerate(raws, start=1)]
    assert await parked.copy_in(bench.pool, "test.table", copies, "operation-5") == 2
    assert await parked.copy_in(bench.pool, "test.table", copies, "operation-5") == 0
    for line in parked.lines(await parked.list_parked(bench.pool)):
        assert (await bench.retry(line)).applied == 1
    assert await bench.applied() == [("a", 1), ("a", 2)] * 2
    assert await bench.pool.fetchval("select version from engine.seen where stream = 'a'") == 2


def reactions(fails: set[str]) -> Reactions:
    made = Reactions("reactions", topics=(ENTITLEMENTS,))

    @made.on(SeatUnassigned)
    async def seat_unassigned(_event: SeatUnassigned, envelope: Envelope, _reach: ReactionContext) -> list[Dispatch]:
        if envelope.stream in fails:
            raise KeyError("a bug")
        return [Dispatch(COUNTER, "all", Count(limit=2))]

    return made


async def test_a_reaction_is_considered_first_and_then_done_once(bench: Bench) -> None:
    fails = {"a"}
    consumer = Consumer("test", reactions(fails), bench.pool, bench.log, Clocks(utc_now))
    await consumer.assigned([(ENTITLEMENTS, 0)])
    await bench.consume(topic("a", "a", "a"), consumer)
    fails.clear()
    line = await bench.line(consumer)
    tried = await parked.attempt(bench.pool, consumer, line)
    assert (tried.would_apply, len(tried.answers or ())) == (3, 3)
    assert (await bench.log.state(COUNTER, "all")).number == 0
    done = await parked.retry(bench.pool, consumer, line, "operation-6")
    assert done.applied == 3, "a refusal is an answer, too"
    assert (await bench.log.state(COUNTER, "all")).number == 2
    assert isinstance((await parked.attempt(bench.pool, consumer, line)).answers, list)
    assert isinstance(await bench.log.dry_run(COUNTER, "all", Count(limit=2)), Refused)


async def test_a_reaction_judged_before_a_retry_is_judged_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer saw the stream held, then an operator freed it: the next event must not be parked behind nothing."""
    fails = {"a"}
    consumer = Consumer("test", reactions(fails), bench.pool, bench.log, Clocks(utc_now))
    await consumer.assigned([(ENTITLEMENTS, 0)])
    raws = topic("a", "b", "a")
    await bench.consume(raws[:1], consumer)
    line = await bench.line(consumer)

    original = bench.log.execute

    async def meanwhile(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        fails.clear()
        await parked.retry(bench.pool, consumer, line, "operation-7")
        return await original(*arguments, **named)

    monkeypatch.setattr(bench.log, "execute", meanwhile)
    with pytest.raises(Overtaken, match="an operator"):
        await bench.consume(raws[1:], consumer)
    await bench.consume(raws[1:], consumer)
    assert await parked.list_parked(bench.pool) == []


def test_faults_that_differ_only_in_their_values_are_one_group() -> None:
    one, other = (
        fingerprint("c", "T", "failed", shape(f"KeyError: '{key}' at {n} of 0192f0a1-7e5b-7c33-9f3e-{n:012d}"))
        for key, n in (("x", 7), ("a longer one", 8123))
    )
    assert one == other
    assert one != fingerprint("c", "T", "failed", shape("ValueError: 'x' at 7"))
    assert one != fingerprint("other", "T", "failed", shape("KeyError: 'x' at 7 of *"))


def test_the_names_of_a_record_are_left_out_where_they_are_no_part_of_a_word() -> None:
    assert shape("sent (a) as an a again: a", ("a", "")) == "sent (*) as an * again: *"
    assert shape("x.y of x", ("x", "x.y")) == "* of *"


async def test_a_record_is_kept_whole(bench: Bench) -> None:
    bench.fails = {("a", 1): KeyError("x")}
    (raw,) = topic("a")
    await bench.consume([raw])
    (found,) = await parked.list_parked(bench.pool)
    assert (found.raw, len(found.handle)) == (raw._replace(headers=[*raw.headers]), 8)
    assert json.loads(found.raw.value or b"")["seat"] == 1
    assert await parked.list_parked(bench.pool, handles=[found.handle]) == [found]
