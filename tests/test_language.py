"""The language of docstrings, comments, documents and commits: plain and short."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from deploy import ROOT
from tests.tree import SOURCES, TRACKED, for_each, name, nodes

DESCRIBED = [f for f in SOURCES if "tests" not in f.relative_to(ROOT).parts and "migrations/versions" not in str(f)]
FIRST_LINE_CHARACTERS = 90
THIRD_PERSON = re.compile(r"(?!(Access|Address|Pass|Process)\b)[A-Z][a-z]+s")
DIALECT = re.compile(
    r"\b(made anew|as good as none|gone on|last words?|told of|in the place of|at hand|goes by)\b",
    re.IGNORECASE,
)
"""A short list of the words that this project's comments were once full of, and no other project's documentation."""


def first_lines(file: Path) -> Iterator[tuple[str, str, bool]]:
    """Where each docstring of a file is, its first line, and whether it is a function's."""
    for node in nodes(file):
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            continue
        if text := ast.get_docstring(node):
            yield f"{name(file)}:{getattr(node, 'lineno', 1)}", text.splitlines()[0].rstrip(), function


@for_each(DESCRIBED)
def test_a_docstring_begins_with_one_short_sentence(file: Path) -> None:
    for where, line, function in first_lines(file):
        assert line.endswith(".") and len(line) <= FIRST_LINE_CHARACTERS, f"{where}: {line}"
        assert not (function and THIRD_PERSON.fullmatch(line.split()[0])), f"{where} is not in the imperative: {line}"


WRITTEN = [f for f in TRACKED if f.suffix in {".py", ".md", ".sql"} and not {"tests", "versions"} & {*f.parts}]


@for_each([f for f in WRITTEN if "migrations" not in f.parts])
def test_the_old_dialect_is_gone(file: Path) -> None:
    found = [f"{n}: {m[0]}" for n, line in enumerate(file.read_text().splitlines(), 1) if (m := DIALECT.search(line))]
    assert not found, f"{name(file)}: {found}"


def test_commit_subjects_are_short() -> None:
    log = ["git", "log", "--since=2026-11-29", "--no-merges", "--format=%s"]
    subjects = subprocess.run(log, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert not [subject for subject in subjects if len(subject) > 72]
