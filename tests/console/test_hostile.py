"""What no page of the console sends: ids, numbers, files and cookies that somebody else has written."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from pydantic import BaseModel

from services.console.app import AREAS
from services.console.doors import NoSuchId, path
from services.console.forms import whole_number
from services.console.lines import fault_in, lines_in
from services.console.texts import texts_for
from shared.runtime.csv_items import read_csv
from shared.runtime.problems import Problem
from tests.console.fakes import ACCOUNT, Browser, Services, hidden, problem, words
from tests.console.samples import SAMPLES

WITH_IDS: Final = sorted({page.path for area in AREAS for page in area.pages if "{" in page.path})
IDS: Final = ("%00", "%7Bid%7D", "a%3Fas_of=1", "%2E")
DIGITS: Final = "9" * 5_000
ENGLISH: Final = texts_for("en-GB")


class ByAddress(BaseModel):
    """An item of a file with one column."""

    email: str


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


def address(services: Services, at: str) -> str:
    """An address of a page, once the services answer what it asks."""
    sample = SAMPLES.get(at)
    if sample is None:
        return at
    services.answers |= sample.answers
    return sample.address


# ── Ids in paths ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at", WITH_IDS)
async def test_an_id_that_nothing_has_is_no_defect(browser: Browser, services: Services, at: str) -> None:
    address(services, at)
    for bad in IDS:
        answer = await browser.get(re.sub(r"\{[^}]*\}", bad, at))
        assert answer.status_code < 500, (bad[:20], words(answer.text)[:200])


@pytest.mark.parametrize("at", WITH_IDS)
async def test_a_page_of_an_unknown_id_is_not_found(browser: Browser, at: str) -> None:
    answer = await browser.get(re.sub(r"\{[^}]*\}", "pause" if at.endswith("{deed}") else "unknown", at))
    assert answer.status_code == 404, words(answer.text)[:200]


@pytest.mark.parametrize("at", [each for each in WITH_IDS if each.count("{") > 1])
async def test_nothing_is_shown_of_an_unknown_thing_in_a_known_one(
    browser: Browser, services: Services, at: str
) -> None:
    known = address(services, at).split("/")
    last = max(place for place, part in enumerate(at.split("/")) if part.startswith("{") and part != "{deed}")
    answer = await browser.get("/".join([*known[:last], "unknown", *known[last + 1 :]]))
    assert answer.status_code == 404, words(answer.text)[:200]


async def test_an_id_that_is_longer_than_a_url_may_be_is_nothings(browser: Browser) -> None:
    assert (await browser.get(f"/orders/{'!' * 30_000}")).status_code == 404


@pytest.mark.parametrize("given", ["", ".", ".."])
def test_an_id_leads_to_no_other_path(given: str) -> None:
    with pytest.raises(NoSuchId):
        path("/sessions/{id}", id=given)


async def test_an_id_of_a_form_leads_to_no_other_path(browser: Browser, services: Services) -> None:
    fields = hidden((await browser.get("/profile")).text)
    for given in ("", "..", "."):
        assert (await browser.post("/sessions", None, **fields, session_id=given)).status_code == 404
    assert not [each for each in services.asked if each.method == "DELETE"]


@pytest.mark.parametrize("at", ["/orders/a%3Fas_of=2026-01-01", "/carts/a%3Fcustomer=x"])
async def test_an_id_is_no_part_of_a_query(browser: Browser, services: Services, at: str) -> None:
    services.asked.clear()
    await browser.get(at)
    assert any(b"%3F" in each.url.raw_path for each in services.asked)
    assert not [each for each in services.asked if "as_of" in each.url.params or "customer" in each.url.params]


async def test_a_page_says_which_methods_it_answers(browser: Browser) -> None:
    answer = await browser.client.put("/contracts")
    assert answer.status_code == 405 and set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert "There is no such page" in words(answer.text)


# ── What is written into forms ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("written", ["", "x", "-1", "1.5", "1e9", "٣", "１", "1_000", DIGITS, "9" * 19])
def test_what_is_no_whole_number_is_none(written: str) -> None:
    assert whole_number(written) is None


def test_a_whole_number_is_read_with_the_space_around_it() -> None:
    assert (whole_number(" 012 "), whole_number("9" * 18)) == (12, 10**18 - 1)


@pytest.mark.parametrize(
    ("at", "fields"),
    [
        ("/subscriptions/{subscription_id}/seats", {"seats": DIGITS}),
        ("/credits/{contract_id}/spend", {"amount": DIGITS, "purpose": "rendering"}),
        ("/orders/{subscription_id}", {"action": "seats", "seats": DIGITS}),
        ("/orders/{subscription_id}", {"action": "confirm", "request": ".."}),
        ("/renewals", {"chosen[]": "\x00"}),
        ("/orders", {"chosen[]": ".."}),
        ("/publisher/credits/{contract_id}", {"grant_id": "g-1", "amount": DIGITS}),
        ("/publisher/plans/new", {"commitment_months": DIGITS}),
        ("/publisher/plans/new", {"commitment_months": "12", "amount": "NaN", "currency": "EUR"}),
        ("/publisher/plans/new", {"commitment_months": "12", "amount": "sNaN", "currency": "KWD"}),
        ("/publisher/updates/new", {"size_bytes": DIGITS}),
        ("/machines/new", {"name": "Agent", "scopes[]": "read", "until": "9999-12-31", "whom": "me"}),
        ("/clock", {"to": "9999-12-31T23:59"}),
        ("/updates/{contract_id}/groups/{group_id}/policy", {"weekday_1": "monday", "minutes_1": DIGITS}),
    ],
)
async def test_a_value_that_no_field_means_is_no_defect(
    browser: Browser, services: Services, at: str, fields: dict[str, str]
) -> None:
    page = address(services, at)
    given = hidden((await browser.get("/profile")).text)
    answer = await browser.post(page, None, **{**given, **fields})
    assert answer.status_code < 500, words(answer.text)


@pytest.mark.parametrize("time_zone", ["America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
async def test_a_day_that_ends_outside_of_time_is_none(
    browser: Browser, services: Services, time_zone: str, day: str
) -> None:
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "time_zone": time_zone})
    given = hidden((await browser.get("/profile")).text)
    fields = {"name": "Agent", "scopes[]": "read", "until": day, "whom": "me"}
    assert (await browser.post("/machines/new", None, **{**given, **fields})).status_code < 500


async def test_the_last_month_of_all_is_no_defect(browser: Browser, services: Services) -> None:
    address(services, "/renewals")
    assert (await browser.get("/renewals?month=9999-12")).status_code == 200


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://", "//console.example", "console.example"])
async def test_an_origin_that_is_no_url_is_another_site(browser: Browser, origin: str) -> None:
    fields = hidden((await browser.get("/profile")).text)
    assert (await browser.post("/profile", {"origin": origin}, **fields, name="Mina")).status_code == 403


async def test_half_of_a_surrogate_pair_is_not_sent_on(browser: Browser, services: Services) -> None:
    fields = {**hidden((await browser.get("/profile")).text), "name": "+2AA-"}
    parts = "".join(f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items())
    headers = {"content-type": "multipart/form-data; boundary=x; charset=utf-7"}
    answer = await browser.client.post("/profile", content=f"{parts}--x--\r\n", headers=headers)
    assert answer.status_code == 422


async def test_a_price_keeps_the_currency_of_its_plan(browser: Browser, services: Services) -> None:
    """A currency of three digits, which the form for a new plan does not offer."""
    page = address(services, "/publisher/plans/{product_id}")
    asked = {"amount": "5.250", "currency": "KWD", "valid_from": "2027-01-01"}
    given = hidden((await browser.get("/profile")).text)
    await browser.post(page, None, **given, **asked)
    (body,) = services.bodies("POST", f"{page}/prices")
    assert body["price"] == {"amount": 5250, "currency": "KWD"}


@pytest.mark.parametrize("stored", ["%20identity:a@1", "identity:a@1%20", "identity:a%0Ab@1", "identity:%C3%A9@1"])
async def test_a_cookie_that_no_header_may_have_is_left_out(browser: Browser, services: Services, stored: str) -> None:
    address(services, "/sessions")
    browser.client.cookies.set("tenure-stored", stored)
    assert (await browser.get("/sessions")).status_code == 200
    assert "tenure-at-least" not in services.of("GET", "/sessions")[-1].headers


# ── Files ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_that_is_too_large_is_answered_by_a_page(browser: Browser) -> None:
    large = b"email\n" + b"a@b.example\n" * 60_000

    async def in_parts() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    announced = await browser.client.post("/seats/sub-1/file", files={"file": ("s.csv", large)})
    kind = {"content-type": "application/x-www-form-urlencoded"}
    streamed = await browser.client.post("/seats/sub-1/file", content=in_parts(), headers=kind)
    for answer in (announced, streamed):
        assert answer.status_code == 413 and answer.headers["content-type"].startswith("text/html")
        assert "split a file into several" in words(answer.text)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_line_ends_where_the_reader_of_files_ends_it() -> None:
    assert lines_in("a\u2028b\x0bc\r\nd\re\n") == ["a\u2028b\x0bc", "d", "e", ""]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("", "The file is empty. Its first line names the columns: email"),
        ("email;seat\na@b.example;1\n", "It has “seat”, which is none of them."),
        ("E-Mail\na@b.example\n", "It has “E-Mail”, which is none of them."),
        ("email,email\na,b\n", "names a column twice"),
        ("email\n", "nothing else. Add a line."),
        ("email\n" + "a@b.example\n" * 1_001, "A file has at most 1000 lines."),
        ('email\n"a@b.example\nc\n', "can't be read as CSV. Check it from line 2 on."),
        ("email\na,b\n", "This line has 2 cells, and the first line names 1 columns."),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_plain_words(file: str, said: str) -> None:
    """In the sentences of the services' own reader, which the console's are compared with."""
    try:
        (item,) = read_csv(ByAddress, file.encode())
        fault = item.asked
    except Problem as refused:
        fault = refused
    assert isinstance(fault, Problem)
    (malformed,) = fault.fields
    assert said in fault_in(malformed["field"], malformed["error"], ENGLISH)


async def test_a_file_that_is_refused_says_why_beside_it(browser: Browser, services: Services) -> None:
    refused = problem(422, "malformed", fields=[{"field": "line 1", "error": "it has no line after the header"}])
    fields = hidden((await browser.get("/profile")).text)
    page = address(services, "/seats/{subscription_id}/file")
    subscription_id = page.split("/")[2]
    services.answers[f"POST /pools/{subscription_id}/seats/bulk"] = refused
    answer = await browser.post(page, None, **fields, pasted="email", file="")
    assert "The file has the names of its columns and nothing else. Add a line." in words(answer.text)


# ── Lists, and forms that are sent again ───────────────────────────────────────────────────────────────


async def test_the_next_page_is_found_behind_a_long_name(browser: Browser, services: Services) -> None:
    """A name of 200 emoji makes a cursor of more than a thousand characters."""
    page = address(services, "/people")
    cursor = "A" * 1_200
    await browser.get(f"{page}?after={cursor}")
    assert services.of("GET", "/people")[-1].url.params["after"] == cursor


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("after", "Open the list again, at its first page."),
        ("sort", "choose a column"),
        ("q", "at most 100 characters"),
    ],
)
async def test_a_list_that_can_not_be_shown_says_what_to_do(
    browser: Browser, services: Services, name: str, said: str
) -> None:
    page = address(services, "/people")
    services.answers["GET /people"] = problem(422, "malformed", fields=[{"field": f"query.{name}", "error": "no"}])
    answer = await browser.get(f"{page}?{name}=x")
    assert answer.status_code == 422 and said in words(answer.text)


async def test_a_form_that_is_sent_again_with_other_content_says_so(browser: Browser, services: Services) -> None:
    """As after going back to it; what is sent next is another command."""
    page = address(services, "/seats/{subscription_id}/assign")
    fields = hidden((await browser.get("/profile")).text)
    at = f"POST /pools/{page.split('/')[2]}/seats"
    services.answers[at] = problem(422, "idempotency-key-reused", "This Idempotency-Key was used before.")
    answer = await browser.post(page, None, **fields, email="ana@northhaus.example", confirmed="yes")
    assert "This form was sent before, with other content." in words(answer.text)
    assert "Idempotency" not in words(answer.text) and hidden(answer.text)["key"] != fields["key"]


# ── A publisher's plans ────────────────────────────────────────────────────────────────────────────────


async def test_a_plan_is_found_by_its_product_id_without_hyphens(browser: Browser, services: Services) -> None:
    page = address(services, "/publisher/plans/{product_id}")
    assert (
        await browser.get("/publisher/plans/" + page.rpartition("/")[2].replace("-", "").lower())
    ).status_code == 200


@pytest.mark.parametrize("currency", ["XAU", "eur", "<b>"])
async def test_a_new_plan_has_a_currency_of_those_offered(browser: Browser, services: Services, currency: str) -> None:
    address(services, "/publisher/plans/new")
    given = hidden((await browser.get("/profile")).text)
    fields = {"commitment_months": "12", "amount": "5", "currency": currency}
    answer = await browser.post("/publisher/plans/new", None, **{**given, **fields})
    assert answer.status_code == 422 and "Choose a currency." in words(answer.text)
    assert services.of("POST", "/publisher/plans") == []
