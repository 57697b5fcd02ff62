"""Given facts about an account, when somebody proves an address or who they are elsewhere, then facts or a refusal."""

from dataclasses import replace
from functools import reduce

import pytest

from services.identity.domain.account import (
    ACCOUNT,
    CloseAccount,
    Command,
    Event,
    Identity,
    LinkIdentity,
    Open,
    ReleaseAddress,
    UnlinkIdentity,
    UpdateProfile,
    VerifyAddress,
    address_digest,
    claims,
    evolve,
    identity_claim,
    taken,
)
from services.identity.domain.account_state import INITIAL
from shared.eventlog.decision import NO_CLAIMS, Claims, Decision, Rejected
from shared.events import AddressReleased, AddressVerified, IdentityLinked, IdentityUnlinked
from tests.specs.identity.test_account import CLOSED, OPEN, OPENED, UPDATED

MINA = "mina@northhaus.example"
VERIFIED = AddressVerified(account_id="account-1", email=MINA, proof="link")
RELEASED = AddressReleased(account_id="account-1", email=MINA)
WHO = Identity("https://issuer.example", "7", MINA)
LINKED = IdentityLinked(account_id="account-1", issuer="https://issuer.example", subject="7")
UNLINKED = IdentityUnlinked(account_id="account-1", issuer="https://issuer.example")
VERIFY = VerifyAddress(address_digest(MINA), "link")
RELEASE = ReleaseAddress(address_digest(MINA))


def when(command: Command, *, given: tuple[Event, ...] = ()) -> Decision[Event]:
    return ACCOUNT.decide(command, reduce(evolve, given, INITIAL))


def rule(decision: object) -> str:
    assert isinstance(decision, Rejected)
    return decision.rule


def open_after(*events: Event) -> Open:
    state = reduce(evolve, events, INITIAL)
    assert isinstance(state, Open)
    return state


def test_an_address_is_verified_once() -> None:
    assert when(VERIFY, given=(OPENED,)) == (VERIFIED,)
    assert when(VERIFY, given=(OPENED, VERIFIED)) == ()


def test_a_proof_is_for_the_address_that_the_account_has_now() -> None:
    assert rule(when(VERIFY, given=(OPENED, UPDATED))) == "verification-not-valid"


def test_a_new_address_begins_unproven() -> None:
    assert open_after(OPENED, VERIFIED).verified
    assert open_after(OPENED, VERIFIED, UPDATED.model_copy(update={"email": MINA})).verified
    assert not open_after(OPENED, VERIFIED, UPDATED).verified


def test_an_unproven_address_is_released_for_whoever_proved_it() -> None:
    assert when(RELEASE, given=(OPENED,)) == (RELEASED,)
    assert claims(open_after(OPENED), RELEASED) == Claims(release=(f"email:{MINA}",))
    assert when(RELEASE, given=(OPENED, RELEASED)) == ()
    assert when(RELEASE, given=(OPENED, UPDATED)) == (), "it is another's by now"


def test_a_proven_address_is_not() -> None:
    assert rule(when(RELEASE, given=(OPENED, VERIFIED))) == "email-taken"


def test_an_account_without_an_address_takes_a_new_one() -> None:
    change = UpdateProfile(email="m.okafor@northhaus.example")
    assert when(change, given=(OPENED, RELEASED)) == (UPDATED,)
    assert claims(open_after(OPENED, RELEASED), UPDATED) == Claims(take=("email:m.okafor@northhaus.example",))
    assert rule(when(UpdateProfile(name="Mina"), given=(OPENED, RELEASED))) == "address-missing"


def test_a_proven_sign_up_is_verified_and_linked_from_the_start() -> None:
    assert when(replace(OPEN, proof="link")) == (OPENED, VERIFIED)
    by_issuer = VERIFIED.model_copy(update={"proof": "issuer"})
    assert when(replace(OPEN, proof="issuer", identity=WHO)) == (OPENED, by_issuer, LINKED)


def test_by_address_alone_only_what_both_sides_have_proven_is_linked() -> None:
    by_address = LinkIdentity(WHO, by_address=True)
    assert when(by_address, given=(OPENED, VERIFIED)) == (LINKED,)
    assert rule(when(by_address, given=(OPENED,))) == "address-not-verified"
    for other in (replace(WHO, email=""), replace(WHO, email="another@x.example")):
        assert rule(when(LinkIdentity(other, by_address=True), given=(OPENED, VERIFIED))) == "address-not-verified"


def test_whoever_is_signed_in_links_any_identity_of_theirs() -> None:
    by_issuer = VERIFIED.model_copy(update={"proof": "issuer"})
    assert when(LinkIdentity(WHO, by_address=False), given=(OPENED,)) == (LINKED, by_issuer)
    other = LinkIdentity(replace(WHO, email="work@x.example"), by_address=False)
    assert when(other, given=(OPENED,)) == (LINKED,)
    assert when(other, given=(OPENED, LINKED)) == ()


def test_an_account_has_one_identity_of_an_issuer_at_a_time() -> None:
    another = LinkIdentity(replace(WHO, subject="8"), by_address=False)
    assert rule(when(another, given=(OPENED, LINKED))) == "identity-linked"
    assert when(UnlinkIdentity(), given=(OPENED, LINKED)) == (UNLINKED,)
    assert when(UnlinkIdentity(), given=(OPENED, LINKED, UNLINKED)) == ()
    assert isinstance(when(another, given=(OPENED, LINKED, UNLINKED)), tuple)


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
        assert claims(reduce(evolve, erased[:n], INITIAL), event) == NO_CLAIMS, event


def test_an_account_without_an_address_takes_its_next_one_and_gives_back_none() -> None:
    assert claims(open_after(OPENED), RELEASED) == Claims(release=(f"email:{MINA}",))
    released = open_after(OPENED, RELEASED)
    assert claims(released, UPDATED) == Claims(take=("email:m.okafor@northhaus.example",))
    assert claims(released, CLOSED) == NO_CLAIMS


def test_the_same_subject_of_two_issuers_is_two_people() -> None:
    assert identity_claim("https://a.example", "7") != identity_claim("https://b.example", "7")


@pytest.mark.parametrize("command", [VERIFY, RELEASE, LinkIdentity(WHO, by_address=False), UnlinkIdentity()])
def test_nothing_is_proven_for_an_account_that_is_closed_or_was_never_opened(command: Command) -> None:
    assert rule(when(command, given=(OPENED, CLOSED))) == "account-closed"
    assert rule(when(command)) == "account-unknown"


def test_a_person_without_an_address_may_leave() -> None:
    assert when(CloseAccount("account-1", ()), given=(OPENED, RELEASED)) == (CLOSED,)
    assert claims(open_after(OPENED, RELEASED), CLOSED) == Claims()
