"""The session: kept in the browser, renewed, ended, and never readable or forged."""

import time
from pathlib import Path

import httpx
import pytest

from services.console.cookies import Cookies, Session, read_secrets
from tests.console.fakes import Browser, Services, outcome, problem, tokens, words

SECRET = "a-secret-of-at-least-24-characters"
SESSION = Session(access_token="a", access_until=1, refresh_token="r", until=2, session_id="s")


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
def browser(services: Services, tmp_path: Path) -> Browser:
    return Browser(services, tmp_path)


def kept(browser: Browser) -> Session:
    cookies: Cookies = browser.app.state.cookies
    session = cookies.session(dict(browser.client.cookies))
    assert session is not None
    return session


async def test_signing_in_leads_home(browser: Browser, services: Services) -> None:
    answer = await browser.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "Mina Okafor" in (await browser.get("/")).text
    assert services.of("GET", "/me")[0].headers["authorization"] == "Bearer access-1"


async def test_cookie_is_http_only_and_same_site_and_holds_nothing_readable(browser: Browser) -> None:
    (cookie,) = [each for each in (await browser.sign_in()).headers.get_list("set-cookie") if "session" in each]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie and "Secure" not in cookie
    assert "access-1" not in cookie and "refresh-1" not in cookie and "eyJ" not in cookie.split("=", 1)[1][:3]


async def test_behind_tls_cookies_are_secure_and_of_this_host_only(services: Services, tmp_path: Path) -> None:
    answer = await Browser(services, tmp_path, "https://console.example").sign_in()
    cookies = answer.headers.get_list("set-cookie")
    assert cookies and all(each.startswith("__Host-tenure-") and "Secure" in each for each in cookies)
    assert "max-age" in answer.headers["strict-transport-security"]


async def test_a_cookie_that_was_altered_is_no_session(browser: Browser) -> None:
    await browser.sign_in()
    sealed = browser.client.cookies["tenure-session"]
    browser.client.cookies.set("tenure-session", sealed[:-3] + "AAA", domain="console.example")
    assert (await browser.get("/profile")).headers["location"] == "/sign-in?notice=needed&next=%2Fprofile"


def test_a_former_secret_still_opens_what_it_sealed() -> None:
    before, after = Cookies([SECRET], secure=False), Cookies(["another-" + SECRET, SECRET], secure=False)
    sealed = before._fernet().encrypt(SESSION.model_dump_json().encode()).decode()
    assert after.session({"tenure-session": sealed}) == SESSION
    assert Cookies(["another-" + SECRET], secure=False).session({"tenure-session": sealed}) is None


def test_a_secret_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short\n")
    with pytest.raises(ValueError, match="at least 24"):
        read_secrets(tmp_path / "key")


async def test_an_access_token_is_renewed_before_it_expires(browser: Browser, services: Services) -> None:
    services.answers["POST /sessions"] = httpx.Response(200, json=tokens(1, expires_in=10))
    services.answers["POST /sessions/refresh"] = httpx.Response(200, json=tokens(2))
    await browser.sign_in()
    await browser.get("/")
    assert services.bodies("POST", "/sessions/refresh") == [{"refresh_token": "refresh-1"}]
    assert kept(browser).refresh_token == "refresh-2" and kept(browser).access_until > time.time() + 200


async def test_a_page_that_fails_keeps_the_tokens_that_it_renewed(browser: Browser, services: Services) -> None:
    services.answers["POST /sessions"] = httpx.Response(200, json=tokens(1, expires_in=10))
    services.answers["POST /sessions/refresh"] = httpx.Response(200, json=tokens(2))
    await browser.sign_in()
    services.answers["GET /me"] = httpx.Response(200, text="not JSON")
    assert (await browser.get("/")).status_code == 503
    assert kept(browser).refresh_token == "refresh-2"


@pytest.mark.parametrize("refused_by", ["GET /me", "POST /sessions/refresh"])
async def test_an_ended_session_leads_to_the_sign_in_with_the_reason_and_back(
    browser: Browser, services: Services, refused_by: str
) -> None:
    services.answers["POST /sessions"] = httpx.Response(200, json=tokens(1, expires_in=10))
    services.answers["POST /sessions/refresh"] = httpx.Response(200, json=tokens(2))
    await browser.sign_in()
    services.answers[refused_by] = problem(401, "session-ended")
    answer = await browser.get("/profile")
    assert answer.headers["location"] == "/sign-in?notice=ended&next=%2Fprofile"
    assert "tenure-session" not in browser.client.cookies
    page = await browser.get(answer.headers["location"])
    assert "Your session has ended" in words(page.text) and 'name="next" value="/profile"' in page.text


@pytest.mark.parametrize(
    ("button", "route"), [("/sign-out", "/sessions/current"), ("/sign-out-everywhere", "/sessions")]
)
async def test_signing_out_ends_the_session_here_and_at_identity(
    browser: Browser, services: Services, button: str, route: str
) -> None:
    services.answers[f"DELETE {route}"] = httpx.Response(200, json={})
    await browser.sign_in()
    answer = await browser.send(button, "/profile")
    assert answer.headers["location"].startswith("/sign-in?notice=") and len(services.of("DELETE", route)) == 1
    assert "tenure-session" not in browser.client.cookies
    assert (await browser.get("/")).headers["location"] == "/sign-in"


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "\\evil", "/\n/evil"])
async def test_a_sign_in_leads_to_no_other_site(browser: Browser, wanted: str) -> None:
    fields = {"email": "mina@northhaus.example", "password": "horse battery staple", "next": wanted}
    assert (await browser.send("/sign-in", "", **fields)).headers["location"] == "/"


async def test_a_refused_sign_in_says_why_and_keeps_the_address(browser: Browser, services: Services) -> None:
    services.answers["POST /sessions"] = problem(401, "sign-in-failed")
    answer = await browser.sign_in()
    assert answer.status_code == 422 and "The e-mail address or the password is wrong." in words(answer.text)
    assert 'value="mina@northhaus.example"' in answer.text and "horse battery" not in answer.text
    assert "tenure-session" not in browser.client.cookies


async def test_a_request_tells_the_service_whose_it_is(browser: Browser, services: Services) -> None:
    """The services count attempts by network address."""
    browser.client.headers["x-forwarded-for"] = "203.0.113.9"
    answer = await browser.sign_in()
    (asked,) = services.of("POST", "/sessions")
    assert asked.headers["x-forwarded-for"] == "192.0.2.7"
    assert asked.headers["x-correlation-id"] == answer.headers["x-correlation-id"]


async def test_ready_tells_whether_identity_answers(browser: Browser, services: Services) -> None:
    assert (await browser.get("/ready")).status_code == 200
    services.answers["GET /health"] = httpx.Response(500)
    answer = await browser.get("/ready")
    assert answer.status_code == 503 and "identity" in answer.json()["waiting_for"]
    assert (await browser.get("/health")).json() == {"status": "alive", "service": "console"}


async def test_metrics_count_the_pages(browser: Browser) -> None:
    await browser.get("/sign-in")
    assert 'route="/sign-in",service_name="console",status="200"' in (await browser.get("/metrics")).text


# ── What a command has stored ──────────────────────────────────────────────────────────────────────────


async def test_a_page_after_a_command_waits_for_what_that_has_stored(tmp_path: Path) -> None:
    services = Services({"GET /sessions": httpx.Response(200, json={"items": []})})
    stored = {"tenure-version": "sessions-a-1@7"}
    ended = outcome(("SessionEnded", {})).json()
    services.answers["DELETE /sessions/s-2"] = httpx.Response(200, json=ended, headers=stored)
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    done = await browser.send("/sessions", "", session_id="s-2")
    assert "tenure-stored=identity%3Asessions-a-1%407; HttpOnly; Max-Age=5" in done.headers["set-cookie"]
    await browser.get(done.headers["location"])
    assert services.of("GET", "/sessions")[-1].headers["tenure-at-least"] == "sessions-a-1@7"


@pytest.mark.parametrize("status", [422, 503])
async def test_what_can_not_be_waited_for_is_shown_as_it_is(tmp_path: Path, status: int) -> None:
    def known(request: httpx.Request) -> httpx.Response:
        waits = "tenure-at-least" in request.headers
        return problem(status, "busy") if waits else httpx.Response(200, json={"items": []})

    browser = Browser(Services({"GET /sessions": known}), tmp_path)
    await browser.sign_in()
    browser.client.cookies.set("tenure-stored", "identity%3Ax%409")
    assert (await browser.get("/sessions")).status_code == 200
