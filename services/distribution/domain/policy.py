"""What the publisher or the distributor may set: how old an update is when a cadence installs it, and when a rollout
goes on or pauses. Data, with the usual figures given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.events.distribution import Cadence


@dataclass(frozen=True, slots=True)
class Figures:
    """A cadence installs updates that are older than so many days."""

    days: int
    critical_days: int


def _cadences() -> Mapping[Cadence, Figures]:
    return {"weekly": Figures(4, 2), "monthly": Figures(15, 4), "quarterly": Figures(45, 45), "off": Figures(0, 0)}


@dataclass(frozen=True, slots=True)
class Policy:
    """The figures, handed to the deciders."""

    cadences: Mapping[Cadence, Figures] = field(default_factory=_cadences)
    success_percent: int = 90
    """Of a phase's users, for the rollout to go on, where whoever approves says nothing else."""
    error_percent: int = 10
    """Of a phase's users, for the rollout to pause."""


DEFAULT: Final = Policy()
