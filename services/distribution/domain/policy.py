"""What the publisher or the distributor may set: when a cadence installs updates and how old they are then, and when a
rollout goes on or pauses. Data, with the usual figures given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Final, get_args

from shared.events.distribution import Cadence, Period

_MONTHS: Final = {"month": 1, "quarter": 3}


@dataclass(frozen=True, slots=True)
class Figures:
    """At the start of each period a cadence installs the updates that are at least so many days old by then."""

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
    """The figures, handed to the deciders."""

    cadences: Mapping[Cadence, Figures] = field(default_factory=_cadences)
    success_percent: int = 90
    """Of a phase's users, for the rollout to go on, where whoever approves says nothing else."""
    error_percent: int = 10
    """Of a phase's users, for the rollout to pause."""

    def __post_init__(self) -> None:
        """Raise ValueError where the figures mean nothing."""
        wanted = set(get_args(Cadence)) - {"off"}
        if set(self.cadences) != wanted:
            raise ValueError(f"cadences are {', '.join(sorted(wanted))}, each with its periods and days, and no others")
        if any(days < 0 for figures in self.cadences.values() for days in (figures.days, figures.critical_days)):
            raise ValueError("a cadence's days are 0 or more")
        if not all(1 <= percent <= 100 for percent in (self.success_percent, self.error_percent)):
            raise ValueError("a threshold is 1 to 100 percent")

    def figures(self, cadence: Cadence) -> Figures:
        """The cadence's periods and days: `off` has none."""
        return _OFF if cadence == "off" else self.cadences[cadence]


def occasion(period: Period | None, ready: datetime) -> datetime:
    """The first start of such a period that is not before `ready`: of a Monday, of a month's or a quarter's first day,
    in UTC. `ready` itself where there is no period."""
    if period is None:
        return ready
    day = ready.astimezone(UTC).date()
    if datetime.combine(day, time(), UTC) < ready:
        day += timedelta(1)
    if period == "week":
        return datetime.combine(day + timedelta(-day.weekday() % 7), time(), UTC)
    months, each = day.year * 12 + day.month - 1 + (day.day > 1), _MONTHS[period]
    year, month = divmod(months + -months % each, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)


DEFAULT: Final = Policy()
