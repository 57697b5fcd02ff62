"""Sign-in by another provider: from the button to the session, with a real provider and a real identity."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.responses import HTMLResponse, JSONResponse, Response

from services.console import cookies
from shared.runtime import providers
from tests.console.elsewhere import AT, BY, LOST, MINA, World, profile, signed_in
from tests.console.fakes import HERE, Browser, Services, hidden, words
from tests.console.provider import CLIENT, NAME
from tests.services.issuer import verified

pytestmark = pytest.mark.system

# ── Signing in ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post", "none"])
async def test_a_person_signs_in_and_gets_to_the_page_that_they_wanted(world: World, alg: str, auth: str) -> None:
    world.provider.alg, world.provider.auth, world.provider.person = alg, auth, MINA
    world.configure()
    await verified(world.bench, "mina")
    browser = world.browser()
    answer = await world.sign_in(browser, next="/profile?notice=saved")
    assert (answer.status_code, answer.headers["location"]) == (303, "/profile?notice=saved")
    assert "mina Okafor" in await profile(browser)
    assert "tenure-oidc" not in browser.client.cookies


async def test_the_request_is_bound_to_this_browser_and_says_no_secret(world: World) -> None:
    browser = world.browser()
    leaving = await browser.send(AT, "/sign-in")
    await world.approved(leaving)
    (asked,) = world.provider.asked
    assert asked["redirect_uri"] == f"{HERE}{AT}" and asked["scope"] == "openid email"
    assert len(asked["state"]) >= 43 and len(asked["code_challenge"]) == 43 and "code_verifier" not in asked
    cookie = next(each for each in leaving.headers.get_list("set-cookie") if each.startswith("tenure-oidc="))
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Max-Age=600" in cookie
    begun = browser.app.state.cookies.pending(browser.client.cookies)
    assert (begun.state, begun.nonce) == (asked["state"], asked["nonce"])
    assert asked["state"] not in cookie and leaving.headers["referrer-policy"] == "same-origin"
    assert leaving.headers["content-security-policy"].count("form-action 'self'") == 1


async def test_each_sign_in_has_a_state_a_nonce_and_a_verifier_of_its_own(world: World) -> None:
    browser = world.browser()
    for _ in range(2):
        await world.begin(browser)
    one, other = world.provider.asked
    assert not {one[name] for name in ("state", "nonce", "code_challenge")} & {*other.values()}


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_a_sign_in_leads_to_no_other_site(world: World, wanted: str) -> None:
    world.provider.person = MINA
    await verified(world.bench, "mina")
    assert (await world.sign_in(world.browser(), next=wanted)).headers["location"] == "/"


async def test_a_form_of_another_site_begins_nothing(world: World) -> None:
    browser = world.browser()
    answer = await browser.post(AT, {"Sec-Fetch-Site": "cross-site"}, csrf="x")
    assert answer.status_code == 403 and world.provider.asked == []
    sent_by_form = await browser.post(AT, {"Origin": world.provider.url}, code="x", state="y")
    assert sent_by_form.status_code == 403 and not signed_in(browser)


async def test_where_no_provider_is_configured_nothing_is_shown(tmp_path: Path) -> None:
    browser = Browser(Services(), tmp_path)
    assert "elsewhere" not in (await browser.get("/sign-in")).text
    assert (await browser.get(f"{AT}?code=x&state=y")).status_code == 404
    assert (await browser.send(AT, "/sign-in")).status_code == 404
    await browser.sign_in()
    assert "elsewhere" not in (await browser.get("/profile")).text


# ── Who it is ──────────────────────────────────────────────────────────────────────────────────────────


async def test_an_unknown_identity_is_told_how_to_link_it(world: World) -> None:
    browser = world.browser()
    answer = await world.sign_in(browser)
    text = words(answer.text)
    assert answer.status_code == 403 and not signed_in(browser)
    assert "no account here is linked to you" in text and "Link Northhaus" in text
    assert 'href="/sign-in?next=/profile/identities"' in answer.text and f'href="/sign-up{BY}"' in answer.text


async def test_an_address_that_nobody_has_confirmed_here_gives_no_account(world: World) -> None:
    await world.bench.join("mina")
    world.provider.person = MINA
    answer = await world.sign_in(world.browser())
    assert answer.status_code == 403 and "nobody has confirmed that address" in words(answer.text)


async def test_a_provider_gets_nobody_of_another_domain(world: World) -> None:
    """It says that it has verified the address, which is not its to verify."""
    await verified(world.bench, "mina")
    world.provider.person = MINA
    world.configure('["y.example"]')
    browser = world.browser()
    assert (await world.sign_in(browser)).status_code == 403 and not signed_in(browser)


async def test_a_person_links_their_identity_signs_in_by_it_and_unlinks_it(world: World) -> None:
    await world.bench.join("mina")
    browser = world.browser()
    await world.sign_in_by_password(browser, "mina")
    assert "Link or unlink accounts elsewhere" in await profile(browser)
    at = "/profile/identities"
    linked = await browser.get(await world.approved(await browser.send(at, link=NAME)))
    assert linked.headers["location"] == f"{at}?notice=oidc-linked"
    page = words((await browser.get(at)).text)
    assert "your id there: 248289761001" in page and "Link your account at Northhaus" not in page

    another = world.browser()
    assert (await world.sign_in(another)).status_code == 303
    assert "mina Okafor" in await profile(another)

    asked = await browser.send(at, unlink=world.provider.url)
    assert "Unlink your account at Northhaus?" in words(asked.text)
    done = await browser.post(at, None, **hidden(asked.text))
    assert done.headers["location"] == f"{at}?notice=oidc-unlinked"
    assert "Link your account at Northhaus" in words((await browser.get(at)).text)
    assert (await world.sign_in(world.browser())).status_code == 403


async def test_an_identity_that_is_somebody_elses_is_not_linked_and_the_session_stays(world: World) -> None:
    for name in ("mina", "ana"):
        await world.bench.join(name)
    mina, ana = world.browser(), world.browser()
    for browser, name, status in ((mina, "mina", 303), (ana, "ana", 409)):
        await world.sign_in_by_password(browser, name)
        answer = await browser.get(await world.approved(await browser.send("/profile/identities", link=NAME)))
        assert answer.status_code == status
        assert status == 303 or "linked to an account here already" in words(answer.text)
    assert signed_in(ana) and "ana Okafor" in await profile(ana)


async def test_an_id_token_that_is_not_accepted_for_linking_ends_no_session(world: World) -> None:
    await world.bench.join("mina")
    browser = world.browser()
    await world.sign_in_by_password(browser, "mina")
    world.provider.claims = {"nonce": "another"}
    answer = await browser.get(await world.approved(await browser.send("/profile/identities", link=NAME)))
    assert answer.status_code == 401 and "Nothing is linked" in words(answer.text)
    assert "mina Okafor" in await profile(browser)


async def test_who_signs_in_as_somebody_else_meanwhile_links_nothing(world: World) -> None:
    """Else an identity would be linked to an account whose person did not ask for it."""
    for name in ("mina", "ana"):
        await world.bench.join(name)
    browser = world.browser()
    await world.sign_in_by_password(browser, "mina")
    back = await world.approved(await browser.send("/profile/identities", link=NAME))
    await browser.send("/sign-out", "/profile")
    await world.sign_in_by_password(browser, "ana")
    answer = await browser.get(back)
    assert answer.status_code == 403 and "nothing is linked" in words(answer.text)
    assert await world.bench.pool.fetchval("select count(*) from log.events where type = 'IdentityLinked'") == 0


# ── Answers that are not the browser's own ─────────────────────────────────────────────────────────────


async def test_an_answer_counts_once(world: World) -> None:
    world.provider.person = MINA
    await verified(world.bench, "mina")
    browser = world.browser()
    back = await world.begin(browser)
    begun = browser.client.cookies["tenure-oidc"]
    assert (await browser.get(back)).status_code == 303
    again = await browser.get(back)
    assert again.status_code == 400 and LOST in words(again.text)
    thief = world.browser()
    thief.client.cookies.set("tenure-oidc", begun)
    stolen = await thief.get(back)
    assert stolen.status_code == 403 and "did not confirm who you are" in words(stolen.text)
    assert not signed_in(thief)


async def test_an_answer_for_another_browser_signs_nobody_in(world: World) -> None:
    """An attacker's own answer would else sign their victim in as the attacker."""
    world.provider.person = MINA
    await verified(world.bench, "mina")
    attacker, victim = world.browser(), world.browser()
    back, own = await world.begin(attacker), await world.begin(victim)
    for page in (await victim.get(back), await world.browser().get(back)):
        assert page.status_code == 400 and LOST in words(page.text)
    assert not signed_in(victim)
    assert (await victim.get(own)).status_code == 303, "their own sign-in goes on"


async def test_an_answer_that_comes_too_late_does_not_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = world.browser()
    back = await world.begin(browser)
    monkeypatch.setattr(cookies, "PENDING_S", -1)
    answer = await browser.get(back)
    assert answer.status_code == 400 and LOST in words(answer.text)


@pytest.mark.parametrize("changed", [{"state": ""}, {"state": "x"}, {"code": ""}])
async def test_an_answer_without_its_state_or_code_does_not_count(world: World, changed: dict[str, str]) -> None:
    world.provider.answer = changed
    browser = world.browser()
    assert (await world.sign_in(browser)).status_code in (400, 403) and not signed_in(browser)


async def test_an_answer_with_two_states_does_not_count(world: World) -> None:
    browser = world.browser()
    back = await world.begin(browser)
    assert LOST in words((await browser.get(f"{back}&state=x")).text)


@pytest.mark.parametrize(
    ("announced", "iss", "status"),
    [(True, None, 303), (True, "", 400), (True, "https://evil.example", 400), (False, "https://evil.example", 400)],
)
async def test_an_answer_of_another_provider_does_not_count(
    world: World, announced: bool, iss: str | None, status: int
) -> None:
    """A provider that mixes itself up with this one would else get its codes."""
    world.provider.person, world.provider.announces_iss = MINA, announced
    await verified(world.bench, "mina")
    world.provider.answer = {} if iss is None else {"iss": iss}
    answer = await world.sign_in(world.browser())
    assert answer.status_code == status
    assert status == 303 or "This answer is not from Northhaus" in words(answer.text)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("access_denied", "Northhaus did not let you in, or you cancelled there."),
        ("server_error", "Northhaus does not answer as it should."),
        ("<script>", "Northhaus refused the request of this site."),
    ],
)
async def test_a_providers_error_is_said_in_plain_words(world: World, error: str, text: str) -> None:
    world.provider.answer = {"error": error, "error_description": "<b>call 0900</b>", "code": ""}
    answer = await world.sign_in(world.browser())
    assert answer.status_code == 403 and text in words(answer.text)
    assert "0900" not in answer.text and "<script>" not in answer.text


# ── ID tokens that are not what they should be ─────────────────────────────────────────────────────────

FOREIGN = RSAKey.generate_key(2048, {"kid": "rsa"})


def unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none", "kid": "rsa"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def with_secret(claims: dict[str, Any]) -> str:
    key = OctKey.import_key(CLIENT * 4)
    return jwt.encode({"alg": "HS256", "kid": "rsa"}, claims, key, ["HS256"])


def foreign(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "rsa"}, claims, FOREIGN, ["RS256"])


BAD: dict[str, dict[str, Any]] = {
    "another nonce": {"claims": {"nonce": "another"}},
    "no nonce": {"claims": {"nonce": None}},
    "another audience": {"claims": {"aud": "another-client"}},
    "issued to another client": {"claims": {"aud": [CLIENT, "another"], "azp": "another"}},
    "another issuer": {"claims": {"iss": "https://evil.example"}},
    "expired": {"claims": {"exp": int(time.time()) - 3600}},
    "issued long ago": {"claims": {"iat": int(time.time()) - 3600}},
    "no subject": {"claims": {"sub": None}},
    "no signature": {"sign": unsigned},
    "signed with a shared secret": {"sign": with_secret},
    "signed by another key": {"sign": foreign},
    "no token at all": {"sign": lambda _: "garbage"},
}


@pytest.mark.parametrize("what", BAD)
async def test_no_other_id_token_signs_anybody_in(world: World, what: str) -> None:
    world.provider.person = MINA
    await verified(world.bench, "mina")
    for name, value in BAD[what].items():
        setattr(world.provider, name, value)
    browser = world.browser()
    answer = await world.sign_in(browser)
    assert answer.status_code == 401 and "could not be confirmed" in words(answer.text)
    assert not signed_in(browser) and "tenure-oidc" not in browser.client.cookies


# ── A provider that does not answer as it should ───────────────────────────────────────────────────────


def slow() -> Response:
    time.sleep(0.5)
    return JSONResponse({})


ANSWERS: dict[str, Callable[[], Response]] = {
    "HTML": lambda: HTMLResponse("<h1>Maintenance</h1>"),
    "HTML with an error": lambda: HTMLResponse("<h1>Error</h1>", 400),
    "an error of its own": lambda: JSONResponse({"error": "server_error"}, 500),
    "no ID token": lambda: JSONResponse({"access_token": "x", "token_type": "Bearer"}),
    "a list for an ID token": lambda: JSONResponse({"id_token": ["x"]}),
    "a redirect": lambda: JSONResponse({"id_token": "x"}, 302, {"Location": "http://169.254.169.254/"}),
    "a huge answer": lambda: JSONResponse({"id_token": "x" * 1_000_000}),
    "a huge ID token": lambda: JSONResponse({"id_token": "x" * 20_000}),
    "a slow answer": slow,
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_that_is_no_token_is_said_to_be_the_providers_fault(
    world: World, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = world.browser()
    back = await world.begin(browser)
    world.provider.token_answer = ANSWERS[what]
    if what == "a slow answer":
        monkeypatch.setattr(providers, "ANSWER_S", 0.2)
    answer = await browser.get(back)
    assert answer.status_code == 502 and "Northhaus does not answer as it should" in words(answer.text)
    assert not signed_in(browser)


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "http://evil.example/authorize"},
        {"code_challenge_methods_supported": ["plain"]},
        {"token_endpoint": None},
    ],
)
async def test_a_provider_with_a_wrong_document_is_not_gone_to(world: World, document: dict[str, Any]) -> None:
    world.provider.document = document
    browser = world.browser()
    answer = await browser.send(AT, "/sign-in")
    assert answer.status_code == 502 and "refresh" not in answer.headers
    assert "tenure-oidc" not in browser.client.cookies


async def test_a_wrong_client_secret_is_no_sign_in(world: World) -> None:
    browser = world.browser()
    back = await world.begin(browser)
    world.provider.auth = "client_secret_post"  # which the console does not know yet
    assert (await browser.get(back)).status_code == 403


async def test_pages_on_the_way_load_nothing_from_elsewhere(world: World) -> None:
    browser = world.browser()
    leaving = await browser.send(AT, "/sign-in")
    url = urlsplit(leaving.headers["refresh"].removeprefix("0; url="))
    assert parse_qs(url.query)["tenant"] == ["northhaus"], "the endpoint's own query stays"
    for page in (leaving, await browser.get(AT)):
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "evil" not in policy and world.provider.url not in policy
        assert page.headers["cache-control"] == "no-store"
