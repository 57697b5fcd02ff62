"""identity, marketplace and entitlements whole, for their tests."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.services.entitled import Doors, a_world, confirmed, open_doors
from tests.services.identity_bench import Bench, opened
from tests.services.market import Market, a_market
from tests.services.world import World


@pytest.fixture
async def world(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with a_world(database, monkeypatch) as made:
        yield made


@pytest.fixture
async def doors(world: World) -> AsyncIterator[Doors]:
    async with open_doors(world, confirmed("s", "org", "reseller")) as made:
        yield made


@pytest.fixture
async def bench(databases: Callable[[str], str]) -> AsyncIterator[Bench]:
    async with opened(databases) as made:
        yield made


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made
