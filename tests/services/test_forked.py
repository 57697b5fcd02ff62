"""Processes that are forked behave as those that are started: what they are told, how they end, who restarts them."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.forked import ForkedProcess, warm_up
from deploy.processes import ModuleProcess, remembered

Make = Callable[..., ModuleProcess]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    warm_up(tmp_path / "f")
    made: list[ModuleProcess] = []

    def one(ending: str, name: str = "a", kind: type[ModuleProcess] = ForkedProcess) -> ModuleProcess:
        files = {"log": tmp_path / f"{name}.log", "pid_file": tmp_path / f"{name}.pid"}
        env = {"TOLD": name, "PATH": os.environ["PATH"]}
        made.append(kind(name, "tests.services.forked_program", [ending], env=env, **files))
        return made[-1]

    yield one
    for process in made:
        process.stop(1)


def said(process: ModuleProcess, count: int = 1) -> list[dict[str, Any]]:
    """Wait until the process has written that many lines since its start."""
    deadline = time.monotonic() + 30
    while len(lines := process.last_lines()) < count:
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.02)
    return [json.loads(line) for line in lines]


def ended(process: ModuleProcess) -> int | None:
    deadline = time.monotonic() + 10
    while process.alive:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process.exit_code


@pytest.mark.parametrize("kind", [ForkedProcess, ModuleProcess])
def test_a_process_has_its_own_arguments_variables_session_and_log(make: Make, kind: type[ModuleProcess]) -> None:
    process = make("stay", kind=kind)
    process.start()
    [facts] = said(process)
    assert (facts["name"], facts["argv"], facts["told"], facts["home"]) == ("__main__", ["stay"], "a", None)
    assert facts["session"]
    assert process.pid is not None and remembered(process.pid_file) == psutil.Process(process.pid)


def test_processes_of_one_server_share_no_chance(make: Make) -> None:
    both = [make("stay", name) for name in ("a", "b")]
    for process in both:
        process.start()
    one, other = (said(process)[0] for process in both)
    assert one["id"] != other["id"] and one["chance"] != other["chance"]


@pytest.mark.parametrize("kind", [ForkedProcess, ModuleProcess])
def test_how_a_process_ended_is_known(make: Make, kind: type[ModuleProcess]) -> None:
    by_itself, killed, stopped = (make(ending, ending, kind) for ending in ("3", "stay", "stubborn"))
    for process in (by_itself, killed, stopped):
        assert process.exit_code is None
        process.start()
    assert ended(by_itself) == 3
    said(killed)
    killed.kill()
    assert (ended(killed), killed.pid) == (-signal.SIGKILL, None)
    said(stopped, 2)
    assert not stopped.stop(0.2), "it did not stop by itself"
    assert ended(stopped) == -signal.SIGKILL


def test_a_process_stops_when_asked(make: Make) -> None:
    process = make("stay")
    process.start()
    said(process)
    assert process.stop(10)
    assert process.exit_code == -signal.SIGTERM and not process.pid_file.exists()


def test_a_process_that_lost_its_server_is_ended_by_the_next_start(make: Make) -> None:
    process = make("stay")
    process.start()
    [former] = said(process)
    running = remembered(process.pid_file)
    assert running is not None
    server = vars(forkserver)["_forkserver"]._forkserver_pid
    os.kill(server, signal.SIGKILL)
    assert ended(process) == 255, "nobody can say how it ended"
    assert remembered(process.pid_file) == running
    process.start()
    [facts] = said(process)
    assert facts["id"] != former["id"]
    assert process.pid != running.pid
    assert not running.is_running() or running.status() == psutil.STATUS_ZOMBIE
