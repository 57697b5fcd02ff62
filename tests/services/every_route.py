"""Every route of every service, and which of them are open to everybody."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from joserfc.jwk import ECKey
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import shared.rules
from services import definition_of
from shared.eventlog.write.log import utc_now
from shared.runtime.auth import Actor, TokenVerifier, public_keys
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.settings import Settings
from shared.services import SERVICES
from tests.examples.engine import new_id
from tests.services.tokens import NothingEnded

KEY, THEIRS = (ECKey.generate_key("P-256", {"kid": "key"}) for _ in range(2))

ACTOR = Actor(account_id="account", organisation_id="organisation", organisation_kind="operator")

EVERYWHERE = {
    "/health",
    "/ready",
    "/metrics",
    "/problems",
    "/problems/{rule}",
    "/openapi.json",
    "/docs",
    "/docs/oauth2-redirect",
    "/docs/assets",
    "/asyncapi.json",
    "/schemas",
    "/schemas/{schema_id}",
}

OPEN = {
    ("identity", "POST", "/accounts"),
    ("identity", "POST", "/sessions"),
    ("identity", "POST", "/sessions/oidc"),
    ("identity", "POST", "/sessions/oidc/nonce"),
    ("identity", "POST", "/password"),
    ("identity", "POST", "/password/mail"),
    ("identity", "POST", "/addresses/proof"),
    ("identity", "POST", "/sessions/refresh"),
    ("identity", "GET", "/.well-known/jwks.json"),
    ("identity", "GET", "/.well-known/openid-configuration"),
    ("identity", "POST", "/oauth/token"),
    ("identity", "POST", "/oauth/introspect"),
}


def rules_of(service: str) -> set[str]:
    """The rules that a service refuses by."""
    own = import_module(f"services.{service}.domain.rules")
    return {rule for rules in (own, shared.rules) for constant, rule in vars(rules).items() if constant.isupper()}


async def _keys() -> Any:
    return public_keys([KEY])


def app_of(name: str) -> FastAPI:
    """The service's application with nothing opened: whatever it reaches for, it answers 503."""
    service = definition_of(name)
    parts = Parts(
        service=name,
        settings=Settings(),
        metrics=Metrics("test"),
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
            path = getattr(route, "path_format", route.path)
            found += [(name, method, path) for method in sorted(methods) if path not in EVERYWHERE]
    return found


ROUTES = every_route()
