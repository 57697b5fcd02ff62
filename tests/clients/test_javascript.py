"""The client for JavaScript: its own tests, and its types."""

import shutil

import pytest

from deploy import ROOT
from tests.documents.tools import node_tool, run

CLIENT = ROOT / "clients" / "javascript"


@pytest.mark.slow
def test_its_own_tests_pass() -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed on this machine")
    assert "# fail 0" in run([node, "--test"], CLIENT)


@pytest.mark.long
def test_its_types_are_sound() -> None:
    strict = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext"]
    run([node_tool("tsc"), *strict, "index.d.ts", "commands.d.ts", "events.d.ts"], CLIENT)
