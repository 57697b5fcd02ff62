"""The output of a verb that is run for a request: sentences, result and progress."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Final

from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_jsonable_python

from cli.output import Counter, Output, plain
from cli.sentences import SentenceView, view

LINES_AT_MOST: Final = 1000
_JSON: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


@dataclass(slots=True)
class Step:
    """A step's progress; `of` is None if unknown."""

    step: str
    done: int
    of: int | None


class CapturedCounter(Counter):
    """The counter of a verb's progress, without a bar."""

    def __init__(self, steps: dict[str, Step], what: str, total: int | None) -> None:
        self._steps_by_name, self._what = steps, what
        steps[what] = Step(what, 0, total)

    def __call__(self, more: int = 1) -> None:
        self._steps_by_name[self._what].done += more

    def at(self, step: str, done: int, of: int) -> None:
        self._steps_by_name.pop(self._what, None)
        self._steps_by_name[step] = Step(step, done, of or None)


class CapturedOutput(Output):
    """An output that keeps what a verb writes."""

    def __init__(self) -> None:
        super().__init__(json=True, out=StringIO(), err=StringIO())
        self.said: list[SentenceView] = []
        self.steps: dict[str, Step] = {}
        self.data: dict[str, JsonValue] = {}

    def line(self, text: str = "") -> None:
        if text and len(self.said) < LINES_AT_MOST:
            self.said.append(view(text, plain(text)))

    @property
    def lines(self) -> list[str]:
        return [each.text for each in self.said]

    def note(self, text: str) -> None:
        self.line(text)

    def result(self, value: object) -> None:
        self.record(value)

    def record(self, value: object) -> None:
        self.data = _JSON.validate_python(to_jsonable_python(value, fallback=str, bytes_mode="base64"))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Leave tables out: the result has their data."""

    def fields(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Leave fields out: the result has them."""

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Counter]:
        yield CapturedCounter(self.steps, what, total)
