"""What a command prints: tables and lines for a person at 80 columns, or JSON for a program. Never both."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TextIO

import orjson
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(value: object) -> str:
    """A value as text that can't steer a terminal: events hold what strangers wrote."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", "" if value is None else str(value))


class Output:
    """One command's output. Results go to `out`, what happens meanwhile to `err`."""

    def __init__(self, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self._file = out or sys.stdout
        self.out = Console(file=out, highlight=False, emoji=False, markup=False)
        self.err = Console(file=err, stderr=err is None, highlight=False, emoji=False, markup=False)

    def line(self, text: str = "") -> None:
        """For a person; silent with --json."""
        if not self.json:
            self.out.print(plain(text), soft_wrap=not self.out.is_terminal)

    def note(self, text: str) -> None:
        """Beside the result: how much was looked at, what is waited for. To standard error."""
        if not self.json:
            self.err.print(plain(text), soft_wrap=not self.err.is_terminal)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """For a person. A column whose name begins with `>` is of numbers."""
        if self.json or not rows:
            return
        close = len(columns) > 7  # so many stand closer together, for 80 columns' sake
        table = Table(box=None, pad_edge=False, collapse_padding=close, header_style="bold")
        for column in columns:
            table.add_column(
                column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
            )
        for row in rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        self.out.print(table)

    def fields(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Names and values, a line each."""
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(name, Text(plain(value)))
        if not self.json:
            self.out.print(table)

    def result(self, value: object) -> None:
        """For a program: the whole answer as one JSON document; silent without --json."""
        if self.json:
            self.record(value)

    def record(self, value: object) -> None:
        """A JSON document on a line of its own, for verbs that write one whoever reads it."""
        self._file.write(orjson.dumps(to_jsonable_python(value, fallback=str, bytes_mode="base64")).decode() + "\n")
        self._file.flush()

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator["Counter"]:
        """Counts with rate and time left, on a terminal."""
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
            yield Counter(shown, what, shown.add_task(what, total=total))


class Counter:
    """Of a progress bar: call it with how many more are done, or `at` with how far a step of the work is."""

    def __init__(self, shown: Progress, what: str, task: Any) -> None:
        self._shown, self._what, self._task = shown, what, task
        self._steps: dict[str, Any] = {}

    def __call__(self, more: int = 1) -> None:
        self._shown.advance(self._task, more)

    def at(self, step: str, done: int, of: int) -> None:
        """Each step has a bar of its own, in the place of the whole's. `of` is 0 where it isn't known."""
        if step not in self._steps:
            self._shown.update(self._task, visible=False)
            self._steps[step] = self._shown.add_task(step)
        self._shown.update(self._steps[step], completed=done, total=of or None)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


# ── Words ──────────────────────────────────────────────────────────────────────────────────────────────


def count(number: int, thing: str) -> str:
    """`1 event`, `1,204 events`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`: two digits, one unit."""
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
    """UTC to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


_AGO: Final = re.compile(r"(\d+)\s*(s|m|min|h|d)")
_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def time_of(text: str, now: datetime | None = None) -> datetime:
    """A time as it is typed: RFC 3339 (UTC where it names no zone), a date, or `15m`, `2h`, `3d` ago. ValueError."""
    if match := _AGO.fullmatch(text.strip()):
        return (now or datetime.now(UTC)) - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: write 2026-11-21T12:00:00Z, 2026-11-21, or 15m, 2h, 3d for ago"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
