"""A command line in this process, over four real databases."""

import asyncio
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
import structlog

from cli.__main__ import VERBS
from cli.app import main
from cli.place import SERVICES
from shared.eventlog.migrate import migrate
from tests.system import parts

_numbers = itertools.count(1)


class Said(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Tenure = Callable[..., Said]


@pytest.fixture
def tenure(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenure]:
    """Runs a command as it is typed; the libraries' loudness is put back afterwards."""
    assert VERBS
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TENURE_ACTOR", "operator:test")
    monkeypatch.delenv("TENURE_TOKEN", raising=False)
    loudness = {name: logging.getLogger(name).level for name in ("", "aiokafka", "asyncio")}

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        code = ended.value.code
        out, err = capsys.readouterr()
        return Said(code if isinstance(code, int) else 0, out, err)

    yield run
    for name, level in loudness.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def templates(postgres: parts.Postgres) -> str:
    """The four services' databases, empty, to be copied."""
    url = f"{postgres.url}/template_{os.getpid()}"

    async def made() -> None:
        for service in SERVICES:
            await migrate(f"{url}_{service}", service)

    in_a_loop(made())
    return url


@pytest.fixture
def stores(
    postgres: parts.Postgres, templates: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Mapping[str, str]:
    """The four services' databases, empty, where the command finds them; and no Kafka, unless a test has one."""
    monkeypatch.setenv("TENURE_ANCHORS", str(tmp_path / "anchors"))  # not those of a system that runs beside the tests
    url = f"{postgres.url}/cli_{os.getpid()}_{next(_numbers)}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    for service in SERVICES:
        monkeypatch.setenv(f"TENURE_{service.upper()}_URL", "http://127.0.0.1:1")

    async def copied() -> None:
        db = await asyncpg.connect(f"{postgres.url}/postgres")
        for service in SERVICES:
            names = (f"{base.rpartition('/')[2]}_{service}" for base in (url, templates))
            await db.execute('create database "{}" template "{}"'.format(*names))
        await db.close()

    in_a_loop(copied())
    return {service: f"{url}_{service}" for service in SERVICES}


def in_a_loop(work: Any) -> Any:
    """Runs it in a thread's own loop: the command has one of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
