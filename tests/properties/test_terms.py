"""Terms follow each other without a gap and without an overlap, wherever the customer is."""

from datetime import date, timedelta
from typing import Any

from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st

from services.marketplace.domain.order import Order
from services.marketplace.domain.subscription import SUBSCRIPTION, CloseTerm
from shared import days
from shared.events.fields import time_zones
from tests.examples.marketplace import NOON
from tests.examples.subscription import CART, CONFIRM
from tests.examples.zones import FAR_APART
from tests.spec import given

INSTANT = timedelta(microseconds=1)
CHANGES = (date(2026, 4, 24), date(2026, 9, 6), date(2026, 10, 4), date(2026, 4, 5), date(2028, 2, 29))
"""Days whose midnight clocks skip in Cairo and Santiago, changes on Lord Howe, and a leap day."""
zones = st.one_of(st.sampled_from(FAR_APART), st.sampled_from(sorted(time_zones())))
starts = st.one_of(st.sampled_from(CHANGES), st.dates(date(2026, 1, 1), date(2040, 12, 31)))


@settings(max_examples=50)
@for_any(zones, starts)
def test_a_term_ends_at_the_instant_at_which_the_next_begins(zone: str, first: date) -> None:
    cart = CART.model_copy(update={"time_zone": zone, "starts": first})
    history = given(SUBSCRIPTION).after(Order(cart, 0, NOON), CONFIRM)
    for term in range(1, 4):
        before: Any = history.state
        over = before.term.over_at
        close = CloseTerm(term=term, now=over, calendar=CONFIRM.calendar, price=None)
        history.when(CloseTerm(term=term, now=over - INSTANT, calendar=CONFIRM.calendar, price=None)).then_nothing()
        history = history.after(close)
        after: Any = history.state
        assert days.begins(after.term.starts, after.term.time_zone) == over
        assert days.day_of(over - INSTANT, zone) <= before.term.ends < after.term.starts <= days.day_of(over, zone)
        assert after.term.starts == before.term.ends + timedelta(days=1)
