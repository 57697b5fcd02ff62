"""What a contributor is told and given: pages whose links lead somewhere, hooks that call what is installed."""

import re
import subprocess
from typing import Final

import pytest

from deploy import ROOT
from deploy.bootstrap import VENV
from shared.services import SERVICES

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


DECISIONS: Final = sorted(name for name in PAGES if re.fullmatch(r"docs/adr/\d{4}-[a-z-]+\.md", name))


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(name.split("/")[-1][:4]) for name in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("name", DECISIONS)
def test_decision_has_a_date_and_every_part(name: str) -> None:
    number, text = name.split("/")[-1][:4], (ROOT / name).read_text()
    assert re.match(rf"# {number}\. .+\n\nDate: \d{{4}}-\d\d-\d\d\n", text)
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Alternatives", "Consequences"]


def test_index_lists_every_decision() -> None:
    listed = re.findall(r"^\| \[\d{4}\]\(([^)]+)\)", (ROOT / "docs" / "adr" / "README.md").read_text(), re.MULTILINE)
    assert [f"docs/adr/{name}" for name in listed] == DECISIONS


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/ARCHITECTURE.md"])
def test_paths_that_a_page_names_exist(name: str) -> None:
    """A path with a placeholder stands for each service; one of a line that says "new" is still to be made."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not re.search(r"\bnew\b", line)]
    paths = {path for line in lines for path in re.findall(r"`((?:\w[\w.-]*/)+[\w.-]*)`", line)}
    placeholders = {path for line in lines for path in re.findall(r"`([\w./-]*<(?:name|service)>[\w./-]*)`", line)}
    services = {re.sub("<(name|service)>", service, path) for path in placeholders for service in SERVICES}
    assert [path for path in sorted(paths | services) if not (ROOT / path).exists()] == []


def test_hooks_fetch_nothing() -> None:
    assert re.findall(r"^ *- repo: (.*)$", HOOKS, re.MULTILINE) == ["local"]
    assert set(re.findall(r"^ *language: (.*)$", HOOKS, re.MULTILINE)) == {"system", "pygrep"}


def test_hooks_call_tools_that_are_installed() -> None:
    called = re.findall(rf"^ *entry: {re.escape(str(VENV.relative_to(ROOT)))}/(bin/\S+)", HOOKS, re.MULTILINE)
    assert len(called) == HOOKS.count("language: system")
    assert [tool for tool in called if not (VENV / tool).exists()] == []


def test_the_workflow_runs_every_check() -> None:
    assert re.search(r"^ *- run: \.ci/run$", (ROOT / ".github" / "workflows" / "ci.yml").read_text(), re.MULTILINE)
