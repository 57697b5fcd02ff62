"""schemathesis asks every operation of every document, with valid and invalid requests, and checks the answers."""

import json
import os
from pathlib import Path

import pytest

from shared.services import SERVICES
from tests.documents.tools import HERE, python_tool, run
from tests.system.people import PASSWORD
from tests.system.scene import Scene

pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.skipif(not os.environ.get("FUZZ"), reason="`make fuzz` runs it"),
]

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
"""How many requests each operation gets in a phase, at most."""


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_answers_as_documented(scene: Scene, service: str, tmp_path: Path) -> None:
    clerk = scene.people["clerk"]
    told = {
        "identity": str(clerk.http["identity"].base_url).rstrip("/"),
        "password": PASSWORD,
        "people": [someone.email for someone in scene.people.values()],
        "ids": scene.ids,
    }
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(scene.documents[service]))
    url = str(clerk.http[service].base_url).rstrip("/")
    env = {"TENURE_SCENE": json.dumps(told), "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE)}
    config, examples = f"--config-file={HERE / 'schemathesis.toml'}", f"--max-examples={EXAMPLES}"
    run([python_tool("st"), config, "run", document, f"--url={url}", examples], tmp_path, env, patience_s=1_800)
