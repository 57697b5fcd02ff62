"""What a page does: a dry run, the question, the deed; a file's lines; lists and their export; links by kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from pydantic import BaseModel
from starlette.responses import Response

from services.console import app
from services.console.areas import Area, Link, PageAt
from services.console.deeds import Deed, LinesDeed, carry_out, carry_out_lines, do_now
from services.console.texts import marked
from services.console.visits import Visit
from shared import rules
from tests.console.fakes import ACCOUNT, CHANGED, Browser, Services, hidden, outcome, problem, words


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
        idle="Nobody has it.",
        moves=visit.form["moves"] == "yes",
        grave=True,
        then="/seats?status=active",
        notice="saved",
    )
    return await carry_out(visit, deed, seats)


async def undo(visit: Visit) -> Response:
    deed = Deed(
        service="entitlements", method="DELETE", path="/seats/7", question="", button="", then="/seats", notice="saved"
    )
    return await do_now(visit, deed, seats)


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
    pages=(
        PageAt(path="/seats", show=seats, act=unassign),
        PageAt(path="/seats/now", show=seats, act=undo),
        PageAt(path="/seats/upload", show=seats, act=upload),
    ),
    links=(Link(path="/seats", text=marked("Lines"), kinds=frozenset({"customer"})),),
)
UNASSIGNED: Final = ("SeatUnassigned", {"account_id": "ana"})
LINES: Final = "email\nana@x.example\nnobody\n"
NOT_AN_ADDRESS: Final = {"type": "", "title": "", "status": 422, "detail": "Not an address.", "rule": "x"}


def lines(*answers: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """Answer a file of these lines, or its dry run."""

    def answer(request: httpx.Request) -> httpx.Response:
        items = [
            {"line": number, "status": each.get("status", 200), "answer": each}
            for number, each in enumerate(answers, start=2)
        ]
        return httpx.Response(200, json={"items": items, "dry_run": request.url.query == b"dry_run=true"})

    return answer


@pytest.fixture
def services() -> Services:
    return Services(
        {
            "GET /seats": httpx.Response(200, json={"items": []}),
            "GET /holders": httpx.Response(200, json={"items": []}),
            "DELETE /seats/7": outcome(UNASSIGNED),
            "POST /seats/bulk": lines(CHANGED, NOT_AN_ADDRESS),
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
        answer = await browser.post("/seats/now", None, **given)
        assert (hidden(answer.text)["key"] == given["key"]) is same


# ── Nothing to do, and what has changed since it was shown ─────────────────────────────────────────────


def commands(services: Services) -> int:
    """How often the seat was taken away, dry runs left out."""
    return sum(each.url.query == b"" for each in services.of("DELETE", "/seats/7"))


async def test_a_deed_that_would_change_nothing_is_not_offered(browser: Browser, services: Services) -> None:
    services.answers["DELETE /seats/7"] = outcome()
    said = (await browser.post("/seats", None, **await form(browser))).text
    assert "There is nothing to do" in words(said) and "Nobody has it." in words(said)
    assert 'name="confirmed"' not in said and "Take it away" not in said and commands(services) == 0


@pytest.mark.parametrize("page", ["/seats", "/seats/now"])
async def test_a_deed_that_has_changed_nothing_is_not_said_to_be_done(
    browser: Browser, services: Services, page: str
) -> None:
    """Somebody else may have been faster, between the dry run and the command."""
    asked = await browser.post("/seats", None, **await form(browser))
    services.answers["DELETE /seats/7"] = lambda request: outcome(*([UNASSIGNED] if request.url.query else []))
    done = await browser.post(page, None, **hidden(asked.text))
    assert "notice=nothing-changed" in done.headers["location"]


def at(version: int, *events: tuple[str, dict[str, Any]], done: str = "") -> Callable[[httpx.Request], httpx.Response]:
    """Answer commands on a stream at a version, and the one with this key as it was answered before."""

    def answer(request: httpx.Request) -> httpx.Response:
        here = request.headers.get("if-match", f'"s-1@{version}"') == f'"s-1@{version}"'
        if not request.url.query and request.headers["idempotency-key"] == done:
            return outcome(UNASSIGNED)
        return outcome(*events, before=version) if here else problem(412, rules.VERSION_CHANGED)

    return answer


@pytest.mark.parametrize(
    "now",
    [
        at(5, UNASSIGNED),
        at(4, ("SeatUnassigned", {"account_id": "ben"})),
        at(4, UNASSIGNED, ("PoolEmptied", {"account_id": "ana"})),
        at(5, UNASSIGNED, ("PoolEmptied", {"account_id": "ana"})),
    ],
    ids=["the stream", "the sentence", "the events", "the stream and the events"],
)
async def test_what_has_changed_since_it_was_shown_is_shown_and_asked_again(
    browser: Browser, services: Services, now: Callable[[httpx.Request], httpx.Response]
) -> None:
    asked = await browser.post("/seats", None, **await form(browser))
    services.answers["DELETE /seats/7"] = now
    again = await browser.post("/seats", None, **hidden(asked.text))
    assert "Something has changed since this was shown to you, so nothing is done yet." in words(again.text)
    done = await browser.post("/seats", None, **hidden(again.text))
    assert done.headers["location"].endswith("notice=saved")


async def test_a_command_is_sent_for_the_version_that_the_person_was_shown(
    browser: Browser, services: Services
) -> None:
    """The stream may move between the last dry run and the command."""
    asked = await browser.post("/seats", None, **await form(browser))
    services.answers["DELETE /seats/7"] = lambda request: (
        outcome(UNASSIGNED) if request.url.query else problem(412, rules.VERSION_CHANGED)
    )
    again = await browser.post("/seats", None, **hidden(asked.text))
    assert "Something has changed" in words(again.text)
    (sent,) = (each for each in services.of("DELETE", "/seats/7") if not each.url.query)
    assert sent.headers["if-match"] == '"s-1@4"'


@pytest.mark.parametrize("confirmed", ["yes", "0" * 64, "0" * 64 + "@s\u00e9", "0" * 64 + '@s"\r\nx: y'])
async def test_what_no_page_has_given_out_confirms_nothing(
    browser: Browser, services: Services, confirmed: str
) -> None:
    asked = await browser.post("/seats", None, **await form(browser), confirmed=confirmed)
    assert asked.status_code == 200 and "Take the seat away?" in words(asked.text) and commands(services) == 0


async def test_a_confirmation_of_what_was_done_meanwhile_says_that_there_is_nothing_to_do(
    browser: Browser, services: Services
) -> None:
    asked = await browser.post("/seats", None, **await form(browser))
    services.answers["DELETE /seats/7"] = at(5)
    said = words((await browser.post("/seats", None, **hidden(asked.text))).text)
    assert "There is nothing to do" in said and "Something has changed" in said


async def test_a_new_streams_id_may_be_another_one_each_time(browser: Browser, services: Services) -> None:
    def new(_: httpx.Request) -> httpx.Response:
        made = outcome(UNASSIGNED, before=0).json()
        return httpx.Response(200, json={**made, "stream": f"new-{len(services.asked)}"})

    services.answers["DELETE /seats/7"] = new
    asked = await browser.post("/seats", None, **await form(browser))
    assert (await browser.post("/seats", None, **hidden(asked.text))).status_code == 303
    assert services.of("DELETE", "/seats/7")[-1].headers["if-none-match"] == "*"


async def test_a_stream_that_machines_change_is_judged_by_what_was_shown(browser: Browser, services: Services) -> None:
    """Else nobody could pause a rollout while its machines report."""
    asked = await browser.post("/seats", None, **await form(browser), moves="yes")
    services.answers["DELETE /seats/7"] = at(50, UNASSIGNED)
    assert (await browser.post("/seats", None, **hidden(asked.text))).status_code == 303


@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_confirmation_that_is_sent_twice_gets_the_first_ones_answer(
    browser: Browser, services: Services, forbidden: bool
) -> None:
    """By then a dry run says that nothing is to be done, or is refused."""
    asked = await browser.post("/seats", None, **await form(browser))
    second = at(5, done=hidden(asked.text)["key"])
    services.answers["DELETE /seats/7"] = lambda request: (
        problem(409, "no-such-seat") if forbidden and request.url.query else second(request)
    )
    done = await browser.post("/seats", None, **hidden(asked.text))
    assert done.headers["location"].endswith("notice=saved")


async def test_a_deed_that_is_forbidden_by_then_is_refused(browser: Browser, services: Services) -> None:
    asked = await browser.post("/seats", None, **await form(browser))
    services.answers["DELETE /seats/7"] = lambda request: (
        problem(409, "no-such-seat", "Nobody has seat 7.") if request.url.query else at(5)(request)
    )
    answer = await browser.post("/seats", None, **hidden(asked.text))
    assert answer.status_code == 422 and "Nobody has seat 7." in words(answer.text)


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


async def test_lines_that_change_nothing_are_said_so(browser: Browser, services: Services) -> None:
    services.answers["POST /seats/bulk"] = lines(CHANGED, {"events": []}, NOT_AN_ADDRESS)
    said = words((await upload_file(browser, b"email\nana\nben\nx\n")).text)
    assert "1 line will be carried out. 1 line changes nothing: it is so already. 1 line is refused" in said
    assert "3 ben no change" in said
    services.answers["POST /seats/bulk"] = lines({"events": []}, NOT_AN_ADDRESS)
    nothing = (await upload_file(browser, LINES.encode())).text
    assert 'name="confirmed"' not in nothing and "Assign them" not in words(nothing)


async def test_lines_whose_outcome_has_changed_are_shown_again(browser: Browser, services: Services) -> None:
    preview = await upload_file(browser, LINES.encode())
    services.answers["POST /seats/bulk"] = lines(CHANGED, CHANGED)
    again = await browser.post("/seats/upload", None, **hidden(preview.text))
    assert "Something has changed since this was shown to you" in words(again.text)
    assert all(each.url.query == b"dry_run=true" for each in services.of("POST", "/seats/bulk"))
    done = await browser.post("/seats/upload", None, **hidden(again.text))
    assert "2 lines were carried out." in words(done.text) and "Something has changed" not in words(done.text)


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
