"""Packages of Node's registry, installed under .local as a folder's files lock them."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from deploy import LOCAL

LOCKED: Final = ("package.json", "package-lock.json", ".npmrc")
_PATIENCE_S: Final = 300


class NoPackages(Exception):
    """Node is not on this machine, or its packages could not be installed."""


def available() -> bool:
    return shutil.which("node") is not None and shutil.which("npm") is not None


def modules(locks: Path) -> Path:
    """Return the folder of the packages, installed where they are missing.

    Raises:
        NoPackages: They could not be installed.
    """
    if not available():
        raise NoPackages("node and npm are not installed on this machine")
    digest = hashlib.sha256(b"".join((locks / name).read_bytes() for name in LOCKED)).hexdigest()[:16]
    folder = LOCAL / "node" / digest
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in LOCKED:
            shutil.copy(locks / name, folder)
        done = subprocess.run(
            ["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        if done.returncode:
            raise NoPackages(f"npm ended with {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        (folder / "installed").touch()
    return folder / "node_modules"
