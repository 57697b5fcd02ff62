"""A torture that has done nothing, or not what it should, has not passed."""

import pytest

from deploy import ROOT
from tests.torture.__main__ import amiss
from tests.torture.lines import FILES


def test_enough_kills_and_nothing_wrong_pass() -> None:
    assert amiss({"killed": 98, "passed": 2}, 0) == []


@pytest.mark.parametrize(
    ("fates", "failed"),
    [
        ({"killed": 0, "passed": 0}, 0),
        ({"killed": 0, "passed": 100}, 0),
        ({"killed": 97, "passed": 3}, 0),
        ({"killed": 99, "passed": 0, "ended 1": 1}, 0),
        ({"killed": 99, "ended None": 1}, 0),
        ({"killed": 100}, 1),
    ],
)
def test_anything_else_does_not(fates: dict[str, int], failed: int) -> None:
    assert len(amiss(fates, failed)) in (1, 2)


def test_the_files_whose_lines_kill_exist() -> None:
    assert [file for file in FILES if not (ROOT / file).is_file()] == []
