"""The wizard: steps until one plan remains, then seats and customer."""

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from services.console.pages.market.cart import put_into_cart
from services.console.pages.market.showing import given, render
from services.console.shapes.sales import Customers, WizardSteps
from services.console.texts import marked
from services.console.visits import Visit

STEPS: Final = ("product", "publisher", "period", "support", "billing")
CHOOSE: Final = marked("Choose one to go on.")
SEATS: Final = marked("Enter a number of seats, such as 5.")


async def wizard(visit: Visit) -> Response:
    """Show the first step that is open, with the choices that lead to a plan."""
    chosen = {step: value for step in STEPS if (value := given(visit, step))}
    asked = given(visit, "step")
    found = await visit.see("marketplace", "/wizard", WizardSteps, **chosen)
    if found.plans == 0:  # a choice of an old address that the catalogue has no plan for any more
        return visit.go("/wizard", "wizard-over")
    seats = given(visit, "seats")
    if asked and asked == found.next and not given(visit, asked):
        visit.form.errors.setdefault("choice", visit.texts.gettext(CHOOSE))
    elif asked == "seats" and not _is_count(seats):
        visit.form.errors.setdefault("seats", visit.texts.gettext(SEATS))
    visit.form.values |= {"seats": seats, **chosen}
    step = _step(found, seats)
    customers = Customers(items=[], next=None)
    if step == "customer":
        query = {"q": given(visit, "q")} if given(visit, "q") else {}
        customers = await visit.see("marketplace", "/customers", Customers, status="engaged", limit="20", **query)
    return render(
        visit,
        "wizard.html",
        found=found,
        chosen=chosen,
        settled=_settled(found),
        step=step,
        seats=seats,
        customers=customers,
    )


async def add_from_wizard(visit: Visit) -> Response:
    """Put the plan into the cart, for the customer that was chosen last."""
    return await put_into_cart(visit, wizard)


def _step(found: WizardSteps, seats: str) -> str:
    if found.next is not None or found.plan is None:
        return found.next or "several"
    return "customer" if _is_count(seats) else "seats"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) > 0


def _settled(found: WizardSteps) -> Mapping[str, str]:
    """Return the steps that have one choice left, and its label."""
    return {step: left[0].label for step, left in found.choices.items() if len(left) == 1}
