"""Given facts about an account, when somebody proves an address or who they are elsewhere, then facts or a refusal."""

from dataclasses import replace

import pytest

from services.identity.domain.account import (
    ACCOUNT,
    CloseAccount,
    Command,
    Event,
    Identity,
    LinkIdentity,
    OpenedAccount,
    ReleaseAddress,
    UnlinkIdentity,
    UpdateProfile,
    VerifyAddress,
    address_digest,
    claims,
    identity_claim,
    taken,
)
from shared.eventlog.decision import NO_CLAIMS, Claims
from shared.events import AddressReleased, AddressVerified, IdentityLinked, IdentityUnlinked
from tests.examples.identity import CLOSED, OPEN, OPENED, UPDATED
from tests.spec import given

MINA = "mina@northhaus.example"
VERIFIED = AddressVerified(account_id="account-1", email=MINA, proof="link")
RELEASED = AddressReleased(account_id="account-1", email=MINA)
WHO = Identity("https://issuer.example", "7", MINA)
LINKED = IdentityLinked(account_id="account-1", issuer="https://issuer.example", subject="7")
UNLINKED = IdentityUnlinked(account_id="account-1", issuer="https://issuer.example")
VERIFY = VerifyAddress(address_digest(MINA), "link")
RELEASE = ReleaseAddress(address_digest(MINA))


def open_after(*events: Event) -> OpenedAccount:
    state = given(ACCOUNT, *events).state
    assert isinstance(state, OpenedAccount)
    return state


def test_an_address_is_verified_once() -> None:
    given(ACCOUNT, OPENED).when(VERIFY).then(VERIFIED)
    given(ACCOUNT, OPENED, VERIFIED).when(VERIFY).then_nothing()


def test_a_proof_is_for_the_address_that_the_account_has_now() -> None:
    given(ACCOUNT, OPENED, UPDATED).when(VERIFY).then_refused("verification-not-valid")


def test_a_new_address_begins_unproven() -> None:
    assert open_after(OPENED, VERIFIED).verified
    assert open_after(OPENED, VERIFIED, UPDATED.model_copy(update={"email": MINA})).verified
    assert not open_after(OPENED, VERIFIED, UPDATED).verified


def test_an_unproven_address_is_released_for_whoever_proved_it() -> None:
    given(ACCOUNT, OPENED).when(RELEASE).then(RELEASED)
    assert claims(open_after(OPENED), RELEASED) == Claims(release=(f"email:{MINA}",))
    given(ACCOUNT, OPENED, RELEASED).when(RELEASE).then_nothing()
    given(ACCOUNT, OPENED, UPDATED).when(RELEASE).then_nothing()  # it is another's by now


def test_a_proven_address_is_not() -> None:
    given(ACCOUNT, OPENED, VERIFIED).when(RELEASE).then_refused("email-taken")


def test_an_account_without_an_address_takes_a_new_one() -> None:
    change = UpdateProfile(email="m.okafor@northhaus.example")
    given(ACCOUNT, OPENED, RELEASED).when(change).then(UPDATED)
    assert claims(open_after(OPENED, RELEASED), UPDATED) == Claims(take=("email:m.okafor@northhaus.example",))
    given(ACCOUNT, OPENED, RELEASED).when(UpdateProfile(name="Mina")).then_refused("address-missing")


def test_a_proven_sign_up_is_verified_and_linked_from_the_start() -> None:
    given(ACCOUNT).when(replace(OPEN, proof="link")).then(OPENED, VERIFIED)
    by_issuer = VERIFIED.model_copy(update={"proof": "issuer"})
    given(ACCOUNT).when(replace(OPEN, proof="issuer", identity=WHO)).then(OPENED, by_issuer, LINKED)


def test_by_address_alone_only_what_both_sides_have_proven_is_linked() -> None:
    by_address = LinkIdentity(WHO, by_address=True)
    given(ACCOUNT, OPENED, VERIFIED).when(by_address).then(LINKED)
    given(ACCOUNT, OPENED).when(by_address).then_refused("address-not-verified")
    for other in (replace(WHO, email=""), replace(WHO, email="another@x.example")):
        given(ACCOUNT, OPENED, VERIFIED).when(LinkIdentity(other, by_address=True)).then_refused("address-not-verified")


def test_whoever_is_signed_in_links_any_identity_of_theirs() -> None:
    by_issuer = VERIFIED.model_copy(update={"proof": "issuer"})
    given(ACCOUNT, OPENED).when(LinkIdentity(WHO, by_address=False)).then(LINKED, by_issuer)
    other = LinkIdentity(replace(WHO, email="work@x.example"), by_address=False)
    given(ACCOUNT, OPENED).when(other).then(LINKED)
    given(ACCOUNT, OPENED, LINKED).when(other).then_nothing()


def test_an_account_has_one_identity_of_an_issuer_at_a_time() -> None:
    another = LinkIdentity(replace(WHO, subject="8"), by_address=False)
    given(ACCOUNT, OPENED, LINKED).when(another).then_refused("identity-linked", because=[LINKED])
    given(ACCOUNT, OPENED, LINKED).when(UnlinkIdentity()).then(UNLINKED)
    given(ACCOUNT, OPENED, LINKED, UNLINKED).when(UnlinkIdentity()).then_nothing()
    given(ACCOUNT, OPENED, LINKED, UNLINKED).when(another).then_accepted()


def test_one_issuers_identity_is_unlinked_without_the_others() -> None:
    other = LINKED.model_copy(update={"issuer": "https://other.example"})
    unlinked = UNLINKED.model_copy(update={"issuer": other.issuer})
    both = given(ACCOUNT, OPENED, LINKED, other)
    both.when(UnlinkIdentity(issuer=other.issuer)).then(unlinked)
    both.when(UnlinkIdentity()).then(UNLINKED, unlinked)
    both.when(UnlinkIdentity(issuer="https://third.example")).then_nothing()


def test_who_has_no_password_keeps_one_identity_to_sign_in_with() -> None:
    other = LINKED.model_copy(update={"issuer": "https://other.example"})
    both = given(ACCOUNT, OPENED, LINKED, other)
    both.when(UnlinkIdentity(has_password=False)).then_refused("no-other-sign-in", because=[LINKED, other])
    both.when(UnlinkIdentity(issuer=LINKED.issuer, has_password=False)).then(UNLINKED)
    last = given(ACCOUNT, OPENED, LINKED)
    last.when(UnlinkIdentity(issuer=LINKED.issuer, has_password=False)).then_refused(
        "no-other-sign-in", because=[LINKED]
    )
    last.when(UnlinkIdentity(issuer=other.issuer, has_password=False)).then_nothing()
    given(ACCOUNT, OPENED).when(UnlinkIdentity(has_password=False)).then_nothing()


def test_an_identity_is_one_accounts_at_a_time() -> None:
    name = identity_claim("https://issuer.example", "7")
    assert claims(open_after(OPENED), LINKED) == Claims(take=(name,))
    assert claims(open_after(OPENED, LINKED), UNLINKED) == Claims(release=(name,))
    assert claims(open_after(OPENED, LINKED), CLOSED) == Claims(release=(f"email:{MINA}", name))
    assert taken(name).rule == "identity-linked"


def test_what_nobody_can_read_any_more_is_nobodys_name() -> None:
    """Once the person's key is erased every address and subject reads empty; two such accounts share no name."""
    erased: tuple[Event, ...] = (
        OPENED.model_copy(update={"email": "", "name": ""}),
        VERIFIED.model_copy(update={"email": ""}),
        LINKED.model_copy(update={"subject": ""}),
        RELEASED.model_copy(update={"email": ""}),
        UPDATED.model_copy(update={"email": "", "name": ""}),
        UNLINKED,
        LINKED.model_copy(update={"subject": ""}),
        CLOSED,
    )
    for n, event in enumerate(erased):
        assert claims(given(ACCOUNT, *erased[:n]).state, event) == NO_CLAIMS, event


def test_an_account_without_an_address_takes_its_next_one_and_gives_back_none() -> None:
    assert claims(open_after(OPENED), RELEASED) == Claims(release=(f"email:{MINA}",))
    released = open_after(OPENED, RELEASED)
    assert claims(released, UPDATED) == Claims(take=("email:m.okafor@northhaus.example",))
    assert claims(released, CLOSED) == NO_CLAIMS


def test_the_same_subject_of_two_issuers_is_two_people() -> None:
    assert identity_claim("https://a.example", "7") != identity_claim("https://b.example", "7")


@pytest.mark.parametrize("command", [VERIFY, RELEASE, LinkIdentity(WHO, by_address=False), UnlinkIdentity()])
def test_nothing_is_proven_for_an_account_that_is_closed_or_was_never_opened(command: Command) -> None:
    given(ACCOUNT, OPENED, CLOSED).when(command).then_refused("account-closed", because=[CLOSED])
    given(ACCOUNT).when(command).then_refused("account-unknown")


def test_a_person_without_an_address_may_leave() -> None:
    given(ACCOUNT, OPENED, RELEASED).when(CloseAccount("account-1", ())).then(CLOSED)
    assert claims(open_after(OPENED, RELEASED), CLOSED) == Claims()
