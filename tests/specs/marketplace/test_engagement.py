"""A customer engages and releases partners, and a partner orders for those that have accepted it."""

from services.marketplace.domain.auto_renew import DisableAutoRenew
from services.marketplace.domain.engagement import (
    ENGAGEMENT,
    EngagePartner,
    ReleasePartner,
    engagement_key,
    may_not_engage,
)
from services.marketplace.domain.order import Resubmit
from services.marketplace.domain.subscription import SUBSCRIPTION, ChangeSeats
from tests.examples.marketplace import CLERK, CUSTOMER, ENGAGED, NOON, PARTNER, PURCHASER, RELEASED
from tests.examples.subscription import ASK, CONFIRM, DECLINE, FAILED, ORDERED, RUNNING
from tests.spec import given
from tests.spec.deciders import refused

ENGAGE = EngagePartner(partner=PARTNER, customer=CUSTOMER, engaged_by=PURCHASER, is_partner=True)
RELEASE = ReleasePartner(partner=PARTNER, customer=CUSTOMER, released_by=PURCHASER)


def test_a_customer_engages_a_partner_releases_it_and_engages_it_again() -> None:
    given(ENGAGEMENT).when(ENGAGE).then(ENGAGED)
    given(ENGAGEMENT, ENGAGED).when(ENGAGE).then_nothing()
    given(ENGAGEMENT, ENGAGED).when(RELEASE).then(RELEASED)
    given(ENGAGEMENT, ENGAGED, RELEASED).when(RELEASE).then_nothing()
    given(ENGAGEMENT, ENGAGED, RELEASED).when(ENGAGE).then(ENGAGED)


def test_only_a_known_partner_is_engaged_and_an_engaged_one_released() -> None:
    stranger = EngagePartner(partner="x", customer=CUSTOMER, engaged_by=PURCHASER)
    given(ENGAGEMENT).when(stranger).then_refused("partner-unknown")
    given(ENGAGEMENT).when(RELEASE).then_refused("partner-unknown")


def test_a_partner_of_before_engagements_can_be_released() -> None:
    before = ReleasePartner(partner=PARTNER, customer=CUSTOMER, released_by=PURCHASER, ordered_before=True)
    given(ENGAGEMENT).when(before).then(RELEASED)


def test_partners_are_decided_by_entitled_people_of_a_customer() -> None:
    assert may_not_engage(customer=True, entitled=True) is None
    for customer, entitled in ((True, False), (False, True)):
        refused(may_not_engage(customer=customer, entitled=entitled), "may-not-engage")


def test_each_customer_and_partner_has_a_stream() -> None:
    assert len({engagement_key(customer, partner) for customer in "ab" for partner in "ab"}) == 4


# ── After the release ──────────────────────────────────────────────────────────────────────────────────


def test_a_released_partner_changes_no_seats() -> None:
    for seats in (2, 5):
        change = ChangeSeats(seats=seats, changed_by=CLERK, now=NOON, released=RELEASED)
        given(SUBSCRIPTION, *RUNNING).when(change).then_refused("partner-not-engaged", because=[RELEASED])


def test_a_released_partner_does_not_turn_auto_renew_off_and_the_contract_manager_does() -> None:
    by_partner = DisableAutoRenew(CLERK, NOON, released=RELEASED)
    given(SUBSCRIPTION, *RUNNING).when(by_partner).then_refused("partner-not-engaged", because=[RELEASED])
    given(SUBSCRIPTION, *RUNNING).when(ASK).then_accepted()


def test_a_released_partner_does_not_send_a_declined_order_again() -> None:
    again = Resubmit(ordered_by=CLERK, now=NOON, released=RELEASED)
    given(SUBSCRIPTION, ORDERED, FAILED).when(again).then_refused("partner-not-engaged", because=[RELEASED])


def test_an_order_that_was_sent_before_the_release_is_answered() -> None:
    for answer in (CONFIRM, DECLINE):
        given(SUBSCRIPTION, ORDERED).when(answer).then_accepted()
