"""Golden samples and schemas of every event: made once for each released version, then only read.

`python -m tests.contracts.golden` writes what is missing and never changes what is there.
"""

import json
import typing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel

from shared.events import EVENTS
from shared.events.base import Event, json_schema

HERE: Final = Path(__file__).parent


def golden_file(event: type[Event], version: int = 0) -> Path:
    """Of this version; 0 is today's."""
    return HERE / "golden" / f"{event.type()}.v{version or event.SCHEMA}.json"


def schema_file(event: type[Event], version: int = 0) -> Path:
    return HERE / "schemas" / f"{event.type()}.v{version or event.SCHEMA}.json"


def sample(model: type[BaseModel]) -> Any:
    """An instance with every field filled, the optional ones too."""
    return model(**{name: _value(field.annotation, name) for name, field in model.model_fields.items()})


def _value(kind: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return (_value(arguments[0], name),)
    if origin is typing.Annotated:
        return _value(arguments[0], name)
    if arguments:  # a union: its first member
        return _value(arguments[0], name)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return sample(kind)
    by_name: dict[str, Any] = {"currency": "EUR", "sha256": "0" * 64}
    by_kind: dict[Any, Any] = {
        str: by_name.get(name, f"{name} ä"), int: 7, bool: True, date: date(2027, 2, 28),
        AwareDatetime: datetime(2026, 11, 21, 4, 3, 0, 5, tzinfo=UTC),
    }  # fmt: skip
    return by_kind[kind]


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
