"""What the commands of `deploy` say where no system was started: what is missing, and which command makes it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from deploy import ROOT, OperatorError
from deploy.databases import rotate
from deploy.reaching import remedy
from shared.eventlog.deliver.kafka import VARIABLES
from shared.services import SERVICES, url_variable

NOWHERE: Final = {url_variable(service): "http://127.0.0.1:1" for service in SERVICES}


def ran(state: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of a command of `deploy`, and what it printed."""
    named = {"DATABASE_URL", "TENURE_SECRETS", *VARIABLES}
    env = {name: value for name, value in os.environ.items() if name not in named}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**env, **NOWHERE, "TENURE_STATE": str(state)}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("deploy.invite operator Tenure kim@example.org", "run/addresses.env"),
        ("deploy.invite password kim@example.org", "run/addresses.env"),
        ("deploy.data", "run/addresses.env"),
        ("deploy.year --customers 1", "run/addresses.env"),
        ("deploy.topics", "There is no Kafka on this machine"),
        ("deploy.topics add-publisher acme", "There is no Kafka on this machine"),
        ("deploy.databases --rotate identity", "There is no PostgreSQL on this machine"),
        ("deploy.example", "Is the system up?"),
    ],
)
def test_a_command_says_what_is_missing(command: str, missing: str, tmp_path: Path) -> None:
    code, said = ran(tmp_path, *command.split())
    assert code == 1
    assert missing in said and "make up" in said
    assert "Traceback" not in said


def test_nothing_is_written_by_a_command_that_finds_no_kafka(tmp_path: Path) -> None:
    ran(tmp_path, "deploy.topics")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_named_where_it_was_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "addresses.env").touch()
    said = remedy("DATABASE_URL", tmp_path)
    assert said.startswith("DATABASE_URL is not set: run `. ") and "/run/addresses.env` in this shell" in said


def test_a_variable_that_is_set_is_to_be_corrected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://tenure@127.0.0.1:1")
    code = subprocess.run(
        [sys.executable, "-m", "deploy.invite", "password", "kim@example.org"], cwd=ROOT, capture_output=True, text=True
    )
    assert code.returncode == 1
    assert "DATABASE_URL is set: correct it" in code.stderr and "Traceback" not in code.stderr


async def test_a_server_that_is_away_gets_no_new_password() -> None:
    with pytest.raises(OperatorError, match=r"Is it up\?"):
        await rotate("postgresql://tenure@127.0.0.1:1", "identity", "another")
