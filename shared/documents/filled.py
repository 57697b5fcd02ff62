"""Examples of JSON Schemas: values that they allow, for each name that of `examples.py`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from shared.documents.examples import is_id, number_for, text_for

Schema: TypeAlias = Mapping[str, Any]
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-12-01",
    "date-time": "2026-11-23T09:30:00Z",
    "password": "correct horse battery staple",
    "email": "grace@example.org",
    "uri": "https://www.example.org/",
    "uuid": "0197a3f4-9c1e-7d21-8f60-2b5c1d7e9a34",
}
_TEXTS: Final = ("example", "An example.", "DE", "EUR", "22:00", "123456789012345", "0" * 64, "https://example.org/")
"""For texts of other names: the first one that the schema allows."""
_ANYWHERE: Final = frozenset({"password", "email", "uri"})
"""The formats whose examples are right in every installation."""


class SchemaExamples:
    """The examples of a document's schemas."""

    def __init__(self, schemas: Mapping[str, Schema], asked_at: datetime | None = None) -> None:
        """Take the schemas that references `#/components/schemas/<name>` mean.

        Args:
            asked_at: The present, if the examples are sent as they are. Then their times are later, and optional fields
                whose values depend on the installation (ids, tokens, times) are left out.
        """
        self._schemas = schemas
        self._later = None if asked_at is None else later_than(asked_at)

    def of(self, schema: Schema, name: str = "", within: tuple[str, ...] = ()) -> Any:
        """Return a value that the schema allows.

        Args:
            name: The name of the field that has the value.
            within: The references that lead here.

        Raises:
            LookupError: A text has a pattern that none of the known texts has.
        """
        reference = schema.get("$ref")
        if reference is not None:
            target = str(reference).rpartition("/")[2]
            return self.of(self._schemas[target], name, (*within, target))
        for given in ("const", "example"):
            if given in schema:
                return schema[given]
        if "enum" in schema:
            return schema["enum"][0]
        if "allOf" in schema:
            parts: list[Mapping[str, Any]] = [self.of(part, name, within) for part in schema["allOf"]]
            return {key: value for part in parts for key, value in part.items()}
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self.of(next(each for each in choices if each.get("type") != "null"), name, within)
        return self._of_type(schema, name, within)

    def _of_type(self, schema: Schema, name: str, within: tuple[str, ...]) -> Any:
        match schema.get("type"):
            case "object":
                return self._object(schema, name, within)
            case "array":
                singular = name.removesuffix("s") if name.endswith("s") else name
                number = max(1, schema.get("minItems", 1))
                return [self.of(schema["items"], singular, within)] * number if "items" in schema else []
            case "boolean":
                return bool(schema.get("default", False))
            case "integer" | "number":
                return _number(schema, name)
            case "string":
                format_ = str(schema.get("format"))
                return (self._later or _FORMATS).get(format_, "") or _text(schema, name)
            case _:
                return None

    def _object(self, schema: Schema, name: str, within: tuple[str, ...]) -> dict[str, Any]:
        properties: Mapping[str, Schema] = schema.get("properties", {})
        required = [*schema.get("required", ())]
        optional = [each for each in properties if each not in required and not self._repeats(properties[each], within)]
        if self._later is not None:
            portable = [each for each in optional if self._is_right_anywhere(properties[each], each)]
            optional = portable if required or portable else optional[:1]
        wanted = [*required, *optional][: schema.get("maxProperties", len(properties))]
        found = {each: self.of(properties[each], each, within) for each in properties if each in wanted}
        more = schema.get("additionalProperties")
        if not properties and isinstance(more, Mapping):
            found[text_for("account_id")] = self.of(more, name, within)
        return found

    def _is_right_anywhere(self, schema: Schema, name: str) -> bool:
        """Return whether the value is no id, token or time, and has none as a part."""
        if "$ref" in schema:
            return self._is_right_anywhere(self._schemas[str(schema["$ref"]).rpartition("/")[2]], name)
        if schema.keys() & {"const", "example", "enum"}:
            return True
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self._is_right_anywhere(next(each for each in choices if each.get("type") != "null"), name)
        match schema.get("type"):
            case "object":
                parts = schema.get("properties", {})
                return all(self._is_right_anywhere(parts[each], each) for each in schema.get("required", ()))
            case "array":
                return self._is_right_anywhere(schema["items"], name.removesuffix("s"))
            case "string":
                known = _known(name) != "" and not is_id(name)
                return schema["format"] in _ANYWHERE if "format" in schema else known
            case _:
                return True

    def _repeats(self, schema: Schema, within: Sequence[str]) -> bool:
        """Return whether a field contains what contains it."""
        return any(reference in within for reference in _references(schema))


def later_than(now: datetime) -> Mapping[str, str]:
    """Return a time and a day some months after now, by format, the same for all of a month."""
    month = now.year * 12 + now.month - 1 + 6
    first = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return {"date": first.date().isoformat(), "date-time": first.isoformat().replace("+00:00", "Z")}


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield str(schema["$ref"]).rpartition("/")[2]
        for each in schema.values():
            yield from _references(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _number(schema: Schema, name: str) -> int:
    least = max(schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)
    most = min(schema.get("maximum", 2**31), schema.get("exclusiveMaximum", 2**31) - 1)
    number: int = max(least, min(number_for(name), most))
    return number


def _known(name: str) -> str:
    if name.endswith("email"):
        return "ada@example.org" if name.startswith("to_") else "grace@example.org"
    return text_for(name)


def _text(schema: Schema, name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    pattern = re.compile(schema.get("pattern", ""))
    least, most = schema.get("minLength", 0), schema.get("maxLength", 2**31)
    for text in (_known(name), schema.get("default"), *_TEXTS):
        if text and pattern.search(text) and least <= len(text) <= most:
            return str(text)
    raise LookupError(f"there is no example for the field {name} with the pattern {pattern.pattern}: add one to _TEXTS")
