"""A partner's standing: the numbers that publishers issued and revoked, whatever order their words arrive in."""

from dataclasses import replace
from datetime import timedelta

from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import (
    STANDING,
    CsnStanding,
    Event,
    RecordCsn,
    RevokeCsn,
    needs_csn,
    opens,
    valid_csn,
)
from shared.events import CsnIssued, CsnRevoked
from tests.examples.marketplace import AUTOCAD, AUTODESK, CSN, NOON, PARTNER, VAULT
from tests.spec import given, refused

LATER, EARLIER = NOON + timedelta(hours=1), NOON - timedelta(hours=1)
POLICY = Policy(csn_pattern="[0-9]{10}")
RECORD = RecordCsn(
    csn="5100012345", organisation_id=PARTNER, publisher=AUTODESK, reported_by=AUTODESK, said_at=NOON, policy=POLICY
)
REVOKE = RevokeCsn(
    csn="5100012345",
    organisation_id=PARTNER,
    publisher=AUTODESK,
    reason="not paid",
    reported_by=AUTODESK,
    said_at=LATER,
)
REVOKED = CsnRevoked(csn="5100012345", organisation_id=PARTNER, publisher=AUTODESK, reason="not paid", said_at=LATER)


def standing(*history: Event) -> CsnStanding:
    return given(STANDING, *history).state


def test_an_issued_number_opens_specialised_plans() -> None:
    assert not opens(standing(), VAULT)
    given(STANDING).when(RECORD).then(CSN)
    assert opens(standing(CSN), VAULT)


def test_open_plans_need_no_number() -> None:
    assert opens(standing(), AUTOCAD)


def test_a_revoked_number_opens_nothing_and_justifies_the_refusal() -> None:
    given(STANDING, CSN).when(REVOKE).then(REVOKED)
    after = standing(CSN, REVOKED.recorded("csn-revoked-1"))
    assert not opens(after, VAULT)
    assert (
        "5100012345 was revoked" in refused(needs_csn(after, VAULT), "specialised-needs-csn", because=[REVOKED]).reason
    )


def test_a_repeated_word_does_no_harm() -> None:
    given(STANDING, CSN).when(RECORD).then_nothing()
    given(STANDING, CSN, REVOKED).when(REVOKE).then_nothing()


def test_a_number_said_again_later_is_recorded_so_that_an_older_revocation_comes_too_late() -> None:
    again = given(STANDING, CSN).when(replace(RECORD, said_at=LATER + timedelta(hours=1))).then_accepted()
    assert len(again) == 1
    given(STANDING, CSN, *again).when(REVOKE).then_refused("said-later", because=again)


def test_an_issue_that_arrives_after_its_revocation_is_refused_for_it() -> None:
    given(STANDING).when(REVOKE).then(REVOKED)
    given(STANDING, REVOKED).when(RECORD).then_refused("said-later", because=[REVOKED])


def test_a_revocation_older_than_the_issue_is_refused_for_it() -> None:
    given(STANDING, CSN).when(replace(REVOKE, said_at=EARLIER)).then_refused("said-later", because=[CSN])


def test_at_the_same_time_the_revocation_wins_whatever_arrives_first() -> None:
    at_once = replace(REVOKE, said_at=NOON)
    revoked = REVOKED.model_copy(update={"said_at": NOON})
    given(STANDING, CSN).when(at_once).then(revoked)
    given(STANDING, revoked).when(RECORD).then_refused("said-later", because=[revoked])


def test_a_number_can_be_given_back() -> None:
    again = LATER + timedelta(days=1)
    issued = CsnIssued(csn="5100012345", organisation_id=PARTNER, publisher=AUTODESK, said_at=again)
    given(STANDING, CSN, REVOKED).when(replace(RECORD, said_at=again)).then(issued)
    assert valid_csn(standing(CSN, REVOKED, issued), AUTODESK) == issued


def test_of_two_numbers_the_later_counts_and_the_other_remains_when_it_is_revoked() -> None:
    second = CsnIssued(csn="5100099999", organisation_id=PARTNER, publisher=AUTODESK, said_at=LATER)
    assert valid_csn(standing(CSN, second), AUTODESK) == second
    gone = CsnRevoked(csn="5100099999", organisation_id=PARTNER, publisher=AUTODESK, said_at=LATER)
    assert valid_csn(standing(CSN, second, gone), AUTODESK) == CSN


def test_a_number_counts_with_its_own_publisher_only() -> None:
    assert valid_csn(standing(CSN), "acme") is None


def test_a_number_must_read_as_the_policy_says() -> None:
    given(STANDING).when(replace(RECORD, csn="51-0001234")).then_refused("malformed-csn")
    given(STANDING).when(replace(RECORD, csn="5100012345\n")).then_refused("malformed-csn")


def test_a_publisher_issues_and_revokes_its_own_numbers_only() -> None:
    given(STANDING).when(replace(RECORD, reported_by="acme")).then_refused("foreign-publisher")
    given(STANDING, CSN).when(replace(REVOKE, reported_by="")).then_refused("foreign-publisher")
