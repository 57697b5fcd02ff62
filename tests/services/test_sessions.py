"""identity whole: sessions begin, go on and end."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.identity.signin import credentials, refresh
from shared.eventlog.write.log import utc_now
from shared.events import SessionEnded, SessionsEnded
from shared.runtime.auth import Actor, TokenSigner
from tests.services.identity_bench import KEY, PASSWORD, Bench
from tests.spec import sends

pytestmark = pytest.mark.system


async def begun(bench: Bench, name: str = "mina") -> dict[str, Any]:
    session: dict[str, Any] = (await bench.sign_in(f"{name}@x.example")).json()
    return session


@sends
async def refreshed(bench: Bench, session: dict[str, Any]) -> httpx.Response:
    return await bench.when("", "POST", "/sessions/refresh", {"refresh_token": session["refresh_token"]})


async def runs(bench: Bench, session: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the access token opens something, and whether the session is refreshed. Uses the refresh token up."""
    opens = await bench.when(session["access_token"], "GET", "/me")
    again = await refreshed(bench, session)
    assert opens.status_code in (200, 401) and again.status_code in (200, 401)
    if again.status_code == 401:
        assert again.json()["rule"] == "session-ended"
    return opens.status_code == 200, again.status_code == 200


def later(bench: Bench, monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    monkeypatch.setattr(bench.app.state.parts, "now", lambda: utc_now() + by)


async def test_a_session_is_refreshed_as_often_as_one_likes(bench: Bench) -> None:
    await bench.join("mina")
    session = await begun(bench)
    for _ in range(3):
        answer = await refreshed(bench, session)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        following = answer.json()
        assert following["session_id"] == session["session_id"] and following["expires_in"] == 300
        assert following["refresh_token"] != session["refresh_token"]
        assert (await bench.when(following["access_token"], "GET", "/me")).status_code == 200
        session = following


async def test_of_a_refresh_token_nothing_is_kept_that_it_could_be_made_from(bench: Bench) -> None:
    await bench.join("mina")
    session = await begun(bench)
    _, tag, secret = refresh.parts_of(session["refresh_token"])
    rows = await bench.pool.fetch("select * from sessions")
    assert len(rows) == 2, "the sign-up began one, too"
    kept = b"".join(value for row in rows for value in row.values() if isinstance(value, bytes))
    assert tag not in kept and secret not in kept


async def test_a_refresh_token_that_is_used_again_ends_the_session(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.join("mina")
    stolen = await begun(bench)
    following = (await refreshed(bench, stolen)).json()
    later(bench, monkeypatch, refresh.GRACE + timedelta(seconds=1))
    assert (await refreshed(bench, stolen)).status_code == 401
    assert await runs(bench, following) == (False, False)
    ended = (await bench.store.read(0, 100))[-1]
    assert SessionEnded.model_validate_json(ended.data).reason == "refresh-token-reused"


async def test_a_lost_answer_is_given_again_within_seconds(bench: Bench) -> None:
    await bench.join("mina")
    session = await begun(bench)
    answers = [(await refreshed(bench, session)).json()["refresh_token"] for _ in range(3)]
    assert len(set(answers)) == 1
    following = (await bench.when("", "POST", "/sessions/refresh", {"refresh_token": answers[0]})).json()
    assert (await refreshed(bench, session)).status_code == 401, "not once its successor was used"
    assert await runs(bench, following) == (False, False)


async def test_of_refreshes_at_once_all_have_the_same_successor(bench: Bench) -> None:
    await bench.join("mina")
    session = await begun(bench)
    answers = await asyncio.gather(*(refreshed(bench, session) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


@pytest.mark.parametrize("idle", [True, False])
async def test_a_session_runs_out(bench: Bench, monkeypatch: pytest.MonkeyPatch, idle: bool) -> None:
    await bench.join("mina")
    session = await begun(bench)
    after, steps = (refresh.IDLE, 1) if idle else (refresh.LIFETIME / 3, 3)
    for step in range(1, steps):
        later(bench, monkeypatch, step * after)
        session = (await refreshed(bench, session)).json()
        assert 0 < session["refresh_expires_in"] <= (refresh.LIFETIME - step * after).total_seconds()
    later(bench, monkeypatch, steps * after - timedelta(minutes=1))
    session = (await refreshed(bench, session)).json()
    later(bench, monkeypatch, steps * after + (refresh.IDLE if idle else timedelta(0)))
    assert (await refreshed(bench, session)).status_code == 401


async def test_what_is_no_refresh_token_ends_nothing(bench: Bench) -> None:
    await bench.join("mina")
    session = await begun(bench)
    good: str = session["refresh_token"]
    name, rest = good.split(".")
    guesses = (
        "",
        ".",
        name,
        f"{name}.",
        f"{name}.{rest[:-4]}",
        f"{name}.{'A' * 64}",
        f"x.{rest}",
        good + "A",
        f"{name}.{rest[::-1]}",
        "\x00",
        f"{name}\x00.{rest}",
        "ä.ä",
        session["access_token"],
    )
    for guess in guesses:
        answer = await bench.when("", "POST", "/sessions/refresh", {"refresh_token": guess})
        assert answer.status_code in (401, 422), guess
    assert await runs(bench, session) == (True, True)


async def test_signing_out_ends_this_session_and_no_other(bench: Bench) -> None:
    _, other = await bench.join("mina")
    session = await begun(bench)
    assert (await bench.when(session["access_token"], "DELETE", "/sessions/current")).status_code == 200
    assert await runs(bench, session) == (False, False)
    assert (await bench.when(other, "GET", "/me")).status_code == 200


async def test_signing_out_everywhere_ends_all_of_ones_own(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    await bench.invited(oskar, "mina")
    one, two = await begun(bench), await begun(bench)
    assert (await bench.when(one["access_token"], "DELETE", "/sessions")).status_code == 200
    assert [await runs(bench, each) for each in (one, two)] == [(False, False)] * 2
    assert (await bench.when(oskar, "GET", "/me")).status_code == 200
    assert await runs(bench, await begun(bench)) == (True, True), "who signs in again is signed in"


async def test_one_lists_and_ends_ones_own_sessions_only(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    _, mina = await bench.invited(oskar, "mina")
    lost = await begun(bench)
    listed = (await bench.when(mina, "GET", "/sessions")).json()["items"]
    assert [each["current"] for each in listed] == [False, True]
    assert listed[0]["session_id"] == lost["session_id"]
    for nobodys in (lost["session_id"], "nobodys"):
        assert (await bench.when(oskar, "DELETE", f"/sessions/{nobodys}")).status_code == 404
    assert (await bench.when(mina, "DELETE", f"/sessions/{lost['session_id']}")).status_code == 200
    assert await runs(bench, lost) == (False, False)
    assert len((await bench.when(mina, "GET", "/sessions")).json()["items"]) == 1


async def test_a_dry_run_ends_nothing(bench: Bench) -> None:
    await bench.join("mina")
    session = await begun(bench)
    considered = await bench.when(session["access_token"], "DELETE", "/sessions?dry_run=true")
    assert [event["type"] for event in considered.json()["events"]] == ["SessionsEnded"]
    assert await runs(bench, session) == (True, True)


async def test_the_operator_ends_somebodys_sessions(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    session, path = await begun(bench), f"/accounts/{mina}/sessions"
    assert (await bench.when(token, "DELETE", path)).json()["rule"] == "operator-only"
    operator = TokenSigner(KEY).sign(
        Actor(account_id="operator", organisation_id="tenure", organisation_kind="operator"), "token"
    )
    assert (await bench.when(operator, "DELETE", "/accounts/nobody/sessions")).status_code == 404
    assert (await bench.when(operator, "DELETE", path)).status_code == 200
    assert await runs(bench, session) == (False, False)


async def test_a_new_password_and_a_reset_end_all_sessions(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    session = await begun(bench)
    change = {"current": PASSWORD, "new": "another long password"}
    assert (await bench.when(session["access_token"], "PUT", "/me/password", change)).status_code == 204
    assert await runs(bench, session) == (False, False)
    session = (await bench.sign_in("mina@x.example", "another long password")).json()
    replaces = credentials.digest(await credentials.verifier_of(bench.pool, mina))
    reset = bench.app.state.keys.reset(mina, replaces, "reset")
    used = await bench.when("", "POST", "/password", {"reset": reset, "new": "a third long password"})
    assert (used.status_code, await runs(bench, session)) == (204, (False, False))
    reasons = [
        SessionsEnded.model_validate_json(stored.data).reason
        for stored in await bench.store.read(0, 100)
        if stored.envelope.type == "SessionsEnded"
    ]
    assert reasons == ["password-changed", "password-reset"]


async def test_a_wrong_password_or_reset_ends_nothing(bench: Bench) -> None:
    await bench.join("mina")
    session = await begun(bench)
    change = {"current": "not the password", "new": "another long password"}
    assert (await bench.when(session["access_token"], "PUT", "/me/password", change)).status_code == 403
    assert (await bench.when("", "POST", "/password", {"reset": "x", "new": "a third long one"})).status_code == 409
    assert await runs(bench, session) == (True, True)


async def test_a_password_that_is_not_changed_after_all_has_ended_the_sessions(bench: Bench) -> None:
    """The append is inside the transaction: a crash before its commit is on the safe side."""
    mina, _ = await bench.join("mina")
    before = await credentials.verifier_of(bench.pool, mina)

    async def crash() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await credentials.replace(bench.pool, mina, before, "another long password", crash)
    assert await credentials.verifier_of(bench.pool, mina) == before


async def test_who_signs_in_with_the_old_password_meanwhile_is_not_signed_in(bench: Bench) -> None:
    """The password is checked before it is replaced, the session begun after: it waits, and is none."""
    mina, _ = await bench.join("mina")
    before = await credentials.verifier_of(bench.pool, mina)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def ending() -> None:
        reached.set()
        await go_on.wait()

    changing = asyncio.create_task(credentials.replace(bench.pool, mina, before, "another long password", ending))
    await reached.wait()
    signing_in = asyncio.ensure_future(bench.sign_in("mina@x.example"))
    await asyncio.sleep(0.5)
    assert not signing_in.done(), "it waits for whoever changes the password"
    go_on.set()
    assert await changing
    assert (await signing_in).status_code == 401


async def test_a_sign_in_that_overlaps_the_end_of_all_sessions_has_ended(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    since = await bench.store.position()
    assert (await bench.when(token, "DELETE", "/sessions")).status_code == 200
    running = await refresh.begin(
        bench.pool,
        mina,
        session_id="s",
        since=since,
        now=utc_now(),
        verifier=await credentials.verifier_of(bench.pool, mina),
    )
    assert running is not None
    assert (await refreshed(bench, {"refresh_token": running.token})).status_code == 401


async def test_closing_the_account_ends_its_sessions(bench: Bench) -> None:
    _, oskar = await bench.join("oskar")
    await bench.invited(oskar, "mina")
    session = await begun(bench)
    assert (await bench.when(session["access_token"], "DELETE", "/me")).status_code == 200
    assert await runs(bench, session) == (False, False)


async def test_who_loses_a_role_signs_in_again(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, _ = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    coordinator = f"/contracts/c/coordinators/{mina}"
    session = await begun(bench)
    assert (await bench.when(manager, "PUT", coordinator, {"may_assign_seats": True})).status_code == 200
    assert (await bench.when(session["access_token"], "GET", "/me")).status_code == 200, (
        "a role that is given ends none"
    )
    assert (await bench.when(manager, "DELETE", coordinator)).status_code == 200
    assert await runs(bench, session) == (False, False)
    assert (await bench.when(manager, "POST", "/contracts/c/handover", {"to": mina})).status_code == 200
    assert (await bench.when(manager, "GET", "/me")).status_code == 401, "who hands over loses the role, too"


async def test_another_process_knows_at_once(bench: Bench) -> None:
    _, token = await bench.join("mina")
    session = await begun(bench)
    endings = bench.app.state.parts.verifier.endings
    other = type(endings)(bench.pool)
    who = await bench.app.state.parts.verifier.actor(f"Bearer {session['access_token']}")
    assert await other.good(who)
    assert (await bench.when(token, "DELETE", "/sessions")).status_code == 200
    assert not await other.good(who)
    assert not await type(endings)(bench.pool).good(who), "nor does one that has just started"


async def test_after_a_restore_everybody_signs_in_again(bench: Bench) -> None:
    """Of the refresh tokens in a backup some were used since."""
    await bench.join("mina")
    session = await begun(bench)
    await bench.restored()
    assert (await refreshed(bench, session)).status_code == 401


async def test_the_end_of_a_session_is_its_organisations(bench: Bench) -> None:
    _, token = await bench.join("mina")
    await bench.when(token, "DELETE", "/sessions")
    ended = (await bench.store.read(0, 100))[-1].envelope
    opened_by = (await bench.store.read(0, 100))[0].envelope
    assert (ended.type, ended.tenant) == ("SessionsEnded", opened_by.tenant)


async def test_a_token_of_this_session_alone_tells_who_is_signed_in(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    said = await bench.when(token, "GET", "/sessions/current")
    assert (said.json()["account_id"], said.headers["cache-control"]) == (mina, "no-store")
    again = await bench.when(token, "GET", "/sessions/current", None, **{"If-None-Match": said.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await bench.when("", "GET", "/sessions/current")).status_code == 401
