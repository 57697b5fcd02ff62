"""Distribution's policy: the figures that a publisher or distributor may set, with defaults.

They say when a cadence approves updates, how old these must be, and at which thresholds a rollout goes on or pauses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Final, get_args

from shared.events.distribution import Cadence, Period

_MONTHS: Final = {"month": 1, "quarter": 3}


@dataclass(frozen=True, slots=True)
class Figures:
    """A cadence: its periods, and the least age of updates in days.

    At the start of each period the updates that have reached that age are approved.
    """

    period: Period | None
    days: int
    critical_period: Period | None
    critical_days: int


_OFF: Final = Figures(None, 0, None, 0)


def _cadences() -> Mapping[Cadence, Figures]:
    return {
        "weekly": Figures("week", 4, "week", 2),
        "monthly": Figures("month", 15, "week", 4),
        "quarterly": Figures("quarter", 45, "quarter", 45),
    }


@dataclass(frozen=True, slots=True)
class Policy:
    """The figures that deciders are given."""

    cadences: Mapping[Cadence, Figures] = field(default_factory=_cadences)
    success_percent: int = 90
    """The share of a phase's users at which the rollout goes on, where the approval sets none."""
    error_percent: int = 10
    """The share of a phase's users at which the rollout pauses, where the approval sets none."""
    silent_days: int = 14
    """After so many days without a report from the users of its present phase a rollout pauses."""

    def __post_init__(self) -> None:
        """Raise ValueError if the figures are inconsistent."""
        wanted = set(get_args(Cadence)) - {"off"}
        if set(self.cadences) != wanted:
            raise ValueError(f"set exactly the cadences {', '.join(sorted(wanted))}, each with its periods and days")
        if any(days < 0 for figures in self.cadences.values() for days in (figures.days, figures.critical_days)):
            raise ValueError("a cadence's days must be 0 or more")
        if not 1 <= self.silent_days <= 3660:
            raise ValueError("silent_days must be 1 to 3660")
        if not all(1 <= percent <= 100 for percent in (self.success_percent, self.error_percent)):
            raise ValueError("a threshold must be 1 to 100 percent")

    def figures(self, cadence: Cadence) -> Figures:
        """Return the cadence's periods and days. `off` has none."""
        return _OFF if cadence == "off" else self.cadences[cadence]


def occasion(period: Period | None, ready: datetime) -> datetime:
    """Return the first start of a period at or after `ready`, or `ready` without a period.

    Periods start at midnight UTC: a week on Monday, a month and a quarter on their first day.
    """
    if period is None:
        return ready
    day = ready.astimezone(UTC).date()
    if datetime.combine(day, time(), UTC) < ready:
        day += timedelta(1)
    if period == "week":
        return datetime.combine(day + timedelta(-day.weekday() % 7), time(), UTC)
    months, length = day.year * 12 + day.month - 1 + (day.day > 1), _MONTHS[period]
    year, month = divmod(months + -months % length, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


DEFAULT: Final = Policy()
