"""The services, edges and other programs of Tenure as child processes on loopback."""

import http.client
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.forked import ForkedProcess
from deploy.processes import ChildProcess, ModuleProcess
from deploy.stack import HOST, PROBE_S, NotReady, Part

LOOPBACK_LIMITS: Final = "sign-up=off, sign-in=off, refresh=off, invitation=off, bulk=off, command=off"
"""The default of TENURE_LIMITS for services on loopback, where all users, such as the thousands of `make year`, have
the same address."""


class ServicePart(Part):
    """A process of Tenure on loopback, ready when its /ready says so."""

    stop_within_s = 30.0

    def __init__(
        self,
        name: str,
        folder: Path,
        port: int = 0,
        *,
        env: Mapping[str, str],
        arguments: Sequence[str] = (),
        module: str = "",
        forked: bool = False,
        log: Path | None = None,
        pid_file: Path | None = None,
    ) -> None:
        """Set additional variables, arguments such as `--only relay`, and a module of its own.

        Args:
            forked: Fork it from a process that has its imports (`forked.py`).
        """
        self.name = name
        self._env = env
        self._module, self._arguments = module or f"services.{name}", arguments
        self._kind = ForkedProcess if forked else ModuleProcess
        super().__init__(folder, port, log=log, pid_file=pid_file)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _process(self) -> ChildProcess:
        own = {"PYTHONUNBUFFERED": "1", **self._env, "TENURE_HOST": HOST, "TENURE_PORT": str(self.port)}
        env = {"TENURE_LIMITS": LOOPBACK_LIMITS, **os.environ, **own}
        return self._kind(self.name, self._module, self._arguments, log=self.log, pid_file=self.pid_file, env=env)

    def _prepare(self) -> None:
        """Do nothing: `deploy.databases` has prepared the database."""

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=PROBE_S)
        try:
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            text = answer.read(500).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise NotReady(f"no answer from /ready: {str(error) or type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise NotReady(f"/ready answers {answer.status}: {text}")
