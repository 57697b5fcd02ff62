"""Every list of every service: it sorts, pages and exports, and PostgreSQL can run each of its statements."""

from collections.abc import Callable

import asyncpg
import pytest

from shared.runtime.exports import ListRoute, item_of
from shared.runtime.wellformed import Parameters
from shared.services import SERVICES
from tests.services.every_list import PAGING, listings, routes


@pytest.mark.parametrize("service", SERVICES)
def test_every_list_sorts_pages_and_exports(service: str) -> None:
    for route in routes(service):
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
            for sort, statement in (*listing.statements.items(), ("key", listing.rows or "select 1")):
                try:
                    await db.prepare(statement)
                except asyncpg.PostgresError as error:
                    pytest.fail(f"{name} by {sort}: {error}")
    finally:
        await db.close()
