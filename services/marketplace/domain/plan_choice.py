"""The choice of a plan, by its product ID or by the wizard's choices."""

from dataclasses import dataclass
from typing import Annotated

from services.marketplace.domain import rules, wizard
from services.marketplace.domain.plan import (
    hyphenated,
    is_orderable,
    not_orderable,
    plan_unknown,
    plan_withdrawn,
    read_product_id,
)
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens
from shared.eventlog.decision import SUPPLIED, Rejected
from shared.events import Plan, PlanListed, PlanWithdrawn
from shared.events.fields import Count, OptionalCode, OptionalIdentifier
from shared.events.marketplace import Billing, Period, Support


@dataclass(frozen=True, kw_only=True, slots=True)
class AddToCart:
    """Put a plan into the cart, with a number of seats.

    The plan is named by its product ID, with or without hyphens, or by as many of the wizard's choices as leave one
    plan. A plan has one line: adding it again sets the line's seats.
    """

    seats: Count
    product_id: OptionalCode = ""
    product: OptionalCode = ""
    period: Period | None = None
    support: Support | None = None
    billing: Billing | None = None
    customer: OptionalIdentifier = ""
    """The customer, if it is a sandbox: the price is then the one of the day on that customer's clock."""
    offers: Annotated[tuple[PlanListed, ...], SUPPLIED] = ()
    """The catalogue's plans with the product ID, or those that the wizard's choices may lead to."""
    withdrawn: Annotated[PlanWithdrawn | None, SUPPLIED] = None
    """The withdrawal of the plan with this product ID, if the plan is withdrawn."""
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


def chosen_plan(command: AddToCart) -> Plan | Rejected:
    """Return the one plan that the command names, or the refusal."""
    selection = wizard.Selection(command.product, command.period or "", command.support or "", command.billing or "")
    if not command.product_id:
        return _by_wizard(selection, command)
    if selection != wizard.Selection():
        return Rejected(
            rules.PRODUCT_ID_OR_WIZARD,
            "The request has both a product ID and choices. A product ID names exactly one plan.",
            "Send either the product ID or the choices.",
        )
    return _by_product_id(command)


def _by_product_id(command: AddToCart) -> Plan | Rejected:
    stored = read_product_id(command.product_id)
    if isinstance(stored, Rejected):
        return stored
    listed = [offer for offer in command.offers if offer.plan.product_id == stored]
    if len(listed) > 1:
        return _ambiguous(listed, wizard.Selection())
    if not listed and command.withdrawn is not None:
        return plan_withdrawn(stored, command.withdrawn)
    if not listed:
        return plan_unknown(stored)
    plan = listed[0].plan
    return not_orderable(plan, listed[0], command.policy) or (
        plan if opens(command.standing, plan) else needs_csn(command.standing, plan, listed[0])
    )


def _by_wizard(selection: wizard.Selection, command: AddToCart) -> Plan | Rejected:
    fitting = [offer for offer in command.offers if selection.fits(offer.plan)]
    if not fitting:
        return Rejected(
            rules.SELECTION_LEADS_NOWHERE,
            "No plan of the catalogue fits all of these choices.",
            "Change one of the choices (GET /wizard lists those that lead to a plan).",
        )
    committed = [offer for offer in fitting if is_orderable(offer.plan, command.policy)]
    if not committed:
        return not_orderable(fitting[0].plan, fitting[0], command.policy) or fitting[0].plan
    opened = [offer for offer in committed if opens(command.standing, offer.plan)]
    match opened:
        case []:
            return needs_csn(command.standing, committed[0].plan, committed[0])
        case [offer]:
            return offer.plan
        case _:
            return _ambiguous(opened, selection)


def _ambiguous(offers: list[PlanListed], selection: wizard.Selection) -> Rejected:
    """Return the refusal of choices that more than one plan fits.

    It names at most ten plans or choices, because without any choice the whole catalogue fits.
    """
    plans = [offer.plan for offer in offers]
    because = tuple(offers[:10])
    step = wizard.next_step(plans, selection)
    if step is None:
        named = ", ".join(hyphenated(plan.product_id) for plan in plans[:10])
        return Rejected(
            rules.SELECTION_AMBIGUOUS, f"{len(plans)} plans fit: {named}.", "Order one by its product ID.", because
        )
    open_choices = wizard.choices(plans, selection, step)
    shown = ", ".join(open_choices[:10]) + (", …" if len(open_choices) > 10 else "")
    return Rejected(
        rules.SELECTION_AMBIGUOUS,
        f"{len(plans)} plans fit. Still to choose: {step} ({shown}).",
        f"Choose a {step}, too.",
        because,
    )
