"""The compiled templates are kept where Python's bytecode is, and only as long as they are what the templates say."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment, nodes

from services.console.rendering import Compiled

Render = Callable[[str], tuple[str, int]]


class Counted(Environment):
    """An environment that counts the templates that it compiles."""

    compiled = 0

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        self.compiled += 1
        return super()._parse(source, name, filename)


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Render:
    """Render a template as a new process would, and say how many were compiled."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def rendered(source: str) -> tuple[str, int]:
        made = Counted(loader=DictLoader({"page": source}), autoescape=True, bytecode_cache=Compiled())
        return made.get_template("page").render(), made.compiled

    return rendered


def test_a_template_is_compiled_once(render: Render) -> None:
    assert render("one {{ 1 + 1 }}") == ("one 2", 1)
    assert render("one {{ 1 + 1 }}") == ("one 2", 0)


def test_a_changed_template_is_compiled_again(render: Render) -> None:
    render("one")
    assert render("two") == ("two", 1)
    assert render("two") == ("two", 0)


def test_a_damaged_file_is_replaced(render: Render, tmp_path: Path) -> None:
    render("one")
    [kept] = (file for file in tmp_path.rglob("*") if file.is_file())
    kept.write_bytes(kept.read_bytes()[:-7])
    assert render("one") == ("one", 1)
    assert render("one") == ("one", 0)


def test_nothing_is_written_where_python_writes_no_bytecode(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert render("one") == ("one", 1)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", "/dev/null/nowhere")
    assert render("one") == ("one", 1)
