"""A provider and an identity, both real, for the tests of sign-ins by a provider."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.console.elsewhere import World
from tests.console.provider import FakeProvider, running_provider
from tests.services.identity_bench import Bench, opened


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture
async def bench(databases: Callable[[str], str]) -> AsyncIterator[Bench]:
    async with opened(databases) as made:
        yield made


@pytest.fixture
def world(provider: FakeProvider, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(provider, bench, tmp_path, monkeypatch)
    made.configure()
    return made
