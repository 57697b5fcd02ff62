"""Statements in `.sql` files: how they are found and named, and how names are put into them."""

import runpy
from pathlib import Path

import pytest

from shared.eventlog.deliver.projection import Projection
from shared.eventlog.repair.scratch import code_of
from shared.events import CartOpened
from shared.events.registry import MARKETPLACE
from shared.sql import statements, with_names, with_statements


def module(folder: Path, sql: str) -> str:
    (folder / "things.sql").write_text(sql)
    return str(folder / "things.py")


def test_a_statement_is_found_by_its_name(tmp_path: Path) -> None:
    sql = "-- one: the first.\nselect 1;\n\n-- two: of two lines,\n-- described at length.\nselect 2,\n    3;\n"
    assert statements(module(tmp_path, sql)) == {"one": "select 1;", "two": "select 2,\n    3;"}


@pytest.mark.parametrize(
    "sql",
    [
        "-- one: it.\nselect 1;\n-- one: again.\nselect 2;\n",
        "select 0;\n-- one: it.\nselect 1;\n",
        "-- one: it.\n-- two: it.\nselect 2;\n\n-- three: nothing.\n",
    ],
    ids=["a name twice", "no name", "no text"],
)
def test_a_file_is_refused_whose_statements_are_not_told_apart(tmp_path: Path, sql: str) -> None:
    with pytest.raises(ValueError, match="each statement needs a text and a name of its own"):
        statements(module(tmp_path, sql))


def test_a_name_is_quoted_where_it_is_put() -> None:
    assert with_names("drop table {schema}.{table}", schema='a"b', table="select") == 'drop table "a""b"."select"'


def test_a_text_is_quoted_as_one() -> None:
    assert with_names("alter role {role} password '{it}'", role="a", it="b'c") == """alter role "a" password 'b''c'"""


def test_of_several_names_each_is_quoted() -> None:
    assert with_names("row({columns})", columns=["a", "b"]) == 'row("a", "b")'


def test_a_literal_in_braces_is_left_alone() -> None:
    assert with_names("select '{}'::text[] from {table}", table="seats") == """select '{}'::text[] from "seats\""""


def test_a_statement_is_put_into_another() -> None:
    whole = with_statements("select * from ({{inner}}) as x", inner="select {column} from a;")
    assert whole == "select * from (select {column} from a) as x"
    assert with_names(whole, column="b") == 'select * from (select "b" from a) as x'
    with pytest.raises(KeyError):
        with_statements("select * from ({{inner}}) as x", other="select 1")


def test_a_place_without_a_name_is_refused() -> None:
    with pytest.raises(KeyError):
        with_names("drop table {schema}.{table}", schema="a")


def test_a_fold_is_another_one_when_its_sql_is(tmp_path: Path) -> None:
    """A rebuild that was begun with other SQL begins anew."""
    sql, folds = tmp_path / "folds.sql", tmp_path / "folds.py"
    folds.write_text("async def fold(tx, event, envelope):\n    pass\n")
    projection = Projection("carts", topics=(MARKETPLACE,), tables=("carts",))
    projection.on(CartOpened)(runpy.run_path(str(folds))["fold"])
    sql.write_text("-- add: add a cart.\nselect 1;\n")
    before = code_of(projection)
    sql.write_text("-- add: add a cart.\nselect 2;\n")
    assert code_of(projection) != before
