"""Ordering without a product ID: product, then period, then support, then billing, until one plan remains.

Pure, over the plans that somebody may order: what the wizard shows and what a cart accepts come from the same words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from shared.events import Plan

Step: TypeAlias = Literal["product", "period", "support", "billing"]
STEPS: Final[tuple[Step, ...]] = ("product", "period", "support", "billing")


@dataclass(frozen=True, slots=True)
class Selection:
    """What is chosen so far; empty where a step is still open."""

    product: str = ""
    period: str = ""
    support: str = ""
    billing: str = ""

    def chosen(self, step: Step) -> str:
        return str(getattr(self, step))

    def without(self, step: Step) -> "Selection":
        kept = {other: self.chosen(other) for other in STEPS if other != step}
        return Selection(**kept)

    def fits(self, plan: Plan) -> bool:
        return all(self.chosen(step) in ("", getattr(plan, step)) for step in STEPS)


def remaining(plans: Iterable[Plan], selection: Selection) -> tuple[Plan, ...]:
    """The plans that the selection still leads to."""
    return tuple(plan for plan in plans if selection.fits(plan))


def choices(plans: Iterable[Plan], selection: Selection, step: Step) -> tuple[str, ...]:
    """What can be chosen (or chosen instead) at a step, everything else as selected: each leads to a plan."""
    found = {str(getattr(plan, step)) for plan in remaining(plans, selection.without(step))}
    return tuple(sorted(found))


def next_step(plans: Iterable[Plan], selection: Selection) -> Step | None:
    """The first open step that makes a difference; none where one plan remains, none does, or no step can tell."""
    left = remaining(plans, selection)
    for step in STEPS:
        if not selection.chosen(step) and len({getattr(plan, step) for plan in left}) > 1:
            return step
    return None
