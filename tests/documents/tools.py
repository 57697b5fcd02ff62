"""Other people's tools for the OpenAPI documents, from Python's and Node's registries, installed under .local."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deploy.bootstrap import DOCUMENTS_VENV
from tests import node

HERE = Path(__file__).parent


def run(
    command: Sequence[str | Path], folder: Path, env: Mapping[str, str] | None = None, patience_s: float = 300
) -> str:
    """What a command prints; AssertionError with all of it unless it ends well."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "NODE_NO_WARNINGS": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )
    said = f"{done.stdout[-6000:]}{done.stderr[-6000:]}"
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{said}"
    return done.stdout


def python_tool(name: str) -> Path:
    """A tool of requirements-documents.lock."""
    tool = DOCUMENTS_VENV / "bin" / name
    if not tool.exists():
        pytest.skip(f"{name} is not installed: run `make documents`, or `python -m deploy.bootstrap documents`")
    return tool


def node_modules(locks: Path = HERE) -> Path:
    """The folder of the packages that a folder's files lock, installed where they are missing."""
    if not node.available():
        pytest.skip("node and npm are not installed on this machine")
    return node.modules(locks)


def node_tool(name: str) -> Path:
    return node_modules() / ".bin" / name
