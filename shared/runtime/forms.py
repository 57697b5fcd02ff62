"""A command's public form: made from the command, and read from a request's body and path."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError, create_model

from shared import rules
from shared.eventlog.decision import SUPPLIED
from shared.events.fields import DerivedIdentifier
from shared.runtime import wellformed
from shared.runtime.problems import Problem, malformed


def is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(is_secret(part) for part in get_args(annotation))


def form_of(command: type[Any], path: str, name: str = "") -> type[BaseModel]:
    """The command's public form: its fields but those that its door supplies or takes from the path. `name` is what the
    document calls it, where the command has a form by its own name."""
    hints = get_type_hints(command, include_extras=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(command):
        if SUPPLIED in getattr(hints[field.name], "__metadata__", ()) or f"{{{field.name}}}" in path:
            continue
        default = ... if field.default is dataclasses.MISSING else field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        fields[field.name] = (hints[field.name], default)
    config = ConfigDict(extra="forbid", strict=True)
    return create_model(name or command.__name__, __config__=config, __doc__=command.__doc__, **fields)


def read_form(form: type[BaseModel], raw: bytes, content_type: str) -> BaseModel:
    if not raw and not any(field.is_required() for field in form.model_fields.values()):
        return form()
    if content_type.split(";")[0].strip().lower() not in ("application/json", ""):
        reason = f"This door reads application/json, not {content_type[:80]}."
        raise Problem(415, rule=rules.UNSUPPORTED_MEDIA_TYPE, reason=reason, remedy="Send the body as JSON.")
    parsed = wellformed.check_json(raw)
    try:
        made = form.model_validate_json(raw or b"null")
    except ValidationError as error:
        raise malformed(error) from None
    wellformed.check_fields(made, parsed)
    return made


_PARAMETER: Final[TypeAdapter[str]] = TypeAdapter(DerivedIdentifier)


def read_path(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """The path's parameters: each is an id. Raises Problem 422, naming what can't be one."""
    for name, value in parameters.items():
        try:
            _PARAMETER.validate_python(value)
        except ValidationError as error:
            raise malformed(error, name) from None
    return parameters
