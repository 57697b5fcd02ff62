"""Runs the system: launcher for one machine, topics, example data, container image."""

import os
import sys
from pathlib import Path
from typing import Final

from shared.services import PORTS

ROOT: Final = Path(__file__).resolve().parent.parent
LOCAL: Final = ROOT / ".local"
"""What is installed: the venv, Kafka's jars, caches. Git ignores it; `make clean` removes it."""

AOT_CACHE: Final = LOCAL / "kafka.aot"
"""Kafka's classes, loaded and linked ahead of time (`aot.py`)."""

STATE: Final = Path(os.environ.get("TENURE_STATE") or LOCAL).resolve()
"""What a running system keeps: data/, logs/ and run/. TENURE_STATE moves it, so that a second system can run."""

_BASE: Final = os.environ.get("TENURE_PORT_BASE") or "8100"
PORT_BASE: Final = int(_BASE) if _BASE.isdecimal() else sys.exit(f"TENURE_PORT_BASE must be a port, not {_BASE!r}.")
"""The first of the block: from +1 the services, +8 the page of mails, +9 mail, +10 PostgreSQL, +11 and +12 Kafka."""


def port_of(service: str) -> int:
    """The port of a service in the launcher's block, as far from the first as its declared one is from 8100."""
    return PORT_BASE + PORTS[service] - 8100


class OperatorError(Exception):
    """Something that a person has to put right; the message is one sentence that says what and how."""
