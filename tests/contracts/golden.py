"""Golden samples and schemas of every event: made once for each released version, then only read.

`python -m tests.contracts.golden` writes what is missing and never changes what is there.
"""

import json
import typing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, TypeAdapter, ValidationError

from shared.documents.schemas import released_file
from shared.events import EVENTS
from shared.events.base import Event, json_schema

HERE: Final = Path(__file__).parent
TEXTS: Final = (
    "EUR",
    "0" * 64,
    "DE",
    "de-CH",
    "Europe/Berlin",
    "grace@example.org",
    "22:00",
    "C1RK1WW1762L158",
    "https://updates.example.org/1.msp",
)
"""For the fields whose content has a form of its own."""


def golden_file(event: type[Event], version: int = 0) -> Path:
    """Of this version; 0 is today's."""
    return HERE / "golden" / f"{event.type()}.v{version or event.SCHEMA}.json"


def schema_file(event: type[Event], version: int = 0) -> Path:
    return released_file(event.type(), version or event.SCHEMA)


def sample(model: type[BaseModel]) -> Any:
    """An instance with every field filled, the optional ones too."""
    fields = model.model_fields.items()
    return model(**{name: _value(Annotated[(field.annotation, name, *field.metadata)], name) for name, field in fields})


def _value(kind: Any, name: str) -> Any:
    bare = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return (_value(arguments[0], name),)
    if arguments:  # a union: its first member
        return _value(arguments[0], name)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return sample(bare)
    if bare is str:
        return _text(kind, name)
    by_kind: dict[Any, Any] = {
        int: 7,
        bool: True,
        date: date(2027, 2, 28),
        AwareDatetime: datetime(2026, 11, 21, 4, 3, 0, 5, tzinfo=UTC),
    }
    return by_kind[bare]


def _text(kind: Any, name: str) -> str:
    """The first of these that the field's type takes as it is."""
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    for text in (f"{name} ä", name, *TEXTS):
        try:
            if adapter.validate_python(text) == text:
                return text
        except ValidationError:
            continue
    raise ValueError(f"TEXTS has nothing for the field {name}")


def missing() -> list[Path]:
    """Of every version there ever was."""
    versions = [(event, version) for event in EVENTS.values() for version in range(1, event.SCHEMA + 1)]
    files = [file for each in versions for file in (golden_file(*each), schema_file(*each))]
    return [file for file in files if not file.exists()]


def main() -> None:
    for event in EVENTS.values():
        if not golden_file(event).exists():
            golden_file(event).write_bytes(sample(event).data())
        if not schema_file(event).exists():
            schema_file(event).write_text(json.dumps(json_schema(event), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
