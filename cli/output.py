"""Output of a verb: text for a person at 80 columns, or JSON for a program, never both."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TextIO

import orjson
from pydantic_core import to_jsonable_python
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from shared.events.envelope import Envelope

_GAP: Final = 2
"""The space between the columns of a table, unless there are more than `_MANY` of them, or not enough space."""
_MANY: Final = 7
_WIDEST: Final = 100_000
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, ends of lines among them, and those that change the direction of the text."""


def plain(value: object) -> str:
    """Return a value as one line with control characters escaped, as events hold untrusted text."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), "" if value is None else str(value))


def sandbox_mark(envelope: Envelope) -> str:
    """Return the mark of a sandbox's event at the end of its line; "" for any other event."""
    return "  [sandbox]" if envelope.sandbox else ""


def _print(console: Console, line: str) -> None:
    """Print a line, which is wrapped on a terminal unless a word would be broken by that."""
    longest = max(map(cell_len, line.split()), default=0)
    console.print(line, soft_wrap=not console.is_terminal or longest > console.width)


def fitting(
    names: Sequence[str], rows: Sequence[Sequence[str]], width: int, gap: int
) -> tuple[int, Sequence[int]] | None:
    """Return the gap and the widths of a table's columns; None if a word would be broken.

    Args:
        names: The names of the columns.
        width: How wide the table may be.
    """
    columns = list(zip(names, *rows, strict=True))
    least = [max((cell_len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    wanted = [max(map(cell_len, column)) for column in columns]
    spare = width - gap * (len(columns) - 1) - sum(least)
    if spare < 0:
        return None
    widths = list(least)
    for place, number in enumerate(sorted(range(len(columns)), key=lambda each: wanted[each] - least[each])):
        more = min(wanted[number] - least[number], spare // (len(columns) - place))
        widths[number] += more
        spare -= more
    return gap, widths


class Output:
    """The output of one command: results to `out`, notes and progress to `err`."""

    def __init__(self, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self._file = out or sys.stdout
        self.out = Console(file=out, highlight=False, emoji=False, markup=False)
        self.err = Console(file=err, stderr=err is None, highlight=False, emoji=False, markup=False)

    def line(self, text: str = "") -> None:
        """Print a line for a person; nothing with --json. No word is broken."""
        if not self.json:
            _print(self.out, plain(text))

    def note(self, text: str) -> None:
        """Print a note about the run to standard error; nothing with --json."""
        if not self.json:
            _print(self.err, plain(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table for a person; a column whose name begins with `>` is aligned to the right.

        No word is broken, so that an id can be copied. Where a terminal is too narrow for that, each row is printed as
        names and values; elsewhere as one line.
        """
        if self.json or not rows:
            return
        names = [column.removeprefix(">") for column in columns]
        cells = [[plain(cell) for cell in row] for row in rows]
        gaps = (1,) if len(names) > _MANY else (_GAP, 1)
        widths = next((fit for gap in gaps if (fit := fitting(names, cells, self.out.width, gap))), None)
        if widths is None and self.out.is_terminal:
            for number, row in enumerate(cells):
                self.line() if number else None
                self.fields([(name, cell) for name, cell in zip(names, row, strict=True) if cell])
            return
        gap, each = widths or (gaps[0], [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)])
        table = Table(box=None, pad_edge=False, collapse_padding=True, padding=(0, gap, 0, 0), header_style="bold")
        for column, name, width in zip(columns, names, each, strict=True):
            table.add_column(name, justify="right" if column.startswith(">") else "left", width=width)
        for row in cells:
            table.add_row(*map(Text, row))
        self.show(table)

    def fields(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Print names and values, one pair a line."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", width=max((cell_len(name) for name, _ in pairs), default=0))
        table.add_column()
        for name, value in pairs:
            table.add_row(name, Text(plain(value)))
        self.show(table)

    def show(self, shown: Table | Tree) -> None:
        """Print a table or a tree for a person, wider than the terminal where a word needs it."""
        if self.json:
            return
        wide = self.out.options.update(width=_WIDEST)
        before, needed = self.out.width, Measurement.get(self.out, wide, shown).minimum
        self.out.width = max(before, needed)
        try:
            self.out.print(shown)
        finally:
            self.out.width = before

    def result(self, value: object) -> None:
        """Print the result as one JSON document; nothing without --json."""
        if self.json:
            self.record(value)

    def record(self, value: object) -> None:
        """Print a JSON document on one line, with or without --json."""
        self._file.write(orjson.dumps(to_jsonable_python(value, fallback=str, bytes_mode="base64")).decode() + "\n")
        self._file.flush()

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator["Counter"]:
        """Show progress with rate and remaining time, on a terminal."""
        shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=self.err,
            transient=True,
            disable=self.json or not self.err.is_terminal,
        )
        with shown:
            yield Counter(shown, shown.add_task(what, total=total))


class Counter:
    """The counter of a progress bar.

    Call it with the number of further things done, or call `at` for work in several steps.
    """

    def __init__(self, shown: Progress, task: Any) -> None:
        self._shown, self._task = shown, task
        self._steps: dict[str, Any] = {}

    def __call__(self, more: int = 1) -> None:
        self._shown.advance(self._task, more)

    def at(self, step: str, done: int, of: int) -> None:
        """Show a step's progress on a bar of its own; `of` is 0 if unknown."""
        if step not in self._steps:
            self._shown.update(self._task, visible=False)
            self._steps[step] = self._shown.add_task(step)
        self._shown.update(self._steps[step], completed=done, total=of or None)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


# ── Formats ────────────────────────────────────────────────────────────────────────────────────────────


def count(number: int, thing: str) -> str:
    """Return a number with its noun: `1 event`, `1,204 events`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Return a duration in one unit: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, length, below in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < below * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def when(time: datetime) -> str:
    """Return a time in UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


_AGO: Final = re.compile(r"(\d+)\s*(s|m|min|h|d)")
_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def time_of(text: str, now: datetime | None = None) -> datetime:
    """Return the time of RFC 3339 text, of a date, or of an age such as `15m`, `2h` or `3d`.

    A time without a zone is UTC.

    Raises:
        ValueError: The text has none of these forms.
    """
    if match := _AGO.fullmatch(text.strip()):
        return (now or datetime.now(UTC)) - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: write 2026-11-21T12:00:00Z, 2026-11-21, or an age such as 15m, 2h, 3d"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
