"""Every route of every service asks who is calling before anything else: no switch, and no route forgotten."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc.jwk import ECKey
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from services import definition_of
from shared.eventlog.write.log import utc_now
from shared.runtime.auth import Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.settings import Settings
from shared.services import SERVICES
from tests.examples.engine import new_id
from tests.services.tokens import NothingEnded

KEY, THEIRS = (ECKey.generate_key("P-256", {"kid": "key"}) for _ in range(2))
ACTOR = Actor(account_id="account", organisation_id="organisation", organisation_kind="operator")
EVERYWHERE = {"/health", "/ready", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/docs/assets"}
OPEN = {
    ("identity", "POST", "/accounts"),
    ("identity", "POST", "/sessions"),
    ("identity", "POST", "/sessions/oidc"),
    ("identity", "POST", "/sessions/oidc/nonce"),
    ("identity", "POST", "/password"),
    ("identity", "POST", "/addresses/proof"),
    ("identity", "POST", "/sessions/refresh"),
    ("identity", "GET", "/.well-known/jwks.json"),
    ("identity", "GET", "/.well-known/openid-configuration"),
    ("identity", "POST", "/oauth/token"),
    ("identity", "POST", "/oauth/introspect"),
}
UNKNOWN: dict[str, dict[str, str]] = {
    "no token": {},
    "nonsense": {"Authorization": "Bearer nonsense"},
    "another's signature": {"Authorization": f"Bearer {TokenSigner(THEIRS).sign(ACTOR, 'token')}"},
    "a password": {"Authorization": "Basic b3BlcmF0b3I6b3BlcmF0b3I="},
    "the claim of a proxy": {"X-Forwarded-User": "account"},
}


async def _keys() -> Any:
    return public_keys([KEY])


def app_of(name: str) -> FastAPI:
    """The service's application with nothing opened: whatever it reaches for, it answers 503."""
    service = definition_of(name)
    parts = Parts(
        service=name,
        settings=Settings(),
        metrics=Metrics(),
        verifier=TokenVerifier(_keys, NothingEnded()),
        new_id=new_id,
        now=utc_now,
    )
    return make_app(parts, service.commands, service.queries, api=True)


def leaves(routes: Any) -> Iterator[Any]:
    """The routes that answer, also those that stand in an included router."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from leaves(included.routes)


def every_route() -> list[tuple[str, str, str]]:
    found = []
    for name in SERVICES:
        for route in leaves(app_of(name).routes):
            if isinstance(route, Mount) and isinstance(route.app, StaticFiles):
                assert route.path in EVERYWHERE, f"{name}: {route.path} serves a folder to everybody"
                continue
            assert isinstance(route, Route), f"{name}: {route!r} is of a kind that is not looked at here"
            methods = (route.methods or set()) - {"HEAD"}
            found += [(name, method, route.path) for method in sorted(methods) if route.path not in EVERYWHERE]
    return found


ROUTES = every_route()


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
        assert {(method, route.path) for route in leaves(queries) for method in route.methods} <= listed


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
        assert ("security" in operation) is ((name, route.method, route.path) not in OPEN)
        assert ("requestBody" in operation) is bool(route.form.model_fields)
    for _, method, path in (route for route in ROUTES if route[0] == name):
        assert method.lower() in document["paths"][path]
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= set(document["components"]["schemas"]), "a shape that is not described"
