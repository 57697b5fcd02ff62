"""The differences between two releases of the event contract, and which of them break.

A release is the schemas of its event types, by their names. A reader ignores fields that it does not know, so what a
reader of the former release depends on has to stay: fields, their types, and the members of enumerations.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = dict[str, Any]

_WORDS: Final = ("description", "title", "default", "$id", "$schema")
BOUNDS: Final = (
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
)
"""What may become narrower in a schema for readers: they see less than before."""

SENT: Final = ".sent"
"""How the names of schemas for senders end."""


@dataclass(frozen=True, slots=True)
class Change:
    """A difference between two releases.

    Attributes:
        schema: the event type and version.
        breaking: whether somebody who relies on the former release fails.
    """

    schema: str
    text: str
    breaking: bool

    def __str__(self) -> str:
        return f"{'BREAKS' if self.breaking else 'fits  '}  {self.schema}: {self.text}"


def changes(before: Mapping[str, Schema], after: Mapping[str, Schema]) -> list[Change]:
    """Return the differences between two releases, by schema: first what breaks."""
    found = [Change(name, "is gone", breaking=True) for name in before if name not in after]
    found += [Change(name, "is new", breaking=False) for name in after if name not in before]
    for name, schema in before.items():
        if name in after:
            found += [Change(name, text, breaking=True) for text in breaks(schema, after[name])]
            found += [Change(name, text, breaking=False) for text in _added(schema, after[name])]
            if name.endswith(SENT):
                found += [Change(name, text, breaking=True) for text in _bounded(schema, after[name])]
    return sorted(found, key=lambda change: (not change.breaking, change.schema, change.text))


def breaks(before: Schema, after: Schema) -> list[str]:
    """Return what a reader of one schema misses in what was written by the other."""
    found: list[str] = []
    for where, old, new in _objects(before, after):
        if new is None:
            found.append(f"{where} is gone")
            continue
        here = f"{where}." if where else ""
        old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
        for name, field in old_fields.items():
            if name not in new_fields:
                found.append(f"field {here}{name} is gone")
            elif _type_of(field) != _type_of(new_fields[name]):
                found.append(f"field {here}{name} has another type")
            elif "default" in field and "default" not in new_fields[name]:
                found.append(f"field {here}{name} has a default no more")
        found += [
            f"new field {here}{name} has no default"
            for name, field in new_fields.items()
            if name not in old_fields and "default" not in field
        ]
    return found


def _added(before: Schema, after: Schema) -> Iterator[str]:
    """Return what is new in a schema and does not break anybody."""
    for where, old, new in _objects(before, after):
        for name, field in (new or {}).get("properties", {}).items():
            if name not in old.get("properties", {}) and "default" in field:
                yield f"field {f'{where}.' if where else ''}{name} is new"


def _bounded(before: Schema, after: Schema) -> Iterator[str]:
    """Return the fields with other bounds: what was accepted before may be refused now."""
    for where, old, new in _objects(before, after):
        for name, field in old.get("properties", {}).items():
            now = (new or {}).get("properties", {}).get(name)
            if now is not None and _bounds_of(field) != _bounds_of(now):
                yield f"field {f'{where}.' if where else ''}{name} has other bounds"


def _bounds_of(field: Any) -> Any:
    if isinstance(field, list):
        return [_bounds_of(part) for part in field]
    if isinstance(field, dict):
        nested = {key: _bounds_of(value) for key, value in field.items() if key in ("anyOf", "items")}
        return nested | {key: value for key, value in field.items() if key in BOUNDS}
    return field


def _objects(before: Schema, after: Schema) -> Iterator[tuple[str, Schema, Schema | None]]:
    """Return the event and each record in it, of both schemas."""
    yield "", before, after
    for name, part in before.get("$defs", {}).items():
        yield name, part, after.get("$defs", {}).get(name)


def _type_of(field: Schema) -> Schema:
    """Return what readers depend on: no words, no default, no bounds within the type.

    A new member of an enumeration is something that they don't know.
    """
    plain = {key: value for key, value in field.items() if key not in _WORDS and key not in BOUNDS}
    if "anyOf" in plain:
        plain["anyOf"] = [_type_of(part) for part in plain["anyOf"]]
    if "items" in plain:
        plain["items"] = _type_of(plain["items"])
    return plain
