"""Clients that two generators make from the documents understand the refusals of the running system.

Each of them is generated into a temporary folder, signs in, and meets refusals with six statuses.
"""

import json
import shutil
from pathlib import Path

import pytest

from deploy.openapi import openapi_documents
from tests.documents.tools import HERE, node_modules, node_tool, python_tool, run
from tests.system.people import PASSWORD
from tests.system.scene import Scene

pytestmark = [pytest.mark.system, pytest.mark.long]

MET = [
    (401, "not-signed-in"),
    (404, "unknown"),
    (409, "cart-discarded"),
    (412, "version-changed"),
    (422, "malformed"),
    (429, "too-many-requests"),
]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document of all services."""
    name, written = next(iter(openapi_documents()))
    file = tmp_path_factory.mktemp("clients") / name
    file.write_text(json.dumps(written))
    return file


def environment(scene: Scene) -> dict[str, str]:
    clerk = scene.people["clerk"]
    urls = {f"{name.upper()}_URL": str(clerk.http[name].base_url).rstrip("/") for name in ("identity", "marketplace")}
    return {**urls, "EMAIL": clerk.email, "PASSWORD": PASSWORD}


def refusals(printed: str) -> list[tuple[int, str]]:
    met = [json.loads(line) for line in printed.splitlines()]
    assert all(each["detail"] for each in met)
    return [(each["status"], each["rule"]) for each in met]


def test_a_client_in_python(scene: Scene, document: Path, tmp_path: Path) -> None:
    generator, python = python_tool("openapi-python-client"), python_tool("python")
    made = ["generate", f"--path={document}", f"--config={HERE / 'config.yaml'}", "--meta=none", "--fail-on-warning"]
    path = {"PATH": f"{generator.parent}:/usr/bin:/bin"}  # it formats what it generates by ruff
    run([generator, *made, f"--output-path={tmp_path / 'tenure_client'}"], tmp_path, path)
    env = environment(scene) | {"PYTHONPATH": str(tmp_path)}
    assert refusals(run([python, HERE / "client.py"], tmp_path, env)) == MET


def test_a_client_in_typescript(scene: Scene, document: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(HERE / "client.ts", tmp_path)
    run([node_tool("openapi-typescript"), document, "--default-non-nullable=false", "-o", "schema.d.ts"], tmp_path)
    strict = ["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"]
    run([node_tool("tsc"), *strict, "client.ts"], tmp_path)
    assert refusals(run(["node", "client.js"], tmp_path, environment(scene))) == MET
