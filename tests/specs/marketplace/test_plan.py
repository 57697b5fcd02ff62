"""A service plan: what the publisher's system says is written down, once, under its product ID."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from services.marketplace.domain.plan import (
    PLAN,
    AnnouncePrice,
    BringPriceIn,
    Command,
    Event,
    Listed,
    ListPlan,
    WithdrawPlan,
    listing_on,
    price_on,
)
from shared.eventlog.decision import Rejected
from shared.events import Money, PlanListed, PlanWithdrawn
from shared.events.fields import product_id
from tests.examples.marketplace import AUTOCAD, AUTOCAD_ID, AUTODESK, NOON, TODAY, plan
from tests.spec import given

LATER, EARLIER = NOON + timedelta(hours=1), NOON - timedelta(hours=1)
LISTED = PlanListed(plan=AUTOCAD, said_at=NOON)
WITHDRAWN = PlanWithdrawn(product_id=AUTOCAD_ID, publisher=AUTODESK, said_at=LATER)


@pytest.mark.parametrize(
    "written", ["C1RK1-WW1762-L158", "C1RK1WW1762L158", " c1rk1-ww1762-l158 ", "C1RK1-WW1762L158", "c1rk1ww1762l158"]
)
def test_hyphens_and_case_make_no_difference_to_a_product_id(written: str) -> None:
    assert product_id(written) == AUTOCAD_ID


def test_a_renewals_product_id_has_six_digits_in_its_middle() -> None:
    assert product_id("057I1-007738-L882") == "057I1007738L882"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "C1RK1",
        "C1RK1-WW176-L158",
        "C1RK1-WX1762-L158",
        "C1RK1-WW1762-1158",
        "C1RK1--WW1762-L158",
        "C1RK1WW1762L1588",
        "C-1RK1WW1762L158",
        "C1RK1-WW١٧٦٢-L158",
        "cırk1-ww1762-l158",
    ],
)
def test_anything_else_is_no_product_id(wrong: str) -> None:
    assert product_id(wrong) is None


def test_an_offered_plan_is_listed_under_its_15_characters() -> None:
    given(PLAN).when(ListPlan(plan("c1rk1-ww1762-l158"), AUTODESK, NOON)).then(LISTED)


def test_the_same_plan_again_is_nothing_new() -> None:
    given(PLAN, LISTED).when(ListPlan(AUTOCAD, AUTODESK, LATER)).then_nothing()


def test_a_changed_plan_is_listed_again() -> None:
    dearer = plan(price=240_000)
    given(PLAN, LISTED).when(ListPlan(dearer, AUTODESK, LATER)).then(PlanListed(plan=dearer, said_at=LATER))


def test_an_older_price_that_arrives_late_is_refused_for_the_newer() -> None:
    given(PLAN, LISTED).when(ListPlan(plan(price=1), AUTODESK, EARLIER)).then_refused("said-later", because=[LISTED])


def test_a_withdrawn_plan_is_offered_no_longer() -> None:
    command = WithdrawPlan("C1RK1-WW1762-L158", AUTODESK, AUTODESK, LATER)
    given(PLAN, LISTED).when(command).then(WITHDRAWN)
    given(PLAN, LISTED, WITHDRAWN).when(command).then_nothing()


def test_a_withdrawal_that_overtakes_the_listing_still_holds() -> None:
    given(PLAN).when(WithdrawPlan(AUTOCAD_ID, AUTODESK, AUTODESK, LATER)).then(WITHDRAWN)
    given(PLAN, WITHDRAWN).when(ListPlan(AUTOCAD, AUTODESK, NOON)).then_refused("said-later", because=[WITHDRAWN])


def test_an_old_withdrawal_does_not_touch_a_plan_listed_since() -> None:
    given(PLAN, LISTED).when(WithdrawPlan(AUTOCAD_ID, AUTODESK, AUTODESK, EARLIER)).then_refused(
        "said-later", because=[LISTED]
    )


def test_a_withdrawn_plan_can_be_offered_again() -> None:
    again = LATER + timedelta(days=1)
    given(PLAN, LISTED, WITHDRAWN).when(ListPlan(AUTOCAD, AUTODESK, again)).then(
        PlanListed(plan=AUTOCAD, said_at=again)
    )


def test_a_publisher_speaks_of_its_own_plans_only() -> None:
    given(PLAN).when(ListPlan(AUTOCAD, "acme", NOON)).then_refused("foreign-publisher")
    given(PLAN).when(ListPlan(AUTOCAD, "", NOON)).then_refused("foreign-publisher")
    given(PLAN, LISTED).when(WithdrawPlan(AUTOCAD_ID, AUTODESK, "acme", NOON)).then_refused("foreign-publisher")


# ── Prices to come ─────────────────────────────────────────────────────────────────────────────────────

JANUARY, MARCH = date(2027, 1, 1), date(2027, 3, 1)


def announce(amount: int, day: date, **other: Any) -> AnnouncePrice:
    usual: dict[str, Any] = {"product_id": AUTOCAD_ID, "publisher": AUTODESK, "reported_by": AUTODESK, "said_at": NOON}
    return AnnouncePrice(price=Money(amount=amount, currency="EUR"), valid_from=day, **(usual | other))


def told(*commands: Command) -> tuple[Event, ...]:
    history: tuple[Event, ...] = (LISTED,)
    for command in commands:
        outcome = given(PLAN, *history).when(command)
        if isinstance(outcome.decision, Rejected):
            outcome.then_refused("said-later", because=None)
        else:
            history += outcome.decision
    return history


def amount_on(day: date, history: tuple[Event, ...]) -> int | None:
    price = price_on(day, given(PLAN, *history).state)
    return None if price is None else price.amount


def test_an_announced_price_holds_from_its_day_on() -> None:
    history = told(announce(11, JANUARY), announce(12, MARCH))
    days = (date(2026, 12, 31), JANUARY, date(2027, 2, 28), MARCH)
    assert [amount_on(day, history) for day in days] == [AUTOCAD.price.amount, 11, 11, 12]
    given(PLAN, *history).when(announce(11, JANUARY)).then_nothing()
    given(PLAN, *history).when(announce(12, MARCH)).then_nothing()


def test_on_its_day_the_plan_is_listed_at_it() -> None:
    before = told(announce(11, JANUARY), announce(12, MARCH))
    given(PLAN, *before).when(BringPriceIn(NOON)).then_nothing()
    in_march = NOON + timedelta(days=150)
    (listed,) = told(announce(11, JANUARY), announce(12, MARCH), BringPriceIn(in_march))[3:]
    assert isinstance(listed, PlanListed) and (listed.plan.price.amount, listed.valid_from) == (12, MARCH)
    after = (*before, listed)
    given(PLAN, *after).when(BringPriceIn(in_march)).then_nothing()
    assert amount_on(MARCH, after) == 12
    given(PLAN, LISTED, WITHDRAWN).when(BringPriceIn(NOON)).then_nothing()


def test_the_last_word_on_a_day_counts() -> None:
    history = told(announce(11, JANUARY, said_at=LATER), announce(13, JANUARY, said_at=NOON))
    assert amount_on(JANUARY, history) == 11
    assert amount_on(JANUARY, told(announce(11, JANUARY), announce(13, JANUARY, said_at=LATER))) == 13


def test_a_price_is_the_publishers_own_of_a_listed_plan_in_its_currency() -> None:
    given(PLAN).when(announce(1, JANUARY)).then_refused("plan-unknown")
    given(PLAN, LISTED).when(announce(1, JANUARY, reported_by="somebody")).then_refused("foreign-publisher")
    in_dollars = replace(announce(1, JANUARY), price=Money(amount=1, currency="USD"))
    given(PLAN, LISTED).when(in_dollars).then_refused("invalid-plan", because=[LISTED])


def test_a_price_that_came_in_leaves_the_days_before_it_as_they_were() -> None:
    history = told(announce(11, JANUARY), announce(12, MARCH), BringPriceIn(NOON + timedelta(days=150)))
    days = (TODAY, JANUARY, date(2027, 2, 28), MARCH)
    assert [amount_on(day, history) for day in days] == [AUTOCAD.price.amount, 11, 11, 12]
    given(PLAN, *history).when(BringPriceIn(NOON + timedelta(days=50))).then_nothing()  # an older one comes in no more


def test_a_plan_is_offered_at_its_announced_price_though_nothing_has_brought_it_in() -> None:
    history = (LISTED.model_copy().recorded("listed"), *told(announce(11, JANUARY))[1:])
    history[1].recorded("announced")
    state = given(PLAN, *history).state
    assert isinstance(state, Listed)
    before, after = listing_on(TODAY, state), listing_on(JANUARY, state)
    assert (before.plan, before.ref) == (AUTOCAD, "listed")
    assert (after.plan, after.ref) == (plan(price=11), "announced"), "a refusal names the announcement"


def test_a_listing_counts_from_its_day_and_leaves_prices_to_come() -> None:
    in_february = NOON + timedelta(days=80)
    history = told(announce(11, JANUARY), announce(12, MARCH), ListPlan(plan(price=15), AUTODESK, in_february))
    assert [amount_on(day, history) for day in (JANUARY, in_february.date(), MARCH)] == [11, 15, 12]
    back = told(announce(11, JANUARY), ListPlan(AUTOCAD, AUTODESK, in_february))
    assert amount_on(in_february.date(), back) == AUTOCAD.price.amount, "though nothing had brought in the other"


def test_an_announcement_replaces_what_was_listed_before_it_from_its_day_on() -> None:
    in_february = NOON + timedelta(days=80)
    listed_again = ListPlan(plan(price=15), AUTODESK, in_february)
    history = told(listed_again, announce(11, JANUARY, said_at=in_february + timedelta(days=1)))
    assert [amount_on(day, history) for day in (TODAY, JANUARY, MARCH)] == [AUTOCAD.price.amount, 11, 11]
    history = told(listed_again, announce(11, JANUARY))
    assert [amount_on(day, history) for day in (JANUARY, MARCH)] == [11, 15], "the listing is the later word"


def test_a_withdrawn_plan_has_no_price() -> None:
    assert amount_on(JANUARY, (*told(announce(11, JANUARY)), WITHDRAWN)) is None
