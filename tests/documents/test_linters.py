"""Other people's rules for OpenAPI documents find nothing in ours."""

import json
from pathlib import Path

import pytest

from deploy.openapi import openapi_documents
from tests.documents.tools import HERE, node_tool, run

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("documents")
    for name, document in openapi_documents():
        (folder / name).write_text(json.dumps(document))
    return sorted(folder.glob("openapi*.json"))


def test_redocly_recommends_nothing(documents: list[Path]) -> None:
    redocly, config = node_tool("redocly"), HERE / "redocly.yaml"
    for document in documents:
        said = run([redocly, "lint", f"--config={config}", "--format=json", document], document.parent)
        found = json.loads(said)
        assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, found["problems"][:5]
    assert len(documents) == 6


def test_spectral_finds_nothing(documents: list[Path]) -> None:
    rules = f"--ruleset={HERE / 'spectral.yaml'}"
    run([node_tool("spectral"), "lint", rules, "--fail-severity=hint", *documents], documents[0].parent)


def test_the_linters_find_what_is_wrong(tmp_path: Path) -> None:
    """Otherwise the others would pass with tools that look at nothing."""
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"openapi": "3.1.0", "info": {"title": "x"}, "paths": {}}))
    commands: list[list[str | Path]] = [
        [node_tool("redocly"), "lint", f"--config={HERE / 'redocly.yaml'}", wrong],
        [node_tool("spectral"), "lint", f"--ruleset={HERE / 'spectral.yaml'}", "--fail-severity=hint", wrong],
    ]
    for command in commands:
        with pytest.raises(AssertionError, match="ended with 1"):
            run(command, tmp_path)
