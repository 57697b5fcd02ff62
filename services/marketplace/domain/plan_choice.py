"""The choice of a plan, by its product ID or by the wizard's choices.

A product ID is unique per publisher only. Where several publishers' plans are left, the publisher is a choice, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from services.marketplace.domain import rules, wizard
from services.marketplace.domain.plan import (
    hyphenated,
    is_orderable,
    not_orderable,
    plan_unknown,
    plan_withdrawn,
    product_id_of,
    publisher_of,
    read_product_id,
)
from services.marketplace.domain.policy import EVERY_DEFAULT, PublisherPolicies
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens
from shared.eventlog.decision import SUPPLIED, Rejected
from shared.events import Plan, PlanListed, PlanWithdrawn
from shared.events.fields import Count, OptionalCode, OptionalIdentifier, OptionalPublisher
from shared.events.marketplace import Billing, Period, Support

NAMED_AT_MOST = 10
"""The largest number of plans or choices that a refusal names: without any choice the whole catalogue fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AddToCart:
    """Put a plan into the cart, with a number of seats.

    The plan is named by its product ID, with or without hyphens, or by as many of the wizard's choices as leave one
    plan. `publisher` goes with both: it tells plans of several publishers apart. A plan has one line: adding it again
    sets the line's seats.
    """

    seats: Count
    product_id: OptionalCode = ""
    publisher: OptionalPublisher = ""
    product: OptionalCode = ""
    period: Period | None = None
    support: Support | None = None
    billing: Billing | None = None
    customer: OptionalIdentifier = ""
    """The customer, if it is a sandbox: the price is then the one of the day on that customer's clock."""
    offers: Annotated[tuple[PlanListed | PlanWithdrawn, ...], SUPPLIED] = ()
    """The latest event about each plan with the product ID, or about those that the wizard's choices may lead to."""
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policies: Annotated[PublisherPolicies, SUPPLIED] = EVERY_DEFAULT


def chosen_plan(command: AddToCart) -> Plan | Rejected:
    """Return the one plan that the command names, or the refusal."""
    selection = wizard.Selection(
        product=command.product,
        publisher=command.publisher,
        period=command.period or "",
        support=command.support or "",
        billing=command.billing or "",
    )
    if not command.product_id:
        return _by_wizard(selection, command)
    if selection != wizard.Selection(publisher=command.publisher):
        return Rejected(
            rules.PRODUCT_ID_OR_WIZARD,
            "The request has both a product ID and choices. A product ID names exactly one plan.",
            "Send either the product ID or the choices.",
        )
    stored = read_product_id(command.product_id)
    if isinstance(stored, Rejected):
        return stored
    offer = plan_by_id(stored, command.publisher, command.offers, standing=command.standing, policies=command.policies)
    if isinstance(offer, Rejected):
        return offer
    return not_orderable(offer.plan, offer, command.policies.of(offer.plan.publisher)) or offer.plan


# ── By product ID ──────────────────────────────────────────────────────────────────────────────────────


def plan_by_id(
    stored: str,
    publisher: str,
    offers: Iterable[PlanListed | PlanWithdrawn],
    *,
    standing: Standing,
    policies: PublisherPolicies,
) -> PlanListed | Rejected:
    """Return the plan that a product ID names for a partner, or the refusal.

    A publisher's plan that is withdrawn, not open to the partner or not orderable gives way to another publisher's that
    can be ordered, so that no publisher takes another's product off sale.

    Args:
        stored: the product ID, without hyphens.
        publisher: the publisher whose plan it is; "" for any.
        offers: the latest event about each publisher's plan with this product ID. Others are passed over.
    """
    known = [event for event in offers if product_id_of(event) == stored]
    named = [event for event in known if publisher in ("", publisher_of(event))]
    listed = [event for event in named if isinstance(event, PlanListed)]
    if not listed:
        withdrawn = next((event for event in named if isinstance(event, PlanWithdrawn)), None)
        if withdrawn is not None:
            return plan_withdrawn(stored, withdrawn)
        offering = [event.plan.publisher for event in known if isinstance(event, PlanListed)]
        return plan_unknown(stored, publisher, offering[:NAMED_AT_MOST])
    opened = [offer for offer in listed if opens(standing, offer.plan)]
    orderable = [offer for offer in opened if is_orderable(offer.plan, policies.of(offer.plan.publisher))]
    match orderable or opened or listed:
        case [offer] if opened:
            return offer
        case [offer]:
            return needs_csn(standing, offer.plan, offer)
        case several:
            return _of_several_publishers(stored, several)


def _of_several_publishers(stored: str, offers: Sequence[PlanListed]) -> Rejected:
    named = ", ".join(f"{offer.plan.publisher} ({offer.plan.product_name})" for offer in offers[:NAMED_AT_MOST])
    return Rejected(
        rules.SELECTION_AMBIGUOUS,
        f"{len(offers)} publishers use the product ID {hyphenated(stored)}: {named}.",
        "Name the publisher, too.",
        because=tuple(offers[:NAMED_AT_MOST]),
    )


# ── By the wizard's choices ────────────────────────────────────────────────────────────────────────────


def _by_wizard(selection: wizard.Selection, command: AddToCart) -> Plan | Rejected:
    listed = [offer for offer in command.offers if isinstance(offer, PlanListed)]
    fitting = [offer for offer in listed if selection.fits(offer.plan)]
    if not fitting:
        return Rejected(
            rules.SELECTION_LEADS_NOWHERE,
            "No plan of the catalogue fits all of these choices.",
            "Change one of the choices (GET /wizard lists those that lead to a plan).",
        )
    committed = [offer for offer in fitting if is_orderable(offer.plan, command.policies.of(offer.plan.publisher))]
    if not committed:
        first = fitting[0]
        return not_orderable(first.plan, first, command.policies.of(first.plan.publisher)) or first.plan
    opened = [offer for offer in committed if opens(command.standing, offer.plan)]
    match opened:
        case []:
            return needs_csn(command.standing, committed[0].plan, committed[0])
        case [offer]:
            return offer.plan
        case _:
            return _ambiguous(opened, selection)


def _ambiguous(offers: Sequence[PlanListed], selection: wizard.Selection) -> Rejected:
    """Return the refusal of choices that more than one plan fits."""
    plans = [offer.plan for offer in offers]
    because = tuple(offers[:NAMED_AT_MOST])
    step = wizard.next_step(plans, selection)
    if step is None:
        named = ", ".join(hyphenated(plan.product_id) for plan in plans[:NAMED_AT_MOST])
        return Rejected(
            rules.SELECTION_AMBIGUOUS, f"{len(plans)} plans fit: {named}.", "Order one by its product ID.", because
        )
    open_choices = wizard.choices(plans, selection, step)
    shown = ", ".join(open_choices[:NAMED_AT_MOST]) + (", …" if len(open_choices) > NAMED_AT_MOST else "")
    return Rejected(
        rules.SELECTION_AMBIGUOUS,
        f"{len(plans)} plans fit. Still to choose: {step} ({shown}).",
        f"Choose a {step}, too.",
        because,
    )
