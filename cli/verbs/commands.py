"""`tenure command`: the services' commands, sent with the token in TENURE_TOKEN.

They are read from the services' OpenAPI documents, so that every command has this door as soon as it has a route.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote

import orjson
import typer
import uuid_utils

from cli.app import Result, group, verb
from cli.context import Context, services_named
from cli.doors import ask, call, token
from cli.exit_codes import NOT_FOUND, USAGE, OperatorError
from cli.output import Output

group("command", "The services' commands: list, show, send with your token.")

_NOT_SERVED: Final = "It sends a command with the token of the person who may: each page has a form for that."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """A command's route, as its service describes it."""

    service: str
    name: str
    method: str
    path: str
    summary: str
    fields: dict[str, Any]
    """Each field's schema, those of the path first."""
    in_path: frozenset[str]
    required: frozenset[str]
    open: bool
    """Whether it needs no token."""

    def value_of(self, written: str) -> tuple[str, Any]:
        """Return a field's name and value from `name=value`, or from `name:=JSON`.

        Raises:
            OperatorError: There is no such field, or it can't have that value.
        """
        name, equals, text = written.partition("=")
        as_json = name.endswith(":")
        name = name.removesuffix(":")
        if not equals or name not in self.fields:
            raise OperatorError(f"{written!r} is no field=value; the fields are {', '.join(self.fields)}.", USAGE)
        types = _types(self.fields[name])
        if not as_json and ("string" in types or name in self.in_path):
            return name, text
        try:
            return name, orjson.loads(text)
        except orjson.JSONDecodeError:
            raise OperatorError(f"{name} is no text: write it as JSON, such as {name}:=[...].", USAGE) from None


@verb("command ls", not_served=_NOT_SERVED)
async def list_commands(
    context: Context,
    output: Output,
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
) -> Result:
    """List the services' commands."""
    found = [each for name in services_named(service) for each in await _commands(context, name)]
    output.table(("service", "command", "what it does"), [(each.service, each.name, each.summary) for each in found])
    output.line("`tenure command show COMMAND` lists a command's fields.")
    return Result({"commands": [{"service": each.service, "command": each.name} for each in found]})


@verb("command show", not_served=_NOT_SERVED)
async def show_command(
    context: Context, output: Output, command: Annotated[str, typer.Argument(help="As `tenure command ls` names it.")]
) -> Result:
    """Show a command's fields."""
    found = await _named(context, command)
    output.line(f"{found.service}, {found.method} {found.path}: {found.summary}")
    output.table(
        ("field", "needed", "what it is"),
        [
            (name, "yes" if name in found.required else "", schema.get("description") or " or ".join(_types(schema)))
            for name, schema in found.fields.items()
        ],
    )
    return Result({"service": found.service, "fields": found.fields, "required": sorted(found.required)})


@verb("command send", not_served=_NOT_SERVED)
async def send_command(
    context: Context,
    output: Output,
    command: Annotated[str, typer.Argument(help="As `tenure command ls` names it.")],
    fields: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=VALUE...", help="A field that is no text: FIELD:=JSON.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send it. Without this, it is a dry run.")] = False,
    key: Annotated[
        str, typer.Option(help="The Idempotency-Key: a repeated command with the same key gets the first answer.")
    ] = "",
) -> Result:
    """Send a command with the token in TENURE_TOKEN.

    The command's own event records who sent it.
    """
    found = await _named(context, command)
    values = dict(found.value_of(each) for each in fields or ())
    if missing := [name for name in found.fields if name in found.required - values.keys()]:
        raise OperatorError(f"{command} needs {', '.join(missing)}.", USAGE)
    path = found.path.format_map({name: quote(str(values.pop(name)), safe="") for name in found.in_path})
    secret = "" if found.open else token(context, "whoever may send the command")
    body = values or ({} if found.fields.keys() - found.in_path else None)
    sent = key or str(uuid_utils.uuid7())
    answer = await call(context, found.service, found.method, path, sent, secret, body, dry_run=not yes)
    for each in _answers(answer):
        output.line(_in_words(each))
    if not yes:
        output.line("Dry run: nothing was changed. To send it, run it again with --yes.")
    return Result({"dry_run": not yes, "idempotency_key": sent, "answer": answer}, ok=not _refused(answer))


async def _named(context: Context, name: str) -> _Command:
    for service in services_named(None):
        for each in await _commands(context, service):
            if each.name == name:
                return each
    raise OperatorError(f"There is no command {name}; `tenure command ls` lists the commands.", NOT_FOUND)


async def _commands(context: Context, service: str) -> list[_Command]:
    document = await ask(context, service, "/openapi.json", "")
    return [
        _read(document, service, path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "commands" in operation.get("tags", ())
    ]


def _read(document: dict[str, Any], service: str, path: str, method: str, operation: dict[str, Any]) -> _Command:
    placed = {each["name"]: each["schema"] for each in operation["parameters"] if each["in"] == "path"}
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    form = _followed(document, body)
    return _Command(
        service=service,
        name=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        fields={**placed, **{name: _followed(document, each) for name, each in form.get("properties", {}).items()}},
        in_path=frozenset(placed),
        required=frozenset(placed) | frozenset(form.get("required", ())),
        open=not operation["security"],
    )


def _followed(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a reference names, or the schema itself."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _types(schema: dict[str, Any]) -> list[str]:
    """Return the JSON types that a field may have."""
    if "anyOf" in schema:
        return [name for each in schema["anyOf"] for name in _types(each)]
    return [schema.get("type", "object")]


def _answers(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the answer, or those of a bulk command's items."""
    return [each["answer"] for each in answer["items"]] if "items" in answer else [answer]


def _refused(answer: dict[str, Any]) -> bool:
    return any("rule" in each for each in _answers(answer))


def _in_words(answer: dict[str, Any]) -> str:
    if "rule" in answer:
        return f"refused ({answer['rule']}): {answer['detail']} {answer.get('remedy', '')}".rstrip()
    events = ", ".join(each["type"] for each in answer["events"]) or "nothing to change"
    return f"{answer['stream']}@{answer['version']}: {events}"
