"""schemathesis asks every operation of every document, with valid and invalid requests, and checks the answers.

`make documents` lets it ask less than `make fuzz` does.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import httpx
import pytest

from shared.events.registry import topic_of
from shared.services import EDGES, SERVICES
from tests.documents.tools import HERE, python_tool, run
from tests.system.people import PASSWORD
from tests.system.publishing import machine_of
from tests.system.running import System
from tests.system.scene import Scene

FUZZ: Final = os.environ.get("FUZZ", "")
pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.skipif(not FUZZ, reason="`make documents` and `make fuzz` run it"),
]

SEED: Final = os.environ.get("SCHEMATHESIS_SEED", "1")
EXAMPLES: Final = os.environ.get("SCHEMATHESIS_EXAMPLES", "5" if FUZZ == "long" else "2")
"""How many requests each operation gets in a phase, at most."""
SHORT: Final = """
[phases.stateful]
enabled = false

[phases.coverage.generation]
mode = "positive"
"""
"""What the short form leaves out: invalid requests that are made one by one for every keyword of every schema. Random
ones are sent by the phase `fuzzing`."""
AT_ONCE: Final = 2
PATIENCE_S: Final = 3_600

Runs = Mapping[str, Future[str]]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    running: System,
    console: str,
    scene: Scene,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runs]:
    """A run for each document that a selected test asks for, some at the same time."""
    selected = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
    }
    tool, folder = python_tool("st"), tmp_path_factory.mktemp("schemathesis")
    config = folder / "schemathesis.toml"
    config.write_text((HERE / "schemathesis.toml").read_text() + (SHORT if FUZZ != "long" else ""))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        documents = {**scene.documents, EDGES[0]: httpx.get(f"{console}/openapi.json").raise_for_status().json()}
        urls = {**{name: str(each.base_url) for name, each in scene.people["clerk"].http.items()}, EDGES[0]: console}
        told = {
            "identity": urls["identity"].rstrip("/"),
            "password": PASSWORD,
            "people": [someone.email for someone in scene.people.values()],
            "ids": {**scene.ids, "topic": topic_of("marketplace")},
            "machine": machine_of(running),
        }
        env = {"TENURE_SCENE": json.dumps(told), "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}

        def asked(name: str, document: dict[str, Any]) -> str:
            own = folder / name
            own.mkdir(exist_ok=True)
            (own / "openapi.json").write_text(json.dumps(document))
            options = [f"--url={urls[name].rstrip('/')}", f"--max-examples={EXAMPLES}", f"--seed={SEED}"]
            return run([tool, f"--config-file={config}", "run", "openapi.json", *options], own, env, PATIENCE_S)

        yield {name: pool.submit(asked, name, document) for name, document in documents.items() if name in selected}


@pytest.mark.parametrize("name", [*SERVICES, *EDGES])
def test_every_operation_answers_as_documented(runs: Runs, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = runs[name].result()
    counted = re.search(r"(\d+) generated, (\d+) passed", said)
    assert counted and counted[1] == counted[2] and int(counted[1]) > 100, said[-1_000:]
    with capsys.disabled():
        print(f"\nschemathesis, {name}: {counted[1]} requests, {EXAMPLES} an operation and phase, seed {SEED}")
