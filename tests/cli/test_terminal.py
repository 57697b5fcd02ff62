"""The command at a terminal: what it asks before it changes something, and how far it has got."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping

import pytest

from deploy import ROOT
from tests.cli.stores import Stores, operations, park
from tests.conftest import in_a_loop

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("tenure")]  # which sets its environment

PATIENCE_S = 60


@pytest.fixture
def parked(stores: Stores) -> str:
    in_a_loop(park(stores["entitlements"]))
    return stores["entitlements"]


def at_a_terminal(*arguments: str, answers: Mapping[str, str]) -> tuple[int, str]:
    """How it ended and all that the terminal was sent. `answers` are typed when their question is there."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments], cwd=ROOT, stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    said, open_ = "", dict(answers)
    try:
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                said += os.read(ours, 65_536).decode()
            except OSError:  # the other side is closed
                break
            for question in [each for each in open_ if each in said]:
                os.write(ours, open_.pop(question).encode() + b"\n")
        return process.wait(PATIENCE_S), said
    finally:
        process.kill()
        os.close(ours)


RETRY = ("parked", "retry", "--consumer", "entitlements.numbers")


@pytest.mark.parametrize("answer", ["", "n"])
def test_whoever_does_not_say_yes_changes_nothing(parked: str, answer: str) -> None:
    code, said = at_a_terminal(*RETRY, answers={"Apply this change?": answer})
    assert code == 0 and "3 parked records at" in said and "nothing was changed" in said
    assert "Reason" not in said
    assert operations(parked) == []


def test_whoever_says_yes_says_why_and_sees_how_far_it_is(parked: str) -> None:
    code, said = at_a_terminal(
        *RETRY, answers={"Apply this change?": "y", "Reason (for the record)": "the handler is mended"}
    )
    assert code == 0
    assert "parked retry" in said and "3/3" in said, "the bar"
    begun, ended = operations(parked)
    assert (begun["reason"], ended["outcome"]) == ("the handler is mended", "done")
    assert ended["actor"] == "operator:test"
