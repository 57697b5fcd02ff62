"""Given facts about a contract, when a command comes, then facts or a refusal."""

from dataclasses import replace
from datetime import UTC, date, datetime
from functools import reduce

import pytest

from services.identity.domain.contract import (
    CONTRACT,
    ApproveRoleRequest,
    Command,
    DeclineRoleRequest,
    HandOverContract,
    NameCoordinator,
    RecordAccountClosed,
    RecordSubscription,
    RecordSubscriptionEnd,
    RequestRole,
    RevokeRole,
    StartAgreements,
    access_of,
    coordinating,
)
from services.identity.domain.contract_state import INITIAL, Event, Open, evolve
from shared.administrative_access import Denied, Granted
from shared.eventlog.decision import Decision, Rejected
from shared.events import (
    AgreementEnded,
    AgreementScheduled,
    AgreementStarted,
    ContractOpened,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
)
from shared.events.identity import AgreementKind, Role

RECORD = RecordSubscription(
    contract_id="c",
    customer="org",
    publisher="autodesk",
    programme="subscription",
    subscription_id="s1",
    purchaser="oskar",
    agreement="desktop",
    product="autocad",
)
OPENED = ContractOpened(
    contract_id="c", customer="org", publisher="autodesk", programme="subscription", opened_by_subscription="s1"
)


def assigned(account: str, role: Role, by: str, *, seats: bool = True) -> RoleAssigned:
    return RoleAssigned(contract_id="c", account_id=account, role=role, may_assign_seats=seats, assigned_by=by)


def started(subscription: str, kind: AgreementKind = "desktop") -> AgreementStarted:
    return AgreementStarted(contract_id="c", subscription_id=subscription, kind=kind, product="autocad")


MANAGED = assigned("oskar", "contract_manager", "oskar")
REQUESTED = RoleRequested(contract_id="c", account_id="mina", role="software_coordinator", message="please")
COORDINATING = assigned("mina", "software_coordinator", "oskar")
ENDED = AgreementEnded(contract_id="c", subscription_id="s1")
GIVEN: tuple[Event, ...] = (OPENED, MANAGED, started("s1"))
FIRST_DAY = date(2026, 12, 1)
SCHEDULED = AgreementScheduled(
    contract_id="c", customer="org", subscription_id="s1", kind="desktop", product="autocad", starts=FIRST_DAY
)
ASKS_TO_MANAGE = RequestRole("mina", "org", "contract_manager", "I take over.")
ASKED_TO_MANAGE = RoleRequested(contract_id="c", account_id="mina", role="contract_manager", message="I take over.")
GIVEN_UP = RoleRevoked(contract_id="c", account_id="oskar", role="contract_manager", revoked_by="oskar")
TAKEN_OVER = assigned("mina", "contract_manager", "oskar")


def when(command: Command, *, given: tuple[Event, ...] = GIVEN) -> Decision[Event]:
    return CONTRACT.decide(command, reduce(evolve, given, INITIAL))


def refused(decision: Decision[Event], rule: str) -> Rejected:
    assert isinstance(decision, Rejected) and decision.rule == rule, decision
    return decision


def test_the_first_confirmed_order_opens_the_contract_with_the_purchaser_as_its_manager() -> None:
    assert when(RECORD, given=()) == GIVEN
    assert when(RECORD) == ()


def test_a_later_subscription_adds_its_agreement_only() -> None:
    later = RecordSubscription(
        contract_id="c",
        customer="org",
        publisher="autodesk",
        programme="subscription",
        subscription_id="s2",
        purchaser="somebody-else",
        agreement="other",
        product="revit",
    )
    assert when(later) == (started("s2", "other").model_copy(update={"product": "revit"}),)


def test_an_agreement_that_ended_does_not_start_again_by_a_late_repeat() -> None:
    assert when(RecordSubscriptionEnd("s1")) == (ENDED,)
    assert when(RecordSubscriptionEnd("s1"), given=(*GIVEN, ENDED)) == ()
    assert when(RECORD, given=(*GIVEN, ENDED)) == ()


def test_an_agreement_whose_term_begins_later_is_scheduled_and_starts_on_its_first_day() -> None:
    later = replace(RECORD, starts=FIRST_DAY)
    assert when(later, given=()) == (OPENED, MANAGED, SCHEDULED), "roles are there from the order on"
    given = (OPENED, MANAGED, SCHEDULED)
    assert when(later, given=given) == () == when(RECORD, given=given)
    eve, midnight = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    assert when(StartAgreements(eve), given=given) == ()
    assert when(StartAgreements(midnight), given=given) == (started("s1"),)
    assert when(StartAgreements(midnight), given=(*given, started("s1"))) == ()
    assert when(later, given=(*given, started("s1"))) == ()


def test_a_timer_that_is_late_starts_all_that_are_due_and_none_that_is_not() -> None:
    second = SCHEDULED.model_copy(update={"subscription_id": "s2", "starts": date(2026, 12, 2)})
    third = SCHEDULED.model_copy(update={"subscription_id": "s3", "starts": date(2026, 12, 3)})
    given = (OPENED, MANAGED, SCHEDULED, second, third)
    assert when(StartAgreements(datetime(2026, 12, 2, tzinfo=UTC)), given=given) == (started("s1"), started("s2"))


def test_an_agreement_that_ended_before_its_first_day_never_starts() -> None:
    given = (OPENED, MANAGED, SCHEDULED)
    assert when(RecordSubscriptionEnd("s1"), given=given) == (ENDED,)
    over = (*given, ENDED)
    assert when(StartAgreements(datetime(2030, 1, 1, tzinfo=UTC)), given=over) == ()
    assert when(RecordSubscriptionEnd("s1"), given=over) == () == when(replace(RECORD, starts=FIRST_DAY), given=over)


def test_before_the_first_day_access_is_closed_and_says_when_it_opens() -> None:
    given: tuple[Event, ...] = (OPENED, MANAGED, SCHEDULED)
    shut = access_of(reduce(evolve, given, INITIAL), "oskar")
    assert isinstance(shut, Denied) and shut.rule == "agreement-missing"
    assert shut.because == (MANAGED, SCHEDULED) and "2026-12-01" in shut.remedy
    assert when(NameCoordinator("mina", "org", "oskar", may_assign_seats=True), given=given) == (COORDINATING,)


def test_an_account_without_the_role_requests_it_once() -> None:
    ask = RequestRole("mina", "org", message="please")
    assert when(ask) == (REQUESTED,)
    assert when(ask, given=(*GIVEN, REQUESTED)) == ()
    assert when(ask, given=(*GIVEN, COORDINATING)) == ()


def test_roles_are_for_the_customers_people() -> None:
    assert refused(when(RequestRole("clara", "partner-org")), "not-of-customer").because == (OPENED,)


def test_the_managers_role_is_requested_and_its_approval_is_the_handover_in_one_decision() -> None:
    assert when(ASKS_TO_MANAGE) == (ASKED_TO_MANAGE,) == when(ASKS_TO_MANAGE, given=(*GIVEN, COORDINATING))
    given = (*GIVEN, ASKED_TO_MANAGE)
    assert when(ASKS_TO_MANAGE, given=given) == ()
    for seats in (True, False):
        approve = ApproveRoleRequest("mina", "oskar", seats, "org")
        assert when(approve, given=given) == (GIVEN_UP, TAKEN_OVER), "a Contract Manager may always assign seats"
        assert when(approve, given=(*given, GIVEN_UP, TAKEN_OVER)) == ()
    for other in ("mina", "ana"):
        refused(when(ApproveRoleRequest("mina", other, False, "org"), given=given), "role-missing")
    after = reduce(evolve, (*given, GIVEN_UP, TAKEN_OVER), INITIAL)
    assert isinstance(after, Open) and not after.requests and after.manager == TAKEN_OVER


def test_the_managers_role_is_declined_as_any_other_and_goes_to_nobody_who_has_left() -> None:
    given = (*GIVEN, ASKED_TO_MANAGE)
    declined = RoleRequestDeclined(
        contract_id="c", account_id="mina", role="contract_manager", reason="", declined_by="oskar"
    )
    assert when(DeclineRoleRequest("mina", "oskar"), given=given) == (declined,)
    for elsewhere in ("", "partner-org"):
        gone = ApproveRoleRequest("mina", "oskar", False, elsewhere)
        assert refused(when(gone, given=given), "not-of-customer").because == (OPENED,)


def test_who_manages_the_contract_has_nothing_to_ask_for() -> None:
    for asks in (RequestRole("oskar", "org", "contract_manager"), RequestRole("oskar", "org")):
        assert when(asks) == ()
    state = reduce(evolve, (*GIVEN, REQUESTED, GIVEN_UP, TAKEN_OVER), INITIAL)
    assert isinstance(state, Open) and not state.requests, "nor has one who was made it"


def test_a_person_asks_for_one_role_at_a_time() -> None:
    assert refused(when(ASKS_TO_MANAGE, given=(*GIVEN, REQUESTED)), "request-waiting").because == (REQUESTED,)
    asks = RequestRole("mina", "org")
    assert refused(when(asks, given=(*GIVEN, ASKED_TO_MANAGE)), "request-waiting").because == (ASKED_TO_MANAGE,)
    named = reduce(evolve, (*GIVEN, ASKED_TO_MANAGE, COORDINATING), INITIAL)
    assert isinstance(named, Open) and named.requests == {"mina": ASKED_TO_MANAGE}, "another role is no answer to it"


def test_who_lost_a_role_is_told_by_which_event() -> None:
    gone = RoleRevoked(contract_id="c", account_id="mina", role="software_coordinator", revoked_by="oskar")
    for taken, account in ((gone, "mina"), (GIVEN_UP, "oskar")):
        state = reduce(
            evolve, (*GIVEN, COORDINATING, gone, GIVEN_UP, TAKEN_OVER.model_copy(update={"account_id": "ana"})), INITIAL
        )
        found = access_of(state, account)
        assert isinstance(found, Denied) and (found.rule, found.because) == ("role-missing", (taken,))
    again = reduce(evolve, (*GIVEN, COORDINATING, gone, COORDINATING), INITIAL)
    assert isinstance(again, Open) and not again.revoked
    given = (*GIVEN, GIVEN_UP, TAKEN_OVER)
    assert refused(when(RevokeRole("ana", "oskar"), given=given), "role-missing").because == (TAKEN_OVER, GIVEN_UP)


def test_the_manager_approves_and_nobody_else() -> None:
    given = (*GIVEN, REQUESTED)
    assert when(ApproveRoleRequest("mina", "oskar", may_assign_seats=True), given=given) == (COORDINATING,)
    for other in ("mina", "ana"):
        assert refused(when(ApproveRoleRequest("mina", other), given=given), "role-missing").because == (MANAGED,)
    assert when(ApproveRoleRequest("mina", "oskar", may_assign_seats=True), given=(*given, COORDINATING)) == ()


def test_the_seat_right_can_be_changed_by_approving_again() -> None:
    given = (*GIVEN, REQUESTED, COORDINATING)
    without = assigned("mina", "software_coordinator", "oskar", seats=False)
    assert when(ApproveRoleRequest("mina", "oskar"), given=given) == (without,)


def test_nobody_is_given_a_role_that_was_not_asked_for() -> None:
    refused(when(ApproveRoleRequest("mina", "oskar")), "no-request")


def test_a_request_is_declined_with_a_reason_and_may_be_made_again() -> None:
    declined = RoleRequestDeclined(
        contract_id="c", account_id="mina", role="software_coordinator", reason="not yet", declined_by="oskar"
    )
    given = (*GIVEN, REQUESTED)
    assert when(DeclineRoleRequest("mina", "oskar", "not yet"), given=given) == (declined,)
    assert when(DeclineRoleRequest("mina", "oskar", "not yet"), given=(*given, declined)) == ()
    refused(when(DeclineRoleRequest("mina", "mina"), given=given), "role-missing")
    assert when(RequestRole("mina", "org", message="please"), given=(*given, declined)) == (REQUESTED,)


def test_a_role_is_revoked_by_the_manager() -> None:
    revoked = RoleRevoked(contract_id="c", account_id="mina", role="software_coordinator", revoked_by="oskar")
    given = (*GIVEN, COORDINATING)
    assert when(RevokeRole("mina", "oskar"), given=given) == (revoked,)
    assert when(RevokeRole("mina", "oskar"), given=(*given, revoked)) == ()
    refused(when(RevokeRole("mina", "ana"), given=given), "role-missing")


def test_a_handover_is_one_decision_never_zero_never_two() -> None:
    handover = HandOverContract("mina", "oskar", "org")
    assert when(handover) == (GIVEN_UP, TAKEN_OVER)
    after = (*GIVEN, GIVEN_UP, TAKEN_OVER)
    assert when(handover, given=after) == ()
    refused(when(ApproveRoleRequest("ana", "oskar"), given=after), "role-missing")
    assert isinstance(access_of(reduce(evolve, after, INITIAL), "oskar"), Denied)
    refused(when(HandOverContract("clara", "oskar", "partner-org")), "not-of-customer")
    refused(when(HandOverContract("ana", "mina", "org")), "role-missing")
    assert when(HandOverContract("oskar", "oskar", "org")) == ()


@pytest.mark.parametrize(
    "command", [RequestRole("mina", "org"), RevokeRole("mina", "oskar"), RecordSubscriptionEnd("s1")]
)
def test_nothing_is_done_on_a_contract_that_is_not_open(command: Command) -> None:
    refused(when(command, given=()), "contract-unknown")


@pytest.mark.parametrize(
    ("account", "given", "open_"),
    [
        ("oskar", GIVEN, (MANAGED, started("s1"))),
        ("mina", (*GIVEN, COORDINATING), (COORDINATING, started("s1"))),
        ("mina", GIVEN, "role-missing"),
        ("oskar", (OPENED, MANAGED, started("s1", "other")), "agreement-missing"),
        ("oskar", (OPENED, MANAGED, started("s1", "maintenance")), (MANAGED, started("s1", "maintenance"))),
        ("oskar", (*GIVEN, ENDED), "agreement-missing"),
        ("oskar", (*GIVEN, ENDED, started("s2")), (MANAGED, started("s2"))),
        ("oskar", (), "role-missing"),
    ],
)
def test_access_takes_a_role_and_an_active_agreement_and_says_which_is_missing(
    account: str, given: tuple[Event, ...], open_: tuple[Event, ...] | str
) -> None:
    found = access_of(reduce(evolve, given, INITIAL), account)
    if isinstance(open_, str):
        assert isinstance(found, Denied) and found.rule == open_
    else:
        assert isinstance(found, Granted) and found.because == open_


def test_the_end_of_an_agreement_that_opened_nothing_is_no_reason() -> None:
    """Services that replicate the facts never named it; identity once did."""
    other = AgreementEnded(contract_id="c", subscription_id="s9")
    given = (*GIVEN, started("s9", "other"), ENDED, other)
    shut = access_of(reduce(evolve, given, INITIAL), "oskar")
    assert isinstance(shut, Denied) and shut.because == (MANAGED, ENDED)


def test_the_manager_names_a_coordinator_who_has_not_asked_and_nobody_else_does() -> None:
    assert when(NameCoordinator("mina", "org", "oskar", may_assign_seats=True)) == (COORDINATING,)
    assert when(NameCoordinator("mina", "org", "oskar", may_assign_seats=True), given=(*GIVEN, COORDINATING)) == ()
    assert refused(when(NameCoordinator("mina", "org", "ana")), "role-missing").because == (MANAGED,)
    for elsewhere in ("partner-org", ""):
        assert refused(when(NameCoordinator("clara", elsewhere, "oskar")), "not-of-customer").because == (OPENED,)


def test_the_right_to_assign_seats_is_given_and_taken() -> None:
    without = assigned("mina", "software_coordinator", "oskar", seats=False)
    assert when(NameCoordinator("mina", "org", "oskar"), given=(*GIVEN, COORDINATING)) == (without,)
    given = (*GIVEN, COORDINATING, without)
    assert when(NameCoordinator("mina", "org", "oskar", may_assign_seats=True), given=given) == (COORDINATING,)


def test_naming_somebody_answers_their_request() -> None:
    given = (*GIVEN, REQUESTED, COORDINATING)
    state = reduce(evolve, given, INITIAL)
    assert isinstance(state, Open) and not state.requests


def test_with_no_coordinator_named_the_manager_acts_as_one() -> None:
    def who(*given: Event) -> tuple[str, ...]:
        state = reduce(evolve, given, INITIAL)
        assert isinstance(state, Open)
        return coordinating(state)

    gone = RoleRevoked(contract_id="c", account_id="mina", role="software_coordinator", revoked_by="oskar")
    assert who(*GIVEN) == ("oskar",)
    assert who(*GIVEN, COORDINATING) == ("mina",)
    assert who(*GIVEN, COORDINATING, gone) == ("oskar",)


def test_the_operator_hands_over_for_a_manager_who_left() -> None:
    by_operator = HandOverContract("mina", "operator", "org", by_operator=True)
    taken = assigned("mina", "contract_manager", "operator")
    given_up = RoleRevoked(contract_id="c", account_id="oskar", role="contract_manager", revoked_by="operator")
    assert when(by_operator) == (given_up, taken)
    assert when(by_operator, given=(*GIVEN, given_up, taken)) == ()
    refused(when(HandOverContract("clara", "operator", "", by_operator=True)), "not-of-customer")


def test_a_closed_account_loses_its_role_and_its_request() -> None:
    revoked = RoleRevoked(contract_id="c", account_id="mina", role="software_coordinator", revoked_by="mina")
    declined = RoleRequestDeclined(
        contract_id="c",
        account_id="mina",
        role="software_coordinator",
        reason="The account was closed.",
        declined_by="mina",
    )
    left = RecordAccountClosed("mina", "mina", "oskar")
    assert when(left, given=(*GIVEN, COORDINATING)) == (revoked,)
    assert when(left, given=(*GIVEN, REQUESTED)) == (declined,)
    assert when(left) == ()


def test_a_manager_who_closed_in_the_moment_of_taking_over_is_followed_in_one_decision() -> None:
    assert when(RecordAccountClosed("oskar", "oskar", "mina")) == (GIVEN_UP, TAKEN_OVER)
    for nobody in ("", "oskar"):
        assert when(RecordAccountClosed("oskar", "oskar", nobody)) == (), "never none: the operator names one"


@pytest.mark.parametrize(
    "command", [NameCoordinator("mina", "org", "oskar"), RecordAccountClosed("oskar", "oskar", "mina")]
)
def test_nothing_is_named_or_ended_on_a_contract_that_is_not_open(command: Command) -> None:
    refused(when(command, given=()), "contract-unknown")
