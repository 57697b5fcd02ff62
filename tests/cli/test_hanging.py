"""A PostgreSQL that takes connections and does not answer: each verb ends, and says so."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cli import context, watch
from deploy import stack
from deploy.databases import OPERATOR, url_of
from shared.services import SERVICES, url_variable
from tests.cli.conftest import Tenure
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
