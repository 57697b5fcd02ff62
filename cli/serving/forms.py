"""The forms of the verbs' parameters, derived from their declarations.

A parameter is called as on the command line, with underscores: `to_topic` for `--to-topic`. Parameters that name a file
of the machine where the verb runs are left out.
"""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    create_model,
)
from typer.models import ParameterInfo

from cli.app import VERBS, Declaration
from cli.context import consumers
from cli.options import Contents, ServedHelp
from cli.output import time_of
from shared.eventlog.deliver.projection import Projection
from shared.events.fields import Text
from shared.services import SERVICES

_STRICT: Final = ConfigDict(extra="forbid", strict=True, validate_by_alias=True, validate_by_name=False)
ITEMS_AT_MOST: Final = 1000
CONTENTS_AT_MOST: Final = 2 * 1024 * 1024
_WHOLE: Final = 2**63 - 1
"""The greatest whole number that a table can hold."""


def _consumers() -> Sequence[str]:
    return [f"{service}.{name}" for service in SERVICES for name in consumers(service)]


def _projections() -> Sequence[str]:
    named = [(service, name, what) for service in SERVICES for name, what in consumers(service).items()]
    return [f"{service}.{name}" for service, name, what in named if isinstance(what, Projection)]


SUGGESTED: Final[Mapping[str, Callable[[], Sequence[str]]]] = {
    "service": lambda: SERVICES,
    "consumer": _consumers,
    "projection": _projections,
}
"""What the listing names as examples of a parameter, by its name."""


class Confirmation(BaseModel):
    """What a changing verb's form has besides its own parameters."""

    model_config = _STRICT

    yes: Annotated[bool, Field(description="Apply the plan. It needs `reason` and `plan`.")] = False
    reason: Annotated[Text, Field(description="The reason, for the record.")] = ""
    plan: Annotated[str, StringConstraints(max_length=100), Field(description="The digest of the plan.")] = ""


def slug(name: str) -> str:
    """Return a verb's name as it is in a path."""
    return name.replace(" ", "-")


def served() -> dict[str, Declaration]:
    """Return the verbs that are served, by the name in their path."""
    return {slug(name): verb for name, verb in sorted(VERBS.items()) if not verb.not_served}


@cache
def form_of(verb: Declaration) -> type[BaseModel]:
    """Make the form of a verb's parameters.

    That of a changing one has those of a confirmation, too.
    """
    fields: dict[str, Any] = {}
    for name, parameter in verb.parameters.items():
        if (field := _field(name, parameter)) is not None:
            fields[name] = field
    title = "".join(word.capitalize() for word in slug(verb.name).split("-"))
    if verb.changes:
        return create_model(title, __base__=Confirmation, __doc__=verb.function.__doc__, **fields)
    return create_model(title, __config__=_STRICT, __doc__=verb.function.__doc__, **fields)


def arguments_of(verb: Declaration, form: BaseModel) -> dict[str, Any]:
    """Return the arguments of the verb's function, as the form gives them."""
    return {
        name: getattr(form, name) if name in type(form).model_fields else parameter.default
        for name, parameter in verb.parameters.items()
    }


def given_in(raw: bytes) -> dict[str, JsonValue]:
    """Return the verb's own parameters in a request that was read, as they were written."""
    given: dict[str, JsonValue] = orjson.loads(raw or b"{}")
    return {name: value for name, value in given.items() if name not in Confirmation.model_fields and value is not None}


def _field(name: str, parameter: inspect.Parameter) -> tuple[Any, Any] | None:
    """Return a parameter's type and field; None for a file of the server's machine."""
    kind: Any = parameter.annotation
    notes: tuple[object, ...] = ()
    if get_origin(kind) is Annotated:
        kind, *noted = get_args(kind)
        notes = tuple(noted)
    info = next((note for note in notes if isinstance(note, ParameterInfo)), None)
    optional = get_origin(kind) in (Union, types.UnionType)
    if optional:
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if kind is Path:
        return None
    help_text = next((note.text for note in notes if isinstance(note, ServedHelp)), (info and info.help) or "")
    read_as = _type(kind, None if info is None else info.min, None if info is None else info.max)
    default = ... if parameter.default is inspect.Parameter.empty else parameter.default
    return read_as | None if optional else read_as, Field(default, alias=_typed_as(name, info), description=help_text)


def _typed_as(name: str, info: ParameterInfo | None) -> str:
    """Return the parameter's name as it is typed, which Typer may take for its default."""
    declared = () if info is None else (info.default, *(info.param_decls or ()))
    typed = [each for each in declared if isinstance(each, str) and each.startswith("--")]
    return typed[0].removeprefix("--").replace("-", "_") if typed else name


def _type(kind: object, least: float | None, most: float | None) -> Any:
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return Annotated[list[_type(item, None, None)], Field(max_length=ITEMS_AT_MOST)]  # type: ignore[misc]
    if kind is bool:
        return bool
    if kind is int:
        lowest, highest = -_WHOLE if least is None else int(least), _WHOLE if most is None else int(most)
        return Annotated[int, Field(ge=lowest, le=highest)]
    if kind is float:
        return Annotated[FiniteFloat, Field(ge=0 if least is None else least, le=_WHOLE if most is None else most)]
    if kind is str:
        return Annotated[Text, StringConstraints(min_length=1)]
    if kind is datetime:
        return Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "x-time"})]
    if kind is Contents:
        form: dict[str, Any] = {"type": "string", "maxLength": CONTENTS_AT_MOST, "format": "x-contents"}
        return Annotated[Contents, PlainValidator(_contents), WithJsonSchema(form)]
    raise TypeError(f"a parameter of the type {kind} can't be served: add it here, or declare the verb as not served")


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("a time is text")
    return time_of(value)


def _contents(value: object) -> Contents:
    if not isinstance(value, str) or len(value) > CONTENTS_AT_MOST:
        raise ValueError(f"contents are text of at most {CONTENTS_AT_MOST} characters")
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise ValueError("contents are text without lone surrogates") from None
    return Contents(lambda: raw)
