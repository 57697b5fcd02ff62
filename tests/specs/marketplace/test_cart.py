"""A cart: plans go in as the standing allows, and out as one order a line."""

from dataclasses import replace
from datetime import date, timedelta
from functools import reduce

import pytest

from services.marketplace.domain.cart import CART, LINES_AT_MOST, DiscardCart, OpenCart, RemoveFromCart
from services.marketplace.domain.cart_state import CheckedOut, Event, OpenedCart
from services.marketplace.domain.checkout import CheckOut, ordered_lines, review
from services.marketplace.domain.engagement import INITIAL as NEVER_ENGAGED
from services.marketplace.domain.engagement import Released
from services.marketplace.domain.plan_choice import AddToCart
from services.marketplace.domain.policy import Policy, PublisherPolicies
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from shared.events import (
    AccountClosed,
    CartCheckedOut,
    CartDiscarded,
    CartLine,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    Money,
    Plan,
    PlanWithdrawn,
)
from tests.examples.marketplace import (
    ACCEPTED,
    AUTOCAD,
    AUTOCAD_ID,
    AUTOCAD_MONTHLY,
    AUTODESK,
    CLERK,
    CUSTOMER,
    LT,
    LT_THREE_YEARS,
    NO_CSN_ANY_MORE,
    NOON,
    OTHERS_PLAN,
    PARTNER,
    PURCHASER,
    PURCHASERS_ACCOUNT,
    RELEASED,
    TODAY,
    US_PLAN,
    VAULT,
    WITH_CSN,
    listed,
    plan,
)
from tests.spec import given

OPENED = CartOpened(cart_id="cart-1", partner=PARTNER, opened_by=CLERK).recorded("opened")
WITHDRAWN = PlanWithdrawn(product_id=AUTOCAD_ID, publisher=AUTODESK, said_at=NOON).recorded("withdrawn")


def added(line: int, plan: Plan, seats: int = 3) -> CartLineAdded:
    fact = CartLineAdded(cart_id="cart-1", partner=PARTNER, line=CartLine(line=line, plan=plan, seats=seats))
    return fact.recorded(f"added-{line}")


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
    engagement=ACCEPTED,
    offered=listed(AUTOCAD, LT, VAULT),
)


def order(*events: Event) -> CartCheckedOut:
    (event,) = given(CART, OPENED, *events).when(CHECK_OUT).then_accepted()
    assert isinstance(event, CartCheckedOut)
    return event.recorded("checked-out")


# ── Into the cart ──────────────────────────────────────────────────────────────────────────────────────


def test_a_clerk_opens_a_cart_of_the_partners() -> None:
    open_it = OpenCart("cart-1", PARTNER, CLERK)
    given(CART).when(open_it).then(OPENED)
    given(CART, OPENED).when(open_it).then_nothing()


@pytest.mark.parametrize("written", ["C1RK1-WW1762-L158", "C1RK1WW1762L158", "c1rk1ww1762l158"])
def test_a_product_id_puts_exactly_that_plan_into_the_cart(written: str) -> None:
    given(CART, OPENED).when(by_id(written, AUTOCAD)).then(added(1, AUTOCAD))


def test_the_wizards_choices_put_the_one_plan_that_remains_into_the_cart() -> None:
    chosen = AddToCart(seats=3, product="autocad", period="monthly", offers=listed(AUTOCAD, AUTOCAD_MONTHLY))
    given(CART, OPENED).when(chosen).then(added(1, AUTOCAD_MONTHLY))


def test_choices_that_leave_several_plans_say_what_is_still_to_choose() -> None:
    refusal = (
        given(CART, OPENED)
        .when(AddToCart(seats=3, product="autocad", offers=listed(AUTOCAD, AUTOCAD_MONTHLY)))
        .then_refused("selection-ambiguous", because=listed(AUTOCAD, AUTOCAD_MONTHLY))
    )
    assert "period (annual, monthly)" in refusal.reason


def test_plans_that_the_wizard_cannot_tell_apart_are_named_by_their_product_ids() -> None:
    twins = listed(AUTOCAD, plan("C1RK1WW1764L158"))
    refusal = (
        given(CART, OPENED)
        .when(AddToCart(seats=3, product="autocad", offers=twins))
        .then_refused("selection-ambiguous", because=twins)
    )
    assert "C1RK1-WW1762-L158, C1RK1-WW1764-L158" in refusal.reason


def test_choices_that_fit_no_plan_lead_nowhere() -> None:
    given(CART, OPENED).when(
        AddToCart(seats=3, product="autocad", period="monthly", offers=listed(AUTOCAD))
    ).then_refused("selection-leads-nowhere")


def test_the_wizard_passes_over_plans_that_the_standing_does_not_open() -> None:
    special = plan("C1RK1WW9999L158", support="advanced", category="specialised")
    offers = listed(AUTOCAD, special)
    given(CART, OPENED).when(AddToCart(seats=3, product="autocad", offers=offers)).then(added(1, AUTOCAD))
    given(CART, OPENED).when(AddToCart(seats=3, product="autocad", offers=offers, standing=WITH_CSN)).then_refused(
        "selection-ambiguous", because=offers
    )
    given(CART, OPENED).when(AddToCart(seats=3, product="autocad", support="advanced", offers=offers)).then_refused(
        "specialised-needs-csn", because=[offers[1]]
    )


def test_a_product_id_and_choices_together_are_refused() -> None:
    both = AddToCart(seats=3, product_id=AUTOCAD_ID, product="autocad", offers=listed(AUTOCAD))
    given(CART, OPENED).when(both).then_refused("product-id-or-wizard")


def test_a_wrong_product_id_gets_a_clear_refusal() -> None:
    assert "C1RK1-WW1762-L158" in given(CART, OPENED).when(by_id("AutoCAD")).then_refused("malformed-product-id").remedy
    assert (
        "C1RK1-WW1762-L159" in given(CART, OPENED).when(by_id("C1RK1-WW1762-L159")).then_refused("plan-unknown").reason
    )


def test_a_withdrawn_plan_cannot_be_ordered() -> None:
    given(CART, OPENED).when(replace(by_id(AUTOCAD_ID), offers=(WITHDRAWN,))).then_refused(
        "plan-withdrawn", because=[WITHDRAWN]
    )


def test_an_ambiguous_choice_names_ten_plans_at_most() -> None:
    many = listed(*(plan(f"C1RK1WW{n:04}L158") for n in range(11)))
    given(CART, OPENED).when(AddToCart(seats=3, offers=many)).then_refused("selection-ambiguous", because=many[:10])


def test_specialised_plans_need_a_valid_csn() -> None:
    command = by_id(VAULT.product_id, VAULT)
    given(CART, OPENED).when(command).then_refused("specialised-needs-csn", because=listed(VAULT))
    given(CART, OPENED).when(replace(command, standing=WITH_CSN)).then(added(1, VAULT))


def test_every_subscription_commits_for_twelve_months() -> None:
    given(CART, OPENED).when(by_id("057I1-007738-L882", LT_THREE_YEARS)).then_refused(
        "twelve-month-commitment", because=listed(LT_THREE_YEARS)
    )
    chosen = AddToCart(seats=1, product="autocad-lt", period="three_year", offers=listed(LT, LT_THREE_YEARS))
    given(CART, OPENED).when(chosen).then_refused("twelve-month-commitment", because=listed(LT_THREE_YEARS))
    given(CART, OPENED).when(replace(chosen, period=None, seats=3)).then(added(1, LT))


@pytest.mark.parametrize("seats", [0, -1, 1000])
def test_a_subscription_has_1_to_999_seats(seats: int) -> None:
    given(CART, OPENED).when(by_id(AUTOCAD_ID, AUTOCAD, seats=seats)).then_refused("seats-out-of-range")
    given(CART, OPENED).when(by_id(AUTOCAD_ID, AUTOCAD, seats=999)).then(added(1, AUTOCAD, 999))


def test_a_plan_has_one_line_and_adding_it_again_sets_its_seats() -> None:
    history = (OPENED, added(1, LT), added(2, AUTOCAD, 3))
    given(CART, *history).when(by_id(AUTOCAD_ID, AUTOCAD, seats=3)).then_nothing()
    given(CART, *history).when(by_id(AUTOCAD_ID, AUTOCAD, seats=5)).then(added(2, AUTOCAD, 5))


def test_one_currency_a_cart() -> None:
    history = (OPENED, added(1, AUTOCAD))
    given(CART, *history).when(by_id(US_PLAN.product_id, US_PLAN)).then_refused(
        "one-currency-a-cart", because=[added(1, AUTOCAD)]
    )


def test_one_publisher_a_cart() -> None:
    history = (OPENED, added(1, AUTOCAD))
    given(CART, *history).when(by_id(OTHERS_PLAN.product_id, OTHERS_PLAN)).then_refused(
        "one-publisher-a-cart", because=[added(1, AUTOCAD)]
    )


def test_a_cart_has_an_end() -> None:
    full = tuple(added(n, plan(f"C1RK1WW{n:04}L158")) for n in range(1, LINES_AT_MOST + 1))
    given(CART, OPENED, *full).when(by_id(LT.product_id, LT)).then_refused("too-many-lines", because=full)


def test_a_removed_line_is_gone_and_its_number_is_not_used_again() -> None:
    history = (OPENED, added(1, AUTOCAD))
    removed = CartLineRemoved(cart_id="cart-1", line=1)
    given(CART, *history).when(RemoveFromCart(1)).then(removed)
    given(CART, *history, removed).when(RemoveFromCart(1)).then_nothing()
    given(CART, *history, removed).when(by_id(LT.product_id, LT)).then(added(2, LT))


def test_a_line_that_never_was_cannot_be_removed() -> None:
    given(CART, OPENED).when(RemoveFromCart(1)).then_refused("line-unknown", because=[OPENED])


def test_nothing_goes_into_a_cart_that_was_never_opened() -> None:
    given(CART).when(by_id(AUTOCAD_ID, AUTOCAD)).then_refused("cart-unknown")


def test_a_discarded_cart_is_discarded_for_good() -> None:
    history = (OPENED, added(1, AUTOCAD))
    gone = CartDiscarded(cart_id="cart-1", partner=PARTNER, discarded_by=CLERK).recorded("gone")
    given(CART, *history).when(DiscardCart(CLERK)).then(gone)
    for command in (by_id(LT.product_id, LT), RemoveFromCart(1), CHECK_OUT):
        given(CART, *history, gone).when(command).then_refused("cart-discarded", because=[gone])
    for same in (DiscardCart("another"), OpenCart("cart-1", PARTNER, CLERK)):
        given(CART, *history, gone).when(same).then_nothing()


def test_an_ordered_cart_is_not_discarded() -> None:
    history = (OPENED, added(1, AUTOCAD))
    (order,) = given(CART, *history).when(CHECK_OUT).then_accepted()
    given(CART, *history, order).when(DiscardCart(CLERK)).then_refused("cart-checked-out", because=[order])
    given(CART).when(DiscardCart(CLERK)).then_refused("cart-unknown")


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
    history = (OPENED, added(1, VAULT))
    (order,) = given(CART, *history).when(replace(CHECK_OUT, standing=WITH_CSN)).then_accepted()
    assert isinstance(order, CartCheckedOut)
    assert order.csn == "5100012345"


def test_the_standing_is_checked_again_at_checkout() -> None:
    given(CART, OPENED, added(1, VAULT)).when(replace(CHECK_OUT, standing=NO_STANDING)).then_refused(
        "specialised-needs-csn", because=listed(VAULT)
    )


def test_what_changed_in_the_catalogue_since_is_looked_at_again() -> None:
    history = (OPENED, added(1, AUTOCAD))
    dearer = replace(CHECK_OUT, offered=listed(plan(price=240_000)))
    changed = [added(1, AUTOCAD), *dearer.offered]
    assert "2,400.00 EUR" in given(CART, *history).when(dearer).then_refused("plan-changed", because=changed).reason
    given(CART, *history).when(replace(CHECK_OUT, offered=(WITHDRAWN,))).then_refused(
        "plan-withdrawn", because=[WITHDRAWN]
    )


def test_the_cart_is_shown_as_the_checkout_decides() -> None:
    history: tuple[Event, ...] = (OPENED, added(1, AUTOCAD), added(2, VAULT, 1), added(3, LT))
    dearer = plan(price=240_000)
    command = replace(CHECK_OUT, offered=listed(dearer, VAULT), standing=NO_CSN_ANY_MORE)
    state = reduce(CART.evolve, history, CART.initial)
    assert isinstance(state, OpenedCart)
    shown = review(state, command.offered, standing=command.standing, policy=command.policy)
    assert [line.refusal and line.refusal.rule for line in shown] == [
        "plan-changed",
        "specialised-needs-csn",
        "plan-withdrawn",
    ]
    assert [(line.number, line.plan, line.price_when_added) for line in shown] == [
        (1, dearer, AUTOCAD.price),
        (2, VAULT, VAULT.price),
        (3, LT, LT.price),
    ]
    changed = [added(1, AUTOCAD), *listed(dearer)]
    assert given(CART, *history).when(command).then_refused("plan-changed", because=changed) == shown[0].refusal


def test_an_ordered_cart_is_shown_as_it_was_ordered() -> None:
    history = (OPENED, added(1, LT), added(2, AUTOCAD), CartLineRemoved(cart_id="cart-1", line=1), added(3, VAULT, 1))
    (order,) = given(CART, *history).when(replace(CHECK_OUT, standing=WITH_CSN)).then_accepted()
    state = reduce(CART.evolve, (*history, order), CART.initial)
    assert isinstance(state, CheckedOut)
    assert [(line.number, line.plan, line.seats, line.refusal) for line in ordered_lines(state)] == [
        (2, AUTOCAD, 3, None),
        (3, VAULT, 1, None),
    ]


def test_an_empty_cart_is_no_order() -> None:
    given(CART, OPENED).when(CHECK_OUT).then_refused("cart-empty", because=[OPENED])
    history = (OPENED, added(1, AUTOCAD), CartLineRemoved(cart_id="cart-1", line=1))
    given(CART, *history).when(CHECK_OUT).then_refused("cart-empty", because=[OPENED])


@pytest.mark.parametrize("ahead", [0, 31])
def test_a_start_is_at_most_31_days_ahead(ahead: int) -> None:
    history = (OPENED, added(1, AUTOCAD))
    given(CART, *history).when(replace(CHECK_OUT, starts=TODAY + timedelta(days=ahead))).then_accepted()
    given(CART, *history).when(replace(CHECK_OUT, starts=TODAY + timedelta(days=32))).then_refused(
        "start-too-far-ahead"
    )


def test_a_start_is_not_in_the_past() -> None:
    history = (OPENED, added(1, AUTOCAD))
    given(CART, *history).when(replace(CHECK_OUT, starts=date(2026, 11, 22))).then_refused("start-in-the-past")


def test_the_purchaser_is_an_account_of_the_customers() -> None:
    history = (OPENED, added(1, AUTOCAD))
    given(CART, *history).when(replace(CHECK_OUT, purchaser_account=None)).then_refused("purchaser-unknown")
    given(CART, *history).when(replace(CHECK_OUT, customer="customer-2")).then_refused("purchaser-unknown")


def test_nobody_becomes_contract_manager_with_a_closed_account() -> None:
    closed = AccountClosed(account_id=PURCHASER, organisation_id=CUSTOMER, closed_by=PURCHASER).recorded("closed-1")
    gone = replace(CHECK_OUT, purchaser_account=closed)
    history = (OPENED, added(1, AUTOCAD))
    given(CART, *history).when(gone).then_refused("purchaser-closed", because=[closed])
    given(CART, *history).when(replace(gone, customer="customer-2")).then_refused("purchaser-unknown")


def test_a_customer_is_an_organisation_that_buys() -> None:
    account = PURCHASERS_ACCOUNT.model_copy(update={"organisation_kind": "partner"}).recorded("opened-2")
    given(CART, OPENED, added(1, AUTOCAD)).when(replace(CHECK_OUT, purchaser_account=account)).then_refused(
        "not-a-customer", because=[account]
    )


def test_a_partner_orders_for_customers_that_have_engaged_it() -> None:
    history = (OPENED, added(1, AUTOCAD))
    never = replace(CHECK_OUT, engagement=NEVER_ENGAGED)
    refusal = given(CART, *history).when(never).then_refused("partner-not-engaged")
    assert "PUT /partners" in refusal.remedy
    given(CART, *history).when(replace(CHECK_OUT, engagement=Released(RELEASED))).then_refused(
        "partner-not-engaged", because=[RELEASED]
    )


def test_orders_from_before_engagements_count_as_one_until_the_release() -> None:
    history = (OPENED, added(1, AUTOCAD))
    before = replace(CHECK_OUT, engagement=NEVER_ENGAGED, ordered_before=True)
    given(CART, *history).when(before).then_accepted()
    given(CART, *history).when(replace(before, engagement=Released(RELEASED))).then_refused(
        "partner-not-engaged", because=[RELEASED]
    )


def test_a_checked_out_cart_takes_nothing_more() -> None:
    done = (OPENED, added(1, AUTOCAD), order(added(1, AUTOCAD)))
    given(CART, *done).when(by_id(LT.product_id, LT)).then_refused("cart-checked-out", because=done[-1:])
    given(CART, *done).when(RemoveFromCart(1)).then_refused("cart-checked-out", because=done[-1:])
    given(CART, *done).when(replace(CHECK_OUT, customer="customer-2")).then_refused(
        "cart-checked-out", because=done[-1:]
    )


def test_checking_out_again_changes_nothing() -> None:
    done = (OPENED, added(1, AUTOCAD), order(added(1, AUTOCAD)))
    given(CART, *done).when(
        replace(CHECK_OUT, subscription_ids=("sub-9",), now=NOON + timedelta(days=9))
    ).then_nothing()
    given(CART, *done).when(OpenCart("cart-1", PARTNER, CLERK)).then_nothing()


def test_the_limits_are_policy() -> None:
    strict = Policy(seats_at_most=2, start_days_ahead=0)
    given(CART, OPENED).when(
        replace(by_id(AUTOCAD_ID, AUTOCAD), policies=PublisherPolicies({AUTODESK: strict}))
    ).then_refused("seats-out-of-range")
    tomorrow = replace(CHECK_OUT, starts=TODAY + timedelta(days=1), policy=strict)
    given(CART, OPENED, added(1, AUTOCAD)).when(tomorrow).then_refused("start-too-far-ahead")
