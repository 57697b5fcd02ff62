"""The operator's people: mails, contracts handed over, people of any organisation, invitations."""

from pathlib import Path

import pytest

from tests.console.fakes import Browser, Services, hidden, outcome, problem, words
from tests.console.samples.operator import ANSWERS, BEN, MINA, SUMMARY, TOLD, many
from tests.console.samples.portal import POOL


@pytest.fixture
def services() -> Services:
    return Services(dict(ANSWERS))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def form(browser: Browser) -> dict[str, str]:
    return hidden((await browser.get("/profile")).text)


async def test_mails_say_what_became_of_them_and_why(browser: Browser, services: Services) -> None:
    services.answers["GET /notifications"] = many(
        TOLD, {**TOLD, "notification_id": "n-2", "mail": "suppressed", "reason": "the address is not verified"}
    )
    said = words((await browser.get("/operator/mails?mail=bounced")).text)
    assert "Mina Okafor mina@northhaus.example A seat was assigned bounced" in said and "550 no such user" in said
    assert "The address is not confirmed." in said and "Nothing more goes to an address that has bounced" in said
    assert services.of("GET", "/notifications")[-1].url.params["mail"] == "bounced"


async def test_mails_are_found_by_their_readers_address(browser: Browser, services: Services) -> None:
    page = (await browser.get("/operator/mails?email=mina%40northhaus.example&kind=seat")).text
    assert services.of("GET", "/notifications")[-1].url.params["email"] == "mina@northhaus.example"
    assert 'id="email" name="email" type="email" value="mina@northhaus.example"' in page
    assert "email=mina%40northhaus.example" in page.partition("Download as CSV")[0].rpartition("href=")[2]


async def test_bounced_mails_wait_on_the_first_page(browser: Browser) -> None:
    assert "1 mail has bounced." in words((await browser.get("/")).text)


async def test_contracts_name_their_customers_and_managers(browser: Browser) -> None:
    said = words((await browser.get("/operator/contracts")).text)
    assert "Autodesk, Subscription c-1 Northhaus Mina Okafor mina@northhaus.example" in said


async def test_a_contract_whose_manager_has_left_names_its_customer_all_the_same(
    browser: Browser, services: Services
) -> None:
    services.answers["GET /contracts"] = many({**SUMMARY, "manager": ""})
    assert "c-1 Northhaus nobody" in words((await browser.get("/operator/contracts")).text)


async def test_a_contract_names_the_products_of_its_agreements(browser: Browser, services: Services) -> None:
    assert "autocad Desktop agreement" in words((await browser.get("/operator/contracts/c-1")).text)
    services.answers["GET /pools"] = many(POOL)
    assert "AutoCAD Desktop agreement" in words((await browser.get("/operator/contracts/c-1")).text)


async def test_a_contracts_history_leads_back_to_the_operators_page(browser: Browser, services: Services) -> None:
    services.answers["GET /contracts/c-1/history"] = many()
    assert 'href="/operator/contracts/c-1"' in (await browser.get("/contracts/c-1/history")).text


async def test_contracts_are_found_by_their_managers_address(browser: Browser, services: Services) -> None:
    await browser.get("/operator/contracts?manager_email=mina%40northhaus.example")
    assert services.of("GET", "/contracts")[-1].url.params["manager_email"] == "mina@northhaus.example"


async def test_a_contract_is_handed_over_for_a_manager_who_has_left(browser: Browser, services: Services) -> None:
    services.answers["POST /contracts/c-1/handover"] = outcome(
        ("RoleRevoked", {"account_id": MINA, "role": "contract_manager"}),
        ("RoleAssigned", {"account_id": BEN, "role": "contract_manager"}),
    )
    path = "/operator/contracts/c-1"
    asked = await browser.post(path, None, **await form(browser), to=BEN)
    said = words(asked.text)
    assert "Mina Okafor is Contract Manager no longer" in said and "Ben Low becomes Contract Manager." in said
    done = await browser.post(path, None, **hidden(asked.text))
    assert done.headers["location"] == f"{path}?notice=handed-over"
    assert services.bodies("POST", "/contracts/c-1/handover") == [{"to": BEN}] * 3


async def test_a_handover_to_nobody_is_said_beside_its_field(browser: Browser) -> None:
    answered = await browser.post("/operator/contracts/c-1", None, **await form(browser), to="")
    assert answered.status_code == 422 and "Fill in this field." in words(answered.text)


async def test_the_names_of_all_contracts_people_and_customers_are_asked_for_at_once(
    browser: Browser, services: Services
) -> None:
    services.answers["GET /contracts"] = many(SUMMARY, {**SUMMARY, "contract_id": "c-2", "manager": BEN})
    said = words((await browser.get("/operator/contracts")).text)
    assert "c-1 Northhaus Mina Okafor" in said and "c-2 Northhaus Ben Low" in said
    assert services.bodies("POST", "/accounts/names") == [{"account_ids": [MINA, BEN], "organisations": True}]
    assert [each.url.path for each in services.asked if each.url.path.startswith("/accounts/0")] == []


async def test_where_nothing_is_sold_yet_it_is_said_what_comes_first(browser: Browser, services: Services) -> None:
    assert "Nothing is sold yet" not in words((await browser.get("/")).text)
    services.answers["GET /contracts"] = many()
    page = await browser.get("/operator/contracts")
    assert "Here will be those of all customers" in words(page.text) and "What comes first" in words(page.text)
    assert '<a href="/operator/invite">Nothing is sold yet.' in (await browser.get("/")).text
    assert "What comes first" not in (await browser.get("/operator/contracts?q=northhaus")).text


async def test_people_of_any_organisation_are_found(browser: Browser, services: Services) -> None:
    assert "People of Northhaus" in words((await browser.get("/operator/organisations/o-2?q=mina")).text)
    assert dict(services.of("GET", "/people")[-1].url.params) == {"q": "mina", "organisation_id": "o-2"}


@pytest.mark.parametrize(
    ("act", "route", "question"),
    [
        ("sessions", f"/accounts/{BEN}/sessions", "End all sessions of Ben Low?"),
        ("remove", f"/people/{BEN}", "Remove Ben Low?"),
    ],
)
async def test_sessions_are_ended_and_people_removed(
    browser: Browser, services: Services, act: str, route: str, question: str
) -> None:
    services.answers[f"DELETE {route}"] = outcome(("Ended", {}))
    asked = await browser.post(f"/operator/people/{BEN}", None, **await form(browser), act=act)
    assert question in words(asked.text)
    done = await browser.post(f"/operator/people/{BEN}", None, **hidden(asked.text))
    assert done.status_code == 303 and services.of("DELETE", route)[-1].url.query == b""


async def test_somebody_of_a_publisher_is_invited(browser: Browser, services: Services) -> None:
    services.answers["POST /invitations"] = outcome(("InvitationIssued", {}))
    fields = {"email": "jo@autodesk.example", "kind": "publisher", "name": "Autodesk", "publisher": ""}
    asked = await browser.post("/operator/invite", None, **await form(browser), **fields)
    assert "concerns this publisher, for all its customers" in words(asked.text)
    (body,) = services.bodies("POST", "/invitations")
    assert body["organisation"] == {"kind": "publisher", "name": "Autodesk", "publisher": ""}
    await browser.post("/operator/invite", None, **await form(browser), **{**fields, "kind": "operator"})
    assert "organisation" not in services.bodies("POST", "/invitations")[-1]


async def test_who_is_not_of_the_operator_is_told_so(browser: Browser, services: Services) -> None:
    services.answers["GET /notifications"] = problem(403, "operator-only", "Only the operator sees that.")
    refused = await browser.get("/operator/mails")
    assert refused.status_code == 403 and "Only the operator" in words(refused.text)
