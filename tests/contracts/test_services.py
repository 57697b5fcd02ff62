"""The declaration of the services: what it leaves to others to be true."""

import re
import subprocess
import sys

from deploy import ROOT
from shared.services import DECLARED, EDGES, OPERATIONS, PORTS, PUBLISHERS, SERVICES

README = (ROOT / "README.md").read_text()
BLOCK = range(8100, 8108)
"""What the launcher's block has for services, edges and the operations server; the page of mails comes next."""


def test_every_folder_of_services_is_declared() -> None:
    assert sorted((*SERVICES, *EDGES)) == sorted(file.parent.name for file in (ROOT / "services").glob("*/__main__.py"))


def test_ports_are_apart_and_inside_the_launchers_block() -> None:
    assert len(set(PORTS.values())) == len(DECLARED) + len(EDGES) + 1
    assert {*PORTS.values()} <= {*BLOCK}


def test_a_service_reads_declared_services_other_than_itself() -> None:
    wrong = {each.name: {*each.reads} - {*SERVICES, PUBLISHERS} | {*each.reads} & {each.name} for each in DECLARED}
    assert not any(wrong.values()), wrong


def test_the_readme_lists_every_service_with_its_port() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(([\w/]+)/README.md.*?\) \|.*\| (\d+) \|$", README, re.MULTILINE)
    assert [(name, int(port)) for name, _, port in rows] == [*PORTS.items()]
    assert [folder for _, folder, _ in rows] == [*(f"services/{name}" for name in (*SERVICES, *EDGES)), "cli"]
    assert rows[-1][0] == OPERATIONS


def test_the_declaration_needs_nothing_installed() -> None:
    """`make secrets` runs before anything is installed."""
    alone = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import deploy.secrets"]
    ran = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
