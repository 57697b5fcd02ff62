"""Given facts about an account, when a command comes, then facts or a refusal."""

from dataclasses import replace
from typing import Any

import pytest

from services.identity.domain.account import (
    ACCOUNT,
    INITIAL,
    CloseAccount,
    Closed,
    UpdateProfile,
    claims,
    claims_of,
    evolve,
    former_claim_of,
    normalised,
    publisher_of,
    taken,
)
from shared.eventlog.decision import Claims
from shared.events import RoleAssigned
from tests.examples.identity import CLOSED, OPEN, OPENED, UPDATED
from tests.spec import given


def test_anyone_opens_an_account() -> None:
    given(ACCOUNT).when(OPEN).then(OPENED)


def test_opening_again_changes_nothing() -> None:
    given(ACCOUNT, OPENED).when(OPEN).then_nothing()


def test_an_account_of_before_is_found_and_freed_by_the_names_that_it_took() -> None:
    address = "p@m\u00fcller.example"
    kept = evolve(INITIAL, OPENED.model_copy(update={"email": address}))
    assert claims_of(address) == claims_of("P@XN--mller-kva.example")
    assert claims_of(address) == ("email:p@xn--mller-kva.example", f"email:{address}")
    assert former_claim_of(" P@M\u00dcLLER.example") == f"email:{address}"
    assert former_claim_of("f@\uff58.example") == "email:f@\uff58.example"
    assert set(claims(kept, CLOSED).release) == set(claims_of(address))


def test_people_update_their_own_profile_and_what_is_left_out_stays() -> None:
    given(ACCOUNT, OPENED).when(UpdateProfile(email="m.okafor@northhaus.example")).then(UPDATED)
    given(ACCOUNT, OPENED, UPDATED).when(UpdateProfile(email="m.okafor@northhaus.example")).then_nothing()


def test_there_is_no_profile_without_an_account() -> None:
    given(ACCOUNT).when(UpdateProfile(name="Mina")).then_refused("account-unknown")


def test_an_address_is_the_same_however_it_is_typed() -> None:
    assert normalised(" MINA@Northhaus.Example") == normalised("mina@northhaus.example")
    assert normalised("e\u0301@x.example") == normalised("\u00e9@x.example")
    assert normalised("p@m\u00fcller.example") == normalised("p@xn--mller-kva.example")
    assert normalised("f@\uff58.example") == normalised("f@x.example")


def test_one_account_per_email_address() -> None:
    assert claims(INITIAL, OPENED) == Claims(take=("email:mina@northhaus.example",))
    opened = evolve(INITIAL, OPENED)
    assert claims(opened, UPDATED) == Claims(
        take=("email:m.okafor@northhaus.example",), release=("email:mina@northhaus.example",)
    )
    assert claims(opened, UPDATED.model_copy(update={"email": OPENED.email})) == Claims()
    assert taken("email:mina@northhaus.example").rule == "email-taken"
    assert "mina" not in taken("email:mina@northhaus.example").reason


MANAGING = RoleAssigned(
    contract_id="c", account_id="account-1", role="contract_manager", may_assign_seats=True, assigned_by="account-1"
)


def test_a_person_leaves_for_good() -> None:
    close = CloseAccount("account-1", ())
    given(ACCOUNT, OPENED, UPDATED).when(close).then(CLOSED)
    given(ACCOUNT, OPENED, CLOSED).when(close).then_nothing()
    assert evolve(evolve(INITIAL, OPENED), CLOSED) == Closed(CLOSED), "and nothing of them stays in the state"


def test_a_contract_manager_hands_the_contracts_over_first() -> None:
    other = MANAGING.model_copy(update={"contract_id": "d"})
    close = given(ACCOUNT, OPENED).when(CloseAccount("account-1", (MANAGING, other)))
    assert "c, d" in close.then_refused("still-contract-manager", because=[MANAGING, other]).reason


def test_nothing_is_done_with_an_account_that_is_closed_or_was_never_opened() -> None:
    for command in (UpdateProfile(name="Mina"), OPEN):
        given(ACCOUNT, OPENED, CLOSED).when(command).then_refused("account-closed", because=[CLOSED])
    given(ACCOUNT).when(CloseAccount("operator", ())).then_refused("account-unknown")


def test_a_closed_accounts_address_is_free() -> None:
    assert claims(evolve(evolve(INITIAL, OPENED), UPDATED), CLOSED) == Claims(
        release=("email:m.okafor@northhaus.example",)
    )
    assert claims(Closed(CLOSED), CLOSED) == Claims()


def test_an_account_says_whether_its_organisation_is_a_sandbox() -> None:
    given(ACCOUNT).when(replace(OPEN, sandbox=True)).then(OPENED.model_copy(update={"sandbox": True}))


@pytest.mark.parametrize(
    ("kind", "name", "publisher", "speaks_for"),
    [
        ("publisher", "Autodesk GmbH", "autodesk", "autodesk"),
        ("publisher", " Autodesk ", "", "autodesk"),
        ("customer", "Autodesk", "autodesk", ""),
        ("operator", "Tenure", "", ""),
    ],
)
def test_only_a_publishers_people_act_for_a_publisher(kind: Any, name: str, publisher: str, speaks_for: str) -> None:
    changed = {"organisation_kind": kind, "organisation_name": name, "publisher": publisher}
    assert publisher_of(OPENED.model_copy(update=changed)) == speaks_for


def test_the_account_keeps_the_publisher_of_its_invitation() -> None:
    publishers = {"organisation_kind": "publisher", "publisher": "autodesk"}
    command = replace(OPEN, organisation_kind="publisher", publisher="autodesk")
    given(ACCOUNT).when(command).then(OPENED.model_copy(update=publishers))
