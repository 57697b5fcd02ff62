"""What a verb prints at any width: no id is broken, so that each can be copied."""

import io
import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import pytest
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from cli.output import Output, fitting

IDS: Final = tuple(str(UUID(int=number)) for number in (1, 2))
ROWS: Final = [
    (each, "Dashboard", "entitlements.events.v1", "running", 0, "", "200 at 2026-11-29 08:00:00Z") for each in IDS
]
COLUMNS: Final = ("webhook", "name", "topic", "state", ">waiting", "failing since", "last answer")


def printed(width: int, terminal: bool, verb: str, *arguments: Any) -> str:
    """What an output of this width prints, without its styles."""
    file = io.StringIO()
    output = Output(out=file)
    output.out = Console(file=file, width=width, no_color=True, force_terminal=terminal, highlight=False, markup=False)
    getattr(output, verb)(*arguments)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [20, 40, 80, 81, 120, 200])
@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("table", (COLUMNS, ROWS)),
        ("table", (("why", "event"), [("it is not one of those that may be, " * 9, each) for each in IDS])),
        ("fields", ([("event", each) for each in IDS],)),
        ("line", (f"The event {IDS[0]} was caused by the command marketplace.sales:{IDS[1]}:partner-1:0.",)),
    ],
)
def test_no_id_is_broken(verb: str, arguments: Sequence[Any], width: int, terminal: bool) -> None:
    said = printed(width, terminal, verb, *arguments)
    assert all(each in said for each in IDS)


@pytest.mark.parametrize("width", [20, 80])
def test_no_id_of_a_tree_is_broken(width: int) -> None:
    tree = deepest = Tree(IDS[0])
    for number in range(20):
        deepest = deepest.add(Text(f"level {number}: {IDS[1]}"))
    assert printed(width, True, "show", tree).count(IDS[1]) == 20


def test_a_table_that_fits_is_a_table_no_wider_than_the_terminal() -> None:
    rows = [("SeatAssigned", "it says something at length, " * 5, each) for each in IDS]
    lines = printed(80, True, "table", ("type", "what it says", ">event"), rows).splitlines()
    assert len(lines) > 3 and max(map(len, lines)) <= 80
    assert lines[0].split() == ["type", "what", "it", "says", "event"]


def test_a_row_of_a_table_that_does_not_fit_is_names_and_values_on_a_terminal() -> None:
    lines = printed(80, True, "table", COLUMNS, ROWS).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[:6]] == ["webhook", "name", "topic", "state", "waiting", "last"]
    assert lines[6] == "" and lines[7].split() == ["webhook", IDS[1]], "what is empty is left out"


def test_a_row_of_a_table_that_does_not_fit_is_one_line_elsewhere() -> None:
    lines = printed(80, False, "table", COLUMNS, ROWS).splitlines()
    assert [line.split()[0] for line in lines] == ["webhook", *IDS]


def test_a_column_gets_what_it_needs_before_another_gets_more() -> None:
    names, rows = ["a", "b", "c"], [["x", "two words", "many words " * 9]]
    assert fitting(names, rows, 40, 2) == (2, [1, 9, 26])
    assert fitting(names, rows, 13, 1) == (1, [1, 5, 5])
    assert fitting(names, rows, 12, 1) is None
