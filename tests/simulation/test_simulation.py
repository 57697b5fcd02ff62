"""Any seed: nothing lost, nothing twice, nothing reordered, every table what a replay makes it. And bugs are found."""

import os
import subprocess
import sys

import pytest

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.simulate import simulate

SEEDS = os.environ.get("SEEDS", "1000")
FIRST = os.environ.get("FIRST_SEED", "0")
WITHIN = 100
"""Seeds in which a planted bug must show."""
PLAY = (sys.executable, "-W", "ignore", "-m", "tests.simulation")


@pytest.mark.slow
def test_whatever_the_seed_nothing_is_wrong() -> None:
    played = subprocess.run([*PLAY, "--seeds", SEEDS, "--from", FIRST], capture_output=True, text=True)
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert any(simulate(seed, bug).faults for seed in range(WITHIN))


def test_a_seed_replays_exactly_in_any_process() -> None:
    """Whatever order a process keeps its sets in."""
    heard = {
        subprocess.run(
            [*PLAY, "7"],
            env={**os.environ, "PYTHONHASHSEED": order},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for order in ("1", "2", "3")
    }
    assert len(heard) == 1
    assert "nothing is wrong" in heard.pop()
