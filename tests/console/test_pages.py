"""Every page: its headers, its language, its size, and that nothing in it comes from elsewhere or stands inline."""

import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from babel.messages.pofile import read_po

from services.console.app import AREAS, OPEN
from services.console.rendering import TEMPLATES
from services.console.texts import FOLDER, LANGUAGES, SOURCE, texts_for
from tests.console.catalogue import areas, completed, is_translated, sentences, translations
from tests.console.fakes import ACCOUNT, HERE, Browser, Services, words
from tests.console.samples import SAMPLES

INSIDE = [page.path for area in AREAS for page in area.pages]
PATHS = [*(at for at, *_ in OPEN), *INSIDE]
CATALOGUES = [(language, area) for language in LANGUAGES if language != SOURCE for area in areas()]
INLINE = re.compile(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]* src=)", re.IGNORECASE)


@pytest.fixture
def services() -> Services:
    return Services({"GET /me": httpx.Response(200, json={**ACCOUNT, "email_verified": False})})


@pytest.fixture
def browser(services: Services, tmp_path: Path) -> Browser:
    return Browser(services, tmp_path)


async def page(browser: Browser, at: str) -> httpx.Response:
    sample = SAMPLES.get(at)
    if sample is not None:
        browser.services.answers |= sample.answers
    if at in INSIDE:
        await browser.sign_in()
    answer = await browser.get(sample.address if sample else at)
    assert answer.status_code == 200, answer.headers
    return answer


@pytest.mark.parametrize("at", PATHS)
async def test_a_page_may_load_its_own_files_only_and_is_not_stored(browser: Browser, at: str) -> None:
    headers = (await page(browser, at)).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "*" not in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy and "base-uri 'none'" in policy
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin" and headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("at", PATHS)
async def test_a_page_has_nothing_inline_and_nothing_from_elsewhere(browser: Browser, at: str) -> None:
    text = (await page(browser, at)).text
    assert not INLINE.search(text)
    assert not re.search(r'(src|href|action)="(https?:)?//', text)


@pytest.mark.parametrize("at", PATHS)
async def test_a_page_has_one_heading_of_the_first_level_and_labels(browser: Browser, at: str) -> None:
    text = (await page(browser, at)).text
    assert len(re.findall("<h1", text)) == 1 and '<html lang="en">' in text
    fields = re.findall(r'<(?:input|select|textarea) id="([\w-]+)"', text)
    assert set(fields) <= set(re.findall(r'<label for="([\w-]+)"', text))


@pytest.mark.parametrize("at", PATHS)
async def test_a_page_is_small(browser: Browser, at: str) -> None:
    """With all that it loads, compressed as it is sent: at most 100 KB."""
    text = (await page(browser, at)).text
    sizes = []
    for path in [at, *re.findall(r'(?:src|href)="(/static/[^"]+)"', text)]:
        async with browser.client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
            sizes.append(len(b"".join([part async for part in answer.aiter_raw()])))
    assert len(sizes) >= 4 and sum(sizes) <= 100_000


async def test_a_file_is_kept_for_ever_under_the_path_of_its_content_only(browser: Browser) -> None:
    (path,) = re.findall(r'href="(/static/console.css[^"]+)"', (await browser.get("/sign-in")).text)
    assert "immutable" in (await browser.get(path)).headers["cache-control"]
    assert (await browser.get("/static/console.css")).headers["cache-control"] == "no-cache"
    assert (await browser.get("/static/..%2Fapp.py")).status_code == 404


async def test_an_address_that_no_page_has_is_said_so(browser: Browser) -> None:
    answer = await browser.get("/nothing")
    assert answer.status_code == 404 and "There is no such page" in words(answer.text)
    assert "content-security-policy" in answer.headers


async def test_a_sandbox_shows_its_clock_on_every_page(browser: Browser, services: Services) -> None:
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "sandbox": True})
    clock = {"organisation_id": "o-1", "sandbox": True, "ahead_s": 86_400, "now": "2027-03-01T09:00:00Z"}
    services.answers["GET /me/clock"] = httpx.Response(200, json=clock)
    await browser.sign_in()
    for at in ("/", "/profile"):
        assert "Its clock shows 1 Mar 2027, 10:00 CET." in words((await browser.get(at)).text)


async def test_what_people_write_is_text(browser: Browser, services: Services) -> None:
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "name": "<script>alert(1)</script>"})
    await browser.sign_in()
    assert "&lt;script&gt;" in (await browser.get("/")).text


# ── Languages ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_page_with_an_id_in_its_path_has_a_sample() -> None:
    assert {at for at in INSIDE if "{" in at} - SAMPLES.keys() == set()
    assert SAMPLES.keys() - set(INSIDE) == set()


@pytest.mark.parametrize(("language", "area"), CATALOGUES)
def test_every_sentence_is_translated(language: str, area: str) -> None:
    catalogue = translations(language, area)
    untranslated = [sentence for sentence in sentences(area) if not is_translated(catalogue, sentence)]
    assert untranslated == []


@pytest.mark.parametrize(("language", "area"), CATALOGUES)
def test_a_translation_has_the_places_of_its_sentence(language: str, area: str) -> None:
    places = re.compile(r"%\(\w+\)[sd]")
    wrong = [
        m.id
        for m in translations(language, area)
        if m.id and {*places.findall(str(m.id))} != {*places.findall(str(m.string))}
    ]
    assert wrong == []


@pytest.mark.parametrize(("language", "area"), CATALOGUES)
def test_the_catalogue_has_the_sentences_of_the_pages_and_no_others(language: str, area: str) -> None:
    """`python -m tests.console.catalogue` completes it."""
    made = read_po(BytesIO(completed(language, area)))
    assert {message.id for message in translations(language, area)} == {message.id for message in made}


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != SOURCE])
def test_a_sentence_of_two_areas_has_one_translation(language: str) -> None:
    found: dict[object, set[object]] = {}
    for area in areas():
        for message in translations(language, area):
            found.setdefault(message.id, set()).add(message.string)
    assert [sentence for sentence, strings in found.items() if sentence and len(strings) > 1] == []
    assert {file.stem for file in (FOLDER / language).glob("*.po")} == {*areas()}


@pytest.mark.parametrize("file", sorted(TEMPLATES.rglob("*.html")), ids=lambda file: str(file.name))
def test_a_template_shows_no_sentence_that_is_not_marked(file: Path) -> None:
    """What remains without tags and expressions is a sign or a name."""
    hidden = r"\{[{%#].*?[}%#]\}|<[^>]*>|[a-z-]+=\"[^\"]*\""
    text = re.sub(hidden, " ", file.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"\w+", text)) <= {"Tenure", "narrow", "wide"}


async def test_the_language_is_the_browsers_until_somebody_signs_in(services: Services, tmp_path: Path) -> None:
    browser = Browser(services, tmp_path, HERE, **{"accept-language": "fr;q=0.9, de-AT;q=0.8, en;q=0.1"})
    text = (await browser.get("/sign-in")).text
    assert '<html lang="de">' in text and "Anmelden" in text
    await browser.sign_in()
    assert '<html lang="en">' in (await browser.get("/")).text  # the profile's


async def test_a_sign_up_has_the_browsers_language_and_region(services: Services, tmp_path: Path) -> None:
    services.answers["POST /accounts"] = httpx.Response(200, json={})
    browser = Browser(services, tmp_path, HERE, **{"accept-language": "de-AT,de;q=0.5"})
    fields = {
        "name": "M",
        "email": "m@x.example",
        "password": "p",
        "country": "AT",
        "organisation": "O",
        "kind": "partner",
    }
    await browser.send("/sign-up", "", **fields)
    (asked,) = services.bodies("POST", "/accounts")
    assert (asked["locale"], asked["time_zone"]) == ("de-AT", "Europe/Vienna")


@pytest.mark.parametrize(
    ("tag", "accepted", "language"),
    [
        ("de-CH", "en", "de"),
        ("fr", "de", "de"),
        (None, "", "en"),
        (None, "xx, ;;, de;q=x, en;q=0.2, de;q=0.3", "de"),
        (None, "de;q=0", "en"),
        ("nonsense!", "*", "en"),
    ],
)
def test_the_language_is_the_profiles_or_the_best_of_the_browsers(
    tag: str | None, accepted: str, language: str
) -> None:
    assert texts_for(tag, accepted).language == language


@pytest.mark.parametrize(("zone", "day"), [("Asia/Tokyo", "30 Nov 2026"), ("America/New_York", "29 Nov 2026")])
def test_the_day_of_a_moment_is_that_of_the_persons_zone(zone: str, day: str) -> None:
    assert texts_for("en-GB", "", zone).day_of(datetime(2026, 11, 29, 23, tzinfo=UTC)) == day
