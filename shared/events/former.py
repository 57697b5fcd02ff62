"""Validators for data that was stored before the contents of fields were restricted."""

from typing import Any, Final

from pydantic_core import SchemaValidator

from shared.events.fields import CONTENT_CHECKS

_BOUNDS: Final = {
    "str": ("pattern", "min_length", "max_length"),
    "int": ("ge", "gt", "le", "lt"),
    "date": ("ge", "gt", "le", "lt"),
    "tuple": ("min_length", "max_length"),
}


def without_content_checks(model: type[Any]) -> SchemaValidator:
    """Return a validator that checks the types of a model's fields, and not their contents.

    Data was read that way before the contents were restricted.
    """
    # By default, pydantic would reuse the compiled strict validators of the model and its parts.
    return SchemaValidator(_loosened(model.__pydantic_core_schema__), _use_prebuilt=False)


def _loosened(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(_loosened(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    function = schema.get("function")
    if isinstance(function, dict) and function.get("function") in CONTENT_CHECKS:
        return _loosened(schema["schema"])
    dropped = ("strict", *_BOUNDS.get(schema.get("type", ""), ()))
    return {
        key: part if key in ("cls", "metadata", "serialization", "function") else _loosened(part)
        for key, part in schema.items()
        if key not in dropped
    }
