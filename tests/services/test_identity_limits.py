"""What identity admits how often: sign-ups, dry runs without a token, invitations, bulk requests."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from services.identity.signin import credentials
from shared.runtime.limits import Limits
from shared.runtime.problems import busy
from tests.services.identity_bench import Bench, opened, sign_up

pytestmark = pytest.mark.system


@pytest.fixture
async def bench(databases: Callable[[str], str]) -> AsyncIterator[Bench]:
    async with opened(databases) as made:
        limit(made)
        yield made


def limit(bench: Bench, text: str = "") -> None:
    """Limits whose clock stands still: no minute ends while requests are counted."""
    parts = bench.app.state.parts
    parts.limits = Limits(text, clock=lambda: 0.0, refused=parts.metrics.limited)


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    found = [answer.status_code for answer in answers]
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["rule"] == "too-many-requests"
            assert int(answer.headers["Retry-After"]) > 0
    return {status: found.count(status) for status in sorted(set(found))}


async def test_of_300_dry_runs_without_a_token_thirty_are_decided(bench: Bench) -> None:
    forms = [sign_up(f"person-{number}") for number in range(300)]
    answers = [await bench.when("", "POST", "/accounts?dry_run=true", form) for form in forms]
    assert statuses(answers) == {200: 30, 429: 270}
    assert await bench.store.position() == 0


async def test_one_network_address_opens_so_many_accounts(bench: Bench) -> None:
    limit(bench, "sign-up=5/minute")
    answers = [await bench.when("", "POST", "/accounts", sign_up(f"person-{number}")) for number in range(8)]
    assert statuses(answers) == {200: 5, 429: 3}
    assert await bench.store.position() == 5


async def test_one_e_mail_address_is_signed_up_so_often_in_whatever_spelling(bench: Bench) -> None:
    limit(bench, "sign-up=off")
    answers = [
        await bench.when("", "POST", "/accounts", sign_up("mina") | {"email": email})
        for email in ("mina@x.example", "MINA@x.example", " mina@X.example") * 5
    ]
    assert answers[0].status_code == 200
    found = statuses(answers)
    assert found[429] == 5, "ten an hour"
    assert "mina" not in str(bench.app.state.parts.limits._counters._windows), "nor is the address kept"


async def test_what_is_answered_503_is_not_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It did nothing and asks to be sent again: whoever does so is not refused for it."""
    limit(bench, "sign-up=3/minute, sign-up-address=3/hour, sign-in=3/minute")
    form = sign_up("mina")
    signing_in = {"email": form["email"], "password": form["password"]}

    async def full(*_: object) -> bool:
        raise busy("Too many passwords are being checked at this moment.")

    with monkeypatch.context() as patched:
        patched.setattr(credentials, "store_first", full)
        patched.setattr(credentials, "matched", full)
        opening = [await bench.when("", "POST", "/accounts", form) for _ in range(6)]
        entering = [await bench.when("", "POST", "/sessions", signing_in) for _ in range(6)]
    assert statuses(opening) == statuses(entering) == {503: 6}
    assert (await bench.when("", "POST", "/accounts", form)).status_code == 200
    assert (await bench.when("", "POST", "/sessions", signing_in)).status_code == 200


async def test_asking_for_proofs_and_signing_up_count_together(bench: Bench) -> None:
    """In whatever spelling: both mail the same address."""
    limit(bench, "sign-up=off, sign-up-address=3/hour")
    asked = [await bench.when("", "POST", "/addresses/proof", {"email": "MINA@x.example"}) for _ in range(3)]
    assert statuses(asked) == {202: 3}
    answer = await bench.when("", "POST", "/accounts", sign_up("mina") | {"email": "mina@x.example"})
    assert answer.status_code == 429


async def test_one_account_invites_so_often(bench: Bench) -> None:
    limit(bench, "invitation=3/hour")
    _, token = await bench.join("mina")
    answers = [
        await bench.when(token, "POST", "/invitations", {"email": f"p{number}@x.example"}) for number in range(5)
    ]
    assert statuses(answers) == {200: 3, 429: 2}


async def test_one_account_sends_so_many_commands_and_bulk_requests(bench: Bench) -> None:
    limit(bench, "command=3/minute, bulk=2/minute")
    _, token = await bench.join("mina")
    bulk, one = "/contracts/none/coordinators/bulk", "/contracts/none/coordinators/ana"
    many = [await bench.when(token, "POST", bulk, {"items": [{"account_id": "ana"}]}) for _ in range(4)]
    assert statuses(many) == {200: 2, 429: 2}
    single = await asyncio.gather(*(bench.when(token, "PUT", one, {}) for _ in range(5)))
    assert statuses(single) == {404: 3, 429: 2}
    _, another = await bench.join("ana")
    assert (await bench.when(another, "PUT", one, {})).status_code == 404, "another account has its own"
