"""The wizard: choosing a plan by product, period, support and billing, without a product ID.

Publishers name their products themselves. Where two use one name, the publisher is a choice like the others.

Its functions are given the plans that a partner may order. The wizard's answers and the cart's checks use the same
functions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from shared.events import Plan

Step: TypeAlias = Literal["product", "publisher", "period", "support", "billing"]
STEPS: Final[tuple[Step, ...]] = ("product", "publisher", "period", "support", "billing")


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The choices made so far; "" for a step without a choice."""

    product: str = ""
    publisher: str = ""
    period: str = ""
    support: str = ""
    billing: str = ""

    def chosen(self, step: Step) -> str:
        """Return the choice at the step."""
        return str(getattr(self, step))

    def without(self, step: Step) -> "Selection":
        """Return the selection without the choice at the step."""
        others = {other: self.chosen(other) for other in STEPS if other != step}
        return Selection(**others)

    def fits(self, plan: Plan) -> bool:
        """Return whether the plan agrees with every choice made."""
        return all(self.chosen(step) in ("", getattr(plan, step)) for step in STEPS)


def remaining(plans: Iterable[Plan], selection: Selection) -> tuple[Plan, ...]:
    """Return the plans that fit the selection."""
    return tuple(plan for plan in plans if selection.fits(plan))


def choices(plans: Iterable[Plan], selection: Selection, step: Step) -> tuple[str, ...]:
    """Return the choices at a step that lead to a plan together with the other steps' choices."""
    possible = {str(getattr(plan, step)) for plan in remaining(plans, selection.without(step))}
    return tuple(sorted(possible))


def product_names(plans: Iterable[Plan]) -> dict[str, str]:
    """Return each product's name for people, or every publisher's where several use one product."""
    names: dict[str, dict[str, str]] = {}
    for plan in plans:
        names.setdefault(plan.product, {})[plan.publisher] = plan.product_name
    return {product: " / ".join(sorted(set(each.values()))) for product, each in names.items()}


def next_step(plans: Iterable[Plan], selection: Selection) -> Step | None:
    """Return the first open step that tells the remaining plans apart, or None."""
    fitting = remaining(plans, selection)
    for step in STEPS:
        if not selection.chosen(step) and len({getattr(plan, step) for plan in fitting}) > 1:
            return step
    return None
