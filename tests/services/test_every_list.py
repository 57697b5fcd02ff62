"""Every list of every service: it sorts, pages and exports, and PostgreSQL can run each of its statements."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType

import asyncpg
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

import services
from services import definition_of
from shared.runtime.exports import ListRoute, item_of
from shared.runtime.lists import Listing
from shared.runtime.wellformed import Parameters
from shared.services import SERVICES
from tests.services.every_route import leaves

PAGING = {"sort", "limit", "after", "format"}
NOT_YET = {
    *("/sessions", "/machines", "/invitations", "/addresses/claims", "/refusals"),
}
"""Lists that have not been moved to the mechanism."""


def modules(service: str) -> Iterator[ModuleType]:
    package = importlib.import_module(f"{services.__name__}.{service}")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations" not in found.name and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def listings(service: str) -> dict[str, Listing]:
    """The service's lists by the names of their constants."""
    return {
        name: value for module in modules(service) for name, value in vars(module).items() if isinstance(value, Listing)
    }


def routes(service: str) -> Iterator[APIRoute]:
    """The queries that answer with `items`."""
    queries = definition_of(service).queries
    for route in leaves(queries.routes if queries is not None else []):
        model = getattr(route, "response_model", None)
        listed = isinstance(model, type) and issubclass(model, BaseModel) and "items" in model.model_fields
        if listed and "GET" in route.methods:
            yield route


@pytest.mark.parametrize("service", SERVICES)
def test_every_list_sorts_pages_and_exports(service: str) -> None:
    for route in routes(service):
        if route.path not in NOT_YET:
            assert isinstance(route, ListRoute), f"{route.path}: its router's class is not ListRoute"
            assert item_of(route.response_model) is not None, f"{route.path}: its answer has no `next`"
            lacking = PAGING - Parameters.of(route.dependant).known
            assert not lacking, f"{route.path} lacks {', '.join(sorted(lacking))}"


@pytest.mark.system
@pytest.mark.parametrize("service", SERVICES)
async def test_postgresql_can_run_every_list_in_every_order(service: str, databases: Callable[[str], str]) -> None:
    db = await asyncpg.connect(databases(service))
    try:
        for name, listing in listings(service).items():
            for sort, statement in listing.statements.items():
                try:
                    await db.prepare(statement)
                except asyncpg.PostgresError as error:
                    pytest.fail(f"{name} by {sort}: {error}")
    finally:
        await db.close()
