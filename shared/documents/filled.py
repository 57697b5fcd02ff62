"""Examples of JSON Schemas: values that they allow, for each name that of `examples.py`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from shared.documents.examples import number_for, text_for

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


class SchemaExamples:
    """The examples of a document's schemas."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        """Take the schemas that references `#/components/schemas/<name>` mean."""
        self._schemas = schemas

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
                return _text(schema, name)
            case _:
                return None

    def _object(self, schema: Schema, name: str, within: tuple[str, ...]) -> dict[str, Any]:
        properties: Mapping[str, Schema] = schema.get("properties", {})
        required = [*schema.get("required", ())]
        optional = [each for each in properties if each not in required and not self._repeats(properties[each], within)]
        wanted = [*required, *optional][: schema.get("maxProperties", len(properties))]
        found = {each: self.of(properties[each], each, within) for each in properties if each in wanted}
        more = schema.get("additionalProperties")
        if not properties and isinstance(more, Mapping):
            found[text_for("account_id")] = self.of(more, name, within)
        return found

    def _repeats(self, schema: Schema, within: Sequence[str]) -> bool:
        """Return whether a field contains what contains it."""
        return any(reference in within for reference in _references(schema))


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


def _text(schema: Schema, name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    pattern = re.compile(schema.get("pattern", ""))
    least, most = schema.get("minLength", 0), schema.get("maxLength", 2**31)
    known = "grace@example.org" if name.endswith("email") else text_for(name)
    for text in (known, schema.get("default"), *_TEXTS):
        if text and pattern.search(text) and least <= len(text) <= most:
            return str(text)
    raise LookupError(f"there is no example for the field {name} with the pattern {pattern.pattern}: add one to _TEXTS")
