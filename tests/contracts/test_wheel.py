"""The wheel: everything that a process of Tenure needs, installed from one file without an index."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
from uv import find_uv_bin

from deploy import ROOT

PACKAGES: Final = ("cli", "deploy", "services", "shared")
NOT_SHIPPED: Final = {"deploy/Dockerfile"}


def run(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=env or None, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(find_uv_bin(), "build", "--offline", "--no-cache", "--wheel", "--out-dir", str(folder), cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel. The libraries are the ones that run this test."""
    folder = tmp_path_factory.mktemp("installed")
    run(
        find_uv_bin(),
        "pip",
        "install",
        "--offline",
        "--no-cache",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        str(folder),
        str(wheel),
        cwd=ROOT,
    )
    return folder


def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES]
    in_tree = {name for name in run(*listed, cwd=ROOT).splitlines() if (ROOT / name).is_file()}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if name.startswith(PACKAGES) and not name.endswith("/")}
    assert in_wheel == in_tree - NOT_SHIPPED


@pytest.mark.parametrize("command", ["tenure --help", "services.identity --help", "deploy.topics --help"])
def test_installed_command_runs_outside_of_the_tree(installed: Path, tmp_path: Path, command: str) -> None:
    name, option = command.split()
    program = [str(installed / "bin" / name)] if name == "tenure" else [sys.executable, "-m", name]
    assert "Usage:" in run(*program, option, cwd=tmp_path, PYTHONPATH=str(installed)).replace("usage:", "Usage:")
