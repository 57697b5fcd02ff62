"""The source trees between which an upgrade goes, each with a Python that has what it needs."""

import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import LOCAL, ROOT

PINNED: Final = "e1d694975fd885897d62ac05ea38f6b593293400"
"""The last revision of 2026-11-29. It counts until a version is released: from then on, the newest tag v* does."""
FOLDER: Final = LOCAL / "upgrade"
_PIN: Final = re.compile(r"^[A-Za-z0-9].*?(?= \\$)", re.MULTILINE)


class NoTree(Exception):
    """There is no such tree here; the message says why."""


class Tree(NamedTuple):
    """Source of a version, and the Python that runs it."""

    name: str
    root: Path
    python: Path = Path(sys.executable)

    def run(self, module: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """`python -m <module>` of this tree, run to its end."""
        return subprocess.run(
            [str(self.python), "-m", module],
            cwd=self.root,
            env={**os.environ, **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )


def former(revision: str = "") -> Tree:
    """The tree of a revision, or of the last released version. Raises NoTree."""
    revision = revision or _released() or PINNED
    commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
    if not commit:
        raise NoTree(
            f"this clone does not have the revision {revision} (a shallow one lacks it: git fetch --unshallow)"
        )
    root = FOLDER / commit[:12]
    if not root.exists():
        _export(commit, root)
    return Tree(revision[:12], root, _python(root))


def _released() -> str:
    """The newest tag of a version before this revision, or ""."""
    tags = _git("tag", "--list", "v*", "--merged", "HEAD", "--no-contains", "HEAD", "--sort=-v:refname").decode()
    return (tags.split() or [""])[0]


def _git(*arguments: str) -> bytes:
    """What git prints; nothing where it fails."""
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False).stdout
    except FileNotFoundError:
        raise NoTree("there is no git") from None


def _export(commit: str, root: Path) -> None:
    draft = root.with_suffix(".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    archive = _git("archive", "--format=tar", commit)
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(draft, filter="data")
    draft.rename(root)


def _python(root: Path) -> Path:
    """This Python, where it has each package in the version that the tree's lock names; else one of the tree's own."""
    if not different(root):
        return Path(sys.executable)
    own, shared = root / ".local", LOCAL / "jars"
    own.mkdir(exist_ok=True)
    if shared.exists() and not (own / "jars").exists():
        (own / "jars").symlink_to(shared.resolve())
    done = subprocess.run([sys.executable, "-m", "deploy.bootstrap"], cwd=root, check=False)
    if done.returncode:
        raise NoTree(f"the packages of {root.name} could not be installed")
    return own / "venv" / "bin" / "python"


def different(root: Path) -> list[str]:
    """What the tree's lock of the services names and this Python has not, or has in another version."""
    here = {canonicalize_name(each.name): each.version for each in importlib.metadata.distributions()}
    pins = [Requirement(pin) for pin in _PIN.findall((root / "requirements.lock").read_text())]
    wanted = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return [str(pin) for pin in wanted if here.get(canonicalize_name(pin.name), "0") not in pin.specifier]
