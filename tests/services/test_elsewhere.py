"""Signing in by another issuer: linked by issuer and subject, never by an address that somebody merely typed."""

import asyncio
from typing import Any

import pytest

from services.identity.domain.account import ACCOUNT, OpenedAccount, identity_claim
from services.identity.signin import credentials, oidc
from tests.services.identity_bench import PASSWORD, Bench, issuer_keys, sign_up
from tests.services.issuer import OWN, URL, fresh, from_issuer, id_token, signs_in, verified
from tests.services.mailing import token_for

pytestmark = pytest.mark.system


async def test_where_both_sides_have_proven_the_address_the_first_sign_in_links(bench: Bench) -> None:
    mina, _ = await verified(bench, "mina")
    session = (await signs_in(bench, email=" Mina@X.example")).json()
    assert session["account_id"] == mina
    assert await bench.store.holder(identity_claim(URL, "1")) == ACCOUNT.id(mina)
    assert (await signs_in(bench)).json()["account_id"] == mina


async def test_an_account_that_merely_typed_the_address_never_gets_its_owner(bench: Bench) -> None:
    """The victim's first sign-in does not land in the attacker's account; the victim signs up and gets the address."""
    attacker, _ = await bench.join("mina")
    await signs_in(bench).then_refused("address-not-verified")
    assert await bench.store.holder(identity_claim(URL, "1")) is None
    answer = await bench.when("", "POST", "/accounts", sign_up("mina", **OWN) | await from_issuer(bench))
    assert answer.status_code == 200, answer.text
    victim = answer.json()["session"]["account_id"]
    assert victim != attacker
    assert (await signs_in(bench)).json()["account_id"] == victim
    me = (await bench.when(answer.json()["session"]["access_token"], "GET", "/me")).json()
    assert me["email_verified"] is True
    left = await bench.log.state(ACCOUNT, attacker)
    assert isinstance(left, OpenedAccount) and left.profile.email == ""


async def test_an_address_that_the_issuer_has_not_verified_links_nothing(bench: Bench) -> None:
    mina, _ = await verified(bench, "mina")
    await signs_in(bench, email_verified=False).then_refused("no-account-for-identity")
    body = sign_up("ana", **OWN) | await from_issuer(bench, email="ana@x.example", email_verified=False)
    answer = await bench.when("", "POST", "/accounts", body)
    me = (await bench.when(answer.json()["session"]["access_token"], "GET", "/me")).json()
    assert me["email_verified"] is False and me["account_id"] != mina


async def test_a_linked_identity_stays_with_its_account_whatever_its_address_becomes(bench: Bench) -> None:
    """Also when it becomes another account's, or none at all."""
    mina, _ = await verified(bench, "mina")
    ana, _ = await verified(bench, "ana")
    await signs_in(bench)
    assert (await signs_in(bench, email="ana@x.example")).json()["account_id"] == mina
    assert (await signs_in(bench, email=None)).json()["account_id"] == mina
    assert (await signs_in(bench, sub="2", email="ana@x.example")).json()["account_id"] == ana


async def test_somebody_else_with_the_address_at_the_issuer_does_not_get_a_linked_account(bench: Bench) -> None:
    """The issuer gave the address to another person."""
    mina, _ = await verified(bench, "mina")
    assert (await signs_in(bench, sub="1")).json()["account_id"] == mina
    await signs_in(bench, sub="2").then_refused("identity-linked")


async def test_the_same_subject_of_another_issuer_is_somebody_else(bench: Bench) -> None:
    mina, _ = await verified(bench, "mina")
    await signs_in(bench)
    bench.app.state.oidc = oidc.Issuers([oidc.Issuer("https://another.example", "us", issuer_keys)])
    await signs_in(bench, email=None, iss="https://another.example").then_refused("no-account-for-identity")
    await signs_in(bench).then_refused("id-token-not-valid")
    assert (await signs_in(bench, iss="https://another.example")).json()["account_id"] == mina, "by the address"


async def test_whoever_is_signed_in_links_and_unlinks(bench: Bench) -> None:
    mina, session = await bench.join("mina")
    linked = await bench.when(session, "POST", "/me/oidc", await from_issuer(bench, email="m.okafor@work.example"))
    assert [event["type"] for event in linked.json()["events"]] == ["IdentityLinked"]
    assert (await signs_in(bench, email="m.okafor@work.example")).json()["account_id"] == mina
    assert (await bench.when(session, "DELETE", "/me/oidc")).status_code == 200
    await signs_in(bench, email="m.okafor@work.example").then_refused("no-account-for-identity")


async def test_a_person_sees_their_identities_and_unlinks_one(bench: Bench) -> None:
    _, session = await bench.join("mina")
    another = "https://another.example"
    issuers = [oidc.Issuer(url, "us", issuer_keys) for url in (URL, another)]
    bench.app.state.oidc = oidc.Issuers(issuers)
    for issuer in (URL, another):
        await bench.when(session, "POST", "/me/oidc", await from_issuer(bench, sub="7", iss=issuer)).then_ok()
    listed = (await bench.when(session, "GET", "/me/oidc").then_ok())["items"]
    assert listed == [{"issuer": another, "subject": "7"}, {"issuer": URL, "subject": "7"}]
    await bench.when(session, "DELETE", "/me/oidc", {"issuer": another}).then_ok()
    assert [each["issuer"] for each in (await bench.when(session, "GET", "/me/oidc").then_ok())["items"]] == [URL]
    await signs_in(bench, sub="7", email=None, iss=another).then_refused("no-account-for-identity")
    await signs_in(bench, sub="7", email=None).then_ok()
    await bench.when("", "GET", "/me/oidc").then_refused("not-signed-in")


async def test_linking_proves_the_address_where_the_issuer_has_verified_it(bench: Bench) -> None:
    _, session = await bench.join("mina")
    linked = await bench.when(session, "POST", "/me/oidc", await from_issuer(bench))
    assert [event["type"] for event in linked.json()["events"]] == ["IdentityLinked", "AddressVerified"]


async def test_an_identity_is_linked_to_one_account_only(bench: Bench) -> None:
    _, mina = await bench.join("mina")
    _, ana = await bench.join("ana")
    await bench.when(mina, "POST", "/me/oidc", await from_issuer(bench))
    await bench.when(ana, "POST", "/me/oidc", await from_issuer(bench)).then_refused("identity-linked")
    await bench.when(mina, "POST", "/me/oidc", await from_issuer(bench, sub="2")).then_refused("identity-linked")
    again = await bench.when(mina, "POST", "/me/oidc", await from_issuer(bench))
    assert again.json()["events"] == []


async def test_of_two_who_link_the_same_identity_at_once_one_does(bench: Bench) -> None:
    sessions = [(await bench.join(name))[1] for name in ("mina", "ana", "ben")]
    bodies = [await from_issuer(bench, email=None) for _ in sessions]
    answers = await asyncio.gather(
        *(bench.when(session, "POST", "/me/oidc", body) for session, body in zip(sessions, bodies, strict=True))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]


async def test_a_closed_accounts_identity_is_free_and_forgotten(bench: Bench) -> None:
    _, session = await bench.join("mina")
    await bench.when(session, "POST", "/me/oidc", await from_issuer(bench, sub="mina-at-the-issuer"))
    stored = await bench.pool.fetchval("select data::text from log.events where type = 'IdentityLinked'")
    assert "mina-at-the-issuer" not in stored and '"subject":"enc:1:' in stored
    await bench.when(session, "DELETE", "/me")
    await bench.settle()
    assert await bench.store.holder(identity_claim(URL, "mina-at-the-issuer")) is None
    await signs_in(bench, sub="mina-at-the-issuer").then_refused("no-account-for-identity")


async def test_an_id_token_signs_in_once(bench: Bench) -> None:
    await verified(bench, "mina")
    body = await from_issuer(bench)
    assert (await bench.when("", "POST", "/sessions/oidc", body)).status_code == 200
    await bench.when("", "POST", "/sessions/oidc", body).then_refused("id-token-not-valid")


async def test_of_many_who_use_an_id_token_at_once_one_gets_in(bench: Bench) -> None:
    await verified(bench, "mina")
    body = await from_issuer(bench)
    answers = await asyncio.gather(*(bench.when("", "POST", "/sessions/oidc", body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]


async def test_a_nonce_is_used_once_whatever_token_repeats_it(bench: Bench) -> None:
    await verified(bench, "mina")
    nonce = await fresh(bench)
    first = {"id_token": id_token(nonce), "nonce": nonce}
    assert (await bench.when("", "POST", "/sessions/oidc", first)).status_code == 200
    second = {"id_token": id_token(nonce, more="x"), "nonce": nonce}
    await bench.when("", "POST", "/sessions/oidc", second).then_refused("id-token-not-valid")


async def test_a_request_that_is_sent_again_may_repeat_its_nonce(bench: Bench) -> None:
    body = sign_up("mina", **OWN) | await from_issuer(bench)
    key = {"Idempotency-Key": "first"}
    dry = await bench.when("", "POST", "/accounts?dry_run=true", body, **key)
    assert [event["type"] for event in dry.json()["events"]] == ["AccountOpened", "AddressVerified", "IdentityLinked"]
    first = await bench.when("", "POST", "/accounts", body, **key)
    again = await bench.when("", "POST", "/accounts", body, **key)
    assert (first.status_code, again.status_code, again.json()["repeated"]) == (200, 200, True)


async def test_only_a_nonce_of_ours_counts_and_the_token_has_to_repeat_it(bench: Bench) -> None:
    _, session = await verified(bench, "mina")
    theirs = "somebody-elses-nonce"
    fresh_one, other = await fresh(bench), await fresh(bench)
    for body in (
        {"id_token": id_token(theirs), "nonce": theirs},
        {"id_token": id_token(session), "nonce": session},
        {"id_token": id_token(fresh_one), "nonce": other},
    ):
        await bench.when("", "POST", "/sessions/oidc", body).then_refused("id-token-not-valid")
    missing = {"id_token": id_token(fresh_one)}
    await bench.when("", "POST", "/sessions/oidc", missing).then_refused("malformed")


async def test_a_token_that_was_issued_to_another_client_signs_nobody_in(bench: Bench) -> None:
    await verified(bench, "mina")
    await signs_in(bench, azp="another-client").then_refused("id-token-not-valid")


async def test_used_nonces_go_when_they_are_out_of_time(bench: Bench) -> None:
    await verified(bench, "mina")
    await signs_in(bench)
    await bench.pool.execute("update used_nonces set expires_at = now() - interval '1 s'")
    await signs_in(bench)
    assert await bench.pool.fetchval("select count(*) from used_nonces") == 1


async def test_without_another_issuer_there_is_no_such_sign_in(bench: Bench) -> None:
    _, session = await bench.join("mina")
    bench.app.state.oidc = None
    body = {"id_token": "x", "nonce": "y"}
    await bench.when("", "POST", "/sessions/oidc/nonce").then_refused("issuer-not-configured")
    await bench.when("", "POST", "/sessions/oidc", body).then_refused("issuer-not-configured")
    await bench.when(session, "POST", "/me/oidc", body).then_refused("issuer-not-configured")


# ── Signing up by another issuer alone ─────────────────────────────────────────────────────────────────


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


async def test_who_signs_up_by_an_issuer_needs_neither_a_password_nor_an_address(bench: Bench) -> None:
    body = without(sign_up("mina", **OWN), "email", "password") | await from_issuer(bench)
    answer = await bench.when("", "POST", "/accounts", body).then_ok()
    assert [event["type"] for event in answer["events"]] == ["AccountOpened", "AddressVerified", "IdentityLinked"]
    me = await bench.when(answer["session"]["access_token"], "GET", "/me").then_ok()
    assert (me["email"], me["email_verified"]) == ("mina@x.example", True)
    assert (await signs_in(bench)).json()["account_id"] == me["account_id"]
    await bench.sign_in("mina@x.example").then_refused("sign-in-failed")
    change = {"current": "no password at all", "new": PASSWORD}
    await bench.when(answer["session"]["access_token"], "PUT", "/me/password", change).then_refused("password-wrong")


async def test_an_address_that_the_issuer_may_not_vouch_for_has_to_be_entered(bench: Bench) -> None:
    body = without(sign_up("mina", **OWN), "email", "password")
    unproven = await from_issuer(bench, email_verified=False)
    await bench.when("", "POST", "/accounts", body | unproven).then_refused("address-missing")
    entered = body | {"email": "mina@x.example"} | await from_issuer(bench, email_verified=False)
    answer = await bench.when("", "POST", "/accounts", entered).then_ok()
    assert [event["type"] for event in answer["events"]] == ["AccountOpened", "IdentityLinked"]


async def test_without_an_id_token_a_sign_up_has_an_address_and_a_password(bench: Bench) -> None:
    for missing in ("email", "password"):
        await bench.when("", "POST", "/accounts", without(sign_up("mina", **OWN), missing)).then_refused("malformed")


async def test_an_invited_person_joins_by_an_issuer_with_the_invited_address_only(bench: Bench) -> None:
    _, manager = await bench.join("ana")
    body = without(sign_up("mina", invitation=await bench.invite(manager, "mina")), "email", "password")
    another = body | await from_issuer(bench, sub="2", email="ben@x.example")
    await bench.when("", "POST", "/accounts", another).then_refused("invitation-not-valid")
    answer = await bench.when("", "POST", "/accounts", body | await from_issuer(bench)).then_ok()
    me = await bench.when(answer["session"]["access_token"], "GET", "/me").then_ok()
    assert (me["organisation_name"], me["email_verified"]) == ("Northhaus", True)


async def test_an_identity_opens_one_account_only(bench: Bench) -> None:
    await bench.when("", "POST", "/accounts", sign_up("mina", **OWN) | await from_issuer(bench)).then_ok()
    again = without(sign_up("ana", **OWN), "password") | await from_issuer(bench, email=None)
    await bench.when("", "POST", "/accounts", again).then_refused("identity-linked")


async def test_who_has_no_password_unlinks_the_last_identity_only_after_setting_one(bench: Bench) -> None:
    body = without(sign_up("mina", **OWN), "email", "password") | await from_issuer(bench)
    session = (await bench.when("", "POST", "/accounts", body).then_ok())["session"]["access_token"]
    await bench.when(session, "DELETE", "/me/oidc").then_refused("no-other-sign-in")
    await bench.when("", "POST", "/password/mail", {"email": "mina@x.example"}).then_status(202)
    reset = {"reset": await token_for(bench, "mina", "password"), "new": PASSWORD}
    assert (await bench.when("", "POST", "/password", reset)).status_code == 204
    await bench.when(await bench.again("mina"), "DELETE", "/me/oidc").then_ok()


async def test_a_key_that_a_password_was_stored_under_begins_no_session_without_it(bench: Bench) -> None:
    """The password of an attempt that was interrupted may be another person's."""
    key = {"Idempotency-Key": "shared"}
    body = without(sign_up("mina", **OWN), "password") | await from_issuer(bench)
    dry = await bench.when("", "POST", "/accounts?dry_run=true", body, **key).then_ok()
    account_id = dry["events"][0]["data"]["account_id"]
    assert await credentials.store_first(bench.pool, account_id, PASSWORD)
    assert (await bench.when("", "POST", "/accounts", body, **key).then_ok()).get("session") is None
