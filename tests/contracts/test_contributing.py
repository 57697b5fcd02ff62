"""What a contributor is told and given: pages whose links lead somewhere, hooks that call what is installed."""

import re
import subprocess
from typing import Final

import pytest

from deploy import ROOT
from deploy.bootstrap import VENV

LISTED: Final = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
NAMES: Final = subprocess.run(LISTED, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
PAGES: Final = [name for name in NAMES if (ROOT / name).is_file()]
LINK: Final = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
HOOKS: Final = (ROOT / ".pre-commit-config.yaml").read_text()


def anchor(heading: str) -> str:
    """The anchor that a heading gets when the page is rendered."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_lead_somewhere(name: str) -> None:
    page = ROOT / name

    broken = []
    for link in LINK.findall(page.read_text()):
        path, _, fragment = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if fragment else []
        if not target.exists() or (fragment and fragment not in map(anchor, headings)):
            broken.append(link)
    assert not broken


def test_hooks_fetch_nothing() -> None:
    assert re.findall(r"^ *- repo: (.*)$", HOOKS, re.MULTILINE) == ["local"]
    assert set(re.findall(r"^ *language: (.*)$", HOOKS, re.MULTILINE)) == {"system", "pygrep"}


def test_hooks_call_tools_that_are_installed() -> None:
    called = re.findall(rf"^ *entry: {re.escape(str(VENV.relative_to(ROOT)))}/(bin/\S+)", HOOKS, re.MULTILINE)
    assert len(called) == HOOKS.count("language: system")
    assert [tool for tool in called if not (VENV / tool).exists()] == []


def test_the_workflow_runs_every_check() -> None:
    assert re.search(r"^ *- run: \.ci/run$", (ROOT / ".github" / "workflows" / "ci.yml").read_text(), re.MULTILINE)
