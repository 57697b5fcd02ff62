"""The lists in each service's README are true: every rule, command, fact, door and query stands in it, and no other."""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from fastapi.routing import APIRoute

from deploy import ROOT
from shared.runtime.service import Service

SERVICES = ("identity", "marketplace", "entitlements", "distribution")
ACCESS = {"role-missing", "agreement-missing", "seat-right-missing"}
"""Refusals of administrative access, which shared.runtime words for the services that have doors for administrators."""


def home(service: str) -> Path:
    return ROOT / "services" / service


def readme(service: str) -> str:
    return (home(service) / "README.md").read_text()


def section(service: str, start: str, end: str) -> str:
    text = readme(service)
    return text[text.index(start) : text.index(end)]


def declared(service: str) -> Service:
    found: Service = importlib.import_module(f"services.{service}.__main__").SERVICE
    return found


def streams(service: str) -> list[ModuleType]:
    modules = [
        importlib.import_module(f"services.{service}.domain.{f.stem}") for f in home(service).glob("domain/*.py")
    ]
    return [module for module in modules if hasattr(module, "Command") and hasattr(module, "Event")]


@pytest.mark.parametrize("service", SERVICES)
def test_every_rule_is_named_and_no_other(service: str) -> None:
    sources = [*home(service).glob("domain/*.py"), home(service) / "api.py"]
    written = re.compile(r'(?:Rejected\(\s*|rule=)"([a-z0-9-]+)"')
    rules = {rule for source in sources for rule in written.findall(source.read_text())} - {"unavailable"}
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", section(service, "## Rules", "## Events in")))
    assert rules - named == set(), "rules that the README does not name"
    assert named - rules - ACCESS == set(), "rules that nothing refuses by"


@pytest.mark.parametrize("service", SERVICES)
def test_every_command_and_fact_stands_in_the_table(service: str) -> None:
    table = section(service, "| stream", "Tenant:")
    assert streams(service)
    for stream in streams(service):
        for kind in (*get_args(stream.Command), *get_args(stream.Event)):
            assert re.search(rf"\b{kind.__name__}\b", table), kind


@pytest.mark.parametrize("service", SERVICES)
def test_every_event_that_sets_something_off_is_named(service: str) -> None:
    text = readme(service)
    replicated = {"RoleAssigned", "RoleRevoked", "AgreementScheduled", "AgreementStarted", "AgreementEnded"}
    timers = declared(service).timers
    for name in timers.names if timers else ():
        assert f"`{name}`" in text, f"the timer {name}"
    for consumer in (*declared(service).consumers, *((timers.projection,) if timers else ())):
        for event_type in consumer.types - (replicated if consumer.name == "access" else set()):
            assert re.search(rf"\b{event_type}\b", text), f"{consumer.name} consumes {event_type}"


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "marketplace"])
def test_every_door_and_query_is_named_and_no_other(service: str) -> None:
    parts = declared(service)
    routes = [route for route in parts.queries.routes if isinstance(route, APIRoute)] if parts.queries else []
    real = {f"{door.method} {door.path}" for door in parts.doors.doors}
    real |= {f"{method} {route.path}" for route in routes for method in route.methods or ()}
    named = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]*)`", section(service, "## Doors", "## Choices")))
    assert named == real
