"""The command that writes the documents, compares two releases, and registers the schemas."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Final

import httpx
import pytest

from deploy import OperatorError
from deploy.documents import main, publish
from shared.events.registry import EVENTS_ON


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    assert main(["write", str(folder)]) == 0
    return folder


def changed(release: Path, folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of the release's schemas, with one file changed."""
    (folder / "schemas").mkdir()
    for schema in release.glob("schemas/*.json"):
        text = schema.read_text()
        assert schema.name != file or old in text
        (folder / "schemas" / schema.name).write_text(text.replace(old, new) if schema.name == file else text)
    return folder


def test_every_document_is_there(release: Path) -> None:
    assert json.loads((release / "asyncapi.json").read_bytes())["asyncapi"] == "3.0.0"
    assert (release / "asyncapi.identity.json").exists()
    assert json.loads((release / "schemas/RoleAssigned.v1.json").read_bytes())["title"] == "RoleAssigned"
    assert (release / "schemas/PlanListed.v1.sent.json").exists()


def test_nothing_is_overwritten(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", str(release)]) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_a_release_is_compatible_with_itself(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(release), str(release)]) == 0
    assert capsys.readouterr().out == "The event contracts are the same.\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "said", "code"),
    [
        (
            "RoleAssigned.v1.json",
            '"contract_id"',
            '"contract"',
            "BREAKS  RoleAssigned.v1: field contract_id is gone",
            1,
        ),
        ("CsnIssued.v1.sent.json", "[!-~]", "[a-z]", "BREAKS  CsnIssued.v1.sent: field csn has other bounds", 1),
        ("RoleAssigned.v1.json", "was given", "now has", "The event contracts are the same.", 0),
    ],
)
def test_what_breaks_is_named_and_the_exit_code_says_so(
    file: str, old: str, new: str, said: str, code: int, release: Path, tmp_path: Path
) -> None:
    shown = StringIO()
    with redirect_stdout(shown):
        assert main(["compare", str(release), str(changed(release, tmp_path, file, old, new))]) == code
    assert said in shown.getvalue()


def test_a_folder_without_schemas_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert "has no schemas" in capsys.readouterr().err


REGISTRY: Final = "https://registry.example"


def test_every_event_of_every_topic_is_registered_once() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"id": len(asked)})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        lines = list(publish(f"{REGISTRY}/", client))
    subjects = [f"{topic}-{event.type()}" for topic, events in EVENTS_ON.items() for event in events]
    assert [line.partition(":")[0] for line in lines] == subjects
    assert [str(request.url) for request in asked] == [f"{REGISTRY}/subjects/{each}/versions" for each in subjects]
    sent = json.loads(asked[0].content)
    assert sent["schemaType"] == "JSON" and json.loads(sent["schema"])["title"] in subjects[0]


def test_a_refusal_of_the_registry_names_the_subject() -> None:
    refuse = httpx.MockTransport(lambda _: httpx.Response(409, text="incompatible"))
    with httpx.Client(transport=refuse) as client, pytest.raises(OperatorError, match=r"refused identity.*409: incomp"):
        list(publish(REGISTRY, client))
