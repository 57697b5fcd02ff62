"""Who sees an organisation's people, and who removes one of them."""

import pytest

from services.identity.domain import account
from services.identity.domain.account import ACCOUNT, RemovePerson
from services.identity.domain.people import people_not_shown
from shared.events import AccountClosed, RoleAssigned
from tests.examples.organisation import (
    ADMINISTRATOR,
    FOUNDER,
    FOUNDER_ID,
    MEMBER,
    NAMED,
    OPERATORS,
    ORG,
    opened,
    somebody,
)
from tests.spec import given, refused

LEAVER = opened("member")
FIRST = opened(FOUNDER_ID)
GONE = AccountClosed(account_id="member", organisation_id=ORG, closed_by="x")
MANAGING = RoleAssigned(
    contract_id="c", account_id="member", role="contract_manager", may_assign_seats=True, assigned_by="member"
)
STRANGER = somebody(opened("ben", organisation_id="another"))
NOBODY = account.INITIAL


def remove(by: account.State, *manages: RoleAssigned, person: str = "member") -> RemovePerson:
    return RemovePerson(account_id=person, removed_by="x", by=by, manages=manages)


@pytest.mark.parametrize("by", [FOUNDER, OPERATORS, somebody(opened("lee"), NAMED), MEMBER])
def test_who_manages_people_removes_a_leaver_and_anybody_leaves(by: account.State) -> None:
    given(ACCOUNT, LEAVER).when(remove(by)).then(GONE)
    given(ACCOUNT, LEAVER, GONE).when(remove(by)).then_nothing()


@pytest.mark.parametrize("by", [somebody(opened("lee")), STRANGER, NOBODY])
def test_nobody_else_removes_people(by: account.State) -> None:
    given(ACCOUNT, LEAVER).when(remove(by)).then_refused("may-not-remove-people")


def test_who_manages_people_is_removed_by_the_first_account_only() -> None:
    other = somebody(opened("lee"), NAMED)
    given(ACCOUNT, LEAVER, NAMED).when(remove(other)).then_refused("first-account-only", because=[NAMED])
    given(ACCOUNT, FIRST).when(remove(other)).then_refused("first-account-only", because=[FIRST])
    given(ACCOUNT, LEAVER, NAMED).when(remove(FOUNDER)).then_accepted()
    given(ACCOUNT, FIRST).when(remove(OPERATORS)).then_accepted()


def test_a_contract_manager_hands_over_before_being_removed() -> None:
    given(ACCOUNT, LEAVER).when(remove(FOUNDER, MANAGING)).then_refused("still-contract-manager", because=[MANAGING])


def test_people_of_a_publisher_are_removed_by_the_operator_only() -> None:
    publishers = opened("pat", organisation_id="pub", organisation_kind="publisher")
    colleague = somebody(opened("sam", organisation_id="pub", organisation_kind="publisher"))
    given(ACCOUNT, publishers).when(remove(colleague)).then_refused("operator-only", because=[publishers])
    given(ACCOUNT, publishers).when(remove(OPERATORS)).then_accepted()


def test_nobody_is_removed_who_is_not_there() -> None:
    given(ACCOUNT).when(remove(FOUNDER)).then_refused("account-unknown")


def test_people_are_shown_to_those_who_manage_them_and_to_those_with_a_role() -> None:
    for viewer in (FOUNDER, ADMINISTRATOR, OPERATORS):
        assert people_not_shown(viewer, ORG, holds_role=False) is None
    assert people_not_shown(MEMBER, ORG, holds_role=True) is None
    for viewer, holds_role in ((MEMBER, False), (STRANGER, True), (NOBODY, False)):
        refused(people_not_shown(viewer, ORG, holds_role=holds_role), "may-not-see-people")
