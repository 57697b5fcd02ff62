"""Every route of every service asks who is calling before anything else: no switch, and no route forgotten."""

import json
import re

import httpx
import pytest

from services import definition_of
from shared.runtime.auth import TokenSigner
from shared.runtime.lists import ListOf
from shared.services import SERVICES
from tests.services.every_route import ACTOR, KEY, OPEN, ROUTES, THEIRS, app_of, leaves

UNKNOWN: dict[str, dict[str, str]] = {
    "no token": {},
    "nonsense": {"Authorization": "Bearer nonsense"},
    "another's signature": {"Authorization": f"Bearer {TokenSigner(THEIRS).sign(ACTOR, 'token')}"},
    "a password": {"Authorization": "Basic b3BlcmF0b3I6b3BlcmF0b3I="},
    "the claim of a proxy": {"X-Forwarded-User": "account"},
}


def test_the_list_of_routes_is_whole() -> None:
    assert set(ROUTES) >= OPEN, "an open door that does not exist"
    assert len(set(ROUTES)) == len(ROUTES), "a route stands there twice"
    for name in SERVICES:
        service, listed = (
            definition_of(name),
            {(method, path) for service_name, method, path in ROUTES if service_name == name},
        )
        queries = service.queries.routes if service.queries is not None else []
        assert {(route.method, route.path) for route in service.commands.routes} <= listed
        assert {(method, route.path_format) for route in leaves(queries) for method in route.methods} <= listed


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_command_changes_is_shown_with_its_version(name: str) -> None:
    """So that the tag of the answer is good for the command's If-Match."""
    service = definition_of(name)
    queries = leaves(service.queries.routes if service.queries is not None else [])
    versions = {
        route.path_format: {each.call.__module__ for each in route.dependant.dependencies if each.call}
        for route in queries
        if "{" in route.path_format and not issubclass(route.response_model, ListOf)
    }
    changed = {route.path for route in service.commands.routes} & versions.keys()
    assert [path for path in changed if "shared.runtime.versions" not in versions[path]] == []


@pytest.mark.parametrize("name", SERVICES)
async def test_the_page_of_a_service_names_no_foreign_host(name: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(name)), base_url="http://test") as client:
        page = await client.get("/docs")
        assert (page.status_code, f"Tenure {name}" in page.text, "//" in page.text.replace("http://test", "")) == (
            200,
            True,
            False,
        )
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
        assert len(loaded) == 3
        for path in (*loaded, "/openapi.json"):
            answer = await client.get(path)
            assert (answer.status_code, len(answer.content) > 1000) == (200, True), path
        for kind, path in zip(("text/css", "image/png", "text/javascript"), loaded, strict=True):
            assert (await client.get(path)).headers["content-type"].startswith(kind)
        style = await client.get(loaded[0])
        assert not re.search(r"""@import|url\(["']?(https?:)?//""", style.text), "nor does its style"


@pytest.mark.parametrize("route", [route for route in ROUTES if route not in OPEN], ids=" ".join)
async def test_no_route_of_any_service_opens_without_a_token(route: tuple[str, str, str]) -> None:
    name, method, path = route
    url = re.sub(r"[{}]", "", path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app_of(name)), base_url="http://test") as client:
        for what, headers in UNKNOWN.items():
            answer = await client.request(method, url, headers=headers, content=b"not read")
            assert (answer.status_code, answer.json()["rule"]) == (401, "not-signed-in"), f"{what}: {answer.text}"
        good = {"Authorization": f"Bearer {TokenSigner(KEY).sign(ACTOR, 'token')}"}
        answer = await client.request(method, url, headers=good)
        expected = (200,) if (method, path) in (("GET", "/clock"), ("GET", "/sessions/current")) else (422, 503)
        assert answer.status_code in expected, f"with a token it goes on, not {answer.status_code} {answer.text}"


@pytest.mark.parametrize("name", SERVICES)
async def test_every_services_document_lists_its_doors(name: str) -> None:
    document = app_of(name).openapi()
    for route in definition_of(name).commands.routes:
        operation = document["paths"][route.path][route.method.lower()]
        assert bool(operation["security"]) is ((name, route.method, route.path) not in OPEN)
        assert ("requestBody" in operation) is bool(route.form.model_fields)
    for _, method, path in (route for route in ROUTES if route[0] == name):
        assert method.lower() in document["paths"][path]
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= set(document["components"]["schemas"]), "a shape that is not described"
