"""Grafana's dashboards by the types that Grafana publishes, and their queries by Prometheus' own grammar.

Grafana itself is not in any registry that this project installs from.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.contracts.dashboards import DASHBOARDS, queries, without_variables
from tests.documents.tools import HERE, node_modules, run

pytestmark = pytest.mark.long

CHECK = ("--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which the locked packages are found."""
    (tmp_path / "node_modules").symlink_to(node_modules())
    for name in ("dashboards.ts", "promql.mjs"):
        shutil.copy(HERE / name, tmp_path)
    return tmp_path


def check(folder: Path, board: str) -> None:
    (folder / "board.ts").write_text(
        f'import type {{ Board }} from "./dashboards";\nexport const board: Board = {board};\n'
    )
    run([folder / "node_modules" / ".bin" / "tsc", *CHECK, "board.ts"], folder)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_of_the_types_that_grafana_publishes(file: Path, folder: Path) -> None:
    check(folder, file.read_text())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"showLegend": true', '"showLegend": "yes"'),
        ('"placement": "bottom"', '"placement": "below"'),
        ('"schemaVersion": 39', '"schemaVersion": "39"'),
        ('"type": "stat"', '"type": "number"'),
        ('"mode": "absolute"', '"mode": "relative"'),
    ],
)
def test_what_the_types_exclude_is_found(right: str, wrong: str, folder: Path) -> None:
    board = next(board for each in DASHBOARDS if right in (board := each.read_text()))
    with pytest.raises(AssertionError, match=r"error TS2"):
        check(folder, board.replace(right, wrong, 1))


def asked(folder: Path, found: list[str]) -> str:
    (folder / "queries.json").write_text(json.dumps(found))
    return run(["node", "promql.mjs", "queries.json"], folder)


def test_every_query_is_promql(folder: Path) -> None:
    found = [without_variables(query) for file in DASHBOARDS for query in queries(file)]
    assert len(found) > 30
    assert asked(folder, found) == ""
    assert "character" in asked(folder, ["sum(rate(x[5m]) by (a)"])
