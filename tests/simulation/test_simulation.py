"""Any seed: nothing lost, nothing twice, nothing reordered, every table what a replay makes it. And bugs are found."""

import os
import subprocess
import sys

import pytest

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.simulate import simulate

SEEDS = int(os.environ.get("SEEDS", "1000"))
FIRST = int(os.environ.get("FIRST_SEED", "0"))
WITHIN = 100
"""Seeds in which a planted bug must show."""


@pytest.mark.slow
def test_whatever_the_seed_nothing_is_wrong() -> None:
    for seed in range(FIRST, FIRST + SEEDS):
        faults = simulate(seed).faults
        assert not faults, f"python -m tests.simulation {seed}:\n" + "\n".join(faults[:20])


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert any(simulate(seed, bug).faults for seed in range(WITHIN))


def test_a_seed_replays_exactly_in_any_process() -> None:
    """Whatever order a process keeps its sets in."""
    heard = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.simulation", "7"],
            env={**os.environ, "PYTHONHASHSEED": order},
            check=True, capture_output=True, text=True,
        ).stdout
        for order in ("1", "2", "3")
    }  # fmt: skip
    assert len(heard) == 1
    assert "nothing is wrong" in heard.pop()
