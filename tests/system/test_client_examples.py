"""The examples in the clients' READMEs, as they stand there, on a running system."""

import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from deploy import ROOT
from shared.services import SERVICES, url_variable
from tests.documents.tools import run
from tests.system.people import PASSWORD, Someone
from tests.system.running import System
from tests.system.scene import Scene

pytestmark = pytest.mark.system

PYTHON, JAVASCRIPT = ROOT / "clients" / "python", ROOT / "clients" / "javascript"


@pytest.fixture(scope="module")
def environment(running: System, scene: Scene, console: str) -> dict[str, str]:
    """What the examples read from their environment."""
    machine = registered(scene)
    return {
        **{url_variable(name): running.env[url_variable(name)] for name in SERVICES},
        "TENURE_CONSOLE_URL": console,
        "TENURE_EMAIL": scene.people["seat coordinator"].email,
        "TENURE_PASSWORD": PASSWORD,
        "TENURE_CLIENT_ID": machine["client_id"],
        "TENURE_CLIENT_SECRET": machine["client_secret"],
    }


def registered(scene: Scene) -> dict[str, str]:
    """A machine account of the publisher, which the operator registers."""
    publisher, operator = scene.people["publisher"], scene.people["operator"]
    organisation = {
        "organisation_id": publisher.session["organisation_id"],
        "kind": "publisher",
        "publisher": scene.ids["publisher"],
    }
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    form = {"name": "Events", "scopes": ["events:publish"], "expires_at": until, "organisation": organisation}
    answer: dict[str, str] = operator.ask("POST", "/machines", form, operator.fresh())
    return answer


def examples(folder: Path, language: str) -> list[str]:
    """Those that use the client; `tests/clients/test_receiver.py` runs the other one."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    found = [text for text in blocks if "tenure_client" in text or "tenure-client" in text]
    assert len(found) == 3
    return found


def free_again(scene: Scene, taker: Someone) -> None:
    coordinator = scene.people["seat coordinator"]
    headers = {"Authorization": f"Bearer {coordinator.fresh()}", "Idempotency-Key": token_hex(8)}
    seats = {each["subscription_id"] for each in _pools(coordinator, headers)}
    for pool in seats:
        coordinator.http["entitlements"].delete(f"/pools/{pool}/seats/{taker.session['account_id']}", headers=headers)


def _pools(coordinator: Someone, headers: dict[str, str]) -> list[dict[str, str]]:
    answer: httpx.Response = coordinator.http["entitlements"].get("/pools", headers=headers)
    found: list[dict[str, str]] = answer.json()["items"]
    return found


def test_the_examples_in_python(environment: dict[str, str], scene: Scene, running: System, tmp_path: Path) -> None:
    someone = scene.colleague(running)
    env = environment | {"COLLEAGUE": someone.email, "PYTHONPATH": str(PYTHON / "src")}
    command, subscription, events = (
        run([sys.executable, "-c", text], tmp_path, env, patience_s=90) for text in examples(PYTHON, "python")
    )
    first, again, refusal = command.splitlines()
    assert (first, again) == ("['SeatAssigned']", "True") and refusal.split()[0] != "SeatAssigned", command
    assert re.fullmatch(r"\d+ pool-\S+ \S+\n", subscription)
    assert events.startswith("rejected "), events
    free_again(scene, someone)


def test_the_examples_in_javascript(environment: dict[str, str], scene: Scene, running: System, tmp_path: Path) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed on this machine")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "tenure-client").symlink_to(JAVASCRIPT)
    someone, said = scene.colleague(running), list[str]()
    for text in examples(JAVASCRIPT, "js"):
        (tmp_path / "example.mjs").write_text(text)
        said.append(run([node, "example.mjs"], tmp_path, environment | {"COLLEAGUE": someone.email}, patience_s=90))
    assert said[0].startswith("[ 'SeatAssigned' ]\n")
    assert re.fullmatch(r"\d+ pool-\S+ \S+\n", said[1])
    assert said[2].startswith("rejected "), said[2]
    free_again(scene, someone)
