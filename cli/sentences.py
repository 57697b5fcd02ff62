"""Sentences of verbs with their parts, so that a page can say them in another language.

`say("%(events)s would be published.", events=Count(3, "event"))` is the text "3 events would be published.", and keeps
its template and its values. The template is the key of the sentence's translations.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Self, TypeAlias

from pydantic import BaseModel

from cli.output import count, plain, when


class Count(NamedTuple):
    """A number of things, with their name in the singular."""

    number: int
    thing: str


Value: TypeAlias = "str | int | datetime | Count | Sentence"


class Sentence(str):
    """A text that knows its template and its values."""

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, values: Mapping[str, Value]) -> Self:
        self = super().__new__(cls, template % {name: _text(value) for name, value in values.items()})
        self.template, self.values = template, values
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[str, Mapping[str, "Value"]]]:
        """Return how to make a copy."""
        return type(self), (self.template, self.values)


def say(template: str, **values: Value) -> Sentence:
    """Return a sentence with these values."""
    return Sentence(template, values)


def in_a_row(said: Sequence[Sentence]) -> Sentence:
    """Return one sentence of at least one, with commas between them."""
    first, *others = said
    for other in others:
        first = say("%(so)s, %(more)s", so=first, more=other)
    return first


def _text(value: Value) -> str:
    match value:
        case Count():
            return count(value.number, value.thing)
        case int():
            return f"{value:,}"
        case datetime():
            return when(value)
        case _:
            return value


class Counted(BaseModel):
    """A number of things."""

    number: int
    thing: str


class Moment(BaseModel):
    """A time."""

    time: datetime


class SentenceView(BaseModel):
    """A sentence; its template is "" if it is a text without parts."""

    text: str
    template: str
    values: "dict[str, str | int | Counted | Moment | SentenceView]"


def view(text: str, shown: str) -> SentenceView:
    """Return a text, or a sentence with its parts.

    Args:
        shown: The text as it is shown, with control characters escaped.
    """
    if not isinstance(text, Sentence):
        return SentenceView(text=shown, template="", values={})
    values = {name: _view(value) for name, value in text.values.items()}
    return SentenceView(text=shown, template=text.template, values=values)


def _view(value: Value) -> str | int | Counted | Moment | SentenceView:
    match value:
        case Count():
            return Counted(number=value.number, thing=value.thing)
        case Sentence():
            return view(value, plain(value))
        case str():
            return plain(value)
        case datetime():
            return Moment(time=value)
        case _:
            return value
