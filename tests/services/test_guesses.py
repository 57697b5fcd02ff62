"""Guesses at passwords: a few are free, each further one waits longer, and nobody is locked out for good."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.identity.signin import credentials
from services.identity.signin.guesses import FREE_ADDRESS, FREE_PAIR, LONGEST, Counter, Guesses, wait
from services.identity.signin.keys import Keys
from shared.runtime.limits import DEFAULTS, Limits
from shared.runtime.problems import Problem, busy
from tests.services.identity_bench import KEY, PASSWORD, Bench

pytestmark = pytest.mark.system

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CLAIM = "email:mina@x.example"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(bench: Bench, clock: Clock) -> Guesses:
    return Guesses(bench.pool, clock)


async def right() -> str | None:
    return "verifier"


async def wrong() -> str | None:
    return None


async def guess(
    guesses: Guesses, source: str = "192.0.2.1", check: Callable[[], Any] = wrong, claim: str = CLAIM
) -> int:
    """The seconds that a guess has to wait, 0 for one that was compared."""
    try:
        await guesses.checked(claim, source, check)
    except Problem as refused:
        return int(refused.headers["Retry-After"]) if refused.rule == "too-many-requests" else -1
    return 0


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (4, 0), (5, 1), (6, 2), (9, 16), (14, 512), (15, 900), (16, 900), (10**9, 900)]
)
def test_the_delay_doubles_up_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    counter = Counter(b"", failures, NOON)
    assert wait(counter, FREE_PAIR, NOON) == timedelta(seconds=seconds)
    assert wait(counter, FREE_PAIR, NOON + LONGEST) == timedelta(0)


async def test_after_five_wrong_ones_each_guess_waits_twice_as_long(guesses: Guesses, clock: Clock) -> None:
    assert [await guess(guesses) for _ in range(FREE_PAIR)] == [0] * FREE_PAIR
    for delay in (1, 2, 4, 8, 16):
        told = await guess(guesses)
        assert delay <= told <= delay + 1
        assert await guess(guesses) == told, "asking too early makes it no longer"
        clock.now += timedelta(seconds=told)
        assert await guess(guesses) == 0


async def test_of_any_number_of_guesses_at_once_five_are_compared(guesses: Guesses) -> None:
    answers = await asyncio.gather(*(guess(guesses) for _ in range(100)))
    assert answers.count(0) == FREE_PAIR


async def test_right_and_wrong_ones_at_once_hold_nobody_up(guesses: Guesses) -> None:
    sources = [f"network {number}" for number in range(10)]
    checks: list[Callable[[], Any]] = [right, wrong, right, right]
    answers = await asyncio.gather(*(guess(guesses, source, check) for source in sources for check in checks * 5))
    assert -1 not in answers, "a deadlock would have been raised"
    assert 0 in answers


async def test_the_right_password_lets_the_count_begin_anew(guesses: Guesses) -> None:
    for _ in range(3):
        assert [await guess(guesses) for _ in range(FREE_PAIR - 1)] == [0] * (FREE_PAIR - 1)
        assert await guess(guesses, check=right) == 0


async def test_a_day_without_a_guess_lets_the_count_begin_anew(guesses: Guesses, clock: Clock) -> None:
    for _ in range(2):
        assert [await guess(guesses) for _ in range(FREE_PAIR)] == [0] * FREE_PAIR
        assert await guess(guesses) > 0
        clock.now += timedelta(days=1, seconds=1)


async def test_many_networks_guess_no_more_than_one_and_lock_a_known_one_out_never(
    guesses: Guesses, clock: Clock
) -> None:
    assert await guess(guesses, "home", right) == 0
    compared = [await guess(guesses, f"network {number}") for number in range(400)].count(0)
    assert compared == FREE_ADDRESS
    assert await guess(guesses, "a stranger's") > 0
    assert await guess(guesses, "home", wrong) == 0, "where the right password came from, its own guesses count only"
    assert await guess(guesses, "home", right) == 0
    clock.now += timedelta(days=91)
    for number in range(400):
        await guess(guesses, f"network {number}")
    assert await guess(guesses, "home") > 0, "known no longer"


async def test_guesses_at_one_address_delay_no_other(guesses: Guesses) -> None:
    for _ in range(400):
        await guess(guesses)
    assert await guess(guesses, claim="email:ana@x.example") == 0


async def test_what_was_never_compared_does_not_count(guesses: Guesses) -> None:
    async def overloaded() -> str | None:
        raise busy("Too many at once.")

    for _ in range(20):
        with pytest.raises(Problem, match="Too many at once"):
            await guesses.checked(CLAIM, "192.0.2.1", overloaded)
    assert await guess(guesses) == 0


async def test_the_processes_of_the_service_count_together(bench: Bench, clock: Clock) -> None:
    processes = [Guesses(bench.pool, clock) for _ in range(3)]
    compared = [await guess(processes[number % 3]) for number in range(60)].count(0)
    assert compared == FREE_PAIR


async def test_no_address_is_kept_and_what_delays_nobody_is_deleted(
    bench: Bench, guesses: Guesses, clock: Clock
) -> None:
    await guess(guesses)
    await guess(guesses, "home", right, claim="email:ana@x.example")
    kept = await bench.pool.fetch("select * from password_guesses")
    assert len(kept) == 4
    assert "x.example" not in str(kept)
    clock.now += timedelta(days=2)
    await guess(guesses, claim="email:oskar@x.example")
    assert await bench.pool.fetchval("select count(*) from password_guesses") == 3, "the known network, and the new two"


# ── Over HTTP ──────────────────────────────────────────────────────────────────────────────────────────


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    found = [answer.status_code for answer in answers]
    return {status: found.count(status) for status in sorted(set(found))}


def elsewhere(bench: Bench) -> httpx.AsyncClient:
    """A client on another network address."""
    transport = httpx.ASGITransport(bench.app, client=("192.0.2.200", 5))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.mark.parametrize("email", ["mina@x.example", "nobody@x.example"])
async def test_of_400_wrong_passwords_at_once_five_are_compared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, email: str
) -> None:
    await bench.join("mina")
    await bench.join("ana")
    compared, verify = list[str](), credentials.verify_password

    def counted(verifier: str, password: str) -> bool:
        compared.append(password)
        return verify(verifier, password)

    monkeypatch.setattr(credentials, "verify_password", counted)
    parts = bench.app.state.parts
    within_a_minute = Limits(clock=lambda: NOON.timestamp(), refused=parts.metrics.limited)
    monkeypatch.setattr(parts, "limits", within_a_minute)
    answers = await asyncio.gather(*(bench.sign_in(email, f"wrong {number}") for number in range(400)))
    assert statuses(answers) == {401: FREE_PAIR, 429: 400 - FREE_PAIR}
    assert len(compared) == FREE_PAIR, "nothing is compared for those that are refused"
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status_code == 429)
    metrics = (await bench.when("", "GET", "/metrics")).text
    by_source = 400 - int(DEFAULTS["sign-in"].partition("/")[0])
    assert f'tenure_requests_limited_total{{limit="sign-in",service_name="test"}} {by_source}.0' in metrics
    async with elsewhere(bench) as http:
        form = {"email": "ana@x.example", "password": PASSWORD}
        assert (await http.post("/sessions", json=form)).status_code == 200, "others sign in meanwhile"


async def test_somebody_who_knows_the_password_signs_in_where_others_guess(bench: Bench) -> None:
    await bench.join("mina")
    for number in range(7):
        await bench.sign_in("mina@x.example", f"wrong {number}")
    assert (await bench.sign_in("mina@x.example")).status_code == 429, "from where the guesses came, it waits"
    async with elsewhere(bench) as http:
        form = {"email": "mina@x.example", "password": PASSWORD}
        assert (await http.post("/sessions", json=form)).status_code == 200


async def test_right_sign_ins_from_one_network_are_not_limited(bench: Bench) -> None:
    await bench.join("mina")
    bench.app.state.parts.limits.take("sign-in", "127.0.0.1")
    answers = [await bench.sign_in("mina@x.example") for _ in range(70)]
    assert statuses(answers) == {200: 70}


async def test_guesses_at_the_current_password_wait_as_at_sign_in(bench: Bench) -> None:
    _, token = await bench.join("mina")
    form = {"current": "something else", "new": "another long password"}
    answers = [await bench.when(token, "PUT", "/me/password", form) for _ in range(7)]
    assert statuses(answers) == {403: FREE_PAIR, 429: 2}
    assert (await bench.sign_in("mina@x.example")).status_code == 429, "they are guesses at the same password"


async def test_a_reset_ends_the_delay_that_strangers_brought_about(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    guesses = Guesses(bench.pool, bench.app.state.parts.now)
    for number in range(FREE_ADDRESS + 3):
        await guess(guesses, f"network {number}")
    assert (await bench.sign_in("mina@x.example")).status_code == 429
    replaces = credentials.digest(await credentials.verifier_of(bench.pool, mina))
    form = {"reset": Keys([KEY]).reset(mina, replaces, "reset"), "new": "another long password"}
    assert (await bench.when("", "POST", "/password", form)).status_code == 204
    assert (await bench.sign_in("mina@x.example", "another long password")).status_code == 200
