"""The operations server over real databases: plans, confirmations and their records."""

import pytest

from shared.events import CsnIssued
from tests.cli.serving import OPERATOR, Server
from tests.cli.stores import Stores, csn, fetch, operations, park

pytestmark = pytest.mark.system


@pytest.fixture
async def parked(stores: Stores) -> str:
    await park(stores["entitlements"])
    return stores["entitlements"]


async def test_a_read_only_verb_answers_as_json_does(parked: str) -> None:
    answer = (await Server().run("parked-ls", consumer="entitlements.numbers")).json()
    assert (answer["ok"], answer["dry_run"], answer["plan"]) == (True, None, None)
    assert answer["lines"] == ["1 record shown, of 1 parked."]
    assert [each["stream"] for each in answer["result"]["parked"]] == ["partner-1"]


async def test_a_change_is_planned_confirmed_by_its_digest_and_recorded_with_the_account(parked: str) -> None:
    server, asked = Server(), {"consumer": "entitlements.numbers"}
    plan = (await server.run("parked-retry", **asked)).json()
    assert (plan["dry_run"], plan["result"]["count"]) == (True, 3)
    assert plan["lines"] == ["entitlements.numbers partner-1: 3 of 3 records can be applied"]
    assert operations(parked) == []
    done = await server.run("parked-retry", **asked, yes=True, reason="It was fixed.", plan=plan["plan"])
    assert done.status_code == 200
    assert (done.json()["ok"], done.json()["dry_run"], done.json()["result"]["still_parked"]) == (True, False, 0)
    begun, ended = operations(parked)
    assert (begun["outcome"], ended["outcome"]) == ("begun", "done")
    assert (ended["actor"], ended["reason"]) == (OPERATOR.account_id, "It was fixed.")
    nothing = (await server.run("parked-retry", **asked)).json()
    assert (nothing["plan"], nothing["lines"]) == (None, ["No parked record matches."])


async def test_a_confirmation_of_another_plan_is_refused_with_the_present_one(parked: str) -> None:
    server = Server()
    handle = (await server.run("parked-ls")).json()["result"]["parked"][0]["handle"]
    plan = (await server.run("parked-edit", handle=handle, value=csn(99).data().decode())).json()["plan"]
    edit = {"handle": handle, "value": csn(98).data().decode(), "yes": True, "reason": "why"}
    refused = await server.run("parked-edit", **edit, plan=plan)
    assert (refused.status_code, refused.json()["rule"]) == (409, "operation-plan-changed")
    present = refused.json()["answer"]
    server.client.headers["Prefer"] = "respond-async, wait=5"
    kept = await server.run("parked-edit", **edit, plan=plan)
    assert (kept.json()["state"], kept.json()["answer"]["plan"]) == ("failed", present["plan"])
    del server.client.headers["Prefer"]
    assert present["dry_run"] is True and '  +  "csn": "98",' in present["result"]["changes"]
    assert operations(parked) == []
    assert (await server.run("parked-edit", **edit, plan=present["plan"])).status_code == 200
    settled = fetch(parked, "select outcome, value from engine.settled")
    assert [row["outcome"] for row in settled] == ["edited"]


async def test_a_plan_that_was_applied_already_is_not_applied_again(parked: str) -> None:
    server = Server()
    handle = (await server.run("parked-ls")).json()["result"]["parked"][0]["handle"]
    plan = (await server.run("parked-drop", handles=[handle])).json()["plan"]
    drop = {"handles": [handle], "yes": True, "reason": "why", "plan": plan}
    assert (await server.run("parked-drop", **drop)).status_code == 200
    again = await server.run("parked-drop", **drop)
    assert (again.status_code, again.json()["rule"]) == (404, "unknown")


async def test_what_a_verb_refuses_is_a_problem_in_its_words(parked: str) -> None:
    server = Server()
    missing = await server.run("parked-show", handle="nothing")
    assert missing.status_code == 404 and "No parked record has the handle nothing" in missing.json()["detail"]
    refused = await server.run("step", projection="entitlements.pools", stream="partner-1")
    assert refused.status_code == 404, refused.text
    nothing = await server.run("parked-retry")
    assert nothing.status_code == 422 and "Say which records to retry" in nothing.json()["detail"]


async def test_a_long_verb_is_an_operation_from_its_plan_on(stores: Stores) -> None:
    server = Server()
    checked = await server.ended(await server.run("verify", service="entitlements", store_only=True))
    assert (checked["state"], checked["answer"]["ok"]) == ("done", True), checked
    refused = await server.ended(await server.run("rebuild", projection="entitlements.pools"))
    assert (refused["state"], refused["problem"]["rule"]) == ("failed", "operation-refused")
    assert "has never run" in refused["problem"]["detail"]


async def test_an_event_that_a_person_edits_is_what_its_consumer_gets(parked: str) -> None:
    server = Server()
    handle = (await server.run("parked-ls")).json()["result"]["parked"][0]["handle"]
    body = csn(99).data().decode()
    assert (await server.applied("parked-edit", handle=handle, value=body))["ok"]
    shown = (await server.run("parked-show", handle=handle)).json()["result"]
    assert shown["value"]["csn"] == "99" and CsnIssued.type() == shown["type"]
    assert (await server.applied("parked-retry", handles=[handle]))["ok"]
    assert (await server.run("parked-ls")).json()["result"]["parked"] == []
