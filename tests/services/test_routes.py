"""A command's route over HTTP: who may send it, what it reads, what it answers."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.eventlog.write.memory import MemoryStore
from shared.runtime.http import make_app
from shared.runtime.routes import CommandRoutes
from tests.services.counters import QUERIES, TOKEN, Unread, a_client, counting, parts
from tests.services.every_route import app_of

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(store) as opened:
        yield opened


async def test_no_secret_goes_into_a_fingerprint(client: httpx.AsyncClient, store: MemoryStore) -> None:
    for key, secret in (("1", "first secret"), ("1", "second secret"), ("2", "second secret")):
        headers = {"Idempotency-Key": key}
        answer = await client.post("/secret/one", json={"by": "me", "secret": secret}, headers=headers)
        assert answer.status_code == 200
    other = await client.post("/secret/one", json={"by": "you", "secret": "x"}, headers={"Idempotency-Key": "1"})
    assert other.json()["rule"] == "idempotency-key-reused", "but everything else does"
    first, second = (known.fingerprint for known in store._commands.values())
    assert first == second != b""


async def test_a_command_is_done_and_answered(client: httpx.AsyncClient, store: MemoryStore) -> None:
    answer = await client.post("/counters/one", json={"by": "me"}, headers={"X-Correlation-ID": "mine"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["stream"], body["version"], body["repeated"], body["dry_run"]) == ("counter-one", 1, False, False)
    assert body["events"][0]["data"]["account_id"] == "me"
    assert answer.headers["Tenure-Version"] == "counter-one@1"
    assert answer.headers["X-Correlation-ID"] == "mine"
    (event,) = store.events
    assert (event.envelope.id, event.envelope.actor, event.envelope.correlation_id) == (
        body["events"][0]["id"],
        "account",
        "mine",
    )
    assert event.envelope.traceparent.startswith("00-")


async def test_a_trace_goes_on_in_the_events(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await client.post("/counters/one", json={}, headers={"traceparent": TRACE})
    await client.post("/counters/one", json={}, headers={"traceparent": "00-nonsense"})
    first, second = (event.envelope.traceparent for event in store.events)
    assert first == TRACE
    assert len(second) == len(TRACE) and second != TRACE, "one of its own, where none came"


async def test_every_answer_has_a_correlation_id(client: httpx.AsyncClient) -> None:
    for path, status in (("/health", 200), ("/nowhere", 404), ("/broken", 500)):
        answer = await client.get(path, headers={"X-Correlation-ID": "mine"})
        assert (answer.status_code, answer.headers.get_list("X-Correlation-ID")) == (status, ["mine"])
    made = (await client.get("/health", headers={"X-Correlation-ID": "x" * 201})).headers["X-Correlation-ID"]
    assert 0 < len(made) < 100, "one of its own, where the one given is too long"


async def test_an_answer_has_the_requests_id_or_its_correlation(client: httpx.AsyncClient) -> None:
    """Who names one id finds it in both headers; who names two finds each in its own."""

    async def ids(**given: str) -> list[str]:
        headers = {name.replace("_", "-"): value for name, value in given.items()}
        answer = await client.get("/health", headers=headers)
        return [answer.headers[name] for name in ("X-Request-ID", "X-Correlation-ID")]

    assert await ids(X_Request_ID="this") == await ids(X_Correlation_ID="this") == ["this", "this"]
    assert await ids(X_Request_ID="this", X_Correlation_ID="all") == ["this", "all"]
    made, same = await ids(X_Request_ID="no id")
    assert made == same != "no id"


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
    answer = await client.post("/counters/one", json={"limit": 1}, headers={"Idempotency-Key": "a key"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/problems/limit",
        "title": "Conflict",
        "status": 409,
        "detail": "1 is the limit.",
        "rule": "limit",
        "remedy": "Stop.",
        "because": [done["events"][0]["id"]],
        "command_id": "account:a key",
    }


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
        ("/counters/one", b'{"by": "a bug"}', {}, 500),
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


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
async def test_what_would_make_an_event_too_large_is_refused(
    client: httpx.AsyncClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr("shared.eventlog.write.storing.EVENT_BYTES", 20)
    answer = await client.post(f"/counters/one{query}", json={"by": "me"})
    assert (answer.status_code, answer.json()["rule"]) == (413, "too-large")
    assert "SeatUnassigned" in answer.json()["detail"] and "the limit for an event is 20" in answer.json()["detail"]
    assert store.events == [] and store._commands == {}


async def test_a_wrong_body_is_told_field_by_field(client: httpx.AsyncClient) -> None:
    sent = {"limit": "a secret", "by": 5, "limt": 1, "x": "y" * 10}
    answer = await client.post("/counters/one", json=sent)
    assert [each["field"] for each in answer.json()["fields"]] == ["by", "limit", "limt", "x"]
    assert all(each["error"] for each in answer.json()["fields"])
    assert "a secret" not in answer.text and "yyy" not in answer.text


async def test_another_method_is_a_problem_that_names_the_right_one(client: httpx.AsyncClient) -> None:
    answer = await client.put("/counters/one", json={})
    assert (answer.status_code, answer.json()["status"], answer.headers["Allow"]) == (405, 405, "POST")


async def test_another_method_is_told_those_of_all_routes_of_the_path() -> None:
    """A path's queries and commands are routes of their own, of which the framework names one.

    A path without parameters has only its own, though `/accounts/{account_id}` matches it, too.
    """
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of("identity")), base_url="http://test") as client:
        for path, methods in (
            ("/sessions", "DELETE, GET, HEAD, POST"),
            ("/me", "DELETE, GET, HEAD"),
            ("/accounts/by-address", "POST"),
            ("/sessions/refresh", "POST"),
        ):
            answer = await client.patch(path)
            assert (answer.status_code, answer.headers["Allow"]) == (405, methods), path


async def test_head_is_answered_as_get_without_the_body(client: httpx.AsyncClient) -> None:
    for path, status in (("/health", 200), ("/counters/one", 405), ("/nowhere", 404)):
        answer, asked = await client.head(path), await client.get(path)
        assert (answer.status_code, answer.content) == (status, b"") and asked.content
        for header in ("content-type", "content-length"):
            assert answer.headers[header] == asked.headers[header], path


async def test_a_body_of_unknown_length_is_limited_too(client: httpx.AsyncClient, store: MemoryStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024
        yield b"{}"

    answer = await client.post("/counters/one", content=chunks(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["rule"]) == (413, "too-large")
    assert store.events == []


async def test_a_body_that_is_announced_too_large_is_not_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/counters/one", content=Unread(), headers={"content-length": "65537"})
    assert (answer.status_code, answer.json()["rule"]) == (413, "too-large")


async def test_a_query_knows_its_caller_and_says_what_is_wrong(client: httpx.AsyncClient) -> None:
    assert (await client.get("/mine/7")).json() == "organisation 7"
    wrong = await client.get("/mine/seven")
    assert (wrong.status_code, wrong.json()["fields"][0]["field"]) == (422, "path.number")
    broken = await client.get("/broken")
    assert (broken.status_code, broken.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in broken.text and "ZeroDivision" not in broken.text


async def test_until_its_database_is_open_a_service_says_later() -> None:
    app = make_app(parts(), counting(), QUERIES, api=True)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        for answer in (await client.post("/counters/one", json={}), await client.get("/table")):
            assert (answer.status_code, answer.json()["rule"]) == (503, "unavailable")
            assert answer.headers["Retry-After"]


async def test_without_the_api_part_no_route_is_mounted() -> None:
    app = make_app(parts(), counting(), QUERIES, api=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.post("/counters/one", json={})).status_code == 404
        assert (await client.get("/mine/7")).status_code == 404
        assert (await client.get("/health")).status_code == 200


async def test_readiness_says_what_it_waits_for() -> None:
    made = parts()
    app = make_app(made, CommandRoutes(), None, api=True)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/health")).status_code == 200
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["waiting_for"]) == (503, {"start": "starting"})
        made.waiting_for = dict
        ready = await client.get("/ready")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)


async def test_what_happened_is_counted(client: httpx.AsyncClient) -> None:
    await client.post("/counters/one", json={})
    page = (await client.get("/metrics")).text
    assert 'tenure_commands_total{command="Count",outcome="accepted",service_name="test"} 1.0' in page
    labels = 'method="POST",route="/counters/{key}",service_name="test",status="200"'
    assert f"tenure_http_request_seconds_count{{{labels}}} 1.0" in page
    assert 'tenure_command_seconds_count{service_name="test"} 1.0' in page


async def test_a_route_stands_in_the_one_document(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/counters/{key}"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Count")
    assert {"200", "401", "409", "422"} <= set(operation["responses"])
    for status, response in operation["responses"].items():
        assert list(response["content"]) == ["application/json" if status == "200" else "application/problem+json"]
    assert operation["security"] == [{"Bearer": []}]
    (dry_run,) = [each for each in operation["parameters"] if each["name"] == "dry_run"]
    assert dry_run["schema"]["enum"] == ["true", "false"]
    named = [parameter["name"] for parameter in operation["parameters"]]
    ids = ["X-Correlation-ID", "X-Request-ID", "traceparent", "tracestate"]
    assert named == ["key", "Idempotency-Key", "dry_run", "If-Match", "If-None-Match", *ids]
    assert document["components"]["schemas"]["Count"]["properties"]["limit"]["type"] == "integer"
