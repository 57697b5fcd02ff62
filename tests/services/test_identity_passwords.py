"""identity whole: a password is changed, and lost, and set anew."""

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest
import structlog
from joserfc.jwk import ECKey

from deploy import invite
from services.identity import persons
from services.identity.signin import credentials, keys
from services.identity.signin.keys import RESET_S, Keys
from shared.runtime.settings import Settings
from tests.services.identity_bench import KEY, PASSWORD, Bench, sign_up
from tests.spec import sends

pytestmark = pytest.mark.system

NEW = "another long password"


@sends
async def change(bench: Bench, token: str, current: str, new: str = NEW) -> httpx.Response:
    return await bench.when(token, "PUT", "/me/password", {"current": current, "new": new})


@sends
async def use(bench: Bench, reset: str, new: str = NEW) -> httpx.Response:
    return await bench.when("", "POST", "/password", {"reset": reset, "new": new})


async def reset_of(bench: Bench, account_id: str, made_by: Keys | None = None) -> str:
    replaces = credentials.digest(await credentials.verifier_of(bench.pool, account_id))
    return (made_by or Keys([KEY])).reset(account_id, replaces, "reset")


async def nothing_to_end() -> None:
    """Stands for the end of the account's sessions."""


async def signs_in(bench: Bench, password: str) -> bool:
    answer = await bench.sign_in("mina@x.example", password)
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def test_a_person_changes_their_password(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    with structlog.testing.capture_logs() as lines:
        changed = await change(bench, token, PASSWORD)
    assert (changed.status_code, changed.content) == (204, b"")
    assert (await signs_in(bench, PASSWORD), await signs_in(bench, NEW)) == (False, True)
    assert (await bench.when(token, "GET", "/me")).status_code == 401, "the sessions of before have ended"
    events = [stored.envelope.type for stored in await bench.store.read(0, 10)]
    assert events == ["AccountOpened", "SessionsEnded"], "a password is no event"
    assert [line["account_id"] for line in lines if line["event"] == "password changed"] == [mina]
    assert PASSWORD not in str(lines) and NEW not in str(lines)


async def test_a_wrong_current_password_changes_nothing(bench: Bench) -> None:
    _, token = await bench.join("mina")
    await change(bench, token, "something else").then_refused("password-wrong")
    await bench.when("", "PUT", "/me/password", {"current": PASSWORD, "new": NEW}).then_refused("not-signed-in")
    assert (await signs_in(bench, PASSWORD), await signs_in(bench, NEW)) == (True, False)


async def test_of_two_changes_at_once_one_is_done(bench: Bench) -> None:
    _, token = await bench.join("mina")
    news = [f"{NEW} {number}" for number in range(4)]
    answers = await asyncio.gather(*(change(bench, token, PASSWORD, new) for new in news))
    assert sorted(answer.status_code for answer in answers) == [204, 403, 403, 403]
    done = [answer.status_code == 204 for answer in answers]
    assert [await signs_in(bench, new) for new in news] == done


async def test_a_new_password_is_as_at_sign_up(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    for bad in ("x" * 11, "x" * 257):
        for sent in (change(bench, token, PASSWORD, bad), use(bench, await reset_of(bench, mina), bad)):
            problem = await sent.then_refused("malformed")
            assert bad not in str(problem)
    for good in ("kV8#qTz!m2Lx", "kV8#qTz!m2Lx" * 21 + "9@Fd"):
        assert (await use(bench, await reset_of(bench, mina), good)).status_code == 204
        assert await signs_in(bench, good)


async def test_a_common_password_is_refused_wherever_one_is_set(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    reset = await reset_of(bench, mina)
    for common in ("password1234", "MinaOkafor2026"):
        form = sign_up("mina-2") | {"password": common, "email": "okafor@x.example", "name": "Mina Okafor"}
        await bench.when("", "POST", "/accounts?dry_run=true", form).then_refused("password-common")
        await bench.when("", "POST", "/accounts", form).then_refused("password-common")
        await change(bench, token, PASSWORD, common).then_refused("password-common")
        await use(bench, reset, common).then_refused("password-common")
        await change(bench, token, "something else", common).then_refused("password-wrong")
    assert (await signs_in(bench, PASSWORD), await signs_in(bench, "password1234")) == (True, False)
    assert (await use(bench, reset)).status_code == 204, "a refused try uses up no reset"


async def test_who_guesses_does_the_same_work_where_there_is_no_password(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, token = await bench.join("mina")
    await bench.pool.execute("delete from credentials")
    verified = list[str]()

    def right(verifier: str, _: str) -> bool:
        verified.append(verifier)
        return True

    monkeypatch.setattr(credentials, "verify_password", right)
    await change(bench, token, PASSWORD).then_refused("password-wrong")
    assert verified == [credentials.VERIFIER_OF_NOBODY], "and what is verified in its place is nobody's password"


async def test_after_the_database_was_lost_people_set_a_password_by_reset(
    bench: Bench, databases: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mina, _ = await bench.join("mina")
    await bench.pool.execute("delete from credentials")
    assert not await signs_in(bench, PASSWORD)
    (note,) = [note for note in await bench.restored() if "password" in note]
    assert note.startswith("1 people") and "python -m deploy.invite password" in note

    monkeypatch.setenv("DATABASE_URL", databases("identity").removesuffix("_identity"))
    own = Settings()
    assert own.dsn("identity") == databases("identity")
    monkeypatch.setattr(invite, "settings", lambda: own)
    bench.app.state.keys = await keys.load(bench.pool, own, "kept")
    assert await invite.reset("nobody@x.example") is None
    reset = await invite.reset(" MINA@x.example")
    assert reset is not None
    with structlog.testing.capture_logs() as lines:
        assert (await use(bench, reset)).status_code == 204
    assert [line["account_id"] for line in lines if line["event"] == "password reset"] == [mina]
    assert reset not in str(lines) and NEW not in str(lines)
    assert (await signs_in(bench, PASSWORD), await signs_in(bench, NEW)) == (False, True)
    assert not [note for note in await bench.restored() if "password" in note]
    await use(bench, reset, "a third long password").then_refused("reset-not-valid")
    assert await signs_in(bench, NEW)


async def test_after_the_database_was_lost_a_sign_up_sent_again_sets_no_password(bench: Bench) -> None:
    key = {"Idempotency-Key": "first"}
    assert (await bench.when("", "POST", "/accounts", sign_up("mina"), **key)).status_code == 200
    await bench.pool.execute("delete from credentials")
    await bench.when("", "POST", "/accounts", sign_up("mina") | {"password": NEW}, **key)
    assert not await bench.pool.fetch("select * from credentials"), "who knows the key need not be the person"


async def test_a_reset_works_once_and_only_for_the_password_that_it_replaces(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    one, other = await reset_of(bench, mina), await reset_of(bench, mina)
    assert (await use(bench, one)).status_code == 204
    for used in (one, other):
        await use(bench, used, PASSWORD).then_refused("reset-not-valid")
    assert (await bench.when(token, "GET", "/me")).status_code == 401, "the sessions of before have ended"
    outstanding = await reset_of(bench, mina)
    token = (await bench.sign_in("mina@x.example", NEW)).json()["access_token"]
    assert (await change(bench, token, NEW, "a third long password")).status_code == 204
    await use(bench, outstanding).then_refused("reset-not-valid")
    assert await signs_in(bench, "a third long password")


@pytest.mark.parametrize("lost", [False, True])
async def test_a_reset_used_by_several_at_once_works_for_one(bench: Bench, lost: bool) -> None:
    mina, _ = await bench.join("mina")
    if lost:
        await bench.pool.execute("delete from credentials")
    reset, news = await reset_of(bench, mina), [f"{NEW} {number}" for number in range(4)]
    answers = await asyncio.gather(*(use(bench, reset, new) for new in news))
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409]
    assert [await signs_in(bench, new) for new in news] == [answer.status_code == 204 for answer in answers]


@pytest.mark.parametrize("erased", [False, True])
async def test_a_closed_account_is_not_reset(bench: Bench, erased: bool) -> None:
    mina, token = await bench.join("mina")
    resets = [await reset_of(bench, mina), Keys([KEY]).reset(mina, credentials.digest(None), "reset")]
    await bench.when(token, "DELETE", "/me")
    if erased:
        await bench.settle()
    for reset in resets:
        await use(bench, reset).then_refused("reset-not-valid")
    assert (await change(bench, token, PASSWORD)).status_code == 401
    await bench.settle()
    assert not await bench.pool.fetch("select * from credentials")


async def test_of_an_account_that_closes_during_its_reset_no_verifier_is_left(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    await bench.pool.execute("delete from credentials")
    async with bench.pool.acquire() as other, other.transaction():
        await other.execute("update person_keys set key = null, erased_at = now()")  # as erasing does first
        setting = asyncio.create_task(credentials.replace(bench.pool, mina, None, NEW, nothing_to_end))
        await asyncio.sleep(0.3)
        assert not setting.done(), "it waits for who erases"
    assert not await setting
    assert not await bench.pool.fetch("select * from credentials")
    await persons.erase(bench.pool, mina)


async def test_no_other_token_resets_and_all_are_refused_alike(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    good = await reset_of(bench, mina)
    late = Keys([KEY], clock=lambda: time.time() - RESET_S - 1)
    invitation = await bench.invite(token, "ana")
    bad = {
        "expired": await reset_of(bench, mina, late),
        "another's signature": await reset_of(bench, mina, Keys([ECKey.generate_key("P-256", {"kid": "key"})])),
        "of an account that does not exist": await reset_of(bench, "nobody"),
        "cut": good[:-2],
        "nonsense": "nonsense",
        "access": token,
        "invitation": invitation,
    }
    problems = []
    for what, reset in bad.items():
        answer = await use(bench, reset)
        assert answer.json()["rule"] == "reset-not-valid", what
        problems.append(answer.json())
    assert problems == [problems[0]] * len(bad) and problems[0]["status"] == 409
    await bench.when(good, "GET", "/me").then_refused("not-signed-in")
    assert (await use(bench, good)).status_code == 204, "while the good one, made beside them, works"
