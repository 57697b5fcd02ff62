"""identity whole: machine accounts are registered, get tokens within their scopes, and end."""

import base64
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.identity.domain.account import ACCOUNT, OpenAccount
from shared.eventlog.write.log import Meta, utc_now
from shared.runtime.auth import Actor, TokenSigner
from tests.examples.engine import new_id
from tests.services.identity_bench import KEY, OPERATOR, Bench

pytestmark = pytest.mark.system


def wanted(*scopes: str, days: int = 30, **more: Any) -> dict[str, Any]:
    until = (utc_now() + timedelta(days=days)).isoformat()
    return {"name": "Fleet agent", "scopes": list(scopes) or ["read"], "expires_at": until, **more}


async def registered(bench: Bench, token: str, *scopes: str, **more: Any) -> dict[str, str]:
    answer = await bench.when(token, "POST", "/machines", wanted(*scopes, **more))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    return {"client_id": body["client_id"], "client_secret": body["client_secret"]}


async def granted(bench: Bench, machine: dict[str, str], **more: str) -> httpx.Response:
    return await bench.http.post("/oauth/token", data={"grant_type": "client_credentials", **machine, **more})


async def operator(bench: Bench) -> str:
    """The token of an operator's account."""
    account_id = new_id()
    command = OpenAccount(
        account_id=account_id,
        organisation_id="tenure",
        organisation_name="Tenure",
        organisation_kind="operator",
        email="kim@tenure.example",
        name="Kim",
        country="DE",
        time_zone="UTC",
        locale="en",
        now=utc_now(),
    )
    await bench.log.execute(ACCOUNT, account_id, command, Meta(new_id(), account_id, utc_now()))
    since = await bench.store.position()
    return TokenSigner(KEY).sign(
        Actor(account_id=account_id, organisation_id="tenure", organisation_kind="operator", since=since), "token"
    )


async def token_of(bench: Bench, machine: dict[str, str], **more: str) -> str:
    answer = await granted(bench, machine, **more)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def oauth_refused(answer: httpx.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Basic")


async def test_a_machine_gets_a_token_for_its_secret_and_asks_with_it(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    machine = await registered(bench, oskar, "read")
    answer = await granted(bench, machine)
    said = answer.json()
    assert (answer.status_code, said["token_type"], said["expires_in"], said["scope"]) == (200, "Bearer", 300, "read")
    assert answer.headers["cache-control"] == "no-store" and "refresh_token" not in said
    assert (await bench.when(said["access_token"], "GET", "/contracts")).status_code == 200
    current = (await bench.when(said["access_token"], "GET", "/sessions/current")).json()
    assert (current["client_id"], current["session_id"], current["scope"]) == (machine["client_id"], None, "read")


async def test_the_secret_may_come_in_the_header(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    machine = await registered(bench, oskar, "read")
    pair = f"{machine['client_id']}:{machine['client_secret']}".encode()
    header = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    form = {"grant_type": "client_credentials"}
    assert (await bench.http.post("/oauth/token", data=form, headers=header)).status_code == 200
    both = await bench.http.post("/oauth/token", data=form | machine, headers=header)
    oauth_refused(both, 400, "invalid_request")
    for bad in ("Basic", "Basic x", "Basic " + base64.b64encode(b"nobody:x").decode(), "Bearer x"):
        oauth_refused(
            await bench.http.post("/oauth/token", data=form, headers={"Authorization": bad}), 401, "invalid_client"
        )


async def test_the_errors_are_those_of_the_standard(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    machine = await registered(bench, oskar, "read")
    oauth_refused(await granted(bench, machine, scope="installs:report"), 400, "invalid_scope")
    oauth_refused(await granted(bench, machine, scope=""), 400, "invalid_scope")
    oauth_refused(await granted(bench, machine, grant_type="password"), 400, "unsupported_grant_type")
    oauth_refused(await granted(bench, machine | {"client_secret": "x"}), 401, "invalid_client")
    oauth_refused(await granted(bench, machine | {"client_id": "nobody"}), 401, "invalid_client")
    oauth_refused(await granted(bench, machine | {"client_id": "\x00"}), 401, "invalid_client")
    oauth_refused(await bench.http.post("/oauth/token", data=machine), 400, "invalid_request")
    oauth_refused(await granted(bench, {}, grant_type="refresh_token", refresh_token="x"), 400, "invalid_grant")
    assert (await bench.http.post("/oauth/token", json=machine)).status_code == 415
    for body in (b"", b"a=1&a=2", b"\xff=1", b"nothing"):
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert (await bench.http.post("/oauth/token", content=body, headers=form)).status_code == 422


async def test_a_person_refreshes_at_the_token_endpoint_too(bench: Bench) -> None:
    await bench.join("mina")
    session = (await bench.sign_in("mina@x.example")).json()
    form = {"grant_type": "refresh_token", "refresh_token": session["refresh_token"]}
    answer = await bench.http.post("/oauth/token", data=form)
    assert (answer.status_code, answer.json()["session_id"]) == (200, session["session_id"])


async def test_a_machine_may_do_what_its_scopes_say_and_nothing_else(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    machine = await registered(bench, token, "read", "installs:report", acts_for=mina)
    narrow = await token_of(bench, machine, scope="installs:report")
    missing = await bench.when(narrow, "GET", "/me")
    assert (missing.status_code, missing.json()["rule"]) == (403, "scope-missing")
    assert "read" in missing.json()["detail"] and 'scope="read"' in missing.headers["www-authenticate"]
    wide = await token_of(bench, machine)
    assert (await bench.when(wide, "GET", "/me")).json()["account_id"] == mina
    for method, path in (
        ("PUT", "/me/profile"),
        ("DELETE", "/me"),
        ("POST", "/machines"),
        ("GET", "/machines"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions"),
        ("PUT", "/me/password"),
        ("GET", "/invitations"),
        ("POST", "/invitations"),
        ("DELETE", "/sessions/current"),
    ):
        answer = await bench.when(wide, method, path, {} if method != "GET" else None)
        assert (answer.status_code, answer.json()["rule"]) == (403, "scope-missing"), (method, path, answer.text)


async def test_nobody_gives_a_machine_more_than_they_may_do_themselves(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    _, elsewhere = await bench.join("nadia", organisation={"name": "Elsewhere", "kind": "customer"})
    cases = [
        (token, wanted("installs:report", acts_for=mina), None),
        (token, wanted("read", acts_for=mina), "machine-not-yours-to-give"),
        (token, wanted("installs:report", acts_for=oskar), "machine-not-yours-to-give"),
        (token, wanted("read"), "machine-not-yours-to-give"),
        (founder, wanted("read"), None),
        (founder, wanted("installs:report", acts_for=mina), None),
        (founder, wanted("read", acts_for=mina), "machine-not-yours-to-give"),
        (founder, wanted("credits:consume"), "machine-not-yours-to-give"),
        (founder, wanted("tokens:introspect"), "machine-not-yours-to-give"),
        (elsewhere, wanted("installs:report", acts_for=mina), "machine-acts-for"),
        (founder, wanted("installs:report", acts_for="nobody"), "machine-acts-for"),
        (founder, wanted("read", days=367), "machine-lifetime"),
        (founder, wanted("read", days=-1), "machine-lifetime"),
        (founder, wanted("read", organisation={"organisation_id": "x", "kind": "publisher"}), "operator-only"),
        (founder, wanted("everything"), "malformed"),
        (founder, wanted("read") | {"scopes": []}, "malformed"),
    ]
    for who, form, rule in cases:
        answer = await bench.when(who, "POST", "/machines", form)
        assert answer.json().get("rule") == rule, (form, answer.text)


async def test_an_administrator_of_a_contract_registers_the_organisations_machines(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    await bench.purchase(oskar)
    assert (await bench.when(token, "POST", "/machines", wanted("read"))).status_code == 403
    coordinator = f"/contracts/c/coordinators/{mina}"
    assert (await bench.when(founder, "PUT", coordinator, {"may_assign_seats": True})).status_code == 200
    assert (await bench.when(token, "POST", "/machines", wanted("read"))).status_code == 200


async def test_who_administers_nothing_any_more_gets_no_other_secret(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    await bench.purchase(oskar)
    coordinator = f"/contracts/c/coordinators/{mina}"
    assert (await bench.when(founder, "PUT", coordinator, {"may_assign_seats": True})).status_code == 200
    machine, own = await registered(bench, token, "read"), await registered(bench, token, "read", acts_for=mina)
    path = "/machines/{client_id}/secret"
    assert (await bench.when(token, "POST", path.format(**machine), {"overlap_days": 7})).status_code == 200
    assert (await bench.when(founder, "DELETE", coordinator)).status_code == 200
    await bench.settle()
    token = await bench.again("mina")
    answer = await bench.when(token, "POST", path.format(**machine), {"overlap_days": 0})
    assert (answer.status_code, answer.json()["rule"]) == (403, "machine-not-yours-to-give")
    await token_of(bench, machine)
    assert (await bench.when(token, "POST", path.format(**own), {})).status_code == 200, "one's own is one's own"
    assert (await bench.when(founder, "DELETE", f"/machines/{machine['client_id']}")).status_code == 200


async def test_a_revoked_machine_opens_nothing(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    machine = await registered(bench, oskar, "read")
    token = await token_of(bench, machine)
    path = f"/machines/{machine['client_id']}"
    assert (await bench.when(oskar, "DELETE", path)).status_code == 200
    assert (await bench.when(token, "GET", "/contracts")).status_code == 401
    oauth_refused(await granted(bench, machine), 401, "invalid_client")
    assert (await bench.when(oskar, "POST", f"{path}/secret", {})).json()["rule"] == "machine-revoked"
    assert (await bench.when(oskar, "DELETE", path)).json()["events"] == [], "once is enough"


async def test_a_machine_of_somebody_who_left_opens_nothing(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    machine = await registered(bench, token, "installs:report", acts_for=mina)
    theirs = await token_of(bench, machine)
    assert (await bench.when(theirs, "GET", "/sessions/current")).status_code == 200
    assert (await bench.when(token, "DELETE", "/me")).status_code == 200
    assert (await bench.when(theirs, "GET", "/sessions/current")).status_code == 401
    oauth_refused(await granted(bench, machine), 401, "invalid_client")


async def test_a_machine_expires_and_so_do_its_tokens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, oskar = await bench.join("oskar")
    machine = await registered(bench, oskar, "read", days=1)
    now = bench.app.state.parts.now

    def at(seconds_before: float) -> None:
        passed = timedelta(days=1, seconds=-seconds_before)
        monkeypatch.setattr(bench.app.state.parts, "now", lambda: now() + passed)

    at(100)
    assert 90 <= (await granted(bench, machine)).json()["expires_in"] <= 100
    at(-1)
    oauth_refused(await granted(bench, machine), 401, "invalid_client")


async def test_a_secret_is_rotated_with_an_overlap(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, oskar = await bench.join("oskar")
    first = await registered(bench, oskar, "read")
    path = f"/machines/{first['client_id']}/secret"
    second = first | {"client_secret": (await bench.when(oskar, "POST", path, {})).json()["client_secret"]}
    assert second != first
    await token_of(bench, first)
    await token_of(bench, second)
    third = first | {"client_secret": (await bench.when(oskar, "POST", path, {})).json()["client_secret"]}
    oauth_refused(await granted(bench, first), 401, "invalid_client")
    await token_of(bench, second)
    real = bench.app.state.parts.now
    monkeypatch.setattr(bench.app.state.parts, "now", lambda: real() + timedelta(days=1, seconds=1))
    oauth_refused(await granted(bench, second), 401, "invalid_client")
    await token_of(bench, third)
    assert (await bench.when(oskar, "POST", path, {"overlap_days": 8})).json()["rule"] == "machine-overlap"
    at_once = await bench.when(oskar, "POST", path, {"overlap_days": 0})
    oauth_refused(await granted(bench, third), 401, "invalid_client")
    await token_of(bench, first | {"client_secret": at_once.json()["client_secret"]})


async def test_a_secret_is_shown_once_and_kept_nowhere(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    form, key = wanted("read"), {"Idempotency-Key": "first"}
    made = (await bench.when(oskar, "POST", "/machines", form, **key)).json()
    again = (await bench.when(oskar, "POST", "/machines", form, **key)).json()
    assert (again["repeated"], "client_secret" in again) == (True, False)
    kept = str(await bench.pool.fetch("select * from machine_secrets")) + str(await bench.store.read(0, 100))
    assert made["client_id"] in kept and made["client_secret"] not in kept
    assert "client_secret" not in (await bench.when(oskar, "POST", "/machines?dry_run=true", form)).json()


async def test_machines_are_seen_by_whom_they_concern(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    _, ana = await bench.invited(founder, "ana")
    _, elsewhere = await bench.join("nadia", organisation={"name": "Elsewhere", "kind": "customer"})
    shared = await registered(bench, founder, "read")
    minas = await registered(bench, token, "installs:report", acts_for=mina)
    await bench.settle()

    async def listed(who: str) -> set[str]:
        return {each["client_id"] for each in (await bench.when(who, "GET", "/machines")).json()["items"]}

    assert await listed(founder) == {shared["client_id"], minas["client_id"]}
    assert await listed(token) == {minas["client_id"]}
    assert await listed(ana) == await listed(elsewhere) == set()
    for who, status in ((founder, 200), (token, 200), (ana, 404), (elsewhere, 404), (OPERATOR, 200)):
        path = f"/machines/{minas['client_id']}"
        assert (await bench.when(who, "GET", path)).status_code == status
        if status == 404:
            assert (await bench.when(who, "POST", f"{path}/secret", {})).status_code == 404
            assert (await bench.when(who, "DELETE", path)).status_code == 404
    page = (await bench.when(founder, "GET", "/machines?limit=1")).json()
    rest = (await bench.when(founder, "GET", f"/machines?after={page['next']}")).json()
    assert len(page["items"]) == len(rest["items"]) == 1 and rest["next"] is None


async def test_a_resource_server_asks_whether_a_token_is_good(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    machine = await registered(bench, token, "read")
    asks = {"token": token, **machine}
    oauth_refused(await bench.http.post("/oauth/introspect", data=asks), 403, "insufficient_scope")
    entitled = await registered(bench, await operator(bench), "tokens:introspect")
    active = (await bench.http.post("/oauth/introspect", data={"token": token, **entitled})).json()
    assert (active["active"], active["sub"]) == (True, mina)
    for bad in ("", "x", token[:-2]):
        answer = await bench.http.post("/oauth/introspect", data={"token": bad, **entitled})
        assert answer.json() == {"active": False}
    oauth_refused(await bench.http.post("/oauth/introspect", data={"token": token}), 401, "invalid_client")


async def test_the_discovery_document_names_its_issuer_as_the_tokens_do(bench: Bench) -> None:
    answer = await bench.when("", "GET", "/.well-known/openid-configuration")
    found = answer.json()
    assert answer.headers["cache-control"].startswith("public, max-age=")
    issuer = bench.app.state.parts.settings.token_issuer
    assert found["issuer"] == issuer
    document = bench.app.openapi()
    for name in ("jwks_uri", "token_endpoint", "introspection_endpoint"):
        assert found[name].removeprefix(issuer) in document["paths"], name
    scopes = document["components"]["securitySchemes"]["Machine"]["flows"]["clientCredentials"]["scopes"]
    assert found["scopes_supported"] == list(scopes)


async def test_machines_are_found_by_name_and_by_whom_they_concern(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, token = await bench.invited(founder, "mina")
    shared = (await registered(bench, founder, "read"))["client_id"]
    minas = (await registered(bench, token, "installs:report", acts_for=mina))["client_id"]
    await bench.settle()
    (name,) = {each["name"] for each in (await bench.when(founder, "GET", "/machines").then_ok())["items"]}

    async def listed(query: str) -> list[str]:
        page = await bench.when(founder, "GET", f"/machines?{query}").then_ok()
        return [each["client_id"] for each in page["items"]]

    assert await listed(f"registered_by={oskar}") == [shared]
    assert await listed(f"acts_for={mina}&revoked=false") == [minas]
    assert await listed(f"q={name[1:4].upper()}") == sorted((shared, minas))
    assert await listed("sort=-client_id") == sorted((shared, minas), reverse=True)
    assert await listed("q=nothing%20of%20the%20kind") == await listed("revoked=true") == []
