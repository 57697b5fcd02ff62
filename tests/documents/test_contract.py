"""AsyncAPI's own parser and ajv read the documents of the event contract, and the events that they describe."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.documents import write
from shared.documents.examples import SEALED, example_data
from shared.documents.schemas import schemas
from shared.events import EVENTS
from shared.services import SERVICES
from tests.contracts.golden import golden_file
from tests.documents.tools import HERE, node_modules, run

pytestmark = pytest.mark.long


def checked(folder: Path) -> Any:
    return json.loads(run(["node", HERE / "contract.mjs", node_modules(), folder], folder))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The documents of a release, and beside each schema an event."""
    folder = tmp_path / "release"
    write(folder)
    (folder / "events").mkdir()
    for name, version, sent in schemas():
        event = EVENTS[name]
        golden = json.loads(golden_file(event, version).read_bytes()) | dict.fromkeys(event.PERSONAL_FIELDS, SEALED)
        data = example_data(event).decode() if sent else json.dumps(golden)
        (folder / "events" / f"{name}.v{version}{'.sent' if sent else ''}.json").write_text(data)
    return folder


def test_the_documents_are_clean_and_golden_events_validate(release: Path) -> None:
    number = sum(1 for _ in schemas())
    assert checked(release) == {"documents": 1 + len(SERVICES), "schemas": number, "events": number, "wrong": []}


def test_what_is_wrong_is_found(release: Path) -> None:
    """Otherwise the other would pass with tools that look at nothing."""
    event, document = release / "events" / "RoleAssigned.v1.json", release / "asyncapi.identity.json"
    event.write_text(event.read_text().replace('"contract_manager"', '"king"'))
    document.write_text(document.read_text().replace('"action": "send"', '"action": "shout"'))
    wrong = checked(release)["wrong"]
    assert len(wrong) == 2 and "asyncapi.identity.json" in wrong[0] and "RoleAssigned.v1.json" in wrong[1]
