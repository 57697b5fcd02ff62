"""The lists in each service's README are true: every rule, command, fact, event that sets something off, timer, route
and query stands where it belongs, and none that does not exist."""

import ast
import importlib
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any, get_args

import pytest
from fastapi.routing import APIRoute

import shared.rules
from deploy import ROOT
from services import definition_of
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.projection import Reactions
from shared.events.registry import EVENTS, published_by
from shared.services import SERVICES

ACCESS = {"role-missing", "agreement-missing", "seat-right-missing", "publisher-only"}
"""Refusals of access, which shared.runtime words for services with routes for administrators or publishers."""
REPLICATED = {"RoleAssigned", "RoleRevoked", "AgreementScheduled", "AgreementStarted", "AgreementEnded"}
"""What administrative access is replicated from: "roles and agreements" in a README."""
NAME = r"\b(?:[A-Z][a-z]+){2,}\b"
"""How commands and facts are written."""


def readme(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text()


def section(service: str, start: str) -> str:
    """From a line that begins so to the next heading; nothing where there is no such line."""
    found = re.search(rf"^{re.escape(start)}.*?(?=^## |\Z)", readme(service), re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def modules(service: str) -> Iterator[ModuleType]:
    for file in (ROOT / "services" / service / "domain").glob("*.py"):
        module = importlib.import_module(f"services.{service}.domain.{file.stem}")
        if hasattr(module, "Command") and hasattr(module, "Event"):
            yield module


def names(union: Any) -> set[str]:
    return {kind.__name__ for kind in get_args(union) or (union,)}


def shared_rules(service: str) -> set[str]:
    """The rules of `shared/rules.py` that the service's own modules refuse by."""
    sources = (ROOT / "services" / service).rglob("*.py")
    statements = (node for source in sources for node in ast.walk(ast.parse(source.read_text())))
    imports = (node for node in statements if isinstance(node, ast.ImportFrom) and node.module == "shared.rules")
    return {getattr(shared.rules, alias.name) for node in imports for alias in node.names} - {shared.rules.UNAVAILABLE}


@pytest.mark.parametrize("service", SERVICES)
def test_every_rule_is_named_and_no_other(service: str) -> None:
    own = importlib.import_module(f"services.{service}.domain.rules")
    rules = {rule for constant, rule in vars(own).items() if constant.isupper()} | shared_rules(service)
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", section(service, "## Rules")))
    assert rules - named == set(), "rules that the README does not name"
    assert named - rules - ACCESS == set(), "rules that nothing refuses by"


@pytest.mark.parametrize("service", SERVICES)
def test_each_streams_commands_and_facts_stand_in_its_row_and_no_other(service: str) -> None:
    table = re.findall(r"^\| `([a-z]+)-.*?` \| (.*?) \| (.*?) \|$", readme(service), re.MULTILINE)
    named = {category: (set(commands.split(", ")), set(facts.split(", "))) for category, commands, facts in table}
    assert len(named) == len(table)
    real = {
        stream.category: (names(module.Command), names(module.Event))
        for module in modules(service)
        for stream in vars(module).values()
        if isinstance(stream, Stream) and stream in definition_of(service).streams
    }
    assert set(real) == {stream.category for stream in definition_of(service).streams}
    for category, (commands, facts) in real.items():
        written = named.get(category, (set(), set()))
        assert (commands, facts) == written, f"the README's row of the stream {category} says otherwise"
    assert set(named) == set(real), "rows of streams that do not exist"


@pytest.mark.parametrize("service", SERVICES)
def test_every_event_that_sets_something_off_is_named_and_no_other(service: str) -> None:
    """The service's own facts are named where something follows from them; what is only folded need not be."""
    parts, own = definition_of(service), set(published_by(service))
    consumed = set[str]()
    for consumer in (*parts.consumers, *((parts.timers.projection,) if parts.timers else ())):
        reacts = isinstance(consumer, Reactions)
        consumed |= consumer.types - (REPLICATED if consumer.name == "access" else set() if reacts else own)
    named = set(re.findall(NAME, section(service, "## Events in"))) & set(EVENTS)
    assert consumed - named == set(), "consumed, and not named"
    assert named - consumed - own - REPLICATED == set(), "named, and not consumed"


@pytest.mark.parametrize("service", SERVICES)
def test_every_timer_is_named_and_no_other(service: str) -> None:
    parts = definition_of(service)
    named = set(re.findall(r"`([a-z-]+)`", section(service, "## Timers")))
    named |= set(re.findall(r"timer `([a-z-]+)`", readme(service)))
    assert named == (set(parts.timers.names) if parts.timers else set())


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_named_that_does_not_exist(service: str) -> None:
    commands = {name for module in modules(service) for name in names(module.Command)}
    assert set(re.findall(NAME, readme(service))) - commands - set(EVENTS) == set()


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_and_query_is_named_and_no_other(service: str) -> None:
    parts = definition_of(service)
    routes = [route for route in parts.queries.routes if isinstance(route, APIRoute)] if parts.queries else []
    real = {f"{route.method} {route.path}" for route in parts.commands.routes}
    real |= {
        f"{method} {getattr(route, 'path_format', route.path)}" for route in routes for method in route.methods or ()
    }
    named = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]*)`", section(service, "## Routes")))
    assert real - named == set(), 'routes that "Routes" of the README does not name'
    assert named - real == set(), "routes that do not exist"
