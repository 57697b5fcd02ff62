"""A verb's page: a form of its parameters, made from their JSON Schema."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pydantic import JsonValue
from starlette.responses import Response

from services.console.deeds import again, refuse
from services.console.doors import Refused
from services.console.forms import REQUIRED
from services.console.pages.operating.server import begin, verb_named
from services.console.pages.operating.words import TAKES, label_of, title_of
from services.console.shapes.operating import ServedVerb
from services.console.texts import marked
from services.console.verbs import check_operator
from services.console.visits import Visit

Kind: TypeAlias = Literal["text", "number", "decimal", "yes", "lines", "numbers", "content"]
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
NOT_A_NUMBER: Final = marked("Enter a number.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A parameter as a field of a form."""

    name: str
    label: str
    hint: str
    kind: Kind
    required: bool
    examples: Sequence[str]
    default: str


def fields_of(verb: ServedVerb, visit: Visit) -> Sequence[Field]:
    """Return the fields of a verb's form."""
    properties, required = verb.parameters.get("properties"), verb.parameters.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return []
    return [
        _field(name, schema, visit, required=name in required)
        for name, schema in properties.items()
        if isinstance(schema, dict)
    ]


def _field(name: str, schema: Mapping[str, JsonValue], visit: Visit, *, required: bool) -> Field:
    choices, examples = schema.get("anyOf"), schema.get("examples")
    one = next((each for each in choices if each != {"type": "null"}), schema) if isinstance(choices, list) else schema
    default = schema.get("default")
    shown = "on" if default is True else "" if default in (None, False) else str(default)
    return Field(
        name=name,
        label=label_of(name, visit.texts),
        hint=visit.texts.gettext(str(schema["description"])) if schema.get("description") else "",
        kind=_kind(one if isinstance(one, dict) else {}),
        required=required,
        examples=[str(each) for each in examples] if isinstance(examples, list) else [],
        default=shown,
    )


def _kind(schema: Mapping[str, JsonValue]) -> Kind:
    items = schema.get("items")
    match schema.get("type"):
        case "boolean":
            return "yes"
        case "integer":
            return "number"
        case "number":
            return "decimal"
        case "array":
            return "numbers" if isinstance(items, dict) and items.get("type") == "integer" else "lines"
        case _:
            return "content" if schema.get("format") == "x-contents" else "text"


def read(fields: Sequence[Field], visit: Visit) -> dict[str, JsonValue]:
    """Return what was entered as the verb's parameters, and note what is wrong with it."""
    found: dict[str, JsonValue] = {}
    for field in fields:
        written = visit.form[field.name]
        text = written if field.kind == "content" else written.strip()
        if not text:
            if field.required:
                visit.form.errors[field.name] = visit.texts.gettext(REQUIRED)
            continue
        value = _value(field.kind, text)
        if value is None:
            visit.form.errors[field.name] = visit.texts.gettext(NOT_A_NUMBER)
        else:
            found[field.name] = value
    return found


def _value(kind: Kind, text: str) -> JsonValue:
    """Return what a field's text means; None if it is not a number where one belongs."""
    match kind:
        case "yes":
            return True
        case "number":
            return int(text) if _WHOLE.fullmatch(text) else None
        case "decimal":
            return float(text) if _DECIMAL.fullmatch(text) else None
        case "lines":
            return [line.strip() for line in text.splitlines() if line.strip()]
        case "numbers":
            parts = text.replace(",", " ").split()
            return [int(part) for part in parts] if all(map(_WHOLE.fullmatch, parts)) else None
        case _:
            return text


async def verb(visit: Visit) -> Response:
    """Show a verb's form, filled in with what the address says."""
    check_operator(visit)
    found = await verb_named(visit, visit.id("verb"))
    fields = fields_of(found, visit)
    for each in fields:
        given = visit.request.query_params.get(each.name, "" if visit.request.query_params else each.default)
        visit.form.values.setdefault(each.name, given)
    title, takes = title_of(found.name, visit.texts), TAKES.get(found.name, "")
    return visit.page(
        "operating/verb.html", verb=found, title=title, takes=visit.texts.gettext(takes) if takes else "", fields=fields
    )


async def run(visit: Visit) -> Response:
    """Begin a run: of a verb that changes something, its dry run."""
    check_operator(visit)
    found = await verb_named(visit, visit.id("verb"))
    parameters = read(fields_of(found, visit), visit)
    if visit.form.wrong:
        return await again(visit, verb)
    try:
        return await begin(visit, found.name, parameters)
    except Refused as refused:
        return await refuse(visit, refused, verb)
