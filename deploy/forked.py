"""Python modules as child processes that are forked, so that they start quickly.

What all processes of Tenure import takes seconds of processor time. Here it is imported once, by `multiprocessing`'s
fork server, and the processes share the memory of it. The server's own modules are all that is shared: a service
imports its own after the fork, and no process sees another's variables or open files.
"""

import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO, Final

from deploy.processes import Launched, ModuleProcess

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_PRELOADED: Final = "deploy.preloaded"
_LONGEST_FOLDER: Final = 60
"""A socket's path may have 107 bytes; in a longer folder, the system's folder for temporary files is used."""


def warm_up(folder: Path | None = None) -> None:
    """Start the fork server, which imports while this process goes on.

    Its socket is in this folder, whose former content is removed, or where temporary files are.
    """
    former = tempfile.tempdir
    if folder is not None and len(str(folder)) <= _LONGEST_FOLDER:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tempfile.tempdir = str(folder)
    _CONTEXT.set_forkserver_preload([_PRELOADED])
    forkserver.ensure_running()
    tempfile.tempdir = former


class ForkedProcess(ModuleProcess):
    """A module as a child process, without the time that its imports take.

    It goes on when its parent or the fork server is killed.
    """

    def _launch(self, log: IO[bytes]) -> Launched:
        return _Forked(_CONTEXT.Process(target=_run, args=(*self._given, log.name), name=self.name))


class _Forked:
    """A started process with the methods of `subprocess.Popen` that ChildProcess calls."""

    def __init__(self, process: ForkServerProcess) -> None:
        process.start()
        self._process = process
        self.pid: int = process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(name: str, module: str, arguments: Sequence[str], env: Mapping[str, str], log: str) -> None:
    """Run the module in the forked process."""
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for standard in (1, 2):
        os.dup2(file, standard)
    os.close(file)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)  # what `ps -e` and `top` show
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
