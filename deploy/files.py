"""The files of a running system that the launcher and its commands share."""

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any, Final, TypedDict

from deploy import STATE

RUN: Final = STATE / "run"
LOGS: Final = STATE / "logs"
LOG: Final = LOGS / "tenure.log"
STATE_FILE: Final = RUN / "state.json"
PID_FILE: Final = RUN / "tenure.pid"
ADDRESSES: Final = RUN / "addresses.env"
URLS: Final = RUN / "urls.env"
"""The addresses of the services alone, without secrets, for programs such as clients."""
KCAT: Final = RUN / "kcat.conf"
FORKS: Final = RUN / "forks"
EXAMPLE: Final = STATE / "data" / "example"
"""Exists once the example's people were prepared: what becomes of them afterwards is left alone."""


class Files(TypedDict):
    log: Path
    pid_file: Path


def files_of(name: str) -> Files:
    """Return the files of a part, or of a program that the launcher runs."""
    return {"log": LOGS / f"{name}.log", "pid_file": RUN / f"{name}.pid"}


def supervisors_state() -> dict[str, Any]:
    """Return what the supervisor wrote last; empty if there is nothing."""
    with contextlib.suppress(OSError, ValueError):
        state: dict[str, Any] = json.loads(STATE_FILE.read_text())
        return state
    return {}


def read_addresses() -> dict[str, str]:
    """Return the variables that the launcher wrote for a shell."""
    lines = (line for line in ADDRESSES.read_text().splitlines() if line.startswith("export "))
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
    return {name: shlex.split(value.split(":-", 1)[1].removesuffix("}"))[0] for name, value in pairs}
