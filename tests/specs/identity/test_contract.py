"""Given facts about a contract, when a command comes, then facts or a refusal."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

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
from services.identity.domain.contract_state import Event, OpenedContract
from shared.administrative_access import Denied, Granted
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
from tests.spec import given

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


def test_the_first_confirmed_order_opens_the_contract_with_the_purchaser_as_its_manager() -> None:
    given(CONTRACT).when(RECORD).then(*GIVEN)
    given(CONTRACT, *GIVEN).when(RECORD).then_nothing()


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
    given(CONTRACT, *GIVEN).when(later).then(started("s2", "other").model_copy(update={"product": "revit"}))


def test_an_agreement_that_ended_does_not_start_again_by_a_late_repeat() -> None:
    given(CONTRACT, *GIVEN).when(RecordSubscriptionEnd("s1")).then(ENDED)
    given(CONTRACT, *GIVEN, ENDED).when(RecordSubscriptionEnd("s1")).then_nothing()
    given(CONTRACT, *GIVEN, ENDED).when(RECORD).then_nothing()


def test_an_agreement_whose_term_begins_later_is_scheduled_and_starts_on_its_first_day() -> None:
    later = replace(RECORD, starts=FIRST_DAY)
    given(CONTRACT).when(later).then(OPENED, MANAGED, SCHEDULED)  # roles are there from the order on
    history = (OPENED, MANAGED, SCHEDULED)
    given(CONTRACT, *history).when(later).then_nothing()
    given(CONTRACT, *history).when(RECORD).then_nothing()
    eve, midnight = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    given(CONTRACT, *history).when(StartAgreements(eve)).then_nothing()
    given(CONTRACT, *history).when(StartAgreements(midnight)).then(started("s1"))
    given(CONTRACT, *history, started("s1")).when(StartAgreements(midnight)).then_nothing()
    given(CONTRACT, *history, started("s1")).when(later).then_nothing()


def test_an_agreement_starts_at_midnight_in_the_customers_time_zone() -> None:
    later = replace(RECORD, starts=FIRST_DAY, time_zone="Pacific/Auckland")
    midnight = datetime(2026, 11, 30, 11, tzinfo=UTC)
    history = given(CONTRACT).after(later)
    history.when(StartAgreements(midnight - timedelta(microseconds=1))).then_nothing()
    history.when(StartAgreements(midnight)).then(started("s1"))
    shut = access_of(history.state, "oskar")
    assert isinstance(shut, Denied) and "2026-12-01 (Pacific/Auckland)" in shut.remedy


def test_a_timer_that_is_late_starts_all_that_are_due_and_none_that_is_not() -> None:
    second = SCHEDULED.model_copy(update={"subscription_id": "s2", "starts": date(2026, 12, 2)})
    third = SCHEDULED.model_copy(update={"subscription_id": "s3", "starts": date(2026, 12, 3)})
    history = (OPENED, MANAGED, SCHEDULED, second, third)
    given(CONTRACT, *history).when(StartAgreements(datetime(2026, 12, 2, tzinfo=UTC))).then(
        started("s1"), started("s2")
    )


def test_an_agreement_that_ended_before_its_first_day_never_starts() -> None:
    history = (OPENED, MANAGED, SCHEDULED)
    given(CONTRACT, *history).when(RecordSubscriptionEnd("s1")).then(ENDED)
    over = (*history, ENDED)
    given(CONTRACT, *over).when(StartAgreements(datetime(2030, 1, 1, tzinfo=UTC))).then_nothing()
    given(CONTRACT, *over).when(RecordSubscriptionEnd("s1")).then_nothing()
    given(CONTRACT, *over).when(replace(RECORD, starts=FIRST_DAY)).then_nothing()


def test_before_the_first_day_access_is_closed_and_says_when_it_opens() -> None:
    history: tuple[Event, ...] = (OPENED, MANAGED, SCHEDULED)
    shut = access_of(given(CONTRACT, *history).state, "oskar")
    assert isinstance(shut, Denied) and shut.rule == "agreement-missing"
    assert shut.because == (MANAGED, SCHEDULED) and "2026-12-01" in shut.remedy
    given(CONTRACT, *history).when(NameCoordinator("mina", "org", "oskar", may_assign_seats=True)).then(COORDINATING)


def test_an_account_without_the_role_requests_it_once() -> None:
    ask = RequestRole("mina", "org", message="please")
    given(CONTRACT, *GIVEN).when(ask).then(REQUESTED)
    given(CONTRACT, *GIVEN, REQUESTED).when(ask).then_nothing()
    given(CONTRACT, *GIVEN, COORDINATING).when(ask).then_nothing()


def test_roles_are_for_the_customers_people() -> None:
    given(CONTRACT, *GIVEN).when(RequestRole("clara", "partner-org")).then_refused("not-of-customer", because=[OPENED])


def test_the_managers_role_is_requested_and_its_approval_is_the_handover_in_one_decision() -> None:
    given(CONTRACT, *GIVEN).when(ASKS_TO_MANAGE).then(ASKED_TO_MANAGE)
    given(CONTRACT, *GIVEN, COORDINATING).when(ASKS_TO_MANAGE).then(ASKED_TO_MANAGE)
    history = (*GIVEN, ASKED_TO_MANAGE)
    given(CONTRACT, *history).when(ASKS_TO_MANAGE).then_nothing()
    for seats in (True, False):
        approve = ApproveRoleRequest("mina", "oskar", seats, "org")
        given(CONTRACT, *history).when(approve).then(GIVEN_UP, TAKEN_OVER)  # a Contract Manager may always assign seats
        given(CONTRACT, *history, GIVEN_UP, TAKEN_OVER).when(approve).then_nothing()
    for other in ("mina", "ana"):
        given(CONTRACT, *history).when(ApproveRoleRequest("mina", other, False, "org")).then_refused(
            "role-missing", because=[MANAGED]
        )
    after = given(CONTRACT, *history, GIVEN_UP, TAKEN_OVER).state
    assert isinstance(after, OpenedContract) and not after.requests and after.manager == TAKEN_OVER


def test_the_managers_role_is_declined_as_any_other_and_goes_to_nobody_who_has_left() -> None:
    history = (*GIVEN, ASKED_TO_MANAGE)
    declined = RoleRequestDeclined(
        contract_id="c", account_id="mina", role="contract_manager", reason="", declined_by="oskar"
    )
    given(CONTRACT, *history).when(DeclineRoleRequest("mina", "oskar")).then(declined)
    for elsewhere in ("", "partner-org"):
        gone = ApproveRoleRequest("mina", "oskar", False, elsewhere)
        given(CONTRACT, *history).when(gone).then_refused("not-of-customer", because=[OPENED])


def test_who_manages_the_contract_has_nothing_to_ask_for() -> None:
    for asks in (RequestRole("oskar", "org", "contract_manager"), RequestRole("oskar", "org")):
        given(CONTRACT, *GIVEN).when(asks).then_nothing()
    state = given(CONTRACT, *GIVEN, REQUESTED, GIVEN_UP, TAKEN_OVER).state
    assert isinstance(state, OpenedContract) and not state.requests, "nor has one who was made it"


def test_a_person_asks_for_one_role_at_a_time() -> None:
    given(CONTRACT, *GIVEN, REQUESTED).when(ASKS_TO_MANAGE).then_refused("request-waiting", because=[REQUESTED])
    asks = RequestRole("mina", "org")
    given(CONTRACT, *GIVEN, ASKED_TO_MANAGE).when(asks).then_refused("request-waiting", because=[ASKED_TO_MANAGE])
    named = given(CONTRACT, *GIVEN, ASKED_TO_MANAGE, COORDINATING).state
    assert isinstance(named, OpenedContract) and named.requests == {"mina": ASKED_TO_MANAGE}, (
        "another role is no answer to it"
    )


def test_who_lost_a_role_is_told_by_which_event() -> None:
    gone = RoleRevoked(contract_id="c", account_id="mina", role="software_coordinator", revoked_by="oskar")
    for taken, account in ((gone, "mina"), (GIVEN_UP, "oskar")):
        state = given(
            CONTRACT, *GIVEN, COORDINATING, gone, GIVEN_UP, TAKEN_OVER.model_copy(update={"account_id": "ana"})
        ).state
        found = access_of(state, account)
        assert isinstance(found, Denied) and (found.rule, found.because) == ("role-missing", (taken,))
    again = given(CONTRACT, *GIVEN, COORDINATING, gone, COORDINATING).state
    assert isinstance(again, OpenedContract) and not again.revoked
    history = (*GIVEN, GIVEN_UP, TAKEN_OVER)
    given(CONTRACT, *history).when(RevokeRole("ana", "oskar")).then_refused(
        "role-missing", because=[TAKEN_OVER, GIVEN_UP]
    )


def test_the_manager_approves_and_nobody_else() -> None:
    history = (*GIVEN, REQUESTED)
    given(CONTRACT, *history).when(ApproveRoleRequest("mina", "oskar", may_assign_seats=True)).then(COORDINATING)
    for other in ("mina", "ana"):
        given(CONTRACT, *history).when(ApproveRoleRequest("mina", other)).then_refused(
            "role-missing", because=[MANAGED]
        )
    given(CONTRACT, *history, COORDINATING).when(
        ApproveRoleRequest("mina", "oskar", may_assign_seats=True)
    ).then_nothing()


def test_the_seat_right_can_be_changed_by_approving_again() -> None:
    history = (*GIVEN, REQUESTED, COORDINATING)
    without = assigned("mina", "software_coordinator", "oskar", seats=False)
    given(CONTRACT, *history).when(ApproveRoleRequest("mina", "oskar")).then(without)


def test_nobody_is_given_a_role_that_was_not_asked_for() -> None:
    given(CONTRACT, *GIVEN).when(ApproveRoleRequest("mina", "oskar")).then_refused("no-request")


def test_a_request_is_declined_with_a_reason_and_may_be_made_again() -> None:
    declined = RoleRequestDeclined(
        contract_id="c", account_id="mina", role="software_coordinator", reason="not yet", declined_by="oskar"
    )
    history = (*GIVEN, REQUESTED)
    given(CONTRACT, *history).when(DeclineRoleRequest("mina", "oskar", "not yet")).then(declined)
    given(CONTRACT, *history, declined).when(DeclineRoleRequest("mina", "oskar", "not yet")).then_nothing()
    given(CONTRACT, *history).when(DeclineRoleRequest("mina", "mina")).then_refused("role-missing", because=[MANAGED])
    given(CONTRACT, *history, declined).when(RequestRole("mina", "org", message="please")).then(REQUESTED)


def test_a_role_is_revoked_by_the_manager() -> None:
    revoked = RoleRevoked(contract_id="c", account_id="mina", role="software_coordinator", revoked_by="oskar")
    history = (*GIVEN, COORDINATING)
    given(CONTRACT, *history).when(RevokeRole("mina", "oskar")).then(revoked)
    given(CONTRACT, *history, revoked).when(RevokeRole("mina", "oskar")).then_nothing()
    given(CONTRACT, *history).when(RevokeRole("mina", "ana")).then_refused("role-missing", because=[MANAGED])


def test_a_handover_is_one_decision_never_zero_never_two() -> None:
    handover = HandOverContract("mina", "oskar", "org")
    given(CONTRACT, *GIVEN).when(handover).then(GIVEN_UP, TAKEN_OVER)
    after = (*GIVEN, GIVEN_UP, TAKEN_OVER)
    given(CONTRACT, *after).when(handover).then_nothing()
    given(CONTRACT, *after).when(ApproveRoleRequest("ana", "oskar")).then_refused(
        "role-missing", because=[TAKEN_OVER, GIVEN_UP]
    )
    assert isinstance(access_of(given(CONTRACT, *after).state, "oskar"), Denied)
    given(CONTRACT, *GIVEN).when(HandOverContract("clara", "oskar", "partner-org")).then_refused(
        "not-of-customer", because=[OPENED]
    )
    given(CONTRACT, *GIVEN).when(HandOverContract("ana", "mina", "org")).then_refused("role-missing", because=[MANAGED])
    given(CONTRACT, *GIVEN).when(HandOverContract("oskar", "oskar", "org")).then_nothing()


@pytest.mark.parametrize(
    "command", [RequestRole("mina", "org"), RevokeRole("mina", "oskar"), RecordSubscriptionEnd("s1")]
)
def test_nothing_is_done_on_a_contract_that_is_not_open(command: Command) -> None:
    given(CONTRACT).when(command).then_refused("contract-unknown")


@pytest.mark.parametrize(
    ("account", "history", "open_"),
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
    account: str, history: tuple[Event, ...], open_: tuple[Event, ...] | str
) -> None:
    found = access_of(given(CONTRACT, *history).state, account)
    if isinstance(open_, str):
        assert isinstance(found, Denied) and found.rule == open_
    else:
        assert isinstance(found, Granted) and found.because == open_


def test_the_end_of_an_agreement_that_opened_nothing_is_no_reason() -> None:
    """Services that replicate the facts never named it; identity once did."""
    other = AgreementEnded(contract_id="c", subscription_id="s9")
    history = (*GIVEN, started("s9", "other"), ENDED, other)
    shut = access_of(given(CONTRACT, *history).state, "oskar")
    assert isinstance(shut, Denied) and shut.because == (MANAGED, ENDED)


def test_the_manager_names_a_coordinator_who_has_not_asked_and_nobody_else_does() -> None:
    given(CONTRACT, *GIVEN).when(NameCoordinator("mina", "org", "oskar", may_assign_seats=True)).then(COORDINATING)
    given(CONTRACT, *GIVEN, COORDINATING).when(
        NameCoordinator("mina", "org", "oskar", may_assign_seats=True)
    ).then_nothing()
    given(CONTRACT, *GIVEN).when(NameCoordinator("mina", "org", "ana")).then_refused("role-missing", because=[MANAGED])
    for elsewhere in ("partner-org", ""):
        given(CONTRACT, *GIVEN).when(NameCoordinator("clara", elsewhere, "oskar")).then_refused(
            "not-of-customer", because=[OPENED]
        )


def test_the_right_to_assign_seats_is_given_and_taken() -> None:
    without = assigned("mina", "software_coordinator", "oskar", seats=False)
    given(CONTRACT, *GIVEN, COORDINATING).when(NameCoordinator("mina", "org", "oskar")).then(without)
    history = (*GIVEN, COORDINATING, without)
    given(CONTRACT, *history).when(NameCoordinator("mina", "org", "oskar", may_assign_seats=True)).then(COORDINATING)


def test_naming_somebody_answers_their_request() -> None:
    history = (*GIVEN, REQUESTED, COORDINATING)
    state = given(CONTRACT, *history).state
    assert isinstance(state, OpenedContract) and not state.requests


def test_with_no_coordinator_named_the_manager_acts_as_one() -> None:
    def who(*history: Event) -> tuple[str, ...]:
        state = given(CONTRACT, *history).state
        assert isinstance(state, OpenedContract)
        return coordinating(state)

    gone = RoleRevoked(contract_id="c", account_id="mina", role="software_coordinator", revoked_by="oskar")
    assert who(*GIVEN) == ("oskar",)
    assert who(*GIVEN, COORDINATING) == ("mina",)
    assert who(*GIVEN, COORDINATING, gone) == ("oskar",)


def test_the_operator_hands_over_for_a_manager_who_left() -> None:
    by_operator = HandOverContract("mina", "operator", "org", by_operator=True)
    taken = assigned("mina", "contract_manager", "operator")
    given_up = RoleRevoked(contract_id="c", account_id="oskar", role="contract_manager", revoked_by="operator")
    given(CONTRACT, *GIVEN).when(by_operator).then(given_up, taken)
    given(CONTRACT, *GIVEN, given_up, taken).when(by_operator).then_nothing()
    given(CONTRACT, *GIVEN).when(HandOverContract("clara", "operator", "", by_operator=True)).then_refused(
        "not-of-customer", because=[OPENED]
    )


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
    given(CONTRACT, *GIVEN, COORDINATING).when(left).then(revoked)
    given(CONTRACT, *GIVEN, REQUESTED).when(left).then(declined)
    given(CONTRACT, *GIVEN).when(left).then_nothing()


def test_a_manager_who_closed_in_the_moment_of_taking_over_is_followed_in_one_decision() -> None:
    given(CONTRACT, *GIVEN).when(RecordAccountClosed("oskar", "oskar", "mina")).then(GIVEN_UP, TAKEN_OVER)
    for nobody in ("", "oskar"):
        given(CONTRACT, *GIVEN).when(
            RecordAccountClosed("oskar", "oskar", nobody)
        ).then_nothing()  # never none: the operator names one


@pytest.mark.parametrize(
    "command", [NameCoordinator("mina", "org", "oskar"), RecordAccountClosed("oskar", "oskar", "mina")]
)
def test_nothing_is_named_or_ended_on_a_contract_that_is_not_open(command: Command) -> None:
    given(CONTRACT).when(command).then_refused("contract-unknown")
