"""How large the body of a request may be: as much as its form promises to take."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

BODY_BYTES: Final = 64 * 1024
"""Of a request for one thing."""
CEILING_BYTES: Final = 8 * 1024 * 1024
"""Of any request, whatever its form promises."""
_CHARACTER: Final = 6
"""A character of a string, at its longest: `\\u00e9`."""
_PUNCTUATION: Final = 40
"""What stands around a value: quotes, comma, a line's break and indentation."""
_UNBOUNDED: Final = 2000
_SCALARS: Final[Mapping[str, int]] = {"integer": 24, "number": 32, "boolean": 5, "null": 4}


def body_bytes(form: type[BaseModel]) -> int:
    """The largest body that this form takes, by its fields' bounds: never less than BODY_BYTES, nor more than
    CEILING_BYTES."""
    schema = form.model_json_schema()
    return min(max(BODY_BYTES, _largest(schema, schema.get("$defs", {}))), CEILING_BYTES)


def _largest(schema: Mapping[str, Any], shapes: Mapping[str, Any]) -> int:
    """The bytes of the largest JSON that the schema allows; once it is beyond the ceiling, how far does not matter."""
    if "$ref" in schema:
        return _largest(shapes[schema["$ref"].rpartition("/")[2]], shapes)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return max(_largest(each, shapes) for each in choices)
    if "enum" in schema or "const" in schema:
        return max(_text(len(str(each))) for each in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "string":
            return _text(schema.get("maxLength", _UNBOUNDED))
        case "array":
            number: int = schema.get("maxItems", _UNBOUNDED)
            return min(CEILING_BYTES + 1, number * (_largest(schema.get("items", {}), shapes) + _PUNCTUATION))
        case "object" if "properties" in schema:
            properties = schema["properties"].items()
            return sum((len(name) + _PUNCTUATION + _largest(each, shapes) for name, each in properties), _PUNCTUATION)
        case kind:
            return _SCALARS.get(kind or "", CEILING_BYTES + 1)


def _text(characters: int) -> int:
    return _CHARACTER * characters + 2
