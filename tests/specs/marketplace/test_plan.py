"""A service plan: what the publisher's system says is written down, once, under its product ID."""

from datetime import timedelta
from functools import reduce

import pytest

from services.marketplace.domain.plan import INITIAL, Command, Event, ListPlan, WithdrawPlan, decide, evolve, product_id
from shared.eventlog.decision import Decision
from shared.events import PlanListed, PlanWithdrawn
from tests.specs.marketplace.examples import AUTOCAD, AUTOCAD_ID, AUTODESK, NOON, plan, refused

LATER, EARLIER = NOON + timedelta(hours=1), NOON - timedelta(hours=1)
LISTED = PlanListed(plan=AUTOCAD, said_at=NOON)
WITHDRAWN = PlanWithdrawn(product_id=AUTOCAD_ID, publisher=AUTODESK, said_at=LATER)


def when(command: Command, *, given: tuple[Event, ...] = ()) -> Decision[Event]:
    return decide(command, reduce(evolve, given, INITIAL))


@pytest.mark.parametrize(
    "written", ["C1RK1-WW1762-L158", "C1RK1WW1762L158", " c1rk1-ww1762-l158 ", "C1RK1-WW1762L158", "c1rk1ww1762l158"]
)
def test_hyphens_and_case_make_no_difference_to_a_product_id(written: str) -> None:
    assert product_id(written) == AUTOCAD_ID


def test_a_renewals_product_id_has_six_digits_in_its_middle() -> None:
    assert product_id("057I1-007738-L882") == "057I1007738L882"


@pytest.mark.parametrize(
    "wrong",
    ["", "C1RK1", "C1RK1-WW176-L158", "C1RK1-WX1762-L158", "C1RK1-WW1762-1158", "C1RK1--WW1762-L158",
     "C1RK1WW1762L1588", "C-1RK1WW1762L158", "C1RK1-WW١٧٦٢-L158", "cırk1-ww1762-l158"],
)  # fmt: skip
def test_anything_else_is_no_product_id(wrong: str) -> None:
    assert product_id(wrong) is None


def test_an_offered_plan_is_listed_under_its_15_characters() -> None:
    offered = AUTOCAD.model_copy(update={"product_id": "c1rk1-ww1762-l158"})
    assert when(ListPlan(offered, AUTODESK, NOON)) == (LISTED,)


def test_the_same_plan_again_is_nothing_new() -> None:
    assert when(ListPlan(AUTOCAD, AUTODESK, LATER), given=(LISTED,)) == ()


def test_a_changed_plan_is_listed_again() -> None:
    dearer = plan(price=240_000)
    assert when(ListPlan(dearer, AUTODESK, LATER), given=(LISTED,)) == (PlanListed(plan=dearer, said_at=LATER),)


def test_an_older_price_that_arrives_late_changes_nothing() -> None:
    assert when(ListPlan(plan(price=1), AUTODESK, EARLIER), given=(LISTED,)) == ()


def test_a_withdrawn_plan_is_offered_no_longer() -> None:
    command = WithdrawPlan("C1RK1-WW1762-L158", AUTODESK, AUTODESK, LATER)
    assert when(command, given=(LISTED,)) == (WITHDRAWN,)
    assert when(command, given=(LISTED, WITHDRAWN)) == ()


def test_a_withdrawal_that_overtakes_the_listing_still_holds() -> None:
    withdrawn = when(WithdrawPlan(AUTOCAD_ID, AUTODESK, AUTODESK, LATER))
    assert withdrawn == (WITHDRAWN,)
    assert when(ListPlan(AUTOCAD, AUTODESK, NOON), given=(WITHDRAWN,)) == ()


def test_an_old_withdrawal_does_not_touch_a_plan_listed_since() -> None:
    assert when(WithdrawPlan(AUTOCAD_ID, AUTODESK, AUTODESK, EARLIER), given=(LISTED,)) == ()


def test_a_withdrawn_plan_can_be_offered_again() -> None:
    again = LATER + timedelta(days=1)
    assert when(ListPlan(AUTOCAD, AUTODESK, again), given=(LISTED, WITHDRAWN)) == (
        PlanListed(plan=AUTOCAD, said_at=again),
    )


def test_a_publisher_speaks_of_its_own_plans_only() -> None:
    refused(when(ListPlan(AUTOCAD, "acme", NOON)), "foreign-publisher")
    refused(when(ListPlan(AUTOCAD, "", NOON)), "foreign-publisher")
    refused(when(WithdrawPlan(AUTOCAD_ID, AUTODESK, "acme", NOON), given=(LISTED,)), "foreign-publisher")


def test_a_plan_without_a_product_id_is_refused() -> None:
    refused(when(ListPlan(plan("AutoCAD"), AUTODESK, NOON)), "malformed-product-id")
    refused(when(WithdrawPlan("AutoCAD", AUTODESK, AUTODESK, NOON)), "malformed-product-id")


def test_a_plan_needs_a_commitment_and_no_negative_price() -> None:
    refused(when(ListPlan(plan(months=0), AUTODESK, NOON)), "plan-without-sense")
    refused(when(ListPlan(plan(price=-1), AUTODESK, NOON)), "plan-without-sense")
