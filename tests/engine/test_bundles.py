"""Statements kept back and sent together: each stream's stay in order, and nothing else is promised."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.deliver.bundles import (
    COPY_FROM,
    UNANSWERED,
    Bundles,
    InBulk,
    Rewriting,
    bundled,
    plain_insert,
    queues,
    renaming,
    table_of,
)

_streams = st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.just(())), max_size=8), max_size=8)


@given(_streams)
def test_each_streams_statements_stay_in_order_and_none_is_lost(streams: list[list[Any]]) -> None:
    named = [[(sql, (stream, n)) for n, (sql, _) in enumerate(each)] for stream, each in enumerate(streams)]
    sent = [(sql, row) for sql, rows in bundled(named) for row in rows]
    assert sorted(sent) == sorted(statement for each in named for statement in each)
    for stream, each in enumerate(named):
        assert [statement for statement in sent if statement[1][0] == stream] == each


def test_equal_statements_of_different_streams_are_one_bundle() -> None:
    streams = [[("open", (n,)), ("seat", (n, 1)), ("seat", (n, 2))] for n in range(50)]
    assert [(sql, len(rows)) for sql, rows in bundled(streams)] == [("open", 50), ("seat", 100)]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("insert into seats (a, b) values ($1, $2)", ("seats", ("a", "b"), None)),
        ("insert into carts values ($1, $2, $3)", ("carts", None, None)),
        ("insert into seats (a,\n    b)\nvalues ($1, $2);", ("seats", ("a", "b"), None)),
        ("insert into seats (a, b) values ($2, $1)", ("seats", ("a", "b"), (1, 0))),
        ("insert into lots (a, b, c) values ($1, $2, $2)", ("lots", ("a", "b", "c"), (0, 1, 1))),
        ("insert into seats (a, b) values ($1, 'x')", None),
        ("insert into seats (a, b) values ($1, $3)", None),
        ("insert into seats (a, b) values ($0, $1)", None),
        ("insert into seats (a, b, c) values ($1, $2)", None),
        ("insert into seats values ($1) on conflict do nothing", None),
        ("insert into seats select $1", None),
        ("update seats set a = $1", None),
    ],
)
def test_copy_is_for_plain_inserts(sql: str, found: object) -> None:
    assert plain_insert(sql) == found


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("insert into seats (a, b) values ($1, lower($2)) on conflict (a) do update set b = excluded.b", "seats"),
        ("update Pools set seats = $2, ends = coalesce($3, ends) where id = $1;", "pools"),
        ('delete from "x".timers where name = $1', "timers"),
        ('delete from "Timers" where name = $1', "timers"),
        ("update only pools set seats = $1", None),
        ("delete from seats s using pools p where p.id = s.id", None),
        ("update pools set n = (select count(*) from seats)", None),
        ("update pools set n = engine.counted(id)", None),
        ("update pools p set n = s.n from seats s", None),
        ("insert into seats select * from pools", None),
        ("insert into seats table pools", None),
        ("with gone as (delete from seats returning 1) update pools set n = 1", None),
        ("select 1", None),
    ],
)
def test_a_statement_is_of_one_table_if_it_can_touch_no_other(sql: str, table: str | None) -> None:
    assert table_of(sql) == table


@pytest.mark.parametrize(("other", "expected"), [("update b set x = $1", 2), ("update b set x = (select 1 from a)", 6)])
def test_statements_of_two_tables_are_apart_unless_one_may_touch_both(other: str, expected: int) -> None:
    stream = [("update a set x = $1", (n,)) if n % 2 else (other, (n,)) for n in range(6)]
    sent = list(bundled(queues(stream)))
    assert len(sent) == expected
    assert sorted(row for _, rows in sent for row in rows) == [(n,) for n in range(6)]


class Tx:
    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.copied: list[object] = []

    async def execute(self, sql: str, *values: object) -> str:
        self.calls.append((sql, values))
        return "DONE 1"

    async def executemany(self, sql: str, rows: list[object]) -> None:
        self.calls.append((sql, len(rows)))

    async def copy_records_to_table(self, table: str, *, records: Iterable[object], columns: object) -> None:
        self.copied = list(records)
        self.calls.append((f"copy {table}", len(self.copied)))

    async def fetchval(self, sql: str, *_: object) -> int:
        self.calls.append((sql, "read"))
        return 7


async def test_what_a_fold_reads_comes_after_all_that_was_kept_back() -> None:
    tx = Tx()
    bundles = Bundles(tx, renaming({"engine.timers": '"x".timers'}), {})
    for n in range(COPY_FROM):
        await bundles.of_stream(f"{n}").execute("insert into seats values ($1)", n)
    await bundles.of_stream("1").executemany("update engine.timers set a = $1", [(1,), (2,)])
    assert tx.calls == []
    assert await bundles.of_stream("2").fetchval("select from log.timers_of") == 7
    assert tx.calls == [
        ("copy seats", COPY_FROM),
        ('update "x".timers set a = $1', 2),
        ("select from log.timers_of", "read"),
    ]
    await bundles.execute("delete from a", 3)
    await bundles.send()
    await bundles.send()
    assert tx.calls[3:] == [("delete from a", (3,))]
    assert await Rewriting(tx, renaming({"engine.clocks": "y"})).execute("delete from engine.clocks") == "DONE 1"
    assert tx.calls[-1] == ("delete from y", ())


async def test_a_statement_is_sent_as_what_is_declared_for_many() -> None:
    tx = Tx()
    assign = "with a as (insert into seats values ($1, $2)) update pools set n = n + 1 where id = $1"
    declared = InBulk(each="insert into seats values ($1, $2)", last="update pools set n = 0 where id = any($1)")
    bundles = Bundles(tx, str, {assign: declared})
    for n in range(COPY_FROM):
        await bundles.of_stream(f"{n % 2}").execute(assign, n % 2, n)
    await bundles.of_stream("0").execute("update pools set ends = $1", 7)
    await bundles.send()
    await bundles.send()
    assert tx.calls == [
        ("copy seats", COPY_FROM),
        ("update pools set ends = $1", (7,)),
        (declared.last, ([0, 1],)),
    ]


async def test_copy_gets_a_parameter_for_each_column_that_has_it() -> None:
    tx = Tx()
    bundles = Bundles(tx, str, {})
    for n in range(COPY_FROM):
        await bundles.of_stream("s").execute("insert into lots (a, b, c) values ($2, $1, $2)", "g", n)
    await bundles.send()
    assert tx.copied == [[n, "g", n] for n in range(COPY_FROM)]


async def test_a_fold_that_looks_at_what_execute_answers_is_told() -> None:
    answer = await Bundles(Tx(), str, {}).of_stream("s").execute("update a set b = 1")
    assert answer is UNANSWERED
    looks: list[Callable[[], object]] = [lambda: answer == "UPDATE 0", lambda: bool(answer), lambda: answer[-1]]
    for look in looks:
        with pytest.raises(TypeError, match="may not use the result of execute"):
            look()
