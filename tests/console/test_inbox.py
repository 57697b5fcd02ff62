"""The inbox: read and marked, counted in every page's header, and chosen by kind."""

import re
from pathlib import Path

import httpx
import pytest

from services.console.app import AREAS
from services.console.pages.inbox import label
from services.console.texts import texts_for
from services.identity.domain.notification_pages import PAGES
from tests.console.fakes import ACCOUNT, Browser, Services, hidden, problem, words
from tests.console.samples.inbox import DECLINED, PREFERENCES, REMINDER


@pytest.fixture
def services() -> Services:
    return Services(
        {
            "GET /me/notifications": httpx.Response(200, json={"items": [REMINDER, DECLINED], "next": None}),
            "GET /me/notifications/unread": httpx.Response(200, json={"unread": 1, "at_most": 100}),
            "POST /me/notifications/read": httpx.Response(204),
            "GET /me/notification-preferences": httpx.Response(200, json=PREFERENCES),
            "PUT /me/notification-preferences": httpx.Response(200, json={}),
        }
    )


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    made = Browser(services, tmp_path)
    await made.sign_in()
    return made


def form_with(page: str, field: str) -> dict[str, str]:
    """The hidden fields of the form that has this one."""
    forms = re.findall(r"<form.*?</form>", page, re.DOTALL)
    (found,) = (form for form in forms if f'name="{field}"' in form)
    return hidden(found)


async def test_notifications_are_shown_with_what_somebody_wrote_quoted(browser: Browser) -> None:
    text = (await browser.get("/inbox")).text
    assert "AutoCAD renews after 31 December 2026 new" in words(text)
    assert "<blockquote>not yet &lt;b&gt;<br>ask in May</blockquote>" in text
    assert "1 Nov 2026" in text


async def test_a_sandbox_says_so_once(browser: Browser, services: Services) -> None:
    told = REMINDER | {"title": f"[Sandbox] {REMINDER['title']}"}
    services.answers["GET /me"] = httpx.Response(200, json=ACCOUNT | {"sandbox": True})
    services.answers["GET /me/clock"] = httpx.Response(
        200, json={"sandbox": True, "ahead_s": 9, "now": "2027-03-01T09:00:00Z"}
    )
    services.answers["GET /me/notifications"] = httpx.Response(200, json={"items": [told], "next": None})
    assert "[Sandbox]" not in (await browser.get("/inbox")).text


async def test_a_notification_leads_to_the_page_where_one_can_act(browser: Browser) -> None:
    first, second = re.findall(r"<article.*?</article>", (await browser.get("/inbox")).text, re.DOTALL)
    assert '<a href="/subscriptions/s/auto-renew" aria-describedby="n-n-2">See auto-renew</a>' in first
    assert "<a " not in second


def test_every_page_that_notifications_name_is_one_of_the_console() -> None:
    """Identity knows no page of the console, and the console none of identity's notifications."""
    pages = {_places(page.path) for area in AREAS for page in area.pages}
    named = {_places(path) for paths in PAGES.values() for each in paths.values() for path in each}
    assert named - pages == set()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("/contracts/c/requests/a", "Answer the request"),
        ("/contracts/c", "See the contract"),
        ("/updates/c/rollouts/r", "See the rollout"),
        ("/updates/c/of/autodesk/u", "See the updates"),
        ("/orders/s", "See the order"),
        ("/catalogue", "Go to the page"),
    ],
)
def test_a_link_says_where_it_leads(page: str, said: str) -> None:
    assert label(texts_for("en-GB", ""), page) == said


def _places(path: str) -> str:
    """A path whose places have no names, as the two sides name them by themselves."""
    return re.sub(r"\{\w+\}", "{}", path)


async def test_every_page_says_how_many_are_unread(browser: Browser) -> None:
    for at in ("/", "/profile", "/inbox"):
        assert "Inbox 1 unread" in words((await browser.get(at)).text)


async def test_the_count_is_asked_for_again_as_a_part_of_the_page(browser: Browser, services: Services) -> None:
    services.answers["GET /me/notifications/unread"] = httpx.Response(200, json={"unread": 100, "at_most": 100})
    part = await browser.get("/inbox/count")
    assert words(part.text) == "Inbox 99+ unread" and "<html" not in part.text
    assert 'hx-get="/inbox/count"' in part.text
    services.answers["GET /me/notifications/unread"] = httpx.Response(200, json={"unread": 0, "at_most": 100})
    assert words((await browser.get("/inbox/count")).text) == "Inbox"


async def test_a_count_that_cannot_be_had_leaves_the_page_as_it_is(browser: Browser, services: Services) -> None:
    services.answers["GET /me"] = problem(401, "not-signed-in")
    assert (await browser.get("/inbox/count")).status_code == 204


async def test_one_is_marked_as_read(browser: Browser, services: Services) -> None:
    fields = form_with((await browser.get("/inbox?state=unread")).text, "notification_id")
    answer = await browser.post("/inbox?state=unread", None, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/inbox?state=unread")
    assert services.bodies("POST", "/me/notifications/read") == [{"notification_ids": ["n-2"]}]


async def test_all_are_marked_up_to_the_newest_that_was_shown(browser: Browser, services: Services) -> None:
    fields = form_with((await browser.get("/inbox")).text, "until")
    assert (await browser.post("/inbox", None, **fields)).status_code == 303
    assert services.bodies("POST", "/me/notifications/read") == [{"until": "n-2"}]


@pytest.mark.parametrize(
    ("at", "said"), [("/inbox", "Nothing yet."), ("/inbox?state=unread", "You have read everything")]
)
async def test_an_empty_inbox_says_what_will_be_in_it(browser: Browser, services: Services, at: str, said: str) -> None:
    services.answers["GET /me/notifications"] = httpx.Response(200, json={"items": [], "next": None})
    assert said in words((await browser.get(at)).text)


async def test_only_unread_ones_are_asked_for_and_pages_follow(browser: Browser, services: Services) -> None:
    services.answers["GET /me/notifications"] = httpx.Response(200, json={"items": [REMINDER], "next": "later"})
    text = (await browser.get("/inbox?state=unread")).text
    assert services.of("GET", "/me/notifications")[-1].url.params["state"] == "unread"
    assert 'href="/inbox?state=unread&amp;after=later"' in text


async def test_ways_are_chosen_by_kind(browser: Browser, services: Services) -> None:
    page = (await browser.get("/profile/notifications")).text
    assert len(re.findall(r"checked>", page)) == 3 and "A renewal *" in words(page)
    fields = form_with(page, "ways[]")
    body = {**fields, "ways[]": ["email:renewal-reminder", "email:credits"]}
    answer = await browser.client.post("/profile/notifications", data=body)
    assert answer.headers["location"] == "/profile/notifications?notice=notifications-saved"
    choices = [
        {"kind": "renewal-reminder", "email": True, "inbox": False},
        {"kind": "credits", "email": True, "inbox": False},
    ]
    assert services.bodies("PUT", "/me/notification-preferences") == [{"choices": choices}]


async def test_what_cannot_be_switched_off_is_said_and_what_was_ticked_stays(
    browser: Browser, services: Services
) -> None:
    services.answers["PUT /me/notification-preferences"] = problem(409, "notification-required")
    fields = form_with((await browser.get("/profile/notifications")).text, "ways[]")
    answer = await browser.client.post("/profile/notifications", data={**fields, "ways[]": ["email:credits"]})
    assert answer.status_code == 422
    assert "needs one way at least" in words(answer.text)
    assert re.findall(r'value="(\S+)" checked', answer.text) == ["email:credits"]


async def test_without_a_confirmed_address_the_page_says_that_nothing_is_mailed(
    browser: Browser, services: Services
) -> None:
    unverified = {**PREFERENCES, "email_verified": False}
    services.answers["GET /me/notification-preferences"] = httpx.Response(200, json=unverified)
    assert "Nothing is mailed to you before" in words((await browser.get("/profile/notifications")).text)
