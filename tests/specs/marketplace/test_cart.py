"""A cart: plans go in as the standing allows, and out as one order a line."""

from dataclasses import replace
from datetime import date, timedelta
from functools import reduce

import pytest

from services.marketplace.domain.cart import (
    INITIAL,
    LINES_AT_MOST,
    AddToCart,
    CheckOut,
    Command,
    Event,
    OpenCart,
    RemoveFromCart,
    decide,
    evolve,
)
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from shared.eventlog.decision import Decision
from shared.events import (
    AccountClosed,
    CartCheckedOut,
    CartLine,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    Money,
    Plan,
    PlanWithdrawn,
)
from tests.specs.marketplace.examples import (
    AUTOCAD,
    AUTOCAD_ID,
    AUTOCAD_MONTHLY,
    AUTODESK,
    CLERK,
    CUSTOMER,
    LT,
    LT_THREE_YEARS,
    NOON,
    OTHERS_PLAN,
    PARTNER,
    PURCHASER,
    PURCHASERS_ACCOUNT,
    TODAY,
    US_PLAN,
    VAULT,
    WITH_CSN,
    listed,
    plan,
    refused,
)

OPENED = CartOpened(cart_id="cart-1", partner=PARTNER, opened_by=CLERK).recorded("opened")
WITHDRAWN = PlanWithdrawn(product_id=AUTOCAD_ID, publisher=AUTODESK, said_at=NOON).recorded("withdrawn")


def added(line: int, of: Plan, seats: int = 3) -> CartLineAdded:
    fact = CartLineAdded(cart_id="cart-1", partner=PARTNER, line=CartLine(line=line, plan=of, seats=seats))
    return fact.recorded(f"added-{line}")


def when(command: Command, *, given: tuple[Event, ...] = (OPENED,)) -> Decision[Event]:
    return decide(command, reduce(evolve, given, INITIAL))


def by_id(written: str, *offers: Plan, seats: int = 3) -> AddToCart:
    return AddToCart(seats=seats, product_id=written, offers=listed(*offers))


CHECK_OUT = CheckOut(
    customer=CUSTOMER,
    purchaser=PURCHASER,
    starts=TODAY,
    ordered_by=CLERK,
    now=NOON,
    subscription_ids=("sub-1", "sub-2", "sub-3"),
    purchaser_account=PURCHASERS_ACCOUNT,
    offered=listed(AUTOCAD, LT, VAULT),
)


def order(*events: Event) -> CartCheckedOut:
    decision = when(CHECK_OUT, given=(OPENED, *events))
    assert isinstance(decision, tuple)
    (event,) = decision
    assert isinstance(event, CartCheckedOut)
    return event.recorded("checked-out")


# ── Into the cart ──────────────────────────────────────────────────────────────────────────────────────


def test_a_clerk_opens_a_cart_of_the_partners() -> None:
    open_it = OpenCart("cart-1", PARTNER, CLERK)
    assert when(open_it, given=()) == (OPENED,)
    assert when(open_it, given=(OPENED,)) == ()


@pytest.mark.parametrize("written", ["C1RK1-WW1762-L158", "C1RK1WW1762L158", "c1rk1ww1762l158"])
def test_a_product_id_puts_exactly_that_plan_into_the_cart(written: str) -> None:
    assert when(by_id(written, AUTOCAD)) == (added(1, AUTOCAD),)


def test_the_wizards_choices_put_the_one_plan_that_remains_into_the_cart() -> None:
    chosen = AddToCart(seats=3, product="autocad", period="monthly", offers=listed(AUTOCAD, AUTOCAD_MONTHLY))
    assert when(chosen) == (added(1, AUTOCAD_MONTHLY),)


def test_choices_that_leave_several_plans_say_what_is_still_to_choose() -> None:
    refusal = refused(
        when(AddToCart(seats=3, product="autocad", offers=listed(AUTOCAD, AUTOCAD_MONTHLY))),
        "selection-ambiguous",
        [f"listed-{AUTOCAD_ID}", f"listed-{AUTOCAD_MONTHLY.product_id}"],
    )
    assert "period (annual, monthly)" in refusal.reason


def test_plans_that_the_wizard_cannot_tell_apart_are_named_by_their_product_ids() -> None:
    twins = listed(AUTOCAD, plan("C1RK1WW1764L158"))
    refusal = refused(
        when(AddToCart(seats=3, product="autocad", offers=twins)), "selection-ambiguous", [twin.ref for twin in twins]
    )
    assert "C1RK1-WW1762-L158, C1RK1-WW1764-L158" in refusal.reason


def test_choices_that_fit_no_plan_lead_nowhere() -> None:
    refused(
        when(AddToCart(seats=3, product="autocad", period="monthly", offers=listed(AUTOCAD))), "selection-leads-nowhere"
    )


def test_the_wizard_passes_over_plans_that_the_standing_does_not_open() -> None:
    special = plan("C1RK1WW9999L158", support="advanced", category="specialised")
    offers = listed(AUTOCAD, special)
    assert when(AddToCart(seats=3, product="autocad", offers=offers)) == (added(1, AUTOCAD),)
    both = [offer.ref for offer in offers]
    refused(when(AddToCart(seats=3, product="autocad", offers=offers, standing=WITH_CSN)), "selection-ambiguous", both)
    refused(
        when(AddToCart(seats=3, product="autocad", support="advanced", offers=offers)),
        "specialised-needs-csn",
        [offers[1].ref],
    )


def test_a_product_id_and_choices_together_are_refused() -> None:
    both = AddToCart(seats=3, product_id=AUTOCAD_ID, product="autocad", offers=listed(AUTOCAD))
    refused(when(both), "product-id-or-wizard")


def test_a_wrong_product_id_gets_a_clear_refusal() -> None:
    assert "C1RK1-WW1762-L158" in refused(when(by_id("AutoCAD")), "malformed-product-id").remedy
    assert "C1RK1-WW1762-L159" in refused(when(by_id("C1RK1-WW1762-L159")), "plan-unknown").reason


def test_a_withdrawn_plan_cannot_be_ordered() -> None:
    refused(when(replace(by_id(AUTOCAD_ID), withdrawn=WITHDRAWN)), "plan-withdrawn", ["withdrawn"])


def test_a_product_id_of_two_publishers_names_no_plan() -> None:
    other = plan(publisher="acme", product="drawer")
    refused(when(by_id(AUTOCAD_ID, AUTOCAD, other)), "selection-ambiguous", [f"listed-{AUTOCAD_ID}"] * 2)


def test_an_ambiguous_choice_names_ten_plans_at_most() -> None:
    many = listed(*(plan(f"C1RK1WW{n:04}L158") for n in range(11)))
    refused(when(AddToCart(seats=3, offers=many)), "selection-ambiguous", [offer.ref for offer in many[:10]])


def test_specialised_plans_need_a_valid_csn() -> None:
    command = by_id(VAULT.product_id, VAULT)
    refused(when(command), "specialised-needs-csn", [listed(VAULT)[0].ref])
    assert when(replace(command, standing=WITH_CSN)) == (added(1, VAULT),)


def test_every_subscription_commits_for_twelve_months() -> None:
    refused(when(by_id("057I1-007738-L882", LT_THREE_YEARS)), "twelve-month-commitment", ["listed-057I1007738L882"])
    chosen = AddToCart(seats=1, product="autocad-lt", period="three_year", offers=listed(LT, LT_THREE_YEARS))
    refused(when(chosen), "twelve-month-commitment", ["listed-057I1007738L882"])
    assert when(replace(chosen, period=None, seats=3)) == (added(1, LT),)


@pytest.mark.parametrize("seats", [0, -1, 1000])
def test_a_subscription_has_1_to_999_seats(seats: int) -> None:
    refused(when(by_id(AUTOCAD_ID, AUTOCAD, seats=seats)), "seats-out-of-range")
    assert when(by_id(AUTOCAD_ID, AUTOCAD, seats=999)) == (added(1, AUTOCAD, 999),)


def test_a_plan_has_one_line_and_adding_it_again_sets_its_seats() -> None:
    given = (OPENED, added(1, LT), added(2, AUTOCAD, 3))
    assert when(by_id(AUTOCAD_ID, AUTOCAD, seats=3), given=given) == ()
    assert when(by_id(AUTOCAD_ID, AUTOCAD, seats=5), given=given) == (added(2, AUTOCAD, 5),)


def test_one_currency_a_cart() -> None:
    given = (OPENED, added(1, AUTOCAD))
    refused(when(by_id(US_PLAN.product_id, US_PLAN), given=given), "one-currency-a-cart", ["added-1"])


def test_one_publisher_a_cart() -> None:
    given = (OPENED, added(1, AUTOCAD))
    refused(when(by_id(OTHERS_PLAN.product_id, OTHERS_PLAN), given=given), "one-publisher-a-cart", ["added-1"])


def test_a_cart_has_an_end() -> None:
    full = tuple(added(n, plan(f"C1RK1WW{n:04}L158")) for n in range(1, LINES_AT_MOST + 1))
    refused(when(by_id(LT.product_id, LT), given=(OPENED, *full)), "too-many-lines", [line.ref for line in full])


def test_a_removed_line_is_gone_and_its_number_is_not_used_again() -> None:
    given = (OPENED, added(1, AUTOCAD))
    removed = CartLineRemoved(cart_id="cart-1", line=1)
    assert when(RemoveFromCart(1), given=given) == (removed,)
    assert when(RemoveFromCart(1), given=(*given, removed)) == ()
    assert when(by_id(LT.product_id, LT), given=(*given, removed)) == (added(2, LT),)


def test_a_line_that_never_was_cannot_be_removed() -> None:
    refused(when(RemoveFromCart(1)), "line-unknown", ["opened"])


def test_nothing_goes_into_a_cart_that_was_never_opened() -> None:
    refused(when(by_id(AUTOCAD_ID, AUTOCAD), given=()), "cart-unknown")


# ── Out of the cart ────────────────────────────────────────────────────────────────────────────────────


def test_each_line_becomes_an_order_of_its_own_in_the_carts_sequence() -> None:
    found = order(added(1, AUTOCAD, 3), added(2, LT, 2))
    assert [(line.subscription_id, line.plan, line.seats, line.total.amount) for line in found.lines] == [
        ("sub-1", AUTOCAD, 3, 682_500),
        ("sub-2", LT, 2, 115_250),
    ]
    assert found.total == Money(amount=797_750, currency="EUR")
    assert (found.partner, found.ordered_by, found.customer, found.purchaser) == (PARTNER, CLERK, CUSTOMER, PURCHASER)
    assert (found.starts, found.csn, found.country, found.time_zone) == (TODAY, None, "DE", "Europe/Berlin")


def test_the_order_names_the_csn_that_opened_it() -> None:
    given = (OPENED, added(1, VAULT))
    decision = when(replace(CHECK_OUT, standing=WITH_CSN), given=given)
    assert isinstance(decision, tuple)
    assert isinstance(decision[0], CartCheckedOut)
    assert decision[0].csn == "5100012345"


def test_the_standing_is_checked_again_at_checkout() -> None:
    refused(
        when(replace(CHECK_OUT, standing=NO_STANDING), given=(OPENED, added(1, VAULT))),
        "specialised-needs-csn",
        [listed(VAULT)[0].ref],
    )


def test_what_changed_in_the_catalogue_since_is_looked_at_again() -> None:
    given = (OPENED, added(1, AUTOCAD))
    dearer = replace(CHECK_OUT, offered=listed(plan(price=240_000)))
    assert (
        "240000 EUR" in refused(when(dearer, given=given), "plan-changed", ["added-1", f"listed-{AUTOCAD_ID}"]).reason
    )
    refused(when(replace(CHECK_OUT, offered=(WITHDRAWN,)), given=given), "plan-withdrawn", ["withdrawn"])


def test_an_empty_cart_is_no_order() -> None:
    refused(when(CHECK_OUT), "cart-empty", ["opened"])
    given = (OPENED, added(1, AUTOCAD), CartLineRemoved(cart_id="cart-1", line=1))
    refused(when(CHECK_OUT, given=given), "cart-empty", ["opened"])


@pytest.mark.parametrize("ahead", [0, 31])
def test_a_start_is_at_most_31_days_ahead(ahead: int) -> None:
    given = (OPENED, added(1, AUTOCAD))
    assert isinstance(when(replace(CHECK_OUT, starts=TODAY + timedelta(days=ahead)), given=given), tuple)
    refused(when(replace(CHECK_OUT, starts=TODAY + timedelta(days=32)), given=given), "start-too-far-ahead")


def test_a_start_is_not_in_the_past() -> None:
    given = (OPENED, added(1, AUTOCAD))
    refused(when(replace(CHECK_OUT, starts=date(2026, 11, 22)), given=given), "start-in-the-past")


def test_the_purchaser_is_an_account_of_the_customers() -> None:
    given = (OPENED, added(1, AUTOCAD))
    refused(when(replace(CHECK_OUT, purchaser_account=None), given=given), "purchaser-unknown")
    refused(when(replace(CHECK_OUT, customer="customer-2"), given=given), "purchaser-unknown")


def test_nobody_becomes_contract_manager_with_a_closed_account() -> None:
    closed = AccountClosed(account_id=PURCHASER, organisation_id=CUSTOMER, closed_by=PURCHASER).recorded("closed-1")
    gone = replace(CHECK_OUT, purchaser_account=closed)
    given = (OPENED, added(1, AUTOCAD))
    refused(when(gone, given=given), "purchaser-closed", ["closed-1"])
    refused(when(replace(gone, customer="customer-2"), given=given), "purchaser-unknown")


def test_a_customer_is_an_organisation_that_buys() -> None:
    account = PURCHASERS_ACCOUNT.model_copy(update={"organisation_kind": "partner"}).recorded("opened-2")
    refused(
        when(replace(CHECK_OUT, purchaser_account=account), given=(OPENED, added(1, AUTOCAD))),
        "not-a-customer",
        ["opened-2"],
    )


def test_a_checked_out_cart_takes_nothing_more() -> None:
    done = (OPENED, added(1, AUTOCAD), order(added(1, AUTOCAD)))
    refused(when(by_id(LT.product_id, LT), given=done), "cart-checked-out", ["checked-out"])
    refused(when(RemoveFromCart(1), given=done), "cart-checked-out", ["checked-out"])
    refused(when(replace(CHECK_OUT, customer="customer-2"), given=done), "cart-checked-out", ["checked-out"])


def test_checking_out_again_changes_nothing() -> None:
    done = (OPENED, added(1, AUTOCAD), order(added(1, AUTOCAD)))
    assert when(replace(CHECK_OUT, subscription_ids=("sub-9",), now=NOON + timedelta(days=9)), given=done) == ()
    assert when(OpenCart("cart-1", PARTNER, CLERK), given=done) == ()


def test_the_limits_are_policy() -> None:
    strict = Policy(seats_at_most=2, start_days_ahead=0)
    refused(when(replace(by_id(AUTOCAD_ID, AUTOCAD), policy=strict)), "seats-out-of-range")
    tomorrow = replace(CHECK_OUT, starts=TODAY + timedelta(days=1), policy=strict)
    refused(when(tomorrow, given=(OPENED, added(1, AUTOCAD))), "start-too-far-ahead")
