"""The operations server: whom it serves, which verbs, and what its forms take. Nothing of it needs a system."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from cli.app import VERBS, load_verbs
from cli.exit_codes import FAULTS, MEANING, NOT_FOUND, OWN_FAULT, REFUSED, UNREACHABLE, USAGE, OperatorError
from cli.operation import ChangePlan, Operation, Outcome, digest_of
from cli.serving import operations
from cli.serving.forms import form_of, served
from cli.serving.operations import problem_of
from tests.cli.serving import OPERATOR, STRANGERS, Server, Slow


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_everybody_but_the_operators_people_is_refused_at_every_door(stranger: str) -> None:
    server = Server(STRANGERS[stranger])
    answers = [await server.get(path) for path in ("/verbs", "/operations", "/operations/x", "/latency")]
    answers += [await server.run(name) for name in served()]
    assert {answer.status_code for answer in answers} == {401 if stranger == "nobody" else 403}
    assert server.parts.operations.running == 0


async def test_the_process_tells_everybody_that_it_is_alive_and_what_its_rules_are() -> None:
    server = Server(None)
    for path in ("/health", "/ready", "/metrics", "/problems/operation-plan-changed", "/openapi.json"):
        assert (await server.get(path)).status_code == 200, path
    assert "access-control-allow-origin" not in (await server.get("/health")).headers


async def test_every_verb_is_served_or_says_why_not() -> None:
    found = (await Server().get("/verbs")).json()
    assert {each["verb"] for each in found["items"]} | {each["verb"] for each in found["not_served"]} == set(VERBS)
    with_a_persons_token = {"clock move", "command ls", "command show", "command send"}
    assert {each["verb"] for each in found["not_served"]} == {"tail", "export", "import", *with_a_persons_token}
    assert all(each["why"].endswith(".") for each in found["not_served"])
    (rebuild,) = (each for each in found["items"] if each["name"] == "rebuild")
    assert (rebuild["changes"], rebuild["long"], rebuild["parameters"]["required"]) == (True, True, ["projection"])
    assert "entitlements.pools" in rebuild["parameters"]["properties"]["projection"]["examples"]
    assert set(rebuild["parameters"]["properties"]) == {
        *("projection", "source", "workers", "switch_differing", "drop_old", "give_up")
    }


def test_no_parameter_names_a_file_of_the_servers_machine() -> None:
    load_verbs()
    taken = {verb.name: set(form_of(verb).model_json_schema(by_alias=True)["properties"]) for verb in served().values()}
    assert "anchors" not in taken["verify"]
    assert form_of(VERBS["parked edit"]).model_json_schema()["properties"]["value"]["description"] == "The new body."


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("parked-ls", {"bogus": 1}),
    ("parked-ls", {"behind": "true"}),
    ("parked-ls", {"yes": True}),
    ("parked-show", {}),
    ("parked-show", {"handle": ""}),
    ("parked-show", {"handle": "a\u0000b"}),
    ("rebuild", {"projection": "entitlements.pools", "workers": 33}),
    ("rebuild", {"projection": "entitlements.pools", "drop": True}),
    ("timers", {"limit": 2**63}),
    ("timers", {"limit": "1"}),
    ("stream-show", {"id": "account-1", "at": "noon"}),
    ("stream-show", {"id": "account-1", "at": 5}),
    ("parked-edit", {"handle": "x", "value": 1}),
    ("parked-drop", {"handles": "x"}),
    ("parked-drop", {"handles": ["x"], "yes": True}),
    ("parked-drop", {"handles": ["x"], "yes": True, "reason": "why"}),
    ("parked-drop", {"handles": ["x"], "yes": True, "reason": " ", "plan": "x"}),
    ("parked-drop", {"handles": ["x"], "actor": "somebody"}),
]


@pytest.mark.parametrize(("verb", "parameters"), WRONG)
async def test_what_a_form_does_not_take_is_refused_before_the_verb_runs(verb: str, parameters: dict[str, Any]) -> None:
    answer = await Server().run(verb, **parameters)
    assert (answer.status_code, answer.json()["rule"]) == (422, "malformed"), answer.text


async def test_ambiguous_requests_are_refused() -> None:
    server = Server()
    twice = await server.client.post("/verbs/timers", content=b'{"limit": 1, "limit": 2}')
    other = await server.client.post("/verbs/timers", content=b"limit=1", headers={"content-type": "text/plain"})
    parameter = await server.client.post("/verbs/timers?limit=1", json={})
    unknown = await server.run("nothing")
    assert [each.status_code for each in (twice, other, parameter, unknown)] == [422, 415, 422, 404]


def test_every_exit_code_has_a_problem() -> None:
    statuses = {code: problem_of(OperatorError("What happened.", code)).status for code in MEANING}
    expected = {FAULTS: 409, REFUSED: 409, USAGE: 422, NOT_FOUND: 404, UNREACHABLE: 503, OWN_FAULT: 500}
    assert {code: statuses[code] for code in expected} == expected
    assert problem_of(ZeroDivisionError()).status == 500


async def _nothing(_: Operation) -> Outcome:
    return Outcome(True, [])


def _plan(**changed: Any) -> ChangePlan:
    plan = ChangePlan(service="identity", arguments=["a=1"], total=2, thing="thing", summary=["One."], apply=_nothing)
    return replace(plan, **changed)


def test_a_digest_is_of_what_was_shown() -> None:
    digest = digest_of("verb", {"a": 1}, [_plan()])
    assert digest == digest_of("verb", {"a": 1}, [_plan(arguments=["a=2"], data={"new": 1})])
    others = [
        digest_of("other", {"a": 1}, [_plan()]),
        digest_of("verb", {"a": 2}, [_plan()]),
        digest_of("verb", {"a": 1}, [_plan(summary=["Two."])]),
        digest_of("verb", {"a": 1}, [_plan(total=3)]),
        digest_of("verb", {"a": 1}, [_plan(service="marketplace")]),
        digest_of("verb", {"a": 1}, [_plan(), _plan()]),
    ]
    assert len({digest, *others}) == 7


def test_a_digest_leaves_out_figures_that_change_by_themselves() -> None:
    moving = [_plan(confirms=["a=1"], total=total, summary=[str(total)]) for total in (1, 2)]
    assert len({digest_of("verb", {}, [each]) for each in moving}) == 1
    assert digest_of("verb", {}, [_plan(confirms=["a=2"])]) != digest_of("verb", {}, [moving[0]])


async def test_a_verb_that_takes_longer_goes_on_as_an_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    load_verbs()
    slow = Slow(monkeypatch)
    server = Server()
    begun = await server.run("refusals-ls")
    assert begun.status_code == 202 and begun.json()["state"] == "running"
    assert begun.json()["by"] == OPERATOR.account_id
    assert [each["id"] for each in (await server.get("/operations")).json()["items"]] == [begun.json()["id"]]
    slow.go.set()
    ended = await server.ended(begun)
    assert (ended["state"], ended["answer"]["ok"], ended["answer"]["result"]) == ("done", False, {"done": True})
    assert (await server.get("/operations/unknown")).status_code == 404


async def test_who_prefers_an_operation_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    load_verbs()
    slow = Slow(monkeypatch)
    monkeypatch.setattr("cli.serving.app.ANSWER_S", 5.0)
    server = Server()
    server.client.headers["Prefer"] = "respond-async"
    begun = await server.run("refusals-ls")
    assert (begun.status_code, begun.headers["preference-applied"]) == (202, "respond-async")
    slow.go.set()
    server.client.headers["Prefer"] = "respond-async, wait=5"
    waited = await server.run("refusals-ls")
    assert (waited.status_code, waited.json()["state"]) == (202, "done")
    assert len((await server.get("/operations")).json()["items"]) == 2


@pytest.mark.parametrize("unreadable", ["wait=soon", "wait=-1", 'wait="', ",;=", "respond-later"])
async def test_a_preference_that_can_not_be_read_is_none(monkeypatch: pytest.MonkeyPatch, unreadable: str) -> None:
    load_verbs()
    Slow(monkeypatch).go.set()
    server = Server()
    server.client.headers["Prefer"] = unreadable
    assert (await server.run("refusals-ls")).status_code == 200


async def test_verbs_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    load_verbs()
    slow = Slow(monkeypatch)
    monkeypatch.setattr(operations, "AT_ONCE", 2)
    server = Server()
    begun = [await server.run("refusals-ls") for _ in range(3)]
    assert [each.status_code for each in begun] == [202, 202, 503]
    assert begun[2].headers["retry-after"] and slow.runs == 2
    slow.go.set()
    await server.ended(begun[1])
    assert (await server.run("refusals-ls")).status_code == 200


async def test_a_change_of_one_kind_is_made_to_a_service_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    load_verbs()
    go = asyncio.Event()

    async def apply_plans(*_: object) -> int:
        await go.wait()
        return 0

    async def plan() -> ChangePlan:
        return _plan()

    monkeypatch.setattr(operations, "apply_plans", apply_plans)
    monkeypatch.setattr("cli.serving.app.ANSWER_S", 0.05)
    monkeypatch.setitem(VERBS, "keys rotate", replace(VERBS["keys rotate"], function=plan))
    server = Server()
    digest = (await server.run("keys-rotate")).json()["plan"]
    confirmed = {"yes": True, "reason": "why", "plan": digest}
    begun = await server.run("keys-rotate", **confirmed)
    refused = await server.run("keys-rotate", **confirmed)
    assert (begun.status_code, refused.status_code, refused.json()["rule"]) == (202, 409, "operation-running")
    assert refused.headers["location"] == begun.headers["location"]
    assert (await server.run("keys-rotate")).json()["plan"] == digest, "a dry run changes nothing"
    go.set()
    assert (await server.ended(begun))["answer"]["ok"]
    assert (await server.run("keys-rotate", **confirmed)).status_code == 200


async def test_a_server_that_stops_waits_and_then_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    load_verbs()
    Slow(monkeypatch)
    server = Server()
    begun = await server.run("refusals-ls")
    await server.parts.operations.stop(0.01)
    ended = (await server.get(begun.headers["location"])).json()
    assert (ended["state"], ended["problem"]["status"]) == ("failed", 503)
