"""Deployment: launcher for one machine, topics, roles, example data, container image."""

import os
import sys
from pathlib import Path
from typing import Final

from shared.services import PORTS

ROOT: Final = Path(__file__).resolve().parent.parent
LOCAL: Final = ROOT / ".local"
"""Everything that is installed: venv, Kafka's jars, caches. Git ignores it; `make clean` removes it."""

AOT_CACHE: Final = LOCAL / "kafka.aot"
"""Kafka's classes, loaded and linked ahead of time (`aot.py`)."""

STATE: Final = Path(os.environ.get("TENURE_STATE") or LOCAL).resolve()
"""The files of a running system: data/, logs/ and run/. Set TENURE_STATE to run a second system."""

_BASE: Final = os.environ.get("TENURE_PORT_BASE") or "8100"
PORT_BASE: Final = int(_BASE) if _BASE.isdecimal() else sys.exit(f"TENURE_PORT_BASE must be a port, not {_BASE!r}.")
"""The first port, which is the console's: the services from +1, the operations server at +7, the mail page at +8, SMTP
+9, PostgreSQL +10, Kafka +11 and +12."""


def port_of(service: str) -> int:
    """Return the port of a service or an edge.

    It is PORT_BASE plus the offset of its declared port from 8100.
    """
    return PORT_BASE + PORTS[service] - 8100


class OperatorError(Exception):
    """An error that a person has to correct; the message says in one sentence what and how."""
