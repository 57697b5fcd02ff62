"""A door over HTTP: who may pass, what it reads, what it answers. The four services' own doors, too."""

import importlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from joserfc.jwk import ECKey

from shared.eventlog.log import Log, utc_now
from shared.eventlog.memory import MemoryStore
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.doors import Call, Doors, Target
from shared.runtime.http import Parts, make_app
from shared.runtime.metrics import Metrics
from shared.runtime.problems import unknown
from shared.runtime.settings import Settings
from tests.engine.examples import COUNTER, Count, new_id

KEY = ECKey.generate_key("P-256", {"kid": "key"})
TOKEN = TokenSigner(KEY).sign(Actor("account", "organisation", "customer"), "token")
SERVICES = ("identity", "marketplace", "entitlements", "distribution")


async def _keys() -> Any:
    return public_keys([KEY])


def parts() -> Parts:
    return Parts("test", Settings(), Metrics(), TokenVerifier(_keys), new_id, utc_now)


async def _target(call: Call) -> Target:
    if call.path["key"] == "unknown":
        raise unknown("counter")
    if call.path["key"] == "broken":
        raise ZeroDivisionError("a secret")
    return Target(call.path["key"])


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    doors, made = Doors(), parts()
    doors.post("/counters/{key}", COUNTER, Count, supply=_target)
    made.opened_log, made.opened_db = Log(store, "entitlements", observer=made.metrics), object()  # type: ignore[assignment]
    app = make_app(made, doors, None, api=True)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as opened:
        yield opened


async def test_a_command_is_done_and_answered(client: httpx.AsyncClient, store: MemoryStore) -> None:
    answer = await client.post("/counters/one", json={"by": "me"}, headers={"X-Correlation-ID": "mine"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["stream"], body["version"], body["repeated"], body["dry_run"]) == ("counter-one", 1, False, False)
    assert body["events"][0]["data"]["account_id"] == "me"
    assert answer.headers["Tenure-Version"] == "counter-one@1"
    assert answer.headers["X-Correlation-ID"] == "mine"
    (event,) = store.events
    assert (event.of.id, event.of.actor, event.of.correlation_id) == (body["events"][0]["id"], "account", "mine")
    assert event.of.traceparent.startswith("00-")


async def test_a_repeated_key_gets_its_first_answer(client: httpx.AsyncClient, store: MemoryStore) -> None:
    again = {"Idempotency-Key": "key-1"}
    first = (await client.post("/counters/one", json={}, headers=again)).json()
    second = (await client.post("/counters/one", json={}, headers=again)).json()
    assert second == first | {"repeated": True}
    other = await client.post("/counters/one", json={"by": "other"}, headers=again)
    assert (other.status_code, other.json()["rule"]) == (422, "idempotency-key-reused")
    assert len(store.events) == 1


async def test_a_dry_run_keeps_nothing(client: httpx.AsyncClient, store: MemoryStore) -> None:
    answer = await client.post("/counters/one?dry_run=true", json={})
    assert answer.json()["dry_run"] is True and answer.json()["version"] == 1
    assert store.events == [] and "Tenure-Version" not in answer.headers


async def test_a_refusal_is_a_problem_with_its_rule_and_evidence(client: httpx.AsyncClient) -> None:
    done = (await client.post("/counters/one", json={})).json()
    answer = await client.post("/counters/one", json={"limit": 1})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:tenure:rule:limit", "title": "Conflict", "status": 409, "detail": "1 is the limit.",
        "rule": "limit", "remedy": "Stop.", "because": [done["events"][0]["id"]],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/counters/one", b'{"limit": "many"}', {}, 422),
        ("/counters/one", b'{"more": 1}', {}, 422),
        ("/counters/one", b'{"by": ', {}, 422),
        ("/counters/one", b"[" * 5000, {}, 422),
        ("/counters/one", b"\xff", {}, 422),
        ("/counters/one", b"by=me", {"content-type": "application/x-www-form-urlencoded"}, 415),
        ("/counters/one", b'{"by": "' + b"x" * 70_000 + b'"}', {}, 413),
        ("/counters/one", b"{}", {"Idempotency-Key": "x" * 201}, 422),
        ("/counters/one", b"{}", {"Authorization": "Bearer nonsense"}, 401),
        ("/counters/one", b"{}", {"Authorization": ""}, 401),
        ("/counters/unknown", b"{}", {}, 404),
        ("/counters/bad%0Aid", b"{}", {}, 422),
        ("/nowhere", b"{}", {}, 404),
        ("/health", b"{}", {}, 405),
        ("/counters/broken", b"{}", {}, 500),
    ],
)
async def test_everything_else_is_a_problem_too(
    client: httpx.AsyncClient, store: MemoryStore, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(path, content=body, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status and problem["detail"] and "secret" not in answer.text
    assert store.events == []


async def test_readiness_says_what_it_waits_for() -> None:
    app = make_app(parts(), Doors(), None, api=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/health")).status_code == 200
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["waiting_for"]) == (503, {"start": "starting"})


async def test_what_happened_is_counted(client: httpx.AsyncClient) -> None:
    await client.post("/counters/one", json={})
    page = (await client.get("/metrics")).text
    assert 'tenure_commands_total{command="Count",outcome="accepted"} 1.0' in page
    assert 'tenure_http_request_seconds_count{method="POST",route="/counters/{key}",status="200"} 1.0' in page


async def test_a_door_stands_in_the_one_document(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/counters/{key}"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Count")
    assert {"200", "401", "409", "422"} <= set(operation["responses"])
    assert document["components"]["schemas"]["Count"]["properties"]["limit"]["type"] == "integer"


OPEN = {
    "/accounts", "/sessions", "/.well-known/jwks.json", "/health", "/ready", "/metrics", "/openapi.json", "/docs",
    "/docs/oauth2-redirect",
}  # fmt: skip


def every_route() -> list[tuple[str, str, str]]:
    found = []
    for name in SERVICES:
        service = importlib.import_module(f"services.{name}.__main__").SERVICE
        found += [(name, door.method, door.path) for door in service.doors.doors if door.path not in OPEN]
        found += [
            (name, method, route.path)
            for route in service.queries.routes
            if isinstance(route, APIRoute) and route.path not in OPEN
            for method in route.methods or ()
        ]
    return found


@pytest.mark.parametrize(("name", "method", "path"), every_route(), ids=lambda part: str(part))
async def test_no_door_of_any_service_opens_without_a_token(name: str, method: str, path: str) -> None:
    service = importlib.import_module(f"services.{name}.__main__").SERVICE
    app = make_app(parts(), service.doors, service.queries, api=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for headers in ({}, {"Authorization": "Bearer forged"}):
            answer = await client.request(method, path.replace("{", "").replace("}", ""), headers=headers)
            assert answer.status_code == 401, f"{answer.status_code} {answer.text}"


@pytest.mark.parametrize("name", SERVICES)
async def test_every_services_document_lists_its_doors(name: str) -> None:
    service = importlib.import_module(f"services.{name}.__main__").SERVICE
    document = make_app(parts(), service.doors, service.queries, api=True).openapi()
    for door in service.doors.doors:
        assert door.method.lower() in document["paths"][door.path]
