"""Ordering without a product ID: each choice shown leads to a plan."""

from services.marketplace.domain.wizard import Selection, choices, next_step, remaining
from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY, LT, VAULT, plan

AUTOCAD_IN_INSTALMENTS = plan("C1RK1WW1763L158", billing="instalments")
PLANS = (AUTOCAD, AUTOCAD_IN_INSTALMENTS, AUTOCAD_MONTHLY, LT, VAULT)


def test_it_begins_with_the_product() -> None:
    assert next_step(PLANS, Selection()) == "product"
    assert choices(PLANS, Selection(), "product") == ("autocad", "autocad-lt", "vault")


def test_only_choices_that_lead_to_a_plan_are_shown() -> None:
    assert choices(PLANS, Selection(product="autocad"), "period") == ("annual", "monthly")
    assert choices(PLANS, Selection(product="autocad", period="monthly"), "support") == ("advanced",)
    assert choices(PLANS, Selection(product="autocad", support="basic"), "period") == ("annual",)


def test_steps_that_make_no_difference_are_skipped() -> None:
    assert next_step(PLANS, Selection(product="autocad")) == "period"
    assert next_step(PLANS, Selection(product="autocad", period="annual")) == "billing"


def test_it_is_done_when_one_plan_remains() -> None:
    assert remaining(PLANS, Selection(product="vault")) == (VAULT,)
    assert next_step(PLANS, Selection(product="vault")) is None
    chosen = Selection(product="autocad", period="annual", billing="upfront")
    assert remaining(PLANS, chosen) == (AUTOCAD,)


def test_a_choice_already_made_shows_what_else_could_be_chosen() -> None:
    assert choices(PLANS, Selection(product="autocad", period="annual"), "period") == ("annual", "monthly")


def test_plans_that_no_step_can_tell_apart_leave_no_next_step() -> None:
    twin = plan("C1RK1WW1764L158")
    assert next_step((AUTOCAD, twin), Selection(product="autocad")) is None
    assert len(remaining((AUTOCAD, twin), Selection(product="autocad"))) == 2
