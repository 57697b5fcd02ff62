"""Statements kept back and sent together: each stream's stay in order, and nothing else is promised."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.eventlog.deliver.bundles import COPY_FROM, UNANSWERED, Bundles, Rewriting, bundled, plain_insert, renaming

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
        ("insert into seats (a, b) values ($1, $2)", ("seats", ("a", "b"))),
        ("insert into carts values ($1, $2, $3)", ("carts", None)),
        ("insert into seats (a,\n    b)\nvalues ($1, $2);", ("seats", ("a", "b"))),
        ("insert into seats (a, b) values ($2, $1)", None),
        ("insert into seats (a, b) values ($1, $1)", None),
        ("insert into seats (a, b) values ($1, 'x')", None),
        ("insert into seats (a, b, c) values ($1, $2)", None),
        ("insert into seats values ($1) on conflict do nothing", None),
        ("insert into seats select $1", None),
        ("update seats set a = $1", None),
    ],
)
def test_copy_is_for_plain_inserts(sql: str, found: object) -> None:
    assert plain_insert(sql) == found


class Tx:
    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    async def execute(self, sql: str, *values: object) -> str:
        self.calls.append((sql, values))
        return "DONE 1"

    async def executemany(self, sql: str, rows: list[object]) -> None:
        self.calls.append((sql, len(rows)))

    async def copy_records_to_table(self, table: str, *, records: list[object], columns: object) -> None:
        self.calls.append((f"copy {table}", len(records)))

    async def fetchval(self, sql: str, *_: object) -> int:
        self.calls.append((sql, "read"))
        return 7


async def test_what_a_fold_reads_comes_after_all_that_was_kept_back() -> None:
    tx = Tx()
    bundles = Bundles(tx, renaming({"engine.timers": '"x".timers'}))
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


async def test_a_fold_that_looks_at_what_execute_answers_is_told() -> None:
    answer = await Bundles(Tx(), str).of_stream("s").execute("update a set b = 1")
    assert answer is UNANSWERED
    looks: list[Callable[[], object]] = [lambda: answer == "UPDATE 0", lambda: bool(answer), lambda: answer[-1]]
    for look in looks:
        with pytest.raises(TypeError, match="may not use the result of execute"):
            look()
