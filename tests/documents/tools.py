"""Other people's tools for the OpenAPI documents, from Python's and Node's registries, installed under .local."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deploy import LOCAL
from deploy.bootstrap import DOCUMENTS_VENV

HERE = Path(__file__).parent
LOCKED = ("package.json", "package-lock.json", ".npmrc")


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
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed on this machine")
    digest = hashlib.sha256(b"".join((locks / name).read_bytes() for name in LOCKED)).hexdigest()[:16]
    folder = LOCAL / "node" / digest
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in LOCKED:
            shutil.copy(locks / name, folder)
        run(["npm", "ci"], folder)
        (folder / "installed").touch()
    return folder / "node_modules"


def node_tool(name: str) -> Path:
    return node_modules() / ".bin" / name
