"""Size limits for requests' bodies, derived from the bounds of their forms."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

BODY_BYTES: Final = 64 * 1024
"""The limit of a request for one command."""
CEILING_BYTES: Final = 8 * 1024 * 1024
"""The limit of any request, whatever its form."""
_CHARACTER: Final = 6
"""The bytes of a string's character at most, as in `\\u00e9`."""
_PUNCTUATION: Final = 40
"""The bytes around a value: quotes, comma, line break and indentation."""
_UNBOUNDED: Final = 2000
_SCALARS: Final[Mapping[str, int]] = {"integer": 24, "number": 32, "boolean": 5, "null": 4}


def body_bytes(form: type[BaseModel]) -> int:
    """Return the size limit of a form's body, from its fields' bounds.

    It is at least BODY_BYTES and at most CEILING_BYTES.
    """
    schema = form.model_json_schema()
    return min(max(BODY_BYTES, _largest(schema, schema.get("$defs", {}))), CEILING_BYTES)


def _largest(schema: Mapping[str, Any], shapes: Mapping[str, Any]) -> int:
    """Return the bytes of the largest JSON that a schema allows, or a value above the ceiling."""
    if "$ref" in schema:
        return _largest(shapes[schema["$ref"].rpartition("/")[2]], shapes)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return max(_largest(choice, shapes) for choice in choices)
    if "enum" in schema or "const" in schema:
        return max(_text(len(str(value))) for value in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "string":
            return _text(schema.get("maxLength", _UNBOUNDED))
        case "array":
            number: int = schema.get("maxItems", _UNBOUNDED)
            return min(CEILING_BYTES + 1, number * (_largest(schema.get("items", {}), shapes) + _PUNCTUATION))
        case "object" if "properties" in schema:
            properties = schema["properties"].items()
            return sum((len(name) + _PUNCTUATION + _largest(part, shapes) for name, part in properties), _PUNCTUATION)
        case kind:
            return _SCALARS.get(kind or "", CEILING_BYTES + 1)


def _text(characters: int) -> int:
    return _CHARACTER * characters + 2
