"""A command line in this process, over four real databases."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from cli.app import main
from deploy import topics
from shared.services import SERVICES, url_variable
from tests.conftest import in_a_loop
from tests.databases import Databases
from tests.system import parts


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


@pytest.fixture
def stores(
    all_databases: Databases, databases: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Mapping[str, str]:
    """The four services' databases, empty, for their own roles; the command finds them as the operator. No Kafka,
    unless a test has one."""
    monkeypatch.setenv("TENURE_ANCHORS", str(tmp_path / "anchors"))  # not those of a system that runs beside the tests
    monkeypatch.setenv("DATABASE_URL", all_databases.operator_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    for service in SERVICES:
        monkeypatch.setenv(url_variable(service), "http://127.0.0.1:1")
    return {service: databases(service) for service in SERVICES}


@pytest.fixture
def live(stores: Mapping[str, str], kafka: parts.Kafka, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    for name, value in kafka.access.environment().items():
        monkeypatch.setenv(name, value)
    return stores


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Kafka]:
    with parts.kafka(tmp_path_factory.mktemp("lost") / "kafka") as server:
        in_a_loop(topics.ensure(server.access))
        yield server
        server.kill()


@pytest.fixture
def lost(
    stores: Mapping[str, str], empty: parts.Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, str]:
    """Four empty stores, and a Kafka that has none of the topics' events but those of the module's other tests."""
    for name, value in empty.access.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TENURE_ANCHORS", str(tmp_path))
    return stores
