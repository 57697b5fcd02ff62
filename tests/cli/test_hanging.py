"""A PostgreSQL, a Kafka and a service that take connections and do not answer: each verb ends, and says so."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cli import context, watch
from deploy import stack, topics
from deploy.databases import OPERATOR, url_of
from deploy.processes import free_port
from shared.services import SERVICES, url_variable
from tests.cli.conftest import Tenure
from tests.cli.stores import YES
from tests.conftest import in_a_loop
from tests.databases import PASSWORD
from tests.system import parts
from tests.system.running import prepare_databases

pytestmark = pytest.mark.slow


class Server:
    """A PostgreSQL of the test's own, whose processes can be stopped."""

    def __init__(self, pid_file: Path) -> None:
        self._pid_file = pid_file

    def send(self, number: signal.Signals) -> None:
        postmaster = psutil.Process(int(self._pid_file.read_text().split()[0]))
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(ProcessLookupError):  # a server process that has just ended
                os.kill(process.pid, number)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    postgres = parts.postgres(tmp_path / "postgres")
    if not isinstance(postgres, stack.Postgres):
        pytest.skip("PostgreSQL runs in a container: its processes can't be stopped from here")
    with postgres:
        prepare_databases(postgres.url)
        monkeypatch.setenv("DATABASE_URL", url_of(postgres.url, OPERATOR, PASSWORD))
        monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
        monkeypatch.setenv("TENURE_ANCHORS", str(tmp_path / "anchors"))
        for service in SERVICES:
            monkeypatch.setenv(url_variable(service), "http://127.0.0.1:1")
        found = Server(postgres.folder / "data" / "postmaster.pid")
        yield found
        found.send(signal.SIGCONT)


def test_verbs_end_where_postgresql_does_not_answer(server: Server, tenure: Tenure) -> None:
    server.send(signal.SIGSTOP)
    said = tenure("status")
    assert said.code == 1 and said.out.count("its database can't be read (TimeoutError") == len(SERVICES)
    said = tenure("parked", "ls")
    assert said.code == 3 and "PostgreSQL can't be reached" in said.err


def test_a_verb_ends_where_postgresql_stops_answering(
    server: Server, tenure: Tenure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has connected before, and its statement may take long."""
    connect = context.Context._connect
    monkeypatch.setattr(context, "STATEMENT_S", 3600)
    monkeypatch.setattr(watch, "EVERY_S", 1)
    monkeypatch.setattr(watch, "ANSWER_S", 2)

    async def then_stopped(self: context.Context, service: str, write: bool) -> object:
        pool = await connect(self, service, write)
        server.send(signal.SIGSTOP)
        return pool

    monkeypatch.setattr(context.Context, "_connect", then_stopped)
    said = tenure("timers", "--service", "identity")
    assert said.code == 3 and "PostgreSQL does not answer a login" in said.err


# ── Kafka ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Kafka]:
    """A Kafka of the module's own, whose process can be stopped."""
    kafka = parts.kafka(tmp_path_factory.mktemp("hanging") / "kafka")
    if not isinstance(kafka, stack.Kafka):
        pytest.skip("Kafka runs in a container: its process can't be stopped from here")
    with kafka:
        in_a_loop(topics.ensure(kafka.access))
        yield kafka
        kafka.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 1)
    monkeypatch.setattr(watch, "ANSWER_S", 2)
    monkeypatch.setattr(context, "ANSWER_S", 2)


@pytest.fixture
def live(stores: Mapping[str, str], broker: stack.Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in broker.access.environment().items():
        monkeypatch.setenv(name, value)


SILENT = "Kafka does not answer a login within 2 s"


@pytest.mark.parametrize(
    "verb",
    [
        ("topics",),
        ("tail", "--no-follow"),
        ("verify", "identity"),
        ("verify", "--topic", "identity"),
        ("restore", "topic", "identity", *YES),
        ("restore", "store", "identity"),
        ("replay", "identity", "--to-topic", "elsewhere", *YES),
    ],
    ids=lambda verb: " ".join(verb[:3]),
)
@pytest.mark.usefixtures("live", "impatient")
def test_verbs_end_where_kafka_does_not_answer(broker: stack.Kafka, tenure: Tenure, verb: tuple[str, ...]) -> None:
    with parts.stopped(broker.pid):
        said = tenure(*verb)
    assert said.code == 3 and SILENT in said.err


@pytest.mark.usefixtures("live", "impatient")
def test_a_verb_ends_where_kafka_stops_answering(
    broker: stack.Kafka, tenure: Tenure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows the topics without end."""
    connect, pid = context.Context.partitions, broker.pid
    assert pid is not None

    async def then_stopped(self: context.Context) -> dict[str, list[int]]:
        found = await connect(self)
        asyncio.get_running_loop().call_later(0.5, os.kill, pid, signal.SIGSTOP)
        return found

    monkeypatch.setattr(context.Context, "partitions", then_stopped)
    try:
        said = tenure("tail")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert said.code == 3 and SILENT in said.err


@pytest.mark.usefixtures("live")
def test_what_needs_no_kafka_is_shown_where_it_does_not_answer(broker: stack.Kafka, tenure: Tenure) -> None:
    with parts.stopped(broker.pid):
        said = tenure("status", "--over", "0")
        assert said.code == 1 and "Kafka at" in said.out and "identity" in said.out
        assert tenure("verify", "identity", "--store-only").code == 0


# ── A service ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service whose process was stopped after it had begun to listen."""
    port = free_port()
    server = ("-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), str(port))
    with subprocess.Popen([sys.executable, *server], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None and b"Serving" in process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        for service in SERVICES:
            monkeypatch.setenv(url_variable(service), f"http://127.0.0.1:{port}")
        yield
        process.kill()


@pytest.mark.parametrize("verb", [("command", "ls"), ("clock", "move", "2999-01-01T00:00Z")], ids=" ".join)
@pytest.mark.usefixtures("stores", "hanging", "impatient")
def test_verbs_end_where_a_service_does_not_answer(
    tenure: Tenure, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_TOKEN", "a token")
    said = tenure(*verb)
    assert said.code == 3 and "The service does not answer (ReadTimeout)" in said.err
