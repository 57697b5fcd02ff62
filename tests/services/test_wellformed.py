"""Requests that are not what they seem are refused, at every route of every service: 422 and nothing done."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import parse_qsl

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from services import definition_of
from shared.eventlog.write.memory import MemoryStore
from shared.events.base import Record
from shared.runtime import wellformed
from shared.runtime.auth import TokenSigner
from shared.runtime.problems import Problem
from shared.runtime.wellformed import Parameters
from shared.services import SERVICES
from tests.services.counters import TOKEN, a_client
from tests.services.every_route import ACTOR, KEY, ROUTES, app_of

ENGINES = {"/health", "/ready", "/metrics", "/clock", "/docs", "/openapi.json"}
NOT_A_DRY_RUN = [
    "dry_run=yes",
    "dry_run=on",
    "dry_run=t",
    "dry_run=1",
    "dry_run=0",
    "dry_run=True",
    "dry_run=TRUE",
    "dry_run=",
    "dry_run",
    "dry_run=true&dry_run=true",
    "dry_run=true&dry_run=false",
    "dryRun=true",
    "dry-run=true",
    "Dry_Run=true",
    "DRY_RUN=true",
    "dry_run=true%20",
    "dry_run=+true",
    "dry_run=true%00",
    "dry_run%20=true",
    "dry_run=true;x=1",
    "%20dry_run=true",
    "dry_run[]=true",
    "x=1&dry_run=true",
    "dry_run=true&=",
    "dry_run=tru%e",
    "dry_run=%ff",
    "dry_run=%ED%A0%80",
    "dry_run=tr%C3%BCe",
    "=true",
    "dry_run=true&dryrun=false",
]


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(store) as opened:
        yield opened


@pytest.mark.parametrize("query", NOT_A_DRY_RUN)
async def test_what_only_resembles_a_dry_run_does_nothing(
    client: httpx.AsyncClient, store: MemoryStore, query: str
) -> None:
    answer = await client.post(httpx.URL("http://test/counters/one").copy_with(query=query.encode()), json={})
    assert (answer.status_code, answer.json()["rule"]) == (422, "malformed"), answer.text
    assert store.events == []


@pytest.mark.parametrize("query", ["dry_run=true", "%64ry_run=true", "dry_run=%74rue", "&dry_run=true&"])
async def test_a_dry_run_is_one_however_its_letters_are_encoded(
    client: httpx.AsyncClient, store: MemoryStore, query: str
) -> None:
    answer = await client.post(httpx.URL("http://test/counters/one").copy_with(query=query.encode()), json={})
    assert (answer.status_code, answer.json()["dry_run"], store.events) == (200, True, [])


@pytest.mark.parametrize("query", ["", "?", "?dry_run=false"])
async def test_without_one_the_command_is_done(client: httpx.AsyncClient, store: MemoryStore, query: str) -> None:
    answer = await client.post(f"/counters/one{query}", json={})
    assert (answer.status_code, answer.json()["dry_run"], len(store.events)) == (200, False, 1)


@pytest.mark.parametrize("name", ["dryRun", "dry-run", "DRY_RUN", "dryrun", "dry_runs"])
async def test_a_refusal_names_the_parameter_that_was_meant(client: httpx.AsyncClient, name: str) -> None:
    problem = (await client.post(f"/counters/one?{name}=true", json={})).json()
    assert problem["fields"][0]["field"] == f"query.{name}"
    assert "did you mean dry_run?" in problem["detail"]


def test_a_refusal_lists_what_there_is() -> None:
    for known, says in ((frozenset({"b", "a"}), "This route has a, b"), (frozenset[str](), "this route has none")):
        with pytest.raises(Problem, match=says):
            Parameters(known).read(b"quite_other=1")


@given(st.text(), st.text())
def test_whatever_the_query_it_is_exactly_a_dry_run_or_refused(name: str, value: str) -> None:
    query = f"{name}={value}".encode(errors="surrogatepass")
    with suppress(Problem):
        assert wellformed.dry_run(query) is (parse_qsl(query.decode()) == [("dry_run", "true")])


@given(st.binary(max_size=60))
def test_no_bytes_make_a_query_that_fails_otherwise(query: bytes) -> None:
    with suppress(Problem):
        Parameters(frozenset({"a"}), frozenset({"a"})).read(query)


@pytest.mark.parametrize("name", SERVICES)
async def test_no_route_of_any_service_takes_an_unknown_parameter(name: str) -> None:
    bearer = {"Authorization": f"Bearer {TokenSigner(KEY).sign(ACTOR, 'token')}"}
    routes = [(method, path) for service_name, method, path in ROUTES if service_name == name] + [
        ("GET", path) for path in ENGINES
    ]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(name)), base_url="http://test") as client:
        for method, path in routes:
            for query in ("colour=red", "qq=revit", "limit=5&Limit=5", "limit=5&limit=6", "limit="):
                if method == "GET" and path.endswith("/docs/oauth2-redirect"):
                    continue
                answer = await client.request(method, f"{re.sub(r'[{}]', '', path)}?{query}", headers=bearer)
                assert answer.status_code == 422, f"{method} {path}?{query}: {answer.status_code} {answer.text}"
                assert "query." in answer.json()["detail"]


@pytest.mark.parametrize("name", SERVICES)
async def test_every_command_of_every_service_refuses_what_resembles_a_dry_run(name: str) -> None:
    bearer = {"Authorization": f"Bearer {TokenSigner(KEY).sign(ACTOR, 'token')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(name)), base_url="http://test") as client:
        for route in definition_of(name).commands.routes:
            for query in ("dry_run=yes", "dryRun=true", "dry_run=true&dry_run=true"):
                path = re.sub(r"[{}]", "", route.path)
                answer = await client.request(route.method, f"{path}?{query}", headers=bearer)
                assert (answer.status_code, answer.json()["rule"]) == (422, "malformed"), f"{route.path}: {answer.text}"


@pytest.mark.parametrize("name", SERVICES)
async def test_every_parameter_that_a_query_documents_is_one_that_it_takes(name: str) -> None:
    app = app_of(name)
    document = app.openapi()
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            listed = document["paths"][route.path_format][method.lower()].get("parameters", [])
            assert Parameters.of(route.dependant).known == {each["name"] for each in listed if each["in"] == "query"}


async def test_who_calls_is_asked_before_what_is_asked(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    for method, path in (("POST", "/counters/one?nonsense=1"), ("GET", "/mine/7?nonsense=1")):
        assert (await client.request(method, path)).status_code == 401


@pytest.mark.parametrize(
    "header", ["Idempotency-Key", "Authorization", "Tenure-At-Least", "Content-Type", "idempotency-key"]
)
async def test_a_header_that_stands_there_twice_is_refused(
    client: httpx.AsyncClient, store: MemoryStore, header: str
) -> None:
    values = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    twice = [(header, values.get(header, "one"))] * 2
    rest = [(name, value) for name, value in values.items() if name != header]
    bare = httpx.AsyncClient(transport=client._transport, base_url="http://test")
    answer = await bare.post("/counters/one", content=b"{}", headers=[*twice, *rest])
    assert (answer.status_code, answer.json()["rule"]) == (422, "malformed")
    assert header.lower() in answer.json()["detail"] and store.events == []


@pytest.mark.parametrize("coding", ["gzip", "x-own", "identity, deflate"])
async def test_a_body_that_is_encoded_is_refused_as_such(
    client: httpx.AsyncClient, store: MemoryStore, coding: str
) -> None:
    """It was called malformed JSON, and an event's data that can't be read."""
    body = gzip.compress(b"{}")
    refused = await client.post("/counters/one", content=body, headers={"Content-Encoding": coding})
    assert (refused.status_code, refused.json()["rule"]) == (415, "unsupported-media-type")
    assert refused.headers["Accept-Encoding"] == "identity" and len(store.events) == 0
    plain = await client.post("/counters/one", content=b"{}", headers={"Content-Encoding": "Identity"})
    assert plain.status_code == 200
    assert (await client.get("/clock", headers={"Content-Encoding": coding})).status_code == 200, "it has no body"


@pytest.mark.parametrize("key", ["", "x" * 201, "é", "a\tb"])
async def test_an_idempotency_key_that_is_none_is_refused(
    client: httpx.AsyncClient, store: MemoryStore, key: str
) -> None:
    answer = await client.post("/counters/one", json={}, headers=[(b"Idempotency-Key", key.encode())])
    assert (answer.status_code, store.events) == (422, [])


@pytest.mark.parametrize(
    "body",
    [
        b'{"limit": 1, "limit": 2}',
        b'{"by": "a", "\\u0062y": "b"}',
        b'{"limit": NaN}',
        b'{"limit": Infinity}',
        b'{"limit": -Infinity}',
        b'{"limit": 1e400}',
        b'{"limit": ' + b"9" * 5000 + b"}",
        b"[" * 60_000,
        b'{"by": ' + b'{"a":' * 10_000,
        b'{"by": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"null",
        b"[]",
        b'"by"',
        '{"by": "a"}'.encode("utf-16"),
        b'{"by": "a\x00"}',
        b'{"nested": {"by": "a", "by": "b"}}',
    ],
)
async def test_a_body_that_two_readers_read_differently_is_refused(
    client: httpx.AsyncClient, store: MemoryStore, body: bytes
) -> None:
    answer = await client.post("/counters/one", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["rule"]) == (422, "malformed"), answer.text
    assert store.events == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"email": "a@b.c", "password": "one", "password": "two"}',
        b"[" * 30_000,
        b'{"email": NaN, "password": "x"}',
        b"\xff",
        b'{"email": 1e400, "password": "x"}',
        b'{"email": ' + b"9" * 5000 + b', "password": "x"}',
    ],
)
async def test_so_it_is_where_the_framework_reads_the_body(body: bytes) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of("identity")), base_url="http://test") as client:
        answer = await client.post("/sessions", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["rule"]) == (422, "malformed"), answer.text


async def test_a_body_of_unknown_length_is_limited_there_too() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of("identity")), base_url="http://test") as client:
        answer = await client.post("/sessions", content=chunks(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["rule"]) == (413, "too-large"), answer.text


async def test_a_route_that_reads_no_body_refuses_one(client: httpx.AsyncClient) -> None:
    assert (await client.request("GET", "/mine/7", content=b"{}")).status_code == 422
    assert (await client.request("GET", "/health", content=b"x")).status_code == 422
    assert (await client.request("GET", "/mine/7")).status_code == 200


@pytest.mark.parametrize("name", SERVICES)
async def test_a_command_without_a_form_takes_nothing_but_an_empty_one(name: str) -> None:
    bearer = {"Authorization": f"Bearer {TokenSigner(KEY).sign(ACTOR, 'token')}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(name)), base_url="http://test") as client:
        for route in definition_of(name).commands.routes:
            if route.form.model_fields:
                continue
            path = re.sub(r"[{}]", "", route.path)
            for body, status in ((b'{"more": 1}', 422), (b"[]", 422), (b"", 503), (b"{}", 503)):
                answer = await client.request(route.method, path, headers=bearer, content=body)
                assert answer.status_code == status, f"{route.method} {path} {body!r}: {answer.text}"


class Inner(Record):
    """As an event has it: it ignores what it does not know."""

    by: str = ""


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    one: Inner = Inner()
    many: list[Inner] = []
    named: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"one": {"by": "a", "bye": 1}}', "one.bye"),
        ('{"many": [{}, {"bye": 1}]}', "many.1.bye"),
        ('{"named": {"x": {"bye": 1}}}', "named.x.bye"),
    ],
)
def test_an_unknown_field_of_a_nested_record_is_refused(body: str, field: str) -> None:
    form = Outer.model_validate_json(body)
    with pytest.raises(Problem, match=field):
        wellformed.check_fields(form, wellformed.check_json(body.encode()))
    wellformed.check_fields(Outer.model_validate_json("{}"), {})


async def test_an_unknown_field_of_a_maintenance_window_is_refused_before_anything_is_asked() -> None:
    bearer = {"Authorization": f"Bearer {TokenSigner(KEY).sign(ACTOR, 'token')}"}
    window = {"weekday": "monday", "starts": "22:00", "minutes": 60, "time_zone": "UTC"}
    app = app_of("distribution")
    (route,) = [each for each in definition_of("distribution").commands.routes if "windows" in each.form.model_fields]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for more, status in (({}, 503), ({"minuts": 5}, 422)):
            body = {"cadence": "weekly", "windows": [window | more]}
            answer = await client.request(route.method, re.sub(r"[{}]", "", route.path), headers=bearer, json=body)
            assert answer.status_code == status, answer.text


@pytest.mark.parametrize("name", SERVICES)
def test_no_form_of_any_service_ignores_a_field(name: str) -> None:
    """Nor does a record in a form, such as a price: the document says so of each."""
    document = app_of(name).openapi()
    shapes = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            seen, following = set[str](), shapes_in(operation.get("requestBody", {}))
            while following:
                seen |= following
                following = {each for form in following for each in shapes_in(shapes[form])} - seen
            for form in seen:
                closed = shapes[form].get("additionalProperties") is False or "properties" not in shapes[form]
                assert closed, f"{path}: {form} ignores unknown fields"


def shapes_in(part: object) -> set[str]:
    return set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(part)))


def test_a_record_is_closed_where_it_is_given_and_open_where_it_is_answered() -> None:
    document = app_of("marketplace").openapi()
    shapes = document["components"]["schemas"]
    assert shapes["PlanOffered"]["properties"]["price"] == {"$ref": "#/components/schemas/GivenMoney"}
    assert shapes["GivenMoney"]["title"] == "GivenMoney" and "additionalProperties" not in shapes["Money"]
    assert "GivenMoney" not in json.dumps([shapes["PlanListedData"], shapes["Plan"]])


@pytest.mark.parametrize("name", SERVICES)
def test_every_route_documents_its_refusals_as_problems(name: str) -> None:
    document = app_of(name).openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            refusals = {status: each for status, each in operation["responses"].items() if status >= "400"}
            assert {"422", "503"} <= set(refusals), f"{method} {path}"
            assert bool(operation["security"]) <= ("401" in refusals), f"{method} {path}"
            for status, each in refusals.items():
                of_oauth = path.startswith("/oauth/") and status in ("400", "401", "403")  # RFC 6749 has its own form
                media_type = "application/json" if of_oauth else "application/problem+json"
                assert list(each["content"]) == [media_type], f"{method} {path}"
