"""What the publisher or the distributor may set: how old an update is when a cadence installs it, and when a rollout
goes on or pauses. Data, with the usual figures given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, get_args

from shared.events.distribution import Cadence


@dataclass(frozen=True, slots=True)
class Figures:
    """A cadence installs updates that are older than so many days."""

    days: int
    critical_days: int


def _cadences() -> Mapping[Cadence, Figures]:
    return {"weekly": Figures(4, 2), "monthly": Figures(15, 4), "quarterly": Figures(45, 45)}


@dataclass(frozen=True, slots=True)
class Policy:
    """The figures, handed to the deciders."""

    cadences: Mapping[Cadence, Figures] = field(default_factory=_cadences)
    success_percent: int = 90
    """Of a phase's users, for the rollout to go on, where whoever approves says nothing else."""
    error_percent: int = 10
    """Of a phase's users, for the rollout to pause."""

    def figures(self, cadence: Cadence) -> Figures:
        """The cadence's days: `off` has none."""
        return Figures(0, 0) if cadence == "off" else self.cadences[cadence]


def check(policy: Policy) -> None:
    """Raises ValueError: what in the policy means nothing."""
    wanted = set(get_args(Cadence)) - {"off"}
    if set(policy.cadences) != wanted:
        raise ValueError(f"cadences are {', '.join(sorted(wanted))}, each with its days, and no others")
    if any(days < 0 for figures in policy.cadences.values() for days in (figures.days, figures.critical_days)):
        raise ValueError("a cadence's days are 0 or more")
    if not all(1 <= percent <= 100 for percent in (policy.success_percent, policy.error_percent)):
        raise ValueError("a threshold is 1 to 100 percent")


DEFAULT: Final = Policy()
