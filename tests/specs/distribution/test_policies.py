"""A publisher's figures are data: a file stands over the usual ones, and one that means nothing is refused."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import get_args

import hypothesis
import pytest
from hypothesis import strategies as st

from deploy import ROOT
from services.distribution.domain.decisions import OfferUpdate
from services.distribution.domain.fleet import FLEET
from services.distribution.domain.policy import DEFAULT, Figures, Policy, occasion
from shared.events import GroupPolicySet, UpdateApproved, UpdateScheduled
from shared.events.distribution import Cadence, Period, Severity
from shared.runtime.policies import Policies, policy_of
from tests.examples.distribution import DAY, NOON, SERVED, UPDATE, approve, note, schedule, weekly
from tests.spec import given

OWN = Policy(
    {
        "weekly": Figures("week", 9, "week", 1),
        "monthly": Figures("quarter", 30, "week", 3),
        "quarterly": Figures("quarter", 90, "month", 90),
    },
    80,
    5,
)
FIGURES = """
cadences.weekly = { period = "week", days = 9, critical_period = "week", critical_days = 1 }
cadences.monthly = { period = "quarter", days = 30, critical_period = "week", critical_days = 3 }
cadences.quarterly = { period = "quarter", days = 90, critical_period = "month", critical_days = 90 }
"""
FILE = f"[publisher.acme]\nsuccess_percent = 80\nerror_percent = 5{FIGURES}"


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Policies[Policy]:
    """Not read yet."""
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    return Policies("distribution", Policy, Path("services/distribution/policies.toml"))


def test_a_publishers_figures_stand_over_the_usual_ones(policies: Policies[Policy], tmp_path: Path) -> None:
    (tmp_path / "distribution.toml").write_text(FILE)
    assert (policies.of("acme"), policies.of("autodesk"), policies.of(None)) == (OWN, Policy(), Policy())


def test_the_packaged_policies_are_the_usual_ones() -> None:
    assert policy_of(Policy, None) == policy_of(Policy, "autodesk") == Policy()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("error_percent = 0", "a threshold must be"),
        ("success_percent = 101", "a threshold must be"),
        (FIGURES.partition("cadences.monthly")[0], "set exactly the cadences"),
        (FIGURES.replace("monthly", "daily"), "cadences.daily"),
        ("days = 4", "default.days"),
        (FIGURES.replace("90", "-1"), "a cadence's days must be"),
        (FIGURES.replace("days = 9,", "days = 9, hours = 1,"), "cadences.weekly.hours"),
        (FIGURES.replace(", critical_days = 3", ""), "cadences.monthly.critical_days"),
        (FIGURES.replace('"month"', '"fortnight"'), "cadences.quarterly.critical_period"),
    ],
)
def test_figures_that_mean_nothing_are_refused(
    policies: Policies[Policy], wrong: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "distribution.toml").write_text(f"[default]\n{wrong}")
    with pytest.raises(ValueError, match=rf"distribution\.toml: (.|\n)*{re.escape(said)}"):
        policies.of(None)


def test_a_publishers_key_that_nothing_knows_is_refused(policies: Policies[Policy], tmp_path: Path) -> None:
    (tmp_path / "distribution.toml").write_text(FILE.replace("days = 9,", "days = 9, hours = 1,"))
    with pytest.raises(ValueError, match=re.escape("acme.cadences.weekly.hours")):
        policies.of("autodesk")


# ── When a cadence installs ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("period", "ready", "first"),
    [
        ("week", "2026-11-21T12:00Z", "2026-11-23"),
        ("week", "2026-11-23T00:00Z", "2026-11-23"),
        ("week", "2026-11-23T00:00:00.000001Z", "2026-11-30"),
        ("week", "2026-12-29T10:00Z", "2027-01-04"),
        ("week", "2026-11-23T00:30+01:00", "2026-11-23"),
        ("week", "2026-11-22T23:30-01:00", "2026-11-30"),
        ("month", "2026-11-30T23:59Z", "2026-12-01"),
        ("month", "2026-12-01T00:00Z", "2026-12-01"),
        ("month", "2026-12-01T00:01Z", "2027-01-01"),
        ("month", "2027-01-31T12:00Z", "2027-02-01"),
        ("month", "2028-02-29T12:00Z", "2028-03-01"),
        ("quarter", "2026-09-30T23:59Z", "2026-10-01"),
        ("quarter", "2026-10-01T00:00Z", "2026-10-01"),
        ("quarter", "2026-10-01T00:01Z", "2027-01-01"),
        ("quarter", "2026-11-30T12:00Z", "2027-01-01"),
        ("quarter", "2026-12-31T23:59Z", "2027-01-01"),
        ("quarter", "2027-02-28T12:00Z", "2027-04-01"),
        ("quarter", "2027-05-31T12:00Z", "2027-07-01"),
    ],
)
def test_an_occasion_is_the_start_of_a_monday_a_month_or_a_quarter(period: Period, ready: str, first: str) -> None:
    assert occasion(period, datetime.fromisoformat(ready)) == datetime.fromisoformat(f"{first}T00:00Z")


def test_without_a_period_every_moment_is_an_occasion() -> None:
    assert occasion(None, NOON) == NOON


def starts(period: Period, instant: datetime) -> bool:
    """Whether such a period begins with this instant."""
    first = {
        "week": instant.weekday() == 0,
        "month": instant.day == 1,
        "quarter": instant.day == 1 and instant.month in (1, 4, 7, 10),
    }
    return instant.time() == time() and first[period]


@hypothesis.given(
    st.sampled_from(get_args(Cadence)[:3]),
    st.sampled_from(get_args(Severity)),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.timezones()),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_a_policy_acts_at_the_first_occasion_at_which_the_update_is_old_enough(
    cadence: Cadence, severity: Severity, published: datetime, offered: int, since: int
) -> None:
    update = UPDATE.model_copy(update={"severity": severity, "published_at": published})
    policy = weekly(cadence=cadence, now=published + since * DAY)
    due = given(FLEET).after(*SERVED[:4], OfferUpdate("c", update, published + offered * DAY), policy).state.wake
    figures = DEFAULT.cadences[cadence]
    critical = severity == "critical"
    period, days = (figures.critical_period, figures.critical_days) if critical else (figures.period, figures.days)
    assert due is not None and period is not None and starts(period, due.astimezone(UTC))
    ready = published + max(days, offered, since) * DAY
    assert ready <= due, "never younger, nor before it was offered or the policy set"
    midnights = (due - n * DAY for n in range(1, (due - ready).days + 1))
    assert not any(starts(period, midnight) for midnight in midnights), "no occasion was missed"
    assert due - ready < {"week": 7, "month": 31, "quarter": 92}[period] * DAY


def test_a_wrong_file_stops_the_service_when_it_starts(tmp_path: Path) -> None:
    (tmp_path / "distribution.toml").write_text("[default]\nerror_percent = 0")
    started = subprocess.run(
        [sys.executable, "-m", "services.distribution"],
        cwd=ROOT,
        env=os.environ | {"TENURE_POLICIES": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 1 and "a threshold must be 1 to 100 percent" in started.stderr


def test_the_figures_that_are_handed_are_those_that_hold() -> None:
    (set_, *_) = given(FLEET).after(*SERVED).when(replace(weekly(), policy=OWN)).then_accepted()
    assert isinstance(set_, GroupPolicySet)
    assert (set_.days, set_.critical_days, set_.success_percent, set_.error_percent) == (9, 1, 80, 5)
    assert (set_.period, set_.critical_period) == ("week", "week")
    assert (
        given(FLEET).after(*SERVED, replace(weekly(), policy=OWN)).state.wake
        == datetime(2026, 11, 30, tzinfo=UTC) + 7 * DAY
    )
    (rare, *_) = given(FLEET).after(*SERVED).when(replace(weekly(cadence="quarterly"), policy=OWN)).then_accepted()
    assert isinstance(rare, GroupPolicySet) and (rare.period, rare.critical_period) == ("quarter", "month")
    (off, *_) = given(FLEET).after(*SERVED).when(replace(weekly(cadence="off"), policy=OWN)).then_accepted()
    assert isinstance(off, GroupPolicySet) and (off.days, off.critical_days, off.period, off.critical_period) == (
        0,
        0,
        None,
        None,
    )
    for command in (replace(approve(), policy=OWN), replace(schedule(NOON + DAY), policy=OWN)):
        decided = given(FLEET).after(*SERVED).when(command).then_accepted()[0]
        assert isinstance(decided, UpdateApproved | UpdateScheduled)
        assert [(p.success_percent, p.error_percent) for p in decided.phases] == [(80, 5)]


def test_a_fleet_knows_whom_its_contract_is_with() -> None:
    unknown = given(FLEET).after(note("right_granted")).state
    known = given(FLEET).after(note("right_granted"), note("pool_opened", sub="t", publisher="acme")).state
    assert (unknown.entitlements.publisher, known.entitlements.publisher) == (None, "acme")
