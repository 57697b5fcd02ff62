"""Waiting for one's own write: bounded, for known callers only, and one question to the database for all of them."""

import asyncio

import pytest

from services.identity.__main__ import SERVICE
from services.identity.domain.account import organisation_of
from shared.runtime import freshness
from shared.runtime.auth import Actor, TokenSigner
from shared.runtime.freshness import Freshness
from shared.runtime.problems import Problem
from tests.services.identity_bench import KEY, Bench

pytestmark = pytest.mark.system

CATEGORIES = [stream.category for stream in SERVICE.streams]
FOREIGN = "subscription-of-another-service@1"


def waiting(bench: Bench, wait_s: float = 60.0) -> Freshness:
    """As a process of identity has it."""
    return Freshness(lambda: bench.pool, SERVICE.own_projections, CATEGORIES, wait_s=wait_s)


def who(account: str, organisation: str = "elsewhere") -> Actor:
    return Actor(account_id=account, organisation_id=organisation, organisation_kind="customer")


def own(account: str) -> Actor:
    """Of the organisation that the account founded."""
    return who(account, organisation_of(account))


async def refusal_of(freshness: Freshness, wanted: str, actor: Actor | None = None) -> tuple[int, str]:
    with pytest.raises(Problem) as problem:
        await freshness.reached(wanted, actor or who("mina"))
    return problem.value.status, problem.value.rule


async def started(*tasks: asyncio.Task[None]) -> None:
    for _ in tasks:
        await asyncio.sleep(0)


async def test_a_query_waits_until_the_tables_have_the_version(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    waits = asyncio.create_task(waiting(bench).reached(f"account-{mina}@1", own(mina)))
    await asyncio.sleep(0.1)
    assert not waits.done(), "written, but not folded yet"
    await bench.settle()
    await waits


async def test_of_another_services_stream_the_tables_that_follow_it_count(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    waits = asyncio.create_task(waiting(bench).reached("subscription-s@1", own(mina)))
    await asyncio.sleep(0.1)
    assert not waits.done()
    await bench.purchase(mina)
    await waits


@pytest.mark.parametrize("wanted", ["account-nobody@1", "account-{mina}@2", "contract-none@1"])
async def test_what_the_services_own_log_does_not_have_is_refused_at_once(bench: Bench, wanted: str) -> None:
    mina, _ = await bench.join("mina")
    await bench.settle()
    found = await refusal_of(waiting(bench), wanted.format(mina=mina), own(mina))
    assert found == (422, "version-unknown")


async def test_what_does_not_come_is_told_in_the_end(bench: Bench) -> None:
    assert await refusal_of(waiting(bench, wait_s=0.05), FOREIGN) == (503, "not-yet")


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "account-x",
        "account-x@",
        "account-x@-1",
        "account-x@2147483648",
        "account-x@99999999999",
        "account x@1",
        "account-ä@1",
        "account-\0@1",
        f"{'x' * 401}@1",
        "account-x@1\n",
        "account-x@١",
    ],
)
async def test_a_malformed_wish_is_refused(bench: Bench, wanted: str) -> None:
    assert await refusal_of(waiting(bench), wanted) == (422, "malformed")


async def test_all_that_wait_share_one_question(bench: Bench) -> None:
    made = waiting(bench, wait_s=0.5)
    tasks = [asyncio.create_task(made.reached(FOREIGN, who(f"account {number}"))) for number in range(400)]
    problems = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, Problem) and each.rule == "not-yet" for each in problems)
    assert made.questions <= 51, "one each hundredth of a second, and not one a waiter"
    assert len(made) == 0


async def test_an_account_and_a_process_wait_so_often_and_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "WAITING_OF_AN_ACCOUNT", 3)
    monkeypatch.setattr(freshness, "WAITING_AT_MOST", 5)
    made = waiting(bench)
    tasks = [asyncio.create_task(made.reached(FOREIGN, who("mina"))) for _ in range(3)]
    await started(*tasks)
    assert await refusal_of(made, FOREIGN) == (429, "too-many-requests")
    more = [asyncio.create_task(made.reached(FOREIGN, who(f"account {number}"))) for number in range(2)]
    await started(*more)
    assert await refusal_of(made, FOREIGN, who("ana")) == (503, "busy")
    for task in (*tasks, *more):
        task.cancel()
    await asyncio.gather(*tasks, *more, return_exceptions=True)
    again = asyncio.create_task(made.reached(FOREIGN, who("mina")))
    await started(again)
    assert len(made) == 1, "who has gone makes room"
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


async def test_without_a_database_nobody_waits(bench: Bench) -> None:
    made = waiting(bench)
    await bench.pool.close()
    with pytest.raises(Exception, match="closed"):
        await made.reached(FOREIGN, who("mina"))


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/sessions"), ("POST", "/password"), ("GET", "/contracts"), ("PUT", "/me/password")]
)
async def test_nobody_waits_without_a_token(bench: Bench, method: str, path: str) -> None:
    bodies = {
        "/sessions": {"email": "mina@x.example", "password": "x"},
        "/password": {"reset": "x", "new": "x" * 12},
        "/me/password": {"current": "x", "new": "x" * 12},
    }
    header = {"Tenure-At-Least": "account-nobody@1"}
    answers = await asyncio.gather(*(bench.when("", method, path, bodies.get(path), **header) for _ in range(10)))
    assert {(answer.status_code, answer.json()["rule"]) for answer in answers} <= {
        (401, "not-signed-in"),
        (429, "too-many-requests"),
    }
    assert answers[0].status_code == 401
    assert bench.app.state.parts.freshness.questions == 0, "nor is the database asked"


async def test_over_http_a_read_has_what_the_command_wrote(bench: Bench) -> None:
    bench.app.state.parts.freshness = waiting(bench)
    mina, token = await bench.join("mina")
    reads = asyncio.ensure_future(bench.when(token, "GET", "/contracts", **{"Tenure-At-Least": f"account-{mina}@1"}))
    await bench.settle()
    assert (await reads).status_code == 200


# ── Another organisation's ─────────────────────────────────────────────────────────────────────────────


async def told(bench: Bench, wanted: str, actor: Actor) -> tuple[int, str]:
    try:
        await waiting(bench, wait_s=0.05).reached(wanted, actor)
    except Problem as problem:
        return problem.status, problem.reason.replace(wanted, "it")
    return 200, ""


@pytest.mark.parametrize(
    ("theirs", "nothing"),
    [("account-{mina}", "account-nobody"), ("contract-c", "contract-none"), ("subscription-s", "subscription-none")],
)
async def test_whether_somebody_elses_stream_exists_is_not_told(bench: Bench, theirs: str, nothing: str) -> None:
    mina, _ = await bench.join("mina")
    await bench.purchase(mina)
    await bench.settle()
    real = theirs.format(mina=mina)
    for stranger in (
        who("eve"),
        Actor(account_id="eve", organisation_id="reseller", organisation_kind="partner"),
        Actor(account_id="eve", organisation_id="", organisation_kind="customer"),
        Actor(account_id="eve", organisation_id="autodesk-gmbh", organisation_kind="publisher", publisher="autodesk"),
    ):
        for version in (1, 9):
            assert await told(bench, f"{real}@{version}", stranger) == await told(
                bench, f"{nothing}@{version}", stranger
            )
    assert await told(bench, f"{real}@1", who("ana", organisation_of(mina))) == (200, "")
    assert await told(
        bench, f"{real}@1", Actor(account_id="kim", organisation_id="tenure", organisation_kind="operator")
    ) == (200, "")


async def test_who_has_written_to_another_organisations_stream_waits_for_it(bench: Bench) -> None:
    mina, token = await bench.join("mina")
    heir, _ = await bench.invited(token, "heir")
    await bench.purchase(mina)
    kim = Actor(account_id="kim", organisation_id="tenure", organisation_kind="operator")
    handed = await bench.when(TokenSigner(KEY).sign(kim, "token"), "POST", "/contracts/c/handover", {"to": heir})
    wanted = handed.headers["tenure-version"]
    await bench.settle()
    assert await told(
        bench, wanted, Actor(account_id="kim", organisation_id="tenure", organisation_kind="partner")
    ) == (200, "")
    assert (await told(bench, wanted, Actor(account_id="ki", organisation_id="tenure", organisation_kind="partner")))[
        0
    ] == 422
