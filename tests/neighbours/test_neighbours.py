"""A publisher's system in three languages: it sends events, sees their effects, and reads what became of them."""

import ast
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from deploy import ROOT, jars
from deploy.cast import PUBLISHER
from tests.documents.tools import node_modules, run
from tests.system.publishing import machine_of
from tests.system.running import console_of, system
from tests.tree import SOURCES

pytestmark = [pytest.mark.system, pytest.mark.long]

HERE = Path(__file__).parent
UNKNOWN: Final = "subscription-unknown"
Line = dict[str, Any]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a publisher's system is told of the installation, and its credentials."""
    with (
        system(tmp_path_factory.mktemp("neighbours")) as running,
        console_of(running, tmp_path_factory.mktemp("console")) as console,
    ):
        access = running.kafka.access_of(f"publisher-{PUBLISHER}")
        client_id, secret = machine_of(running)
        yield {
            "PUBLISHER": PUBLISHER,
            "KAFKA_BOOTSTRAP": access.bootstrap,
            "KAFKA_USERNAME": access.username or "",
            "KAFKA_PASSWORD": access.password or "",
            "KAFKA_CA_FILE": str(access.ca_file),
            "TENURE_CONSOLE_URL": console,
            "TENURE_IDENTITY_URL": running.env["TENURE_IDENTITY_URL"],
            "CLIENT_ID": client_id,
            "CLIENT_SECRET": secret,
        }


def in_python(folder: Path, env: Mapping[str, str]) -> str:
    return run([sys.executable, HERE / "neighbour.py"], folder, env)


def in_javascript(folder: Path, env: Mapping[str, str]) -> str:
    (folder / "node_modules").symlink_to(node_modules(HERE))
    shutil.copy(HERE / "neighbour.mjs", folder)
    return run(["node", "neighbour.mjs"], folder, env)


def in_java(folder: Path, env: Mapping[str, str]) -> str:
    if shutil.which("java") is None or shutil.which("javac") is None:
        pytest.skip("no JDK is installed on this machine")
    run([sys.executable, "-m", "deploy.jars", HERE / "jars.txt"], ROOT)
    classes = [*jars.classpath().split(os.pathsep), *(str(jar.path) for jar in jars.jars(HERE / "jars.txt"))]
    return run(["java", "-cp", os.pathsep.join(classes), HERE / "Neighbour.java"], folder, env)


@pytest.mark.parametrize("language", [in_python, in_javascript, in_java])
def test_a_publishers_system_sends_sees_and_is_answered(
    environment: dict[str, str], language: Callable[[Path, Mapping[str, str]], str], tmp_path: Path
) -> None:
    lines: list[Line] = [json.loads(line) for line in language(tmp_path, environment).splitlines()]
    assert [line["step"] for line in lines] == ["sent", "effect", "outcome", "sent", "outcome", "answer"]
    listed, effect, accepted, confirmed, rejected, answer = lines
    assert all(line["fits"] for line in (effect, accepted, rejected))
    assert (effect["type"], effect["cause"]) == ("PlanListed", listed["id"])
    assert effect["data"]["plan"] == listed["data"]["plan"]
    assert said(accepted["data"]) == ("accepted", "", listed["id"], [effect["id"]])
    assert said(rejected["data"]) == ("rejected", UNKNOWN, confirmed["id"], [])
    assert {accepted["type"], rejected["type"]} == {"RecordAnswered"}
    assert (answer["source"], answer["id"]) == (f"urn:publisher:{PUBLISHER}", confirmed["id"])
    (outcome,) = answer["outcomes"]
    for name in ("status", "rule", "reason", "remedy", "because", "events", "topic", "partition", "offset"):
        assert outcome[name] == rejected["data"][name], name


def said(outcome: Line) -> tuple[str, str, str, list[str]]:
    return outcome["status"], outcome["rule"], outcome["event_id"], outcome["events"]


def test_the_program_in_python_imports_nothing_of_this_project() -> None:
    nodes = list(ast.walk(ast.parse((HERE / "neighbour.py").read_text())))
    modules = [each.name for node in nodes if isinstance(node, ast.Import) for each in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    imported = {name.partition(".")[0] for name in modules}
    own = {file.relative_to(ROOT).parts[0] for file in SOURCES}
    assert "httpx" in imported and "shared" in own and not imported & own
