"""The account portal: what its pages show and ask, and how refusals are said where they were caused."""

from pathlib import Path
from typing import Any, Final

import pytest

from services.console.pages.portal.credits import chart
from services.console.shapes.entitlements import Entry
from tests.console.fakes import ACCOUNT, CHANGED, Browser, Services, hidden, outcome, problem, words
from tests.console.samples.portal import (
    ANA,
    ANSWERS,
    AUTO_RENEW,
    BEN,
    BOUGHT,
    CONTRACT,
    CONTRACT_SHOWN,
    MY_SEAT,
    NO_REFUNDS,
    PARTNER,
    SUBSCRIPTION,
    answer,
    entry,
    listed,
)

AT_CONTRACT, AT_POOL = f"/contracts/{CONTRACT}", f"/pools/{SUBSCRIPTION}"
SOMETHING: Final[tuple[str, dict[str, Any]]] = ("Changed", {})
BULK_REFUSAL = {"type": "", "title": "", "status": 409, "detail": "No.", "rule": "user-unknown"}


@pytest.fixture
def services() -> Services:
    return Services({**ANSWERS})


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


def addressed(services: Services, account_id: str | None) -> None:
    services.answers["POST /accounts/by-address"] = answer(items=[{"account_id": account_id}])


# ── Contracts and roles ────────────────────────────────────────────────────────────────────────────────


async def test_a_contract_names_its_people_and_what_waits(browser: Browser) -> None:
    page = await browser.get(f"/contracts/{CONTRACT}")
    said = words(page.text)
    assert "Autodesk, Subscription" in said and "Mina Okafor mina@northhaus.example Contract Manager" in said
    assert "Ana Sol ana@northhaus.example Software Coordinator may assign seats" in said
    assert "Ben Low" in said and "CAD standards" in said and f'href="/contracts/{CONTRACT}/requests/{BEN}"' in page.text


async def test_who_is_not_contract_manager_may_ask_for_a_role_only(browser: Browser, services: Services) -> None:
    mine = {**CONTRACT_SHOWN, "roles": [{**CONTRACT_SHOWN["roles"][0], "account_id": ANA}]}
    services.answers[f"GET {AT_CONTRACT}"] = answer(**mine)
    text = (await browser.get(f"/contracts/{CONTRACT}")).text
    assert "Ask for a role" in text and "Hand the contract over" not in text and f"requests/{BEN}" not in text


async def test_own_requests_have_their_answer_and_its_reason(browser: Browser) -> None:
    said = words((await browser.get("/contracts")).text)
    assert "declined by Ana Sol" in said and "“Not yet.”" in said


async def test_a_request_is_declined_with_a_reason_only(browser: Browser, services: Services) -> None:
    at = f"/contracts/{CONTRACT}/requests/{BEN}"
    answered = await browser.send(at, "", answer="decline", reason=" ")
    assert answered.status_code == 422 and "Reason : Fill in this field." in words(answered.text)
    declined = {"account_id": BEN, "reason": "Not yet."}
    services.answers[f"POST {AT_CONTRACT}/role-requests/{BEN}/decline"] = outcome(("RoleRequestDeclined", declined))
    asked = await browser.send(at, "", answer="decline", reason="Not yet.")
    assert "Ben Low is told that the request is declined, and why." in words(asked.text)
    assert services.bodies("POST", f"{AT_CONTRACT}/role-requests/{BEN}/decline") == [{"reason": "Not yet."}]


async def test_a_request_is_approved_with_the_right_to_assign_seats(browser: Browser, services: Services) -> None:
    given = {"account_id": BEN, "role": "software_coordinator", "may_assign_seats": True}
    services.answers[f"POST {AT_CONTRACT}/role-requests/{BEN}/approval"] = outcome(("RoleAssigned", given))
    at = f"/contracts/{CONTRACT}/requests/{BEN}"
    asked = await browser.send(at, "", answer="approve-seats", reason="")
    assert "Ben Low becomes Software Coordinator and may assign seats." in words(asked.text)
    done = await browser.post(at, None, **hidden(asked.text))
    assert done.headers["location"] == f"/contracts/{CONTRACT}?notice=role-answered"
    assert services.bodies("POST", f"{AT_CONTRACT}/role-requests/{BEN}/approval")[-1] == {"may_assign_seats": True}


async def test_a_coordinator_is_named_by_address(browser: Browser, services: Services) -> None:
    at = f"/contracts/{CONTRACT}/coordinators"
    addressed(services, None)
    unknown = await browser.send(at, "", email="nobody@northhaus.example")
    assert "Nobody in your organisation has this address. Invite them first." in words(unknown.text)
    addressed(services, BEN)
    services.answers[f"PUT {AT_CONTRACT}/coordinators/{BEN}"] = outcome(SOMETHING)
    await browser.send(at, "", email="ben@northhaus.example")
    assert services.bodies("PUT", f"{AT_CONTRACT}/coordinators/{BEN}") == [{"may_assign_seats": False}]
    assert services.bodies("POST", "/accounts/by-address")[-1] == {"items": [{"email": "ben@northhaus.example"}]}


async def test_a_handover_says_who_loses_and_who_gains_before_it_is_done(browser: Browser, services: Services) -> None:
    addressed(services, ANA)
    role = {"role": "contract_manager"}
    services.answers[f"POST {AT_CONTRACT}/handover"] = outcome(
        ("RoleRevoked", {"account_id": "a-1", **role}), ("RoleAssigned", {"account_id": ANA, **role})
    )
    at = f"/contracts/{CONTRACT}/handover"
    asked = await browser.send(at, "", email="ana@northhaus.example")
    said = words(asked.text)
    assert "Mina Okafor is Contract Manager no longer" in said and "Ana Sol becomes Contract Manager." in said
    assert "can't be undone" in said and len(services.of("POST", f"{AT_CONTRACT}/handover")) == 1
    done = await browser.post(at, None, **hidden(asked.text))
    assert done.headers["location"] == f"/contracts/{CONTRACT}?notice=handed-over"


async def test_a_refused_handover_is_said_beside_the_address(browser: Browser, services: Services) -> None:
    addressed(services, ANA)
    services.answers[f"POST {AT_CONTRACT}/handover"] = problem(409, "not-of-customer")
    refusal = await browser.send(f"/contracts/{CONTRACT}/handover", "", email="ana@northhaus.example")
    assert refusal.status_code == 422 and 'id="email-error">This person is not of your organisation' in refusal.text


# ── People ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_leavers_dry_run_says_what_is_taken(browser: Browser, services: Services) -> None:
    services.answers[f"DELETE /people/{ANA}"] = outcome(SOMETHING)
    asked = await browser.send(f"/people/{ANA}", "", act="remove")
    said = words(asked.text)
    assert "Remove Ana Sol?" in said and "They lose 1 role." in said and "Their seat of AutoCAD is free." in said
    done = await browser.post(f"/people/{ANA}", None, **hidden(asked.text))
    assert done.headers["location"] == "/people?notice=removed"


async def test_a_contract_manager_hands_over_before_they_are_removed(browser: Browser, services: Services) -> None:
    services.answers[f"DELETE /people/{ANA}"] = problem(409, "still-contract-manager")
    assert "Hand the contract over first" in words((await browser.send(f"/people/{ANA}", "", act="remove")).text)


async def test_an_invitation_goes_out_and_is_withdrawn(browser: Browser, services: Services) -> None:
    services.answers["POST /invitations"] = outcome(SOMETHING)
    asked = await browser.send("/people/invite", "", email="cara@x.example")
    assert "A link goes to cara@x.example." in words(asked.text)
    services.answers["DELETE /invitations/i-1"] = outcome(SOMETHING)
    await browser.send("/people", "", invitation_id="i-1")
    assert services.of("DELETE", "/invitations/i-1")[0].url.query == b"dry_run=true"


async def test_people_without_a_role_are_told_who_may_see_the_list(browser: Browser, services: Services) -> None:
    services.answers["GET /people"] = problem(403, "may-not-see-people")
    services.answers["GET /invitations"] = problem(403, "may-not-invite")
    answered = await browser.get("/people")
    assert answered.status_code == 200 and "Ask for a role" in words(answered.text)
    assert "Invite somebody" not in answered.text


async def test_a_pasted_list_of_leavers_is_previewed_by_its_own_lines(browser: Browser, services: Services) -> None:
    items = [{"line": 2, "status": 200, "answer": CHANGED}, {"line": 3, "status": 409, "answer": BULK_REFUSAL}]
    services.answers["POST /people/remove/bulk"] = answer(items=items, accepted=1, dry_run=True)
    preview = await browser.send("/people/leavers", "", pasted="ana@x.example\nnobody@x.example")
    said = words(preview.text)
    assert "1 ana@x.example accepted" in said and "2 nobody@x.example refused" in said
    assert services.of("POST", "/people/remove/bulk")[0].content == b"email\nana@x.example\nnobody@x.example"


async def test_no_list_at_all_is_said(browser: Browser) -> None:
    answered = await browser.send("/people/leavers", "", pasted=" ")
    assert answered.status_code == 422 and "Choose a file, or paste a list of addresses." in words(answered.text)


# ── Subscriptions ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_subscription_shows_its_term_price_and_partner(browser: Browser) -> None:
    said = words((await browser.get(f"/subscriptions/{SUBSCRIPTION}")).text)
    assert "from 20 Nov 2026 to 19 Nov 2027" in said and "€1,200.00" in said
    assert "CADworks supports your users" in said and "7 seats in all waits for the partner" in said


async def test_auto_renew_says_what_it_does_before_it_is_turned_off(browser: Browser, services: Services) -> None:
    services.answers[f"POST /subscriptions/{SUBSCRIPTION}/disable-auto-renew"] = outcome(SOMETHING)
    at = f"/subscriptions/{SUBSCRIPTION}/auto-renew"
    asked = await browser.send(at)
    said = words(asked.text)
    assert "The subscription ends on 19 Nov 2027." in said and "After today, €1,200.00 falls due until then" in said
    assert "1 seat is assigned. It has to be taken away first, or this is refused." in said
    done = await browser.post(at, None, **hidden(asked.text))
    assert done.headers["location"] == f"{at}?notice=auto-renew-asked"


async def test_a_refused_auto_renew_names_the_users_of_the_seats(browser: Browser) -> None:
    said = words((await browser.get(f"/subscriptions/{SUBSCRIPTION}/auto-renew")).text)
    assert "It stays on: these seats are assigned Take them away first, then ask again." in said
    assert "Take all seats away Choose seats Seat 1: Ana Sol ana@northhaus.example" in said


@pytest.mark.parametrize(("state", "live"), [("asked", True), ("on", False), ("off", False)])
async def test_the_page_waits_for_the_seats_answer(
    browser: Browser, services: Services, state: str, live: bool
) -> None:
    services.answers[f"GET /subscriptions/{SUBSCRIPTION}"] = answer(
        **BOUGHT | {"auto_renew": AUTO_RENEW | {"state": state}}
    )
    text = (await browser.get(f"/subscriptions/{SUBSCRIPTION}/auto-renew")).text
    assert ('hx-trigger="every 2s"' in text) is live


async def test_several_subscriptions_are_turned_off_with_an_outcome_each(browser: Browser, services: Services) -> None:
    refusal = {**BULK_REFUSAL, "rule": "auto-renew-cutoff-passed"}
    items = [{"line": 2, "status": 409, "answer": refusal}]
    services.answers["POST /subscriptions/disable-auto-renew/bulk"] = answer(items=items, accepted=0, dry_run=True)
    preview = await browser.send("/subscriptions", "", **{"chosen[]": SUBSCRIPTION})
    assert "1 AutoCAD refused The last day to turn auto-renew off" in words(preview.text)
    (sent,) = services.of("POST", "/subscriptions/disable-auto-renew/bulk")
    assert sent.content.decode() == f"subscription_id\n{SUBSCRIPTION}"
    none = await browser.send("/subscriptions", "")
    assert "Choose at least one subscription." in words(none.text)


async def test_several_seats_are_taken_away_with_an_outcome_each(browser: Browser, services: Services) -> None:
    items = [{"line": 2, "status": 200, "answer": CHANGED}]
    services.answers[f"POST {AT_POOL}/seats/unassign/bulk"] = answer(items=items, accepted=1, dry_run=True)
    preview = await browser.send(f"/seats/{SUBSCRIPTION}", "", **{"chosen[]": ANA})
    assert "1 Ana Sol ana@northhaus.example accepted" in words(preview.text)
    (sent,) = services.of("POST", f"{AT_POOL}/seats/unassign/bulk")
    assert sent.content.decode() == f"account_id\n{ANA}" and sent.url.query == b"dry_run=true"
    assert "Choose at least one person." in words((await browser.send(f"/seats/{SUBSCRIPTION}", "")).text)


async def test_all_seats_are_taken_away_before_auto_renew_is_turned_off(browser: Browser, services: Services) -> None:
    items = [{"line": 2, "status": 200, "answer": CHANGED}]
    services.answers[f"POST {AT_POOL}/seats/unassign/bulk"] = answer(items=items, accepted=1, dry_run=False)
    every = {"all": "yes", "for": "auto-renew"}
    done = await browser.send(f"/seats/{SUBSCRIPTION}", "", **every)
    assert services.of("POST", f"{AT_POOL}/seats/unassign/bulk")[0].content.decode() == f"account_id\n{ANA}"
    assert f'href="/subscriptions/{SUBSCRIPTION}/auto-renew"' in done.text


async def test_a_refund_is_answered_by_the_rule_and_its_record(browser: Browser, services: Services) -> None:
    refusal = problem(409, "no-refunds", command_id="r-7")
    services.answers[f"POST /subscriptions/{SUBSCRIPTION}/refund"] = refusal
    answered = await browser.send(f"/subscriptions/{SUBSCRIPTION}/refund", "", reason="Changed our minds")
    said = words(answered.text)
    assert f"{NO_REFUNDS} Turn auto-renew off" in said and '<a href="/refusals/r-7">Look at it' in answered.text
    assert services.of("POST", f"/subscriptions/{SUBSCRIPTION}/refund")[0].url.query == b""


async def test_no_page_of_a_subscription_offers_a_refund(browser: Browser) -> None:
    for at in (f"/subscriptions/{SUBSCRIPTION}", f"/subscriptions/{SUBSCRIPTION}/refund"):
        said = words((await browser.get(at)).text)
        assert NO_REFUNDS in said and "on record" in said and "Ask for a refund" not in said


async def test_more_seats_are_asked_for_by_number(browser: Browser, services: Services) -> None:
    at = f"/subscriptions/{SUBSCRIPTION}/seats"
    assert "Enter a whole number." in words((await browser.send(at, "", seats="many")).text)
    services.answers[f"POST /subscriptions/{SUBSCRIPTION}/seats-requests"] = outcome(SOMETHING)
    assert "There shall be 7 seats in all." in words((await browser.send(at, "", seats="7")).text)
    assert services.bodies("POST", f"/subscriptions/{SUBSCRIPTION}/seats-requests") == [{"seats": 7}]


# ── Seats ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_seat_is_assigned_by_address(browser: Browser, services: Services) -> None:
    services.answers[f"POST {AT_POOL}/seats"] = outcome(("SeatAssigned", {"account_id": BEN, "seat": 2}))
    asked = await browser.send(f"/seats/{SUBSCRIPTION}/assign", "", email="ben@northhaus.example")
    assert "ben@northhaus.example gets seat 2." in words(asked.text)
    assert services.bodies("POST", f"{AT_POOL}/seats") == [{"email": "ben@northhaus.example"}]


async def test_an_unknown_address_is_said_beside_its_field(browser: Browser, services: Services) -> None:
    services.answers[f"POST {AT_POOL}/seats"] = problem(409, "user-unknown")
    refusal = await browser.send(f"/seats/{SUBSCRIPTION}/assign", "", email="x@northhaus.example")
    assert 'id="email-error">Nobody in your organisation has this address.' in refusal.text


async def test_a_seat_moves_in_one_step(browser: Browser, services: Services) -> None:
    services.answers[f"POST {AT_POOL}/seats/transfer"] = outcome(SOMETHING)
    at = f"/seats/{SUBSCRIPTION}/holders/{ANA}"
    asked = await browser.send(at, "", act="move", to_email="ben@x.example")
    assert "Ana Sol loses the seat, and ben@x.example gets it, in one step." in words(asked.text)
    assert services.bodies("POST", f"{AT_POOL}/seats/transfer") == [{"account_id": ANA, "to_email": "ben@x.example"}]


async def test_a_seat_is_taken_away(browser: Browser, services: Services) -> None:
    services.answers[f"DELETE {AT_POOL}/seats/{ANA}"] = outcome(SOMETHING)
    asked = await browser.send(f"/seats/{SUBSCRIPTION}/holders/{ANA}", "", act="take", to_email="")
    assert "Ana Sol can't use the product any more." in words(asked.text)


async def test_holders_are_searched_by_name_and_address(browser: Browser) -> None:
    assert "Nobody is found by this." in words((await browser.get(f"/seats/{SUBSCRIPTION}?q=zoe")).text)
    for text in ("", "?q=SOL", "?q=ana@"):
        assert "Ana Sol" in (await browser.get(f"/seats/{SUBSCRIPTION}{text}")).text


# ── Credits, sessions, partners ────────────────────────────────────────────────────────────────────────


async def test_a_chart_has_a_step_for_each_entry_and_says_itself_in_words(browser: Browser) -> None:
    page = (await browser.get(f"/credits/{CONTRACT}")).text
    assert '<svg class="chart"' in page and "the balance was between 70 and 100 credits, and is 70 now" in page
    drawn = chart([Entry(**entry("granted", 100, 100, "2026-11-20T11:00:00Z"))] * 2)
    assert drawn is not None and drawn.line == "M8.0,12.0 H8.0 V12.0"
    assert chart([]) is None


async def test_credits_are_spent_under_the_forms_key(browser: Browser, services: Services) -> None:
    services.answers[f"POST {AT_CONTRACT}/credits/consumptions"] = outcome(SOMETHING)
    at = f"/credits/{CONTRACT}/spend"
    asked = await browser.send(at, "", amount="3", purpose="rendering")
    assert "3 credits are spent for: rendering." in words(asked.text)
    spends = f"{AT_CONTRACT}/credits/consumptions"
    services.answers[f"POST {spends}"] = outcome(SOMETHING, before=9)  # a machine spends, too
    done = await browser.post(at, None, **hidden(asked.text))
    assert done.status_code == 303 and "if-match" not in services.of("POST", spends)[-1].headers
    _, first, *others = services.bodies("POST", spends)
    assert others == [first, first] and first["consumption_id"] == hidden(asked.text)["key"] and first["amount"] == 3


@pytest.mark.parametrize("at", [f"/credits/{CONTRACT}", f"/credits/{CONTRACT}/spend", "/own"])
@pytest.mark.parametrize(
    ("rule", "why"),
    [("credits-exhausted", "The publisher grants them, to everybody"), ("seat-needed", "You need a seat of this")],
)
async def test_who_can_not_spend_credits_is_told_why_instead(
    browser: Browser, services: Services, at: str, rule: str, why: str
) -> None:
    offered = (await browser.get(at)).text
    assert 'name="amount"' in offered or f'href="/credits/{CONTRACT}/spend"' in offered
    services.answers[f"POST {AT_CONTRACT}/credits/consumptions"] = problem(409, rule)
    refused = (await browser.get(at)).text
    assert why in words(refused) and 'name="amount"' not in refused and f'/credits/{CONTRACT}/spend"' not in refused
    dry = services.of("POST", f"{AT_CONTRACT}/credits/consumptions")
    assert {each.url.query for each in dry} == {b"dry_run=true"}, "nothing is spent by looking"


async def test_a_session_is_ended(browser: Browser, services: Services) -> None:
    services.answers["DELETE /sessions/s-2"] = outcome(SOMETHING)
    done = await browser.send("/sessions")
    assert done.headers["location"] == "/sessions?notice=session-over"


async def test_a_partner_is_engaged_by_its_number_and_released(browser: Browser, services: Services) -> None:
    services.answers["PUT /partners/new"] = problem(404, "partner-unknown")
    refusal = await browser.send("/partners", "", act="engage", partner="new")
    assert 'id="partner-error">There is no partner with this number.' in refusal.text
    services.answers[f"DELETE /partners/{PARTNER}"] = outcome(SOMETHING)
    asked = await browser.send("/partners", "", act="release", partner=PARTNER)
    assert "It orders nothing more for you." in words(asked.text)


# ── Home ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_home_says_what_waits_for_a_customer(browser: Browser, services: Services) -> None:
    clock = {"organisation_id": "o-1", "sandbox": True, "ahead_s": 0, "now": "2027-11-01T09:00:00Z"}
    services.answers["GET /me"] = answer(**ACCOUNT | {"sandbox": True})
    services.answers["GET /me/clock"] = answer(**clock)
    said = words((await browser.get("/")).text)
    assert "Ben Low asks for a role and waits for your answer." in said
    assert "AutoCAD renews after 19 Nov 2027. Auto-renew can be turned off until 12 Nov 2027." in said
    assert "1 instalment falls due in the next 31 days: €1,200.00." in said
    assert "Your request for 7 seats of AutoCAD waits for CADworks." in said


async def test_home_says_which_own_seats_can_not_be_used_much_longer(browser: Browser, services: Services) -> None:
    services.answers["GET /me/seats"] = listed({**MY_SEAT, "phase": "expired", "until": "2027-12-04"})
    services.answers["GET /people/a-1"] = problem(403, "people-not-shown")
    said = words((await browser.get("/")).text)
    assert "Your seat of AutoCAD can be used until 4 Dec 2027." in said and "instalment" not in said
    assert services.of("GET", "/me/seats")[-1].url.params["phase"] == "expired"
