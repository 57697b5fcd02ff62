"""The files of the tree, for the tests of its habits."""

import ast
import subprocess
from functools import cache
from pathlib import Path

from deploy import ROOT

LISTED = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
NAMES = subprocess.run(LISTED, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
TRACKED = [ROOT / name for name in NAMES if (ROOT / name).is_file()]
SOURCES = [file for file in TRACKED if file.suffix == ".py"]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())
