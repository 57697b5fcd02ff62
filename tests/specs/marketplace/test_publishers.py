"""Two publishers use one product ID, or one name of a product: neither takes the other's plan off sale."""

from dataclasses import replace

from services.marketplace.domain.cart import CART
from services.marketplace.domain.plan import PLAN, WithdrawPlan
from services.marketplace.domain.plan_choice import AddToCart
from services.marketplace.domain.policy import Policy, PublisherPolicies
from services.marketplace.domain.wizard import Selection, choices, next_step, product_names, remaining
from shared.events import CartLine, CartLineAdded, CartOpened, Plan, PlanListed, PlanWithdrawn
from tests.examples.marketplace import AUTOCAD, AUTOCAD_ID, AUTODESK, CLERK, NOON, PARTNER, WITH_CSN, listed, plan
from tests.spec import given

OPENED = CartOpened(cart_id="cart-1", partner=PARTNER, opened_by=CLERK).recorded("opened")
RIVAL = "rival"
RIVALS = plan(publisher=RIVAL, price=100)
"""The rival's plan, which has the product ID, the product and the choices of AutoCAD's."""
BY_ID = AddToCart(seats=3, product_id=AUTOCAD_ID, offers=listed(AUTOCAD, RIVALS))
BY_WIZARD = AddToCart(seats=3, product="autocad", offers=listed(AUTOCAD, RIVALS))


def added(plan: Plan) -> CartLineAdded:
    return CartLineAdded(cart_id="cart-1", partner=PARTNER, line=CartLine(line=1, plan=plan, seats=3))


def test_a_request_by_product_id_names_the_publisher() -> None:
    given(CART, OPENED).when(replace(BY_ID, publisher=AUTODESK)).then(added(AUTOCAD))
    given(CART, OPENED).when(replace(BY_ID, publisher=RIVAL)).then(added(RIVALS))


def test_without_a_publisher_the_refusal_lists_the_choices() -> None:
    refusal = given(CART, OPENED).when(BY_ID).then_refused("selection-ambiguous", because=listed(AUTOCAD, RIVALS))
    assert "autodesk (Autocad), rival (Autocad)" in refusal.reason
    assert "publisher" in refusal.remedy


def test_a_publisher_without_such_a_plan_is_told_who_has_one() -> None:
    refusal = given(CART, OPENED).when(replace(BY_ID, publisher="acme")).then_refused("plan-unknown")
    assert "of acme" in refusal.reason
    assert "autodesk, rival" in refusal.reason


def test_the_wizard_asks_for_the_publisher() -> None:
    refusal = given(CART, OPENED).when(BY_WIZARD).then_refused("selection-ambiguous", because=listed(AUTOCAD, RIVALS))
    assert "publisher (autodesk, rival)" in refusal.reason
    given(CART, OPENED).when(replace(BY_WIZARD, publisher=AUTODESK)).then(added(AUTOCAD))
    plans = (AUTOCAD, RIVALS)
    assert next_step(plans, Selection(product="autocad")) == "publisher"
    assert choices(plans, Selection(product="autocad"), "publisher") == ("autodesk", "rival")
    assert remaining(plans, Selection(publisher=RIVAL)) == (RIVALS,)
    assert next_step((AUTOCAD,), Selection()) is None, "one publisher needs no such step"


def test_a_product_of_two_publishers_is_shown_with_both_names() -> None:
    renamed = RIVALS.model_copy(update={"product_name": "Drawer"})
    assert product_names((AUTOCAD, renamed)) == {"autocad": "Autocad / Drawer"}


def test_a_plan_that_cannot_be_ordered_gives_way_to_one_that_can() -> None:
    specialised = RIVALS.model_copy(update={"category": "specialised"})
    three_years = RIVALS.model_copy(update={"commitment_months": 36})
    withdrawn = PlanWithdrawn(product_id=AUTOCAD_ID, publisher=RIVAL, said_at=NOON).recorded("withdrawn")
    others: tuple[PlanListed | PlanWithdrawn, ...] = (*listed(specialised, three_years), withdrawn)
    for offer in others:
        given(CART, OPENED).when(replace(BY_ID, offers=(offer, *listed(AUTOCAD)))).then(added(AUTOCAD))


def test_of_specialised_plans_the_csn_decides() -> None:
    ours, theirs = (each.model_copy(update={"category": "specialised"}) for each in (AUTOCAD, RIVALS))
    both = replace(BY_ID, offers=listed(theirs, ours))
    given(CART, OPENED).when(replace(both, standing=WITH_CSN)).then(added(ours))
    given(CART, OPENED).when(both).then_refused("selection-ambiguous", because=listed(theirs, ours))
    given(CART, OPENED).when(replace(both, publisher=RIVAL)).then_refused(
        "specialised-needs-csn", because=listed(theirs)
    )


def test_each_publishers_own_policy_counts() -> None:
    monthly = replace(BY_ID, policies=PublisherPolicies({RIVAL: Policy(commitment_months=1, seats_at_most=1)}))
    given(CART, OPENED).when(monthly).then(added(AUTOCAD))
    given(CART, OPENED).when(replace(monthly, publisher=RIVAL)).then_refused(
        "twelve-month-commitment", because=listed(RIVALS)
    )


def test_a_publisher_withdraws_only_its_own_plan() -> None:
    foreign = WithdrawPlan(AUTOCAD_ID, AUTODESK, RIVAL, NOON)
    given(PLAN, *listed(AUTOCAD)).when(foreign).then_refused("foreign-publisher")
