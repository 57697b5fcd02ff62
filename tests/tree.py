"""The files of the tree, for the tests of its habits."""

import ast
import subprocess
from collections.abc import Callable, Iterable
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


@cache
def nodes(file: Path) -> tuple[ast.AST, ...]:
    """Every node of a file; walking a tree anew for each check took most of their time."""
    return tuple(ast.walk(parsed(file)))


def for_each(files: Iterable[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Make of a check of one file one test of all of them, which lists each file that fails.

    As a test for every file, the checks would be half of all tests, and each worker would collect them.
    """
    checked = list(files)

    def declare(check: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            failed = []
            for file in checked:
                try:
                    check(file)
                except AssertionError as why:
                    failed.append(str(why).partition("\n")[0])
            assert checked and not failed, "\n".join(failed)

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return declare
