"""The shapes of an OpenAPI document's request bodies, which refuse unknown fields.

A record is open in an answer, where a later version may have more fields, and closed in a form. What has both gets a
second shape for forms, such as `GivenMoney` beside `Money`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from shared.documents.schemas import REFERENCE

_REFERENCE: Final = re.compile(f'"{re.escape(REFERENCE.format(model=""))}([^"]+)"')


def close_forms(document: dict[str, Any]) -> None:
    """Close every shape that a request body has parts of.

    Raises:
        ValueError: The name of a second shape is another shape's.
    """
    shapes: dict[str, Any] = document["components"]["schemas"]
    parts = {name: _names_in(shape) for name, shape in shapes.items()}
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    answered = _reached(_names_in([operation["responses"] for operation in operations]), parts)
    opened = {name for name, shape in shapes.items() if "properties" in shape and "additionalProperties" not in shape}
    changed = {name for name in _reached(_names_in(bodies), parts) if _reached({name}, parts) & opened}
    names = {name: f"Given{name}" for name in changed & answered}
    if taken := shapes.keys() & names.values():
        raise ValueError(f"two shapes of the OpenAPI document have the name {min(taken)}: rename one")
    for name in sorted(changed):
        shape = _with_names(shapes[name], names)
        if name in opened:
            shape["additionalProperties"] = False
        if name in names:
            shape["title"] = names[name]  # generators of clients name their classes by titles
        shapes[names.get(name, name)] = shape
    for body in bodies:
        body.update(_with_names(body, names))


def _names_in(part: Any) -> set[str]:
    return set(_REFERENCE.findall(json.dumps(part)))


def _reached(names: set[str], parts: Mapping[str, set[str]]) -> set[str]:
    """Return these shapes and those that they have parts of, directly or not."""
    found, following = set[str](), names
    while following:
        found |= following
        following = set().union(*(parts[name] for name in following)) - found
    return found


def _with_names(part: Any, names: Mapping[str, str]) -> Any:
    """Return a copy of a part that refers to the shapes by other names."""
    return json.loads(
        _REFERENCE.sub(
            lambda found: json.dumps(REFERENCE.format(model=names.get(found[1], found[1]))), json.dumps(part)
        )
    )
