"""Child processes that can be stopped, restarted, and found after their parent has died."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

import psutil

from deploy import ROOT, OperatorError

_LOG_LIMIT_BYTES = 20_000_000


class Launched(Protocol):
    """A started process; see `subprocess.Popen`, which is one."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class ChildProcess:
    """A process with a log and a pid file, in its own session, so that Ctrl-C does not reach it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        pid_file: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.pid_file = pid_file
        self._env = env
        self._cwd = cwd
        self._stop_signal = stop_signal
        self._child: Launched | None = None
        self._log_start = 0

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code; negative for a signal, None if it is running or was never started."""
        return self._child.poll() if self._child is not None else None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self.alive else None

    def start(self) -> None:
        """Start the process, after ending one that an earlier parent left running."""
        end_leftover(self.pid_file, self._stop_signal)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        with _opened_log(self.log) as log:
            self._log_start = log.tell()
            self._child = self._launch(log)
        remember(self._child.pid, self.pid_file)

    def _launch(self, log: IO[bytes]) -> Launched:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if self._env is None else dict(self._env),
            cwd=self._cwd,
            start_new_session=True,
        )

    def stop(self, patience_s: float = 20.0) -> bool:
        """Stop the process, and kill it after `patience_s`; return whether it stopped by itself."""
        child, by_itself = self._child, True
        if child is not None and child.poll() is None:
            child.send_signal(self._stop_signal)
            try:
                child.wait(patience_s)
            except subprocess.TimeoutExpired:
                by_itself = False
                child.kill()
                child.wait()
        self.pid_file.unlink(missing_ok=True)
        return by_itself

    def kill(self) -> None:
        """Kill the process as a crash would, without cleaning up; the pid file stays."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def last_lines(self, count: int = 12) -> list[str]:
        """Return the last lines of its log since its start, without blank ones."""
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
            return [line.rstrip() for line in lines if line.strip()][-count:]
        return []


class ModuleProcess(ChildProcess):
    """`python -m <module> <arguments>` as a child process, in the project's folder."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str] = (),
        *,
        log: Path,
        pid_file: Path,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        super().__init__(
            name, [sys.executable, "-m", module, *arguments], log=log, pid_file=pid_file, env=env, cwd=ROOT
        )
        self._given = (name, module, tuple(arguments), dict(env))


def _opened_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def remember(pid: int, pid_file: Path) -> None:
    """Write a process's pid and start time, as a later process may get the same pid."""
    with contextlib.suppress(psutil.NoSuchProcess):
        pid_file.parent.mkdir(parents=True, exist_ok=True)
        pid_file.write_text(f"{pid} {psutil.Process(pid).create_time():.2f}\n")


def remembered(pid_file: Path) -> psutil.Process | None:
    """Return the process that the file names, if it is still running."""
    try:
        pid, started = pid_file.read_text().split()
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(started)) < 5.0  # clock corrections shift it
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, psutil.Error):
        return None


def end_leftover(pid_file: Path, stop_signal: signal.Signals = signal.SIGTERM, patience_s: float = 10.0) -> bool:
    """End the process that an earlier parent left running; return whether there was one."""
    process = remembered(pid_file)
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(stop_signal)
            if not _has_ended(pid_file, patience_s):
                process.kill()
                _has_ended(pid_file, 5)
    with contextlib.suppress(OSError):
        pid_file.unlink()
    return process is not None


def _has_ended(pid_file: Path, within_s: float) -> bool:
    """Wait for the end of a process; psutil's wait would not return before an orphan is reaped."""
    deadline = time.monotonic() + within_s
    while remembered(pid_file) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def require_free(port: int, what_for: str, remedy: str) -> None:
    """Check that nothing listens on a loopback port.

    Raises:
        OperatorError: The port is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise OperatorError(f"Port {port}, which {what_for} needs, is in use{_holder(port)}: {remedy}.") from None


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""


def free_port() -> int:
    """Return a free loopback port, below the range of ephemeral ports.

    In that range, a client that retries the port of a stopped server could connect to itself and block the port.
    """
    chance = random.Random(os.urandom(8))  # noqa: S311 - two tests started together must not draw the same ports
    for _ in range(200):
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise OperatorError("No free port was found between 20000 and 32000: stop processes that listen there.")
