"""What a page does: a dry run, the question, the deed; a file's lines; lists and their export; links by kind."""

from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from pydantic import BaseModel
from starlette.responses import Response

from services.console import app
from services.console.areas import Area, Link, PageAt
from services.console.deeds import Deed, LinesDeed, carry_out, carry_out_lines
from services.console.texts import marked
from services.console.visits import Visit
from tests.console.fakes import ACCOUNT, Browser, Services, hidden, problem, words


class Rows(BaseModel):
    items: list[str]
    next: str | None = None


async def seats(visit: Visit) -> Response:
    """A page that shows its form's errors, as refused.html does."""
    if visit.wants_csv:
        return await visit.export("entitlements", "/seats", "seats", "status")
    if visit.request.method == "GET":
        await visit.see_list("entitlements", "/seats", Rows, "status")
        await visit.see("entitlements", "/holders", Rows, limit="9", q=visit.request.query_params.get("holder", ""))
    return visit.page("refused.html")


async def unassign(visit: Visit) -> Response:
    deed = Deed(
        service="entitlements",
        method="DELETE",
        path="/seats/7",
        question="Take the seat away?",
        button="Take it away",
        says=lambda outcome: [f"{event.type} of {event.data['account_id']}" for event in outcome.events],
        grave=True,
        then="/seats?status=active",
        notice="saved",
    )
    return await carry_out(visit, deed, seats)


async def upload(visit: Visit) -> Response:
    if visit.form.wrong:
        return visit.again("refused.html")
    deed = LinesDeed(
        service="entitlements",
        path="/seats/bulk",
        lines=visit.form["file"],
        question="Assign these seats?",
        button="Assign them",
        then="/seats",
    )
    return await carry_out_lines(visit, deed, seats)


AREA: Final = Area(
    name="seats",
    pages=(PageAt(path="/seats", show=seats, act=unassign), PageAt(path="/seats/upload", show=seats, act=upload)),
    links=(Link(path="/seats", text=marked("Lines"), kinds=frozenset({"customer"})),),
)
FORESEEN: Final = {"stream": "s", "events": [{"type": "SeatUnassigned", "data": {"account_id": "ana"}}]}
LINES: Final = "email\nana@x.example\nnobody\n"


def line_outcomes(request: httpx.Request) -> httpx.Response:
    refused: dict[str, Any] = {"type": "", "title": "", "status": 422, "detail": "Not an address.", "rule": "x"}
    items = [{"line": 2, "status": 200, "answer": {}}, {"line": 3, "status": 422, "answer": refused}]
    return httpx.Response(200, json={"items": items, "accepted": 1, "dry_run": request.url.query == b"dry_run=true"})


@pytest.fixture
def services() -> Services:
    return Services(
        {
            "GET /seats": httpx.Response(200, json={"items": []}),
            "GET /holders": httpx.Response(200, json={"items": []}),
            "DELETE /seats/7": httpx.Response(200, json=FORESEEN),
            "POST /seats/bulk": line_outcomes,
        }
    )


@pytest.fixture
async def browser(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setattr(app, "AREAS", (app.AREAS[0], AREA))
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def form(browser: Browser) -> dict[str, str]:
    return hidden((await browser.get("/profile")).text)


# ── One command ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_deed_is_asked_with_what_its_dry_run_says_and_then_done_once(
    browser: Browser, services: Services
) -> None:
    asked = await browser.post("/seats", None, **await form(browser), reason="left & gone")
    (dry,) = services.of("DELETE", "/seats/7")
    assert dry.url.query == b"dry_run=true"
    said = words(asked.text)
    assert "Take the seat away?" in said and "SeatUnassigned of ana" in said and "can't be undone" in said
    assert hidden(asked.text)["reason"] == "left &amp; gone"
    done = await browser.post("/seats", None, **hidden(asked.text))
    sent = services.of("DELETE", "/seats/7")[-1]
    assert (done.status_code, done.headers["location"]) == (303, "/seats?status=active&notice=saved")
    assert sent.url.query == b"" and sent.headers["idempotency-key"] == hidden(asked.text)["key"]


async def test_a_deed_that_is_refused_is_said_where_it_was_asked(browser: Browser, services: Services) -> None:
    services.answers["DELETE /seats/7"] = problem(409, "no-such-seat", "Nobody has seat 7.", remedy="Choose another.")
    answer = await browser.post("/seats", None, **await form(browser))
    assert answer.status_code == 422 and "Nobody has seat 7. Choose another." in words(answer.text)


async def test_a_refused_attempt_is_over_and_one_of_unknown_outcome_keeps_its_key(
    browser: Browser, services: Services
) -> None:
    given = await form(browser)
    for status, same in ((409, False), (503, True)):
        services.answers["DELETE /seats/7"] = problem(status, "busy")
        answer = await browser.post("/seats", None, **given, confirmed="yes")
        assert (hidden(answer.text)["key"] == given["key"]) is same


# ── A file ─────────────────────────────────────────────────────────────────────────────────────────────


async def upload_file(browser: Browser, content: bytes) -> httpx.Response:
    return await browser.client.post("/seats/upload", data=await form(browser), files={"file": ("s.csv", content)})


async def test_a_files_lines_are_shown_with_their_outcomes_before_they_are_carried_out(
    browser: Browser, services: Services
) -> None:
    preview = await upload_file(browser, b"\xef\xbb\xbf" + LINES.encode())
    said = words(preview.text)
    assert "1 line will be carried out. 1 line is refused; the others don't wait for it." in said
    assert "2 ana@x.example accepted" in said and "3 nobody refused Not an address." in said
    (asked,) = services.of("POST", "/seats/bulk")
    assert asked.content.decode() == LINES and asked.headers["content-type"] == "text/csv; charset=utf-8"
    done = await browser.post("/seats/upload", None, **hidden(preview.text))
    assert services.of("POST", "/seats/bulk")[-1].url.query == b"" and "1 line was carried out." in words(done.text)
    assert services.of("POST", "/seats/bulk")[-1].content.decode() == LINES


async def test_a_file_that_is_not_text_is_refused(browser: Browser, services: Services) -> None:
    answer = await upload_file(browser, b"\xff\xfe\x00")
    assert answer.status_code == 422 and "not text in UTF-8" in words(answer.text)
    assert services.of("POST", "/seats/bulk") == []


async def test_a_file_that_is_too_large_is_refused(browser: Browser) -> None:
    assert (await upload_file(browser, b"x" * 600_000)).status_code == 413


# ── Lists ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_list_is_asked_for_what_the_address_says_and_nothing_else(browser: Browser, services: Services) -> None:
    await browser.get("/seats?q=%20ana%20&status=active&after=c&sort=&limit=9&other=1")
    assert services.of("GET", "/seats")[0].url.query == b"q=ana&after=c&status=active"


async def test_a_service_is_not_asked_for_an_empty_text(browser: Browser, services: Services) -> None:
    """It refuses one."""
    for address, query in (("/seats", b"limit=9"), ("/seats?holder=ana", b"limit=9&q=ana")):
        await browser.get(address)
        assert services.of("GET", "/holders")[-1].url.query == query


async def test_an_export_is_the_whole_list(browser: Browser, services: Services) -> None:
    services.answers["GET /seats"] = httpx.Response(200, content=b"seat\r\n1\r\n")
    answer = await browser.get("/seats?q=ana&after=c&format=csv")
    assert services.of("GET", "/seats")[0].url.query == b"q=ana&format=csv" and answer.text == "seat\r\n1\r\n"
    assert answer.headers["content-disposition"] == 'attachment; filename="seats.csv"'
    assert answer.headers["content-type"].startswith("text/csv") and answer.headers["cache-control"] == "no-store"


async def test_an_export_that_is_refused_is_a_page(browser: Browser, services: Services) -> None:
    services.answers["GET /seats"] = problem(403, "no-access", "Only the Contract Manager may see them.")
    answer = await browser.get("/seats?format=csv")
    assert answer.status_code == 403 and "Only the Contract Manager may see them." in words(answer.text)


async def test_an_export_continues_an_old_session(browser: Browser, services: Services) -> None:
    services.answers["GET /seats"] = problem(401, "not-signed-in")
    assert "notice=ended" in (await browser.get("/seats?format=csv")).headers["location"]


# ── The navigation ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "there"), [("customer", True), ("partner", False), ("publisher", False)])
async def test_the_navigation_has_the_links_of_the_organisations_kind(
    browser: Browser, services: Services, kind: str, there: bool
) -> None:
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "organisation_kind": kind})
    assert ('<a href="/seats" aria-current="false">' in (await browser.get("/")).text) is there


async def test_the_navigation_says_where_one_is(browser: Browser) -> None:
    assert '<a href="/seats" aria-current="page">' in (await browser.get("/seats")).text
    assert '<a href="/seats" aria-current="true">' in (await browser.get("/seats/upload")).text
