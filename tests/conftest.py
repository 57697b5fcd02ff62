"""What every ring of tests may use: one real PostgreSQL and one real Kafka a session, started when first asked for."""

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from deploy import topics
from tests.databases import Databases
from tests.system import parts

pytest.register_assert_rewrite("tests.spec")
gc.disable()  # until everything is collected: what is made meanwhile stays, and looking through it took 3 s a worker

# How quick a machine is fails no test.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

SHARING = {"test_older.py": "expendable", "test_restore.py": "expendable"}
"""Of the system tests, those that share another system than the others (`system/conftest.py`)."""

LONGEST = {"system": 0, "simulation": 1}
"""The folders whose files take longest, and when their turn is."""


def pytest_sessionstart() -> None:
    if os.environ.get("CONTAINERS"):
        parts.containers()  # says where none can be had; later on, output is captured


class OneWorkerEach(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """The tests that share a running system go to one worker, all others by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return SHARING.get(file.rpartition("/")[2], "running") if file.startswith("tests/system/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerEach:
    gc.enable()  # here, which collects nothing itself
    return OneWorkerEach(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first."""
    items.sort(key=lambda item: LONGEST.get(item.path.parent.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what was collected is not looked through again and again
    gc.enable()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a test changes about logging: the command quietens it, and a later test may read an alarm."""
    root = logging.getLogger()
    before, handlers, level = structlog.get_config(), root.handlers[:], root.level
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Postgres]:
    with parts.postgres(tmp_path_factory.mktemp("shared") / "postgres") as server:
        yield server
        parts.discard(server)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Kafka]:
    with parts.kafka(tmp_path_factory.mktemp("shared") / "kafka") as server:
        in_a_loop(topics.ensure(server.access))
        yield server
        server.kill()  # nobody needs its data any more: an orderly end would take seconds


@pytest.fixture(scope="session")
def all_databases(postgres: parts.Postgres) -> Databases:
    return Databases(postgres.url)


@pytest.fixture
def databases(all_databases: Databases) -> Iterator[Callable[[str], str]]:
    """Makes the database of a service, empty, and says its URL."""
    yield lambda service: in_a_loop(all_databases.made(service))
    in_a_loop(all_databases.emptied())


@pytest.fixture
def database(databases: Callable[[str], str]) -> str:
    """The URL of a database of the test's own, with entitlements' tables."""
    return databases("entitlements")


def in_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs it in a thread's own loop: the fixture may be asked for inside a test's."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
