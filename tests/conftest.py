"""What every ring of tests may use: one real PostgreSQL and one real Kafka a session, started when first asked for."""

import asyncio
import itertools
import os
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deploy import topics
from shared.eventlog.migrate import migrate
from tests.system import parts

_numbers = itertools.count(1)


def pytest_sessionstart() -> None:
    if os.environ.get("CONTAINERS"):
        parts.containers()  # says where none can be had; later on, output is captured


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Postgres]:
    with parts.postgres(tmp_path_factory.mktemp("shared") / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Kafka]:
    with parts.kafka(tmp_path_factory.mktemp("shared") / "kafka") as server:
        _in_a_loop(topics.ensure(server.bootstrap))
        yield server


@pytest.fixture
def database(postgres: parts.Postgres) -> str:
    """The URL of a database of the test's own, with entitlements' tables."""
    dsn = f"{postgres.url}/test_{os.getpid()}_{next(_numbers)}"
    _in_a_loop(migrate(dsn, "entitlements"))
    return dsn


def _in_a_loop(work: Coroutine[Any, Any, Any]) -> None:
    """Runs it in a thread's own loop: the fixture may be asked for inside a test's."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
