"""Given facts about an invitation, when a command comes, then facts or a refusal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.identity.domain import account
from services.identity.domain.account import (
    ACCOUNT,
    NamePeopleAdministrator,
    OpenedAccount,
    RemovePeopleAdministrator,
)
from services.identity.domain.invitation import (
    INITIAL,
    INVITATION,
    OPERATOR,
    Event,
    ExpireInvitation,
    IssueInvitation,
    RecordAcceptance,
    RevokeInvitation,
    Settled,
    already_member,
    claims,
    evolve,
    not_entitled,
    not_invited,
    used,
)
from shared.eventlog.decision import Claims, Rejected
from shared.events import (
    AccountClosed,
    AccountOpened,
    InvitationAccepted,
    InvitationExpired,
    InvitationIssued,
    InvitationRevoked,
    PeopleAdministratorRemoved,
)
from shared.events.identity import OrganisationKind
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

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
ISSUE = IssueInvitation(
    invitation_id="i",
    email=" Mina@Northhaus.example",
    organisation_id=ORG,
    organisation_name="Northhaus",
    organisation_kind="customer",
    sandbox=False,
    issued_by=FOUNDER_ID,
    now=NOON,
    refused=None,
)
ISSUED = InvitationIssued(
    invitation_id="i",
    organisation_id=ORG,
    organisation_name="Northhaus",
    organisation_kind="customer",
    sandbox=False,
    email="mina@northhaus.example",
    issued_by=FOUNDER_ID,
    expires_at=NOON + WEEK,
)
ACCEPTED = InvitationAccepted(invitation_id="i", organisation_id=ORG, account_id="mina")
REVOKED = InvitationRevoked(invitation_id="i", organisation_id=ORG, revoked_by=FOUNDER_ID)
EXPIRED = InvitationExpired(invitation_id="i", organisation_id=ORG)


REMOVED = PeopleAdministratorRemoved(account_id="member", organisation_id=ORG, removed_by=FOUNDER_ID)
PUBLISHERS = somebody(opened("pat", organisation_id="pub", organisation_kind="publisher"))
LEFT = AccountClosed(account_id=FOUNDER_ID, organisation_id=ORG, closed_by=FOUNDER_ID)
CLOSED = somebody(opened(FOUNDER_ID), LEFT)


def test_an_invitation_is_for_one_address_and_seven_days() -> None:
    given(INVITATION).when(ISSUE).then(ISSUED)


def test_issuing_it_again_changes_nothing() -> None:
    given(INVITATION, ISSUED).when(ISSUE).then_nothing()


def test_somebody_who_is_in_the_organisation_is_not_invited() -> None:
    assert isinstance(MEMBER, OpenedAccount)
    there = already_member(MEMBER)
    given(INVITATION).when(replace(ISSUE, refused=there)).then_refused("already-a-member", because=[MEMBER.opened])
    assert already_member(None) is None


def test_the_first_account_whoever_it_named_and_nobody_else_may_invite() -> None:
    assert not_entitled(FOUNDER, ORG, "customer") is None
    assert not_entitled(ADMINISTRATOR, ORG, "customer") is None
    for other in (MEMBER, somebody(opened("member"), NAMED, REMOVED), PUBLISHERS, OPERATORS):
        refused(not_entitled(other, ORG, "customer"), "may-not-invite")


def test_whoever_left_may_not_invite() -> None:
    left = not_entitled(CLOSED, ORG, "customer")
    assert isinstance(left, Rejected) and left.rule == "may-not-invite"
    assert left.because == (LEFT,)


def test_nobody_invites_into_another_organisation() -> None:
    refused(not_entitled(FOUNDER, "another", "customer"), "may-not-invite")


def test_only_an_operators_account_invites_into_a_publishers_or_the_operators_organisation() -> None:
    theirs: dict[OrganisationKind, str] = {"publisher": "pub", "operator": "ops"}
    for kind, organisation in theirs.items():
        assert not_entitled(OPERATORS, organisation, kind) is None
        for other in (PUBLISHERS, FOUNDER, ADMINISTRATOR):
            refused(not_entitled(other, organisation, kind), "operator-only", because=[AccountOpened])


def test_the_invited_person_may_join() -> None:
    assert not_invited(evolve(INITIAL, ISSUED), "MINA@northhaus.example", FOUNDER, NOON) is None


@pytest.mark.parametrize(
    ("history", "email", "inviter", "at"),
    [
        ((), "mina@northhaus.example", FOUNDER, NOON),
        ((ISSUED,), "ana@northhaus.example", FOUNDER, NOON),
        ((ISSUED,), "mina@northhaus.example", FOUNDER, NOON + WEEK),
        ((ISSUED,), "mina@northhaus.example", CLOSED, NOON),
        ((ISSUED,), "mina@northhaus.example", MEMBER, NOON),
        ((ISSUED, REVOKED), "mina@northhaus.example", FOUNDER, NOON),
        ((ISSUED, EXPIRED), "mina@northhaus.example", FOUNDER, NOON),
        ((ISSUED, ACCEPTED), "mina@northhaus.example", FOUNDER, NOON),
        ((ISSUED.model_copy(update={"email": ""}),), "", FOUNDER, NOON),
    ],
    ids=[
        "none",
        "another address",
        "late",
        "inviter left",
        "inviter's right withdrawn",
        "revoked",
        "expired",
        "used",
        "forgotten",
    ],
)
def test_nobody_else_and_not_any_more(
    history: tuple[Event, ...], email: str, inviter: account.State, at: datetime
) -> None:
    refused(not_invited(given(INVITATION, *history).state, email, inviter, at), "invitation-not-valid")


def test_the_operators_own_invitation_needs_no_account_that_invites() -> None:
    from_the_machine = ISSUED.model_copy(update={"issued_by": OPERATOR})
    assert not_invited(evolve(INITIAL, from_the_machine), "mina@northhaus.example", account.INITIAL, NOON) is None


def test_an_invitation_ends_once() -> None:
    given(INVITATION, ISSUED).when(RecordAcceptance("mina")).then(ACCEPTED)
    given(INVITATION, ISSUED).when(RevokeInvitation(FOUNDER_ID)).then(REVOKED)
    given(INVITATION, ISSUED).when(ExpireInvitation(NOON + WEEK)).then(EXPIRED)
    given(INVITATION, ISSUED).when(ExpireInvitation(NOON + WEEK - timedelta(seconds=1))).then_nothing()
    for ended in (ACCEPTED, REVOKED, EXPIRED):
        for command in (RecordAcceptance("mina"), ExpireInvitation(NOON + WEEK)):
            given(INVITATION, ISSUED, ended).when(command).then_nothing()
    given(INVITATION, ISSUED, REVOKED).when(RevokeInvitation(FOUNDER_ID)).then_nothing()


def test_an_invitation_that_somebody_joined_by_is_not_revoked() -> None:
    given(INVITATION, ISSUED, ACCEPTED).when(RevokeInvitation(FOUNDER_ID)).then_refused("invitation-used")


def test_what_does_not_exist_is_not_settled() -> None:
    given(INVITATION).when(RevokeInvitation(FOUNDER_ID)).then_refused("invitation-unknown")


def test_whoever_may_not_is_refused() -> None:
    refused = Rejected("may-not-invite", "reason")
    assert given(INVITATION).when(replace(ISSUE, refused=refused)).decision is refused
    assert given(INVITATION, ISSUED).when(RevokeInvitation("member", refused)).decision is refused


def test_joining_and_ending_need_the_same_name_so_that_only_one_of_them_happens() -> None:
    joined = account.claims(account.INITIAL, opened("mina", invitation_id="i"))
    assert "invitation:i" in joined.take
    pending = evolve(INITIAL, ISSUED)
    assert claims(pending, REVOKED) == claims(pending, EXPIRED) == Claims(take=("invitation:i",))
    assert claims(pending, ACCEPTED) == Claims()
    assert account.taken("invitation:i").rule == "invitation-not-valid"
    assert used("invitation:i").rule == "invitation-used"


def test_a_settled_invitation_has_no_address() -> None:
    state = evolve(evolve(INITIAL, ISSUED), ACCEPTED)
    assert isinstance(state, Settled) and state.issued.email == ""


def test_the_first_account_names_and_removes_who_else_may_invite() -> None:
    name = NamePeopleAdministrator(FOUNDER_ID, FOUNDER)
    given(ACCOUNT, opened("member")).when(name).then(NAMED)
    given(ACCOUNT, opened("member"), NAMED).when(name).then_nothing()
    remove = RemovePeopleAdministrator(FOUNDER_ID, FOUNDER)
    given(ACCOUNT, opened("member"), NAMED).when(remove).then(REMOVED)
    given(ACCOUNT, opened("member")).when(remove).then_nothing()


def test_the_operator_names_where_the_first_account_left() -> None:
    given(ACCOUNT, opened("member")).when(NamePeopleAdministrator("kim", OPERATORS)).then_accepted()


def test_nobody_else_names() -> None:
    for other in (ADMINISTRATOR, MEMBER, CLOSED, somebody(opened("ben", organisation_id="another"))):
        given(ACCOUNT, opened("member")).when(NamePeopleAdministrator("x", other)).then_refused("first-account-only")
    publishers = opened("pat", organisation_id="pub", organisation_kind="publisher")
    operator = NamePeopleAdministrator("kim", OPERATORS)
    given(ACCOUNT, publishers).when(operator).then_refused("operator-only", because=[publishers])
    left = given(ACCOUNT, opened(FOUNDER_ID), LEFT)
    left.when(NamePeopleAdministrator("kim", FOUNDER)).then_refused("account-closed", because=[LEFT])
