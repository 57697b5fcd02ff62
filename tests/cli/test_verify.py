"""`tenure verify`: which part it read, and when the rest was checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.eventlog.repair import verifying
from tests.cli.conftest import Tenure
from tests.cli.stores import append, csn

pytestmark = pytest.mark.system

STORE = ("verify", "marketplace", "--store-only")


@pytest.fixture(autouse=True)
def anchors(stores: Mapping[str, str], tmp_path: Path) -> Path:
    folder = tmp_path / "anchors"
    folder.mkdir()
    for number in (1, 2, 3):
        append(stores["marketplace"], "marketplace", f"partner-{number}", csn(1))
    return folder


def test_what_is_new_is_said_to_be_all_that_was_read(tenure: Tenure, stores: Mapping[str, str]) -> None:
    said = tenure(*STORE)
    assert said.code == 0 and "3 events of the store" in said.out and "ONLY" not in said.out
    append(stores["marketplace"], "marketplace", "partner-4", csn(1), csn(2))
    said = tenure(*STORE, "--since-last")
    assert said.code == 0 and "2 events of the store" in said.out
    assert "ONLY WHAT IS NEW was checked: positions after 3." in said.out and "up to position 3." in said.out
    found = tenure(*STORE, "--since-last", "--json").json["services"][0]
    assert (found["events"], found["since"], found["sound_before"]["whole"]) == (0, 5, 3)
    assert tenure(*STORE, "--json").json["services"][0]["since"] == 0, "the whole is the default"


def test_a_check_that_was_stopped_says_so_when_it_goes_on(tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "PART", 1)
    parts = verifying.Verification._take_store

    async def once(self: verifying.Verification, *arguments: Any) -> None:
        await parts(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(verifying.Verification, "_take_store", once)
        assert tenure(*STORE).code != 0
    said = tenure(*STORE)
    assert said.code == 0 and "It continued a check that was stopped: up to position 1" in said.out
    assert "3 events of the store" in said.out
    assert "continued" not in tenure(*STORE).out


def test_what_was_kept_of_another_store_is_disregarded(tenure: Tenure, anchors: Path) -> None:
    assert tenure(*STORE).code == 0
    file = anchors / "marketplace.verified.json"
    file.write_text(file.read_text().replace('"store": [3, "', '"store": [2, "'))
    said = tenure(*STORE, "--since-last")
    assert said.code == 0 and "3 events of the store" in said.out
    assert "is disregarded: this store has no such chain at position 2" in said.out


def test_a_topic_alone_has_no_part(tenure: Tenure) -> None:
    assert tenure("verify", "--topic", "marketplace", "--since-last").code == 2
