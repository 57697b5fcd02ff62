"""Commands' public forms, which are derived from the commands and read from requests."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError, create_model

from shared import rules
from shared.eventlog.decision import SUPPLIED
from shared.events.fields import DerivedIdentifier
from shared.runtime import wellformed
from shared.runtime.problems import Problem, malformed

ITEMS_AT_MOST: Final = 1000
"""The greatest number of items in a bulk request: one more than the seats of a subscription."""
_STRICT: Final = ConfigDict(extra="forbid", strict=True)
Form = TypeVar("Form", bound=BaseModel)


def has_secret(form: type[BaseModel]) -> bool:
    """Return whether a field of the form is a secret."""
    return any(_is_secret(field.annotation) for field in form.model_fields.values())


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))


def form_of(command: type[object], path: str, name: str = "") -> type[BaseModel]:
    """Make the command's public form.

    It has the command's fields without those that the route supplies or the path names.

    Args:
        name: the form's name in the OpenAPI document, if not the command's.
    """
    hints = get_type_hints(command, include_extras=True)
    fields: dict[str, Any] = {}
    for field in _fields(command):
        if SUPPLIED in getattr(hints[field.name], "__metadata__", ()) or f"{{{field.name}}}" in path:
            continue
        default = ... if field.default is dataclasses.MISSING else field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        fields[field.name] = (hints[field.name], default)
    return create_model(name or command.__name__, __config__=_STRICT, __doc__=command.__doc__, **fields)


def many_of(item: type[BaseModel], name: str) -> type[BaseModel]:
    """Make the form of a bulk request: `{"items": [...]}`."""
    items: Any = (list[item], Field(min_length=1, max_length=ITEMS_AT_MOST))  # type: ignore[valid-type]
    return create_model(name, __config__=_STRICT, items=items)


def item_of(form: type[BaseModel]) -> type[BaseModel]:
    """Return the form of an item of a form that `many_of` made."""
    item: type[BaseModel] = get_args(form.model_fields["items"].annotation)[0]
    return item


def items_of(form: BaseModel) -> Sequence[BaseModel]:
    """Return the items of a form that `many_of` made."""
    items: Sequence[BaseModel] = getattr(form, "items")  # noqa: B009  # the field of a model that is made here
    return items


def text_fields(command: type[object]) -> frozenset[str]:
    """Return the names of the command's fields that are plain text, which a path can name."""
    hints = get_type_hints(command)
    return frozenset(field.name for field in _fields(command) if hints[field.name] is str)


def part_of(
    command: type[object], form: type[BaseModel], named: Sequence[str]
) -> Callable[[BaseModel, Mapping[str, str]], object]:
    """Return a function that makes the caller's part of a command, from its form and the path.

    Fields without a value and without a default stay unset. `dataclasses.replace` sets them, and fails if one is not
    given; reading an unset field fails too.

    Args:
        named: the path's parameters. A text field of the same name takes the parameter's value.
    """
    from_form = tuple(form.model_fields)
    text = text_fields(command)
    from_path = tuple(name for name in named if name in text and name not in from_form)
    defaults = {field.name: field.default for field in _fields(command) if field.default is not dataclasses.MISSING}
    rest = tuple((name, default) for name, default in defaults.items() if name not in from_form + from_path)
    with_factory = [field.name for field in _fields(command) if field.default_factory is not dataclasses.MISSING]
    if supplied := [name for name in with_factory if name not in from_form]:
        raise TypeError(f"{command.__name__}: supplied fields can't have default factories: {supplied}")
    set_field = object.__setattr__

    def part(given: BaseModel, path: Mapping[str, str]) -> object:
        part = object.__new__(command)
        for name in from_form:
            set_field(part, name, getattr(given, name))
        for name in from_path:
            set_field(part, name, path[name])
        for name, default in rest:
            set_field(part, name, default)
        return part

    return part


def _fields(command: type[object]) -> tuple[dataclasses.Field[object], ...]:
    if not dataclasses.is_dataclass(command):
        raise TypeError(f"{command.__name__} is not a dataclass")
    return dataclasses.fields(command)


def read_form(form: type[Form], raw: bytes, content_type: str) -> Form:
    """Read a request's body. Raises Problem 415, or 422 if it is not this form."""
    if not raw and not any(field.is_required() for field in form.model_fields.values()):
        return form()
    if content_type.split(";")[0].strip().lower() not in ("application/json", ""):
        reason = f"This route reads application/json, not {content_type[:80]}."
        raise Problem(rule=rules.UNSUPPORTED_MEDIA_TYPE, reason=reason, remedy="Send the body as JSON.")
    parsed = wellformed.check_json(raw)
    try:
        result = form.model_validate_json(raw or b"null")
    except ValidationError as error:
        raise malformed(error) from None
    wellformed.check_fields(result, parsed)
    return result


_ID: Final[TypeAdapter[str]] = TypeAdapter(DerivedIdentifier)


def path_types(command: type[object], named: Sequence[str]) -> Mapping[str, TypeAdapter[str]]:
    """Return the type of each path parameter.

    It is the type of the command's field of that name, if that is annotated text that a caller gives, or else an id.
    """
    hints = get_type_hints(command, include_extras=True)
    return {name: TypeAdapter(hints[name]) if _is_annotated_text(hints.get(name)) else _ID for name in named}


def _is_annotated_text(hint: object) -> bool:
    metadata = getattr(hint, "__metadata__", ())
    return bool(metadata) and SUPPLIED not in metadata and get_args(hint)[0] is str


def read_path(parameters: Mapping[str, str], types: Mapping[str, TypeAdapter[str]]) -> Mapping[str, str]:
    """Read the path's parameters. Raises Problem 422, which names the invalid one."""
    result: dict[str, str] = {}
    for name, value in parameters.items():
        try:
            result[name] = types[name].validate_python(value)
        except ValidationError as error:
            raise malformed(error, name) from None
    return result
