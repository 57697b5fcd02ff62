"""A term's dates are the customer's: the order fixes the zone, and every date that follows is counted in it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.marketplace.domain.calendar import Calendar
from services.marketplace.domain.cart import CART
from services.marketplace.domain.checkout import CheckOut
from services.marketplace.domain.order import Order, Resubmit
from services.marketplace.domain.subscription import SUBSCRIPTION, ChangeSeats, CloseTerm, Remind, cancel_preview
from shared import days
from shared.events import (
    AccountOpened,
    CartLine,
    CartLineAdded,
    CartOpened,
    SeatsAdded,
    SubscriptionConfirmed,
    SubscriptionOrdered,
    SubscriptionRenewed,
)
from tests.examples import subscription as sub
from tests.examples.marketplace import (
    ACCEPTED,
    AUTOCAD,
    AUTOCAD_MONTHLY,
    CLERK,
    CUSTOMER,
    NOON,
    PARTNER,
    PURCHASER,
    PURCHASERS_ACCOUNT,
    TODAY,
    listed,
)
from tests.examples.subscription import ASK, ASKED, CONFIRM, CONFIRMED, FAILED, OFF, RUNNING
from tests.spec import given

AUCKLAND, KIRITIMATI, LOS_ANGELES = "Pacific/Auckland", "Pacific/Kiritimati", "America/Los_Angeles"
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)

OPENED = CartOpened(cart_id="cart-1", partner=PARTNER, opened_by=CLERK)
LINE = CartLineAdded(cart_id="cart-1", partner=PARTNER, line=CartLine(line=1, plan=AUTOCAD, seats=3))
IN_A_CART = given(CART, OPENED, LINE)


def check_out(now: datetime, starts: date, zone: str, country: str = "DE") -> CheckOut:
    # Profiles from before they were checked may have any text, which the event's own checks refuse.
    account = PURCHASERS_ACCOUNT.model_copy(update={"time_zone": zone, "country": country}).recorded("account")
    return CheckOut(
        customer=CUSTOMER,
        purchaser=PURCHASER,
        starts=starts,
        ordered_by=CLERK,
        now=now,
        subscription_ids=("sub-1",),
        purchaser_account=account,
        engagement=ACCEPTED,
        offered=listed(AUTOCAD),
    )


def ordered(zone: str, starts: date, **fields: Any) -> SubscriptionOrdered:
    cart = sub.CART.model_copy(update={"time_zone": zone, "starts": starts} | fields)
    (event,) = given(SUBSCRIPTION).when(Order(cart, 0, NOON)).then_accepted()
    assert isinstance(event, SubscriptionOrdered)
    return event.recorded("ordered-zone")


def confirmed(order: SubscriptionOrdered) -> SubscriptionConfirmed:
    calendar = Calendar(id="NZ", version="1", time_zone=AUCKLAND)
    (event,) = given(SUBSCRIPTION, order).when(replace(CONFIRM, calendar=calendar)).then_accepted()
    assert isinstance(event, SubscriptionConfirmed)
    return event.recorded("confirmed-zone")


# ── Today, and 31 days ahead ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("zone", "now", "today"),
    [
        (KIRITIMATI, datetime(2026, 11, 23, 10, tzinfo=UTC), date(2026, 11, 24)),
        (AUCKLAND, datetime(2026, 11, 23, 11, tzinfo=UTC), date(2026, 11, 24)),
        (LOS_ANGELES, datetime(2026, 11, 23, 7, 59, tzinfo=UTC), date(2026, 11, 22)),
        ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC), date(2026, 9, 6)),
        ("Africa/Cairo", datetime(2026, 4, 23, 21, 59, tzinfo=UTC), date(2026, 4, 23)),
    ],
)
def test_a_term_starts_from_the_customers_today_to_31_days_later(zone: str, now: datetime, today: date) -> None:
    for ahead in (0, 31):
        (event,) = IN_A_CART.when(check_out(now, today + ahead * DAY, zone)).then_accepted()
        assert getattr(event, "time_zone", None) == zone
    IN_A_CART.when(check_out(now, today - DAY, zone)).then_refused("start-in-the-past")
    late = IN_A_CART.when(check_out(now, today + 32 * DAY, zone)).then_refused("start-too-far-ahead")
    assert zone in late.reason, "the refusal says whose today it counts from"


def test_a_corrected_order_starts_by_the_customers_today() -> None:
    order = ordered(KIRITIMATI, TODAY)
    history = given(SUBSCRIPTION, order, FAILED)
    evening = datetime(2026, 11, 23, 10, tzinfo=UTC)
    history.when(Resubmit(ordered_by=CLERK, now=evening)).then_refused("start-in-the-past")
    history.when(Resubmit(ordered_by=CLERK, now=evening - INSTANT)).then(SubscriptionOrdered)


@pytest.mark.parametrize(("country", "zone"), [("XX", "Europe/Berlin"), ("", "Europe/Berlin"), ("DE", "localtime")])
def test_an_unknown_country_or_zone_is_refused_and_not_replaced(country: str, zone: str) -> None:
    command = check_out(NOON, TODAY, zone, country)
    IN_A_CART.when(command).then_refused("purchaser-place-unknown", because=[AccountOpened])


def test_an_order_from_before_zones_were_checked_has_its_dates_in_utc() -> None:
    assert ordered("localtime", TODAY).time_zone == "UTC"
    order = ordered("UTC", TODAY).model_copy(update={"time_zone": "localtime"}).recorded("ordered-before")
    assert confirmed(order).time_zone == "UTC"


# ── A term, from midnight to midnight ──────────────────────────────────────────────────────────────────


def test_a_term_in_auckland_ends_at_midnight_there_and_the_next_begins_with_it() -> None:
    order = ordered(AUCKLAND, date(2026, 12, 1))
    event = confirmed(order)
    assert (event.starts, event.ends, event.time_zone) == (date(2026, 12, 1), date(2027, 11, 30), AUCKLAND)
    over = datetime(2027, 11, 30, 11, tzinfo=UTC)  # UTC+13 in summer
    close = CloseTerm(term=1, now=over, calendar=CONFIRM.calendar, price=None)
    given(SUBSCRIPTION, order, event).when(replace(close, now=over - INSTANT)).then_nothing()
    (renewed,) = given(SUBSCRIPTION, order, event).when(close).then_accepted()
    assert isinstance(renewed, SubscriptionRenewed)
    assert days.begins(renewed.starts, renewed.time_zone or "") == over
    assert renewed.time_zone == AUCKLAND


def test_the_deadlines_calendar_keeps_a_zone_of_its_own() -> None:
    order = ordered(LOS_ANGELES, TODAY)
    event = confirmed(order)
    assert (event.time_zone, event.cancel_by.time_zone) == (LOS_ANGELES, AUCKLAND)
    over = datetime(2027, 11, 23, 8, tzinfo=UTC)
    close = CloseTerm(term=1, now=over - INSTANT, calendar=CONFIRM.calendar, price=None)
    given(SUBSCRIPTION, order, event).when(close).then_nothing()
    given(SUBSCRIPTION, order, event).when(replace(close, now=over)).then(SubscriptionRenewed)


def test_a_term_from_before_zones_were_named_ends_in_the_zone_of_its_deadline() -> None:
    before = CONFIRMED.model_copy(update={"time_zone": None}).recorded("confirmed-before")
    over = datetime(2027, 11, 22, 23, tzinfo=UTC)  # midnight in Berlin
    close = CloseTerm(term=1, now=over, calendar=CONFIRM.calendar, price=None)
    given(SUBSCRIPTION, RUNNING[0], before).when(replace(close, now=over - INSTANT)).then_nothing()
    (renewed,) = given(SUBSCRIPTION, RUNNING[0], before).when(close).then_accepted()
    assert isinstance(renewed, SubscriptionRenewed)
    assert renewed.time_zone == "Europe/Berlin", "what follows names it"


def test_reminders_come_on_the_customers_days() -> None:
    order = ordered(AUCKLAND, date(2026, 12, 1))
    event = confirmed(order)
    ninety = days.begins(event.ends - 90 * DAY, AUCKLAND)
    given(SUBSCRIPTION, order, event).when(Remind(1, ninety - INSTANT)).then_nothing()
    (reminded,) = given(SUBSCRIPTION, order, event).when(Remind(1, ninety)).then_accepted()
    assert getattr(reminded, "time_zone", None) == AUCKLAND


# ── Due and owed ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("zone", "now", "today"),
    [
        (KIRITIMATI, datetime(2026, 12, 31, 10, tzinfo=UTC), date(2027, 1, 1)),
        (LOS_ANGELES, datetime(2027, 1, 1, 7, 59, tzinfo=UTC), date(2026, 12, 31)),
    ],
)
def test_what_is_due_at_once_is_due_on_the_customers_today(zone: str, now: datetime, today: date) -> None:
    order = ordered(zone, date(2026, 12, 1))
    history = given(SUBSCRIPTION, order, confirmed(order))
    (added,) = history.when(ChangeSeats(seats=4, changed_by=CLERK, now=now)).then_accepted()
    assert isinstance(added, SeatsAdded)
    assert (added.instalment.due, added.time_zone) == (today, zone)


def test_what_is_still_owed_is_counted_from_the_customers_today() -> None:
    order = ordered(LOS_ANGELES, date(2026, 12, 1))
    state: Any = given(SUBSCRIPTION, order, confirmed(order)).state
    share = AUTOCAD_MONTHLY.price.amount * 3 // 12
    midnight = days.begins(date(2027, 1, 1), LOS_ANGELES)
    before, after = (
        cancel_preview(replace(ASK, now=now), state, held=False, price=None).still_owed.amount
        for now in (midnight - INSTANT, midnight)
    )
    assert before - after in (share, share + 1), "the instalment of 1 January"


def test_all_instalments_of_a_term_are_due_on_the_day_of_its_own_start() -> None:
    order = ordered("Europe/Berlin", date(2028, 2, 29))
    event: Any = confirmed(order)
    history: list[Any] = [order, event]
    found: list[set[int]] = [{part.due.day for part in event.instalments}]
    for term in range(1, 5):
        over = days.ends(event.ends, "Europe/Berlin")
        close = CloseTerm(term=term, now=over, calendar=CONFIRM.calendar, price=None)
        (event,) = given(SUBSCRIPTION, *history).when(close).then_accepted()
        history.append(event.recorded(f"renewed-{term}"))
        found.append({part.due.day for part in event.instalments})
    assert found == [{29}, {28}, {28}, {28}, {29}], "from 29 February 2028 to 2032"


def test_what_follows_from_a_term_names_its_zone() -> None:
    assert {event.time_zone for event in (CONFIRMED, ASKED, OFF)} == {"Europe/Berlin"}
    fewer = ChangeSeats(seats=1, changed_by=CLERK, now=NOON)
    (scheduled,) = given(SUBSCRIPTION, *RUNNING).when(fewer).then_accepted()
    close = CloseTerm(term=1, now=datetime(2027, 11, 22, 23, tzinfo=UTC), calendar=CONFIRM.calendar, price=None)
    (ended,) = given(SUBSCRIPTION, *RUNNING, ASKED, OFF).when(close).then_accepted()
    assert [getattr(event, "time_zone", None) for event in (scheduled, ended)] == ["Europe/Berlin"] * 2
