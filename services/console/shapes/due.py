"""The answers of marketplace's lists of what falls due, as far as the pages read them."""

from collections.abc import Iterator
from datetime import date
from typing import Literal, NamedTuple

from pydantic import BaseModel


class Due(NamedTuple):
    """Something that falls due on a day."""

    day: date
    kind: Literal["instalment", "cancel-by", "renews", "ends"]
    product: str
    amount: int = 0
    """In minor units of the currency, for an instalment."""
    currency: str = ""


class Owed(BaseModel):
    """An amount in minor units of its currency."""

    amount: int
    currency: str


class DueInstalment(BaseModel):
    """An instalment, and the day on which it is due."""

    product_name: str
    due: date
    amount: Owed


class DueInstalments(BaseModel):
    """The instalments that fall due in some days. Of marketplace's `GET /instalments`."""

    items: list[DueInstalment]
    next: str | None = None

    def due(self) -> Iterator[Due]:
        for each in self.items:
            yield Due(each.due, "instalment", each.product_name, each.amount.amount, each.amount.currency)


class EndingPlan(BaseModel):
    """What was bought."""

    product_name: str


class EndingTerm(BaseModel):
    """A term, and its last day."""

    ends: date


class LastDayToCancel(BaseModel):
    """The last day on which auto-renew can be turned off."""

    last_day: date


class Renewal(BaseModel):
    """Whether a subscription renews, and until when that can be turned off."""

    state: str
    cancel_by: LastDayToCancel
    ends: date | None


class Ending(BaseModel):
    """A subscription with the end of its term."""

    plan: EndingPlan
    term: EndingTerm | None
    auto_renew: Renewal | None

    def due(self) -> Iterator[Due]:
        if self.term is None or self.auto_renew is None:
            return
        if self.auto_renew.state == "on":
            yield Due(self.auto_renew.cancel_by.last_day, "cancel-by", self.plan.product_name)
        ending = self.auto_renew.ends == self.term.ends
        yield Due(self.term.ends, "ends" if ending else "renews", self.plan.product_name)


class EndingTerms(BaseModel):
    """Subscriptions by the end of their terms. Of marketplace's `GET /subscriptions`."""

    items: list[Ending]
    next: str | None = None

    def due(self) -> Iterator[Due]:
        for each in self.items:
            yield from each.due()
