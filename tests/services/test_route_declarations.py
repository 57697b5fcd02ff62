"""A route as its function declares it: what fits, what is refused, and that nothing is left unsaid."""

import ast
import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest
from pydantic import BaseModel
from starlette.datastructures import State

from shared.eventlog.decision import SUPPLIED
from shared.eventlog.write.log import Log, Meta, utc_now
from shared.eventlog.write.memory import MemoryStore
from shared.events.envelope import StoredEvent
from shared.runtime.auth import Actor
from shared.runtime.forms import part_of
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from tests.examples.engine import COUNTER, Count
from tests.services.counters import parts

# ── What a declaration says ────────────────────────────────────────────────────────────────────────────


class Other(BaseModel):
    """A form of a route's own."""

    by: str


async def with_a_place(context: RequestContext[Count], key: str) -> Addressed[Count]:
    return Addressed(key, context.asked)


async def with_a_number(context: RequestContext[Count], key: int) -> Addressed[Count]:
    return Addressed(str(key), context.asked)


async def with_a_form(context: RequestContext[Other]) -> Addressed[Count]:
    return Addressed("one", Count(by=context.asked.by))


async def with_a_command_alone(context: RequestContext[Count]) -> Count:
    return context.asked


@pytest.mark.parametrize(
    ("path", "function", "why"),
    [
        ("/counters/{id}", with_a_place, r"not in the path, or not str: \['key'\]"),
        ("/counters", with_a_place, r"not in the path, or not str: \['key'\]"),
        ("/counters/{key}", with_a_number, r"not in the path, or not str: \['key'\]"),
        ("/counters/{key}/{more}", with_a_place, r"does not use these path parameters: \['more'\]"),
        ("/counters/{limit}/{key}", with_a_place, r"does not use these path parameters: \['limit'\]"),
        ("/counters/{by}", with_a_form, r"does not use these path parameters: \['by'\]"),
        ("/counters", with_a_command_alone, r"return an Addressed"),
    ],
)
def test_a_function_that_does_not_fit_its_path_is_refused(path: str, function: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        CommandRoutes().route("POST", path, COUNTER)(function)


def test_a_field_that_the_path_names_is_not_in_the_form() -> None:
    commands = CommandRoutes()
    commands.route("POST", "/counters/{key}/{by}", COUNTER)(with_a_place)
    commands.route("POST", "/counters/{key}", COUNTER)(with_a_place)
    first, second = ("by" in route.form.model_fields for route in commands.routes)
    assert (first, second) == (False, True)


def test_included_routes_come_first_in_their_order() -> None:
    first, second = CommandRoutes(), CommandRoutes()
    for commands, path in ((first, "/a/{key}"), (first, "/b/{key}"), (second, "/c/{key}")):
        commands.route("POST", path, COUNTER)(with_a_place)
    every = CommandRoutes(first, second)
    every.route("DELETE", "/a/{key}", COUNTER)(with_a_place)
    assert [route.path for route in every.routes] == ["/a/{key}", "/b/{key}", "/c/{key}", "/a/{key}"]
    assert len(first.routes) == 2


# ── The caller's part of a command ─────────────────────────────────────────────────────────────────────


@dataclasses.dataclass(frozen=True, slots=True)
class Add:
    """Add somebody to a group."""

    group: str
    number: int
    by: Annotated[str, SUPPLIED]
    note: str = "none"
    more: Annotated[int, SUPPLIED] = 7


class AddForm(BaseModel):
    note: str = "none"


def test_the_callers_part_is_of_the_form_the_path_and_the_defaults() -> None:
    part = part_of(Add, AddForm, ["group", "number"])(AddForm(note="x"), {"group": "g", "number": "5"})
    assert isinstance(part, Add)
    assert (part.group, part.note, part.more) == ("g", "x", 7)
    assert not hasattr(part, "number"), "the path's is text, and the field is none"
    done = dataclasses.replace(part, number=5, by="ana")
    assert done == Add("g", 5, "ana", "x", 7)


def test_a_command_that_lacks_what_its_route_supplies_is_never_made() -> None:
    part = part_of(Add, AddForm, ["group"])(AddForm(), {"group": "g"})
    assert isinstance(part, Add)
    with pytest.raises(AttributeError, match="by"):
        dataclasses.replace(part, number=5)


# ── Every route of every service ───────────────────────────────────────────────────────────────────────


def functions() -> Iterator[Any]:
    """Each function below a decorator `COMMANDS.route`, and its module."""
    for file in sorted(Path("services").rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.AsyncFunctionDef) and "COMMANDS.route" in map(_called, node.decorator_list):
                module = ".".join(file.with_suffix("").parts)
                yield pytest.param(module, node, id=f"{file.parent.name}-{node.name}")


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def test_every_route_of_the_services_is_found() -> None:
    assert len(list(functions())) > 40


@pytest.mark.parametrize(("module", "node"), list(functions()))
def test_a_command_that_is_asked_for_is_finished_with_all_that_its_route_supplies(
    module: str, node: ast.AsyncFunctionDef
) -> None:
    """`dataclasses.replace` is checked for names and types by mypy, but not for what it lacks: that is checked here. A
    command that is built is checked by mypy whole."""
    function = getattr(importlib.import_module(module), node.name)
    command = get_type_hints(function)["return"].__args__[0]
    hints = get_type_hints(command, include_extras=True)
    supplied = {
        field.name
        for field in dataclasses.fields(command)
        if SUPPLIED in getattr(hints[field.name], "__metadata__", ()) and field.default is dataclasses.MISSING
    }
    replaced = [call for call in ast.walk(node) if isinstance(call, ast.Call) and ast.unparse(call.func) == "replace"]
    for call in replaced:
        assert supplied <= {keyword.arg for keyword in call.keywords}
    source = ast.unparse(node)
    if not replaced and "context.asked)" in source and "Addressed(" in source:
        assert not supplied, "it is returned as it was asked for"


# ── What a request reads ───────────────────────────────────────────────────────────────────────────────


class Counted(MemoryStore):
    """Counts how often a stream is read."""

    reads = 0

    async def read_stream(self, stream: str, after: int = 0) -> Sequence[StoredEvent]:
        self.reads += 1
        return await super().read_stream(stream, after)


async def twice(context: RequestContext[Count], key: str) -> Addressed[Count]:
    assert await context.state(COUNTER, key) is await context.state(COUNTER, key)
    return Addressed(key, context.asked)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_request_reads_its_stream_once(dry_run: bool) -> None:
    commands, store, made = CommandRoutes(), Counted(), parts()
    commands.route("POST", "/counters/{key}", COUNTER)(twice)
    (route,) = commands.routes
    made.opened_log = Log(store, "entitlements", snapshot_every=0)
    context = RequestContext(
        asked=route.form(),
        actor=Actor(account_id="account", organisation_id="organisation", organisation_kind="customer"),
        now=utc_now(),
        command_id="1",
        dry_run=dry_run,
        streams=made.opened_log.reader(),
        parts=made,
        app=State(),
    )
    answer, addressed = await route.decide(context, {"key": "one"}, lambda key: Meta("1", key, utc_now()), {})
    assert (answer.stream, addressed.key, store.reads) == ("counter-one", "one", 1)
    assert len(store.events) == (0 if dry_run else 1)
