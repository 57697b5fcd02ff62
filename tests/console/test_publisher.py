"""A publisher's people: plans and prices, orders answered, CSNs, updates."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console.fakes import CHANGED, Browser, Services, hidden, outcome, problem, words
from tests.console.samples.publisher import ANSWERS, ORDER, many
from tests.console.samples.publisher import PLAN as OFFERED

PLAN = {
    "product_id": "C1RK1-WW1762-L158",
    "programme": "subscription",
    "product": "autocad",
    "product_name": "AutoCAD",
    "period": "annual",
    "support": "basic",
    "billing": "upfront",
    "commitment_months": "12",
    "category": "open",
    "agreement": "desktop",
    "amount": "1,800.50",
    "currency": "EUR",
}


@pytest.fixture
def services() -> Services:
    return Services(dict(ANSWERS))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


def foresees(*types: str) -> httpx.Response:
    return outcome(*((each, {}) for each in types))


async def form(browser: Browser, page: str = "/profile") -> dict[str, str]:
    return hidden((await browser.get(page)).text)


async def test_a_plan_is_listed_with_its_price_in_minor_units(browser: Browser, services: Services) -> None:
    services.answers["POST /publisher/plans"] = foresees("PlanListed")
    asked = await browser.post("/publisher/plans/new", None, **await form(browser), **PLAN)
    said = words(asked.text)
    assert "Partners can order AutoCAD (C1RK1-WW1762-L158) from now on, at €1,800.50 a seat." in said
    (body,) = services.bodies("POST", "/publisher/plans")
    assert body["price"] == {"amount": 180_050, "currency": "EUR"} and body["commitment_months"] == 12
    done = await browser.post("/publisher/plans/new", None, **hidden(asked.text))
    assert done.headers["location"] == "/publisher/plans?notice=plan-listed"


@pytest.mark.parametrize("amount", ["much", "-1", "1.005", "1" * 30])
async def test_an_amount_that_is_none_is_said_beside_its_field(browser: Browser, amount: str) -> None:
    answer = await browser.post("/publisher/plans/new", None, **await form(browser), **{**PLAN, "amount": amount})
    assert answer.status_code == 422 and "Write an amount, such as 1,800.00." in words(answer.text)


async def test_a_price_holds_from_a_day_on(browser: Browser, services: Services) -> None:
    path = "/publisher/plans/C1RK1-WW1762-L158"
    assert "from 1 Mar 2027 €1,900.00" in words((await browser.get(path)).text)
    services.answers[f"POST {path}/prices"] = foresees("PlanPriceAnnounced")
    fields = {"do": "price", "currency": "EUR", "amount": "2000", "valid_from": "2027-06-01"}
    said = words((await browser.post(path, None, **await form(browser), **fields)).text)
    assert "From 1 Jun 2027 (UTC) a seat costs €2,000.00." in said
    assert services.bodies("POST", f"{path}/prices") == [
        {"price": {"amount": 200_000, "currency": "EUR"}, "valid_from": "2027-06-01"}
    ]


async def test_a_plan_is_taken_off_sale(browser: Browser, services: Services) -> None:
    path = "/publisher/plans/C1RK1-WW1762-L158"
    services.answers[f"DELETE {path}"] = foresees("PlanWithdrawn")
    said = words((await browser.post(path, None, **await form(browser), do="withdraw")).text)
    assert "Take the plan off sale?" in said and "Running subscriptions stay" in said


async def test_orders_arrive_by_themselves(browser: Browser, services: Services) -> None:
    page = (await browser.get("/publisher/orders?status=awaiting")).text
    seen = page.split("seen=")[1].split('"')[0]
    at = f"/publisher/orders?status=awaiting&seen={seen}"
    assert (await browser.get(at)).status_code == 204
    services.answers["GET /publisher/orders"] = many(ORDER, {**ORDER, "subscription_id": "s-2"})
    changed = (await browser.get(at)).text
    assert seen not in changed and "s-2" in changed
    services.answers["GET /publisher/orders"] = problem(503, "unavailable")
    assert (await browser.get(at)).status_code == 204


@pytest.mark.parametrize(
    ("do", "route", "given"),
    [("confirm", "confirmation", {"reference": "AD-1"}), ("decline", "decline", {"reason": "over the limit"})],
)
async def test_an_order_is_answered_as_it_was_shown(
    browser: Browser, services: Services, do: str, route: str, given: dict[str, Any]
) -> None:
    services.answers[f"POST /publisher/orders/s-1/{route}"] = foresees("SubscriptionConfirmed")
    asked = await browser.post("/publisher/orders/s-1", None, **await form(browser), do=do, order="e-1", **given)
    (sent,) = services.of("POST", f"/publisher/orders/s-1/{route}")
    assert json.loads(sent.content) == {**given, "order": "e-1"} and sent.url.query == b"dry_run=true"
    done = await browser.post("/publisher/orders/s-1", None, **hidden(asked.text))
    assert done.headers["location"].startswith("/publisher/orders?status=awaiting&notice=answer-")


async def test_an_order_that_is_not_the_publishers_is_no_page(browser: Browser) -> None:
    assert (await browser.get("/publisher/orders/other")).status_code == 404


async def test_a_number_is_issued_and_revoked(browser: Browser, services: Services) -> None:
    services.answers["POST /publisher/csns"] = foresees("CsnIssued")
    fields = {"do": "issue", "csn": "5100012346", "organisation_id": "p-1"}
    assert "Issue CSN 5100012346?" in words(
        (await browser.post("/publisher/csns", None, **await form(browser), **fields)).text
    )
    services.answers["POST /publisher/csns/revocations"] = foresees("CsnRevoked")
    fields = {"do": "revoke", "csn": "5100012345", "organisation_id": "p-1", "reason": "audit"}
    said = words((await browser.post("/publisher/csns", None, **await form(browser), **fields)).text)
    assert "lose the right to updates" in said
    assert services.bodies("POST", "/publisher/csns/revocations")[0]["reason"] == "audit"
    services.answers["POST /publisher/csns"] = problem(422, "malformed-csn")
    fields = {"do": "issue", "csn": "x", "organisation_id": "p-1"}
    refused = await browser.post("/publisher/csns", None, **await form(browser), **fields)
    assert "does not look like this" in words(refused.text)


async def test_an_update_is_published_and_withdrawn(browser: Browser, services: Services) -> None:
    services.answers["POST /publisher/updates"] = foresees("UpdatePublished")
    names = ("update_id", "product", "title", "version", "platform", "location")
    fields = {**dict.fromkeys(names, "x"), "sha256": "A" * 64, "size_bytes": "412", "kind": "update"}
    await browser.post("/publisher/updates/new", None, **await form(browser), **fields, severity="normal")
    (body,) = services.bodies("POST", "/publisher/updates")
    assert (body["size_bytes"], body["sha256"], body["component"]) == (412, "a" * 64, "")
    services.answers["POST /publisher/updates/ACD-2027.1/withdrawal"] = foresees("UpdateWithdrawn")
    path = "/publisher/updates/ACD-2027.1"
    said = words((await browser.post(path, None, **await form(browser), reason="it breaks printing")).text)
    assert "Withdraw the update?" in said and "can't be undone" in said


@pytest.mark.parametrize("path", ["/publisher/updates", "/publisher/updates/ACD-2027.1"])
async def test_an_update_names_its_product(browser: Browser, services: Services, path: str) -> None:
    services.answers["GET /publisher/plans"] = many({**OFFERED, "product_name": "AutoCAD (renewal)"}, OFFERED)
    page = (await browser.get(path)).text
    assert ">AutoCAD</" in page and "autocad" not in words(page) and "(renewal)" not in page


async def test_orders_to_answer_wait_on_the_first_page(browser: Browser) -> None:
    assert "1 order waits for your answer." in words((await browser.get("/")).text)


async def test_credits_are_granted_once_it_is_said_until_when(browser: Browser, services: Services) -> None:
    granted = ("CreditsGranted", {"amount": 500, "expires_on": "2027-11-28"})
    services.answers["POST /contracts/c-1/credits/grants"] = outcome(granted)
    fields = {"grant_id": "G-2", "amount": "500", "account_id": "a-1"}
    asked = await browser.post("/publisher/credits/c-1", None, **await form(browser), **fields)
    assert "500 credits are granted. They can be spent until 28 Nov 2027 (UTC)." in words(asked.text)
    done = await browser.post("/publisher/credits/c-1", None, **hidden(asked.text))
    assert done.headers["location"] == "/publisher/credits/c-1?notice=credits-granted"
    assert services.bodies("POST", "/contracts/c-1/credits/grants")[1] == {**fields, "amount": 500}


async def test_a_single_user_whom_the_publisher_may_not_know_is_named_as_one(
    browser: Browser, services: Services
) -> None:
    unknown = "0190f3a0-0000-7000-8000-000000000009"
    lot = {"grant_id": "G-7", "account_id": unknown, "granted": 9, "remaining": 9, "expires_on": "2027-11-28"}
    credits = {"contract_id": "c-1", "balance": 9, "pool": 0, "individual": {unknown: 9}, "lots": [lot]}
    services.answers["GET /contracts/c-1/credits"] = httpx.Response(200, json=credits)
    page = (await browser.get("/publisher/credits/c-1")).text
    assert "G-7 a single user 9" in words(page) and unknown not in page


async def test_a_number_of_a_grant_that_is_taken_is_said_beside_its_field(browser: Browser, services: Services) -> None:
    services.answers["POST /contracts/c-1/credits/grants"] = problem(409, "grant-id-reused")
    fields = {"grant_id": "G-1", "amount": "5", "account_id": ""}
    answered = await browser.post("/publisher/credits/c-1", None, **await form(browser), **fields)
    assert answered.status_code == 422 and 'id="grant_id-error"' in answered.text
    wrong = await browser.post("/publisher/credits/c-1", None, **await form(browser), **{**fields, "amount": "many"})
    assert 'id="amount-error"' in wrong.text


async def test_a_file_of_grants_shows_each_line_first(browser: Browser, services: Services) -> None:
    items = [{"line": 2, "status": 200, "answer": CHANGED}]
    previewed = httpx.Response(200, json={"items": items, "accepted": 1, "dry_run": True})
    services.answers["POST /contracts/c-1/credits/grants/bulk"] = previewed
    lines = "grant_id,amount\nG-3,20"
    asked = await browser.post("/publisher/credits/c-1/file", None, **await form(browser), pasted=lines)
    assert "1 line will be carried out." in words(asked.text)
    (sent,) = services.of("POST", "/contracts/c-1/credits/grants/bulk")
    assert sent.content.decode() == lines
    empty = await browser.post("/publisher/credits/c-1/file", None, **await form(browser), pasted="")
    assert "Choose a CSV file, or paste its lines." in words(empty.text)
