"""The cancel preview shows what turning auto-renew off then does."""

from datetime import datetime, timedelta

import pytest

from services.marketplace.domain.auto_renew import CancelPreview, DisableAutoRenew, RecordPoolCleared
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import (
    SUBSCRIPTION,
    CloseTerm,
    Confirmed,
    Event,
    cancel_preview,
)
from shared.events import AutoRenewDisabled, AutoRenewDisableRequested, Money, SubscriptionEnded, SubscriptionRenewed
from tests.examples.marketplace import PURCHASER
from tests.examples.subscription import ASKED, BERLIN, CONFIRMED, DEADLINE, OFF, RUNNING
from tests.spec import given

IN_TIME, LATE = DEADLINE - timedelta(hours=1), DEADLINE
DEARER = Money(amount=CONFIRMED.plan.price.amount + 100, currency="EUR")


def preview(*history: Event, now: datetime, policy: Policy | None = None, held: bool = False) -> CancelPreview:
    state = given(SUBSCRIPTION, *history).state
    assert isinstance(state, Confirmed)
    command = DisableAutoRenew(PURCHASER, now, policy or Policy())
    return cancel_preview(command, state, held=held, price=DEARER)


def ended(*history: Event, now: datetime) -> list[Event]:
    """Ask for it, have the seat pool agree, and close terms until the subscription has ended."""
    events = list(history)

    def do(command: DisableAutoRenew | RecordPoolCleared | CloseTerm) -> None:
        decided = given(SUBSCRIPTION, *events).when(command).events
        events.extend(event.recorded(f"event-{len(events) + n}") for n, event in enumerate(decided))

    do(DisableAutoRenew(PURCHASER, now))
    requested = next(event for event in reversed(events) if isinstance(event, AutoRenewDisableRequested))
    do(RecordPoolCleared(requested.ref))
    for term in (1, 2, 3):
        do(CloseTerm(term=term, now=now + timedelta(days=1000), calendar=BERLIN, price=DEARER))
    return events


@pytest.mark.parametrize("now", [IN_TIME, LATE])
@pytest.mark.parametrize("history", [RUNNING, (*RUNNING, ASKED)], ids=["on", "requested"])
def test_the_last_day_shown_is_the_one_that_comes(now: datetime, history: tuple[Event, ...]) -> None:
    shown = preview(*history, now=now).last_day
    events = ended(*history, now=now)
    assert [event.ends for event in events if isinstance(event, AutoRenewDisabled)] == [shown]
    assert [event.ended for event in events if isinstance(event, SubscriptionEnded)] == [shown]


def test_a_late_request_shows_what_the_next_term_then_costs() -> None:
    shown = preview(*RUNNING, now=LATE)
    (renewed,) = (event for event in ended(*RUNNING, now=LATE) if isinstance(event, SubscriptionRenewed))
    assert shown.next_term == renewed.total
    assert renewed.plan.price == DEARER


def test_a_request_in_time_costs_no_next_term() -> None:
    assert preview(*RUNNING, now=IN_TIME).next_term is None


def test_where_the_policy_refuses_late_requests_no_last_day_is_shown() -> None:
    policy = Policy(late_disable_auto_renew="refuse")
    shown = preview(*RUNNING, now=LATE, policy=policy)
    assert (shown.possible_now, shown.too_late, shown.last_day) == (False, True, None)
    assert preview(*RUNNING, now=IN_TIME, policy=policy).possible_now


def test_assigned_seats_are_in_the_way() -> None:
    assert preview(*RUNNING, now=IN_TIME).possible_now
    assert not preview(*RUNNING, now=IN_TIME, held=True).possible_now


def test_once_it_is_off_the_decided_last_day_is_shown() -> None:
    later = OFF.model_copy(update={"ends": CONFIRMED.ends})
    shown = preview(*RUNNING, ASKED, later, now=IN_TIME)
    assert (shown.possible_now, shown.last_day) == (False, CONFIRMED.ends)


def test_an_ended_subscription_shows_its_last_day_and_owes_nothing() -> None:
    history = ended(*RUNNING, now=IN_TIME)
    shown = preview(*history, now=IN_TIME + timedelta(days=1000))
    assert (shown.last_day, shown.possible_now) == (CONFIRMED.ends, False)
    assert shown.still_owed == Money(amount=0, currency="EUR")
