"""Every operation of every service's document × every caller who may not: refused before anything is looked up.

The operations are read from the OpenAPI documents, so a new route is in here by itself. The services have no database:
whatever looked something up would answer 503. What needs data (another tenant, a lower role, another publisher) is in
tests/system/test_strangers.py and test_lower_roles.py.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey

from services import definition_of
from shared.eventlog.write.log import utc_now
from shared.events.identity import MachineScope
from shared.runtime.auth import AUDIENCE, ISSUER, Actor, TokenSigner, TokenVerifier, public_keys
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.problems import Problem
from shared.runtime.settings import Settings
from shared.services import SERVICES
from tests.examples.engine import new_id
from tests.services.every_route import EVERYWHERE, OPEN
from tests.services.tokens import by_hand

KEY, THEIRS = (ECKey.generate_key("P-256", {"kid": "key"}) for _ in range(2))
WHO = Actor(account_id="account", organisation_id="organisation", organisation_kind="operator", session_id="runs")
SCOPES: frozenset[str] = frozenset(get_args(MachineScope))


class SomeEnded:
    """Knows of the sessions `runs` and `ended`, and nothing of others."""

    async def good(self, actor: Actor, _token: str) -> bool:
        if actor.session_id in ("runs", "ended") or actor.client_id in ("runs", "ended"):
            return "ended" not in (actor.session_id, actor.client_id)
        raise Problem(rule="unavailable", reason="Nobody says.", headers={"Retry-After": "1"})


async def _keys() -> Any:
    return public_keys([KEY])


def app_of(name: str) -> FastAPI:
    service = definition_of(name)
    parts = Parts(
        service=name,
        settings=Settings(limits="command=off"),
        metrics=Metrics("test"),
        verifier=TokenVerifier(_keys, SomeEnded()),
        new_id=new_id,
        now=utc_now,
    )
    return make_app(parts, service.commands, service.queries, api=True)


APPS = {name: app_of(name) for name in SERVICES}


def operations() -> Iterator[tuple[str, str, str, tuple[str, ...] | None]]:
    """Service, method, path, and the scopes of which one suffices a machine; None where any machine may."""
    for name, app in APPS.items():
        for path, methods in app.openapi()["paths"].items():
            for method, operation in methods.items():
                if not operation["security"]:
                    assert path in EVERYWHERE or (name, method.upper(), path) in OPEN, (
                        f"{method} {path}: no token is asked for"
                    )
                    continue
                machines = [each["Machine"] for each in operation["security"] if "Machine" in each]
                scopes = None if machines == [[]] else tuple(scope for each in machines for scope in each)
                yield name, method.upper(), path, scopes


OPERATIONS = list(operations())


def token(**changed: Any) -> str:
    now = int(time.time())
    claims = {
        "sub": "account",
        "org": "organisation",
        "kind": "operator",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 60,
        "jti": "token",
        "sid": "runs",
        "since": 0,
    }
    return jwt.encode({"alg": "ES256", "kid": "key"}, claims | changed, KEY, ["ES256"])


def machine(*scopes: str, client_id: str = "runs") -> str:
    who = Actor(
        account_id="m",
        organisation_id="organisation",
        organisation_kind="customer",
        client_id=client_id,
        scopes=frozenset(scopes),
    )
    return TokenSigner(KEY).sign(who, "token")


NOBODY: Mapping[str, str | None] = {
    "no token": None,
    "nonsense": "nonsense",
    "an empty token": "",
    "without a signature": by_hand(b'{"alg": "none", "kid": "key"}'),
    "signed with the public key as a secret": by_hand(b'{"alg": "HS256", "kid": "key"}', KEY.as_pem(private=False)),
    "another's signature": TokenSigner(THEIRS).sign(WHO, "token"),
    "expired 31 seconds ago": token(exp=int(time.time()) - 31),
    "for something else": token(aud="tenure-invitation"),
    "from somebody else": token(iss="https://elsewhere.example"),
    "signed out": token(sid="ended"),
    "a machine that was revoked": machine(*SCOPES, client_id="ended"),
}


async def asked(operation: tuple[str, str, str, Any], given: str | None, ids: str, body: bytes = b"") -> httpx.Response:
    name, method, path, _ = operation
    headers = {} if given is None else {"Authorization": f"Bearer {given}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APPS[name]), base_url="http://test") as client:
        return await client.request(method, re.sub(r"{\w+}", ids, path), headers=headers, content=body)


def test_the_documents_have_every_service() -> None:
    assert {name for name, *_ in OPERATIONS} == set(SERVICES)
    assert len(OPERATIONS) > 80


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: " ".join(each[:3]))
async def test_nobody_is_let_in_and_nothing_is_told(operation: tuple[str, str, str, Any]) -> None:
    for what, given in NOBODY.items():
        answers = [await asked(operation, given, ids, body) for ids in ("one", "another") for body in (b"", b"{")]
        assert {answer.status_code for answer in answers} == {401}, what
        assert len({answer.content for answer in answers}) == 1, what
        challenge = 'Bearer error="invalid_token"' if given else "Bearer"
        assert {answer.headers["www-authenticate"] for answer in answers} == {challenge}, what


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: " ".join(each[:3]))
async def test_while_nobody_knows_whether_the_session_runs_nobody_is_let_in(
    operation: tuple[str, str, str, Any],
) -> None:
    answer = await asked(operation, token(sid="unknown"), "one")
    assert (answer.status_code, answer.json()["detail"], "retry-after" in answer.headers) == (503, "Nobody says.", True)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: " ".join(each[:3]))
async def test_a_machine_without_the_scope_is_refused_and_nothing_is_told(operation: tuple[str, str, str, Any]) -> None:
    *_, scopes = operation
    if scopes is None:
        assert (await asked(operation, machine(), "one")).status_code == 200
        return
    for lacking in (SCOPES - set(scopes), frozenset[str](), frozenset({"everything", "READ"})):
        answers = [
            await asked(operation, machine(*lacking), ids, body) for ids in ("one", "two") for body in (b"", b"{")
        ]
        assert {(answer.status_code, answer.json()["rule"]) for answer in answers} == {(403, "scope-missing")}
        assert len({answer.content for answer in answers}) == 1
        assert all(scope in answers[0].json()["detail"] for scope in scopes)
    for scope in scopes:
        assert (await asked(operation, machine(scope), "one")).status_code in (422, 503), "with it, it goes on"
