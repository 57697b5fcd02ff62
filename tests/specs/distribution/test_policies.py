"""A publisher's figures are data: a file stands over the usual ones, and one that means nothing is refused."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import ROOT
from services.distribution.domain.fleet import decide
from services.distribution.domain.policy import Figures, Policy, check
from services.distribution.policies import POLICIES
from shared.events import GroupPolicySet, UpdateApproved, UpdateScheduled
from shared.runtime.policies import Policies
from tests.specs.distribution.examples import DAY, NOON, SERVED, accepted, approve, note, of_fleet, weekly
from tests.specs.distribution.test_fleet import schedule

OWN = Policy({"weekly": Figures(9, 1), "monthly": Figures(30, 3), "quarterly": Figures(90, 90)}, 80, 5)
FILE = """
[publisher.acme]
success_percent = 80
error_percent = 5
[publisher.acme.cadences]
weekly = { days = 9, critical_days = 1 }
monthly = { days = 30, critical_days = 3 }
quarterly = { days = 90, critical_days = 90 }
"""


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Policies[Policy]:
    """Not read yet."""
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    return Policies("distribution", Policy, Path("services/distribution/policies.toml"), check)


def test_a_publishers_figures_stand_over_the_usual_ones(policies: Policies[Policy], tmp_path: Path) -> None:
    (tmp_path / "distribution.toml").write_text(FILE)
    assert (policies.of("acme"), policies.of("autodesk"), policies.of(None)) == (OWN, Policy(), Policy())


def test_the_packaged_policies_are_the_usual_ones() -> None:
    assert POLICIES.of(None) == POLICIES.of("autodesk") == Policy()


@pytest.mark.parametrize(
    "wrong",
    ["error_percent = 0", "success_percent = 101", "cadences = { weekly = { days = 4, critical_days = 2 } }",
     "cadences.daily = { days = 1, critical_days = 1 }", "days = 4", FILE.replace("90", "-1").partition("acme]")[2]],
)  # fmt: skip
def test_figures_that_mean_nothing_are_refused(policies: Policies[Policy], wrong: str, tmp_path: Path) -> None:
    (tmp_path / "distribution.toml").write_text(f"[default]\n{wrong.replace('publisher.acme', 'default')}")
    with pytest.raises(ValueError, match=r"cadence|threshold|percent|has no days"):
        policies.of(None)


def test_a_wrong_file_stops_the_service_when_it_starts(tmp_path: Path) -> None:
    (tmp_path / "distribution.toml").write_text("[default]\nerror_percent = 0")
    started = subprocess.run(
        [sys.executable, "-m", "services.distribution"], cwd=ROOT, env=os.environ | {"TENURE_POLICIES": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert started.returncode == 1 and "a threshold is 1 to 100 percent" in started.stderr


def test_the_figures_that_are_handed_are_those_that_hold() -> None:
    (set_, *_) = accepted(decide(replace(weekly(), policy=OWN), of_fleet(*SERVED)))
    assert isinstance(set_, GroupPolicySet)
    assert (set_.days, set_.critical_days, set_.success_percent, set_.error_percent) == (9, 1, 80, 5)
    assert of_fleet(*SERVED, replace(weekly(), policy=OWN)).wake == NOON + 9 * DAY
    (off, *_) = accepted(decide(replace(weekly(cadence="off"), policy=OWN), of_fleet(*SERVED)))
    assert isinstance(off, GroupPolicySet) and (off.days, off.critical_days) == (0, 0)
    for command in (replace(approve(), policy=OWN), replace(schedule(NOON + DAY), policy=OWN)):
        decided = accepted(decide(command, of_fleet(*SERVED)))[0]
        assert isinstance(decided, UpdateApproved | UpdateScheduled)
        assert [(p.success_percent, p.error_percent) for p in decided.phases] == [(80, 5)]


def test_a_fleet_knows_whom_its_contract_is_with() -> None:
    assert of_fleet(note("right_granted")).publisher is None
    assert of_fleet(note("right_granted"), note("pool_opened", sub="t", publisher="acme")).publisher == "acme"
