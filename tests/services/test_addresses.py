"""Whose an e-mail address is: shown by a link, and until then claimed by nobody for good."""

import asyncio
from typing import Any

import pytest

from services.identity.domain.account import ACCOUNT, OpenedAccount, address_digest
from shared.events import PartnerEngaged, PartnerReleased
from tests.services.identity_bench import OPERATOR, Bench, sign_up
from tests.services.mailing import Kept, mailed, token_for, token_in

pytestmark = pytest.mark.system
VERIFY = "/me/address/verification"


async def is_verified(bench: Bench, token: str) -> bool:
    found: bool = (await bench.when(token, "GET", "/me")).json()["email_verified"]
    return found


async def test_an_address_is_proven_by_the_link_that_was_mailed_to_it(bench: Bench) -> None:
    _, session = await bench.join("mina")
    assert not await is_verified(bench, session)
    answer = await bench.when(session, "POST", VERIFY, {"token": await token_for(bench, "mina")})
    assert [event["type"] for event in answer.json()["events"]] == ["AddressVerified"]
    assert await is_verified(bench, session)


async def test_a_link_used_twice_changes_nothing(bench: Bench) -> None:
    _, session = await bench.join("mina")
    token = await token_for(bench, "mina")
    await bench.when(session, "POST", VERIFY, {"token": token})
    again = await bench.when(session, "POST", VERIFY, {"token": token})
    assert (again.status_code, again.json()["events"]) == (200, [])


async def test_a_link_is_for_one_account_only(bench: Bench) -> None:
    """Also when the owner of the address follows it in good faith: the account is somebody else's."""
    await bench.join("mina")
    _, other = await bench.join("ana")
    token = await token_for(bench, "mina")
    await bench.when(other, "POST", VERIFY, {"token": token}).then_refused("verification-not-valid")
    await bench.when("", "POST", VERIFY, {"token": token}).then_refused("not-signed-in")


async def test_a_link_is_of_no_use_after_the_address_changed(bench: Bench) -> None:
    _, session = await bench.join("mina")
    token = await token_for(bench, "mina")
    await bench.when(session, "PUT", "/me/profile", {"email": "m@x.example"})
    await bench.when(session, "POST", VERIFY, {"token": token}).then_refused("verification-not-valid")
    fresh = await token_for(bench, "m")
    assert (await bench.when(session, "POST", VERIFY, {"token": fresh})).status_code == 200
    assert await is_verified(bench, session)


async def test_a_changed_address_is_not_proven(bench: Bench) -> None:
    _, session = await bench.join("mina")
    await bench.when(session, "POST", VERIFY, {"token": await token_for(bench, "mina")})
    await bench.when(session, "PUT", "/me/profile", {"name": "Mina Adaeze"})
    assert await is_verified(bench, session)
    await bench.when(session, "PUT", "/me/profile", {"email": "m@x.example"})
    assert not await is_verified(bench, session)


async def test_no_other_token_of_ours_proves_an_address(bench: Bench) -> None:
    mina, session = await bench.join("mina")
    keys = bench.app.state.keys
    others = (session, keys.invite(mina, "t"), keys.address_proof(mina, "t"), keys.nonce("t"), "nonsense")
    for token in others:
        await bench.when(session, "POST", VERIFY, {"token": token}).then_refused("verification-not-valid")
    for token in (*others[:2], keys.verification(mina, "x", "t"), keys.nonce("t")):
        await bench.when("", "POST", "/accounts", sign_up("ben", **OWN, proof=token)).then_refused("proof-not-valid")


OWN: dict[str, Any] = {"organisation": {"name": "Own", "kind": "customer"}}


async def proof_for(bench: Bench, name: str) -> str:
    assert (await bench.when("", "POST", "/addresses/proof", {"email": f"{name}@x.example"})).status_code == 202
    return await token_for(bench, name, "Proof")


async def test_an_unproven_address_yields_to_whoever_proves_it(bench: Bench) -> None:
    """An attacker signs up with the victim's address; the victim comes later."""
    attacker, session = await bench.join("victim")
    await bench.when("", "POST", "/accounts", sign_up("victim", **OWN)).then_refused("email-taken")
    answer = await bench.when("", "POST", "/accounts", sign_up("victim", **OWN, proof=await proof_for(bench, "victim")))
    assert answer.status_code == 200, answer.text
    victim = answer.json()["session"]
    assert victim["account_id"] != attacker
    assert await is_verified(bench, victim["access_token"])
    assert (await bench.sign_in("victim@x.example")).json()["account_id"] == victim["account_id"]
    left = await bench.log.state(ACCOUNT, attacker)
    assert isinstance(left, OpenedAccount) and left.profile.email == ""
    await bench.when(session, "PUT", "/me/profile", {"email": "victim@x.example"}).then_refused("email-taken")
    assert (await bench.when(session, "PUT", "/me/profile", {"email": "attacker@x.example"})).status_code == 200


async def test_a_proven_address_yields_to_nobody(bench: Bench) -> None:
    mina, session = await bench.join("mina")
    await bench.when(session, "POST", VERIFY, {"token": await token_for(bench, "mina")})
    proof = bench.app.state.keys.address_proof(address_digest("mina@x.example"), "t")
    await bench.when("", "POST", "/accounts", sign_up("mina", **OWN, proof=proof)).then_refused("email-taken")
    assert (await bench.sign_in("mina@x.example")).json()["account_id"] == mina


async def test_a_proof_is_for_one_address_only(bench: Bench) -> None:
    proof = await proof_for(bench, "ana")
    await bench.when("", "POST", "/accounts", sign_up("mina", **OWN, proof=proof)).then_refused("proof-not-valid")


async def test_who_joins_by_a_mailed_invitation_has_proven_the_address(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    await bench.invite(manager, "mina")
    _, session = await bench.join("mina", invitation=await token_for(bench, "mina"))
    assert await is_verified(bench, session)


async def test_who_joins_by_the_inviters_token_has_not(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    _, session = await bench.invited(manager, "mina")
    assert not await is_verified(bench, session)


async def test_an_attackers_account_does_not_keep_the_invited_person_out(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    attacker, _ = await bench.join("mina")
    await bench.invite(manager, "mina")
    mina, session = await bench.join("mina", invitation=await token_for(bench, "mina", "invited"))
    assert mina != attacker and await is_verified(bench, session)


async def test_concurrent_sign_ups_for_one_address_leave_exactly_one_with_a_proof_too(bench: Bench) -> None:
    proof = await proof_for(bench, "mina")
    bodies = [sign_up("mina", **OWN, proof=proof), sign_up("mina", **OWN)] * 3
    answers = await asyncio.gather(*(bench.when("", "POST", "/accounts", body) for body in bodies))
    assert {answer.status_code for answer in answers} <= {200, 409}
    opened_ids = [answer.json()["session"]["account_id"] for answer in answers if answer.status_code == 200]
    holders = [await bench.log.state(ACCOUNT, account_id) for account_id in opened_ids]
    with_it = [
        state for state in holders if isinstance(state, OpenedAccount) and state.profile.email == "mina@x.example"
    ]
    assert len(with_it) == 1


async def test_a_dry_run_releases_nothing(bench: Bench) -> None:
    await bench.join("victim")
    holder = await bench.store.holder("email:victim@x.example")
    body = sign_up("victim", **OWN, proof=await proof_for(bench, "victim"))
    await bench.when("", "POST", "/accounts?dry_run=true", body).then_refused("email-taken")
    assert await bench.store.holder("email:victim@x.example") == holder


async def test_asking_for_a_proof_says_nothing_of_whether_the_address_is_known(bench: Bench) -> None:
    await bench.join("mina")
    answers = [
        await bench.when("", "POST", "/addresses/proof", {"email": f"{name}@x.example"}) for name in ("mina", "ana")
    ]
    assert [(answer.status_code, answer.content) for answer in answers] == [(202, answers[0].content)] * 2
    await bench.when("", "POST", "/addresses/proof", {"email": "nonsense"}).then_refused("malformed")


async def test_the_link_is_mailed_again_on_request_and_not_at_will(bench: Bench) -> None:
    _, session = await bench.join("mina")
    await mailed(bench, Kept())
    for _ in range(3):
        assert (await bench.when(session, "POST", f"{VERIFY}/mail")).status_code == 202
    kept = Kept()
    await mailed(bench, kept)
    (message,) = kept.messages
    assert (await bench.when(session, "POST", VERIFY, {"token": token_in(message)})).status_code == 200
    assert (await bench.when(session, "POST", f"{VERIFY}/mail")).status_code == 202
    await mailed(bench, kept)
    assert len(kept.messages) == 1, "it is verified"


# ── Who is known by an address ─────────────────────────────────────────────────────────────────────────

BY_ADDRESS = "/accounts/by-address"


async def known(bench: Bench, token: str, *addresses: str) -> list[str | None]:
    """The accounts that are known by these addresses."""
    items = {"items": [{"email": each} for each in addresses]}
    answer = await bench.when(token, "POST", BY_ADDRESS, items).then_ok()
    return [item["account_id"] for item in answer["items"]]


async def test_colleagues_are_found_by_their_addresses_in_any_form(bench: Bench) -> None:
    mina, session = await bench.join("mina")
    ana, _ = await bench.invited(session, "ana")
    await bench.join("stranger")
    asked = ("ANA@x.example", "nobody@x.example", "mina@x.example", "stranger@x.example")
    assert await known(bench, session, *asked) == [ana, None, mina, None]
    await bench.when("", "POST", BY_ADDRESS, {"items": [{"email": "ana@x.example"}]}).then_refused("not-signed-in")
    too_many = {"items": [{"email": f"a{n}@x.example"} for n in range(101)]}
    await bench.when(session, "POST", BY_ADDRESS, too_many).then_refused("malformed")


async def test_an_address_that_somebody_changed_to_names_nobody_until_it_is_proven(bench: Bench) -> None:
    _, session = await bench.join("mina")
    ana, anas = await bench.invited(session, "ana")
    await bench.when(anas, "PUT", "/me/profile", {"email": "boss@x.example"}).then_ok()
    assert await known(bench, session, "boss@x.example", "ana@x.example") == [None, None]
    await bench.when(anas, "POST", VERIFY, {"token": await token_for(bench, "boss")}).then_ok()
    assert await known(bench, session, "boss@x.example") == [ana]


async def test_who_has_left_is_found_by_no_address(bench: Bench) -> None:
    _, session = await bench.join("mina")
    _, anas = await bench.invited(session, "ana")
    await bench.when(anas, "DELETE", "/me").then_ok()
    assert await known(bench, session, "ana@x.example") == [None]


# ── What a partner may ask ─────────────────────────────────────────────────────────────────────────────


async def test_a_partner_finds_purchasers_of_customers_that_have_engaged_it(bench: Bench) -> None:
    mina, session = await bench.join("mina")
    clerk = (await bench.when("", "POST", "/accounts", sign_up("clerk", **PARTNER))).json()["session"]
    customer = (await bench.when(session, "GET", "/me")).json()["organisation_id"]
    partner, token = clerk["organisation_id"], clerk["access_token"]
    asked = {"items": [{"email": "mina@x.example"}], "organisation_id": customer}

    async def found() -> str | None:
        answer = await bench.when(token, "POST", BY_ADDRESS, asked).then_ok()
        account: str | None = answer["items"][0]["account_id"]
        return account

    assert await found() is None
    await bench.when(token, "GET", f"/accounts/{mina}").then_refused("unknown")
    named = {"customer": customer, "partner": partner}
    await bench.hears("engagement", PartnerEngaged(**named, engaged_by=mina), customer)
    assert await found() == mina
    assert (await bench.when(token, "GET", f"/accounts/{mina}").then_ok())["name"] == "mina Okafor"
    await bench.hears("engagement", PartnerReleased(**named, released_by=mina), customer)
    assert await found() is None
    assert (await bench.when(token, "GET", f"/accounts/{mina}").then_ok())["email"] is None


PARTNER: dict[str, Any] = {"organisation": {"name": "Reseller", "kind": "partner"}}


async def test_the_operator_knows_of_everybody_which_organisation_they_belong_to(bench: Bench) -> None:
    mina, session = await bench.join("mina")
    own = (await bench.when(session, "GET", "/me")).json()
    found = await bench.when(OPERATOR, "GET", f"/accounts/{mina}").then_ok()
    assert (found["organisation_name"], found["email"]) == (own["organisation_name"], None)
