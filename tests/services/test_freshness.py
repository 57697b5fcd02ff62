"""Waiting for one's own write: bounded, for known callers only, and the database is asked when something was folded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from services.identity.__main__ import SERVICE
from services.identity.domain.account import organisation_of
from shared.eventlog.deliver.notices import CheckpointNotices
from shared.runtime import freshness
from shared.runtime.auth import Actor, TokenSigner
from shared.runtime.freshness import Freshness
from shared.runtime.problems import Problem
from tests.services.identity_bench import KEY, Bench

pytestmark = pytest.mark.system

CATEGORIES = [stream.category for stream in SERVICE.streams]
FOREIGN = "subscription-of-another-service@1"


PATIENCE_S = 20.0
"""For what comes long before the deadline of a wait."""


class Asked:
    """The database, as far as it is asked for those who wait."""

    def __init__(self, pool: Any, *, in_vain: int = 0) -> None:
        """So many questions are answered as before anything was folded."""
        self.statements = self._answers = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self._pool, self._in_vain, self._answered = pool, in_vain, asyncio.Event()

    async def fetch(self, *arguments: Any) -> Any:
        self.statements += 1
        number = self.statements
        await self.answering.wait()
        rows = await self._pool.fetch(*arguments) if number > self._in_vain else []
        self._answers += 1
        self._answered.set()
        return rows

    async def answers(self, times: int) -> None:
        """Wait until so many questions are answered, and for one too many to show."""
        async with asyncio.timeout(PATIENCE_S):
            while self._answers < times:
                self._answered.clear()
                await self._answered.wait()
        await asyncio.sleep(0.1)


def waiting(
    bench: Bench, wait_s: float = 60.0, notices: CheckpointNotices | None = None, asked: Asked | None = None
) -> Freshness:
    """As the process of identity has it whose consumers `bench` feeds, unless the `notices` are another's."""
    db: Any = asked or bench.pool
    return Freshness(lambda: db, SERVICE.own_projections, CATEGORIES, notices or bench.notices, wait_s=wait_s)


@asynccontextmanager
async def connected(bench: Bench, notices: CheckpointNotices) -> AsyncIterator[asyncio.Event]:
    """The notices of a process that hears of others; set with each wake-up."""
    woken = asyncio.Event()
    notices.subscribe(woken.set)
    exchange = asyncio.create_task(notices.run(bench.dsn))
    async with asyncio.timeout(PATIENCE_S):
        await woken.wait()
    yield woken
    exchange.cancel()
    with suppress(asyncio.CancelledError):
        await exchange


async def soon(task: asyncio.Task[None]) -> None:
    """It ends long before the deadline."""
    async with asyncio.timeout(PATIENCE_S):
        await task


async def gone(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
    await soon(waits)


async def test_of_another_services_stream_the_tables_that_follow_it_count(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    waits = asyncio.create_task(waiting(bench).reached("subscription-s@1", own(mina)))
    await asyncio.sleep(0.1)
    assert not waits.done()
    await bench.purchase(mina)
    await soon(waits)


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
        "account-x@0",
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
    asked = Asked(bench.pool)
    made = waiting(bench, asked=asked)
    tasks = [asyncio.create_task(made.reached(FOREIGN, who(f"account {number}"))) for number in range(400)]
    await asked.answers(1)
    assert asked.statements == 1, "as they began"
    bench.notices.moved()
    await asked.answers(2)
    assert asked.statements == 2, "as something was folded"
    await gone(*tasks)
    assert len(made) == 0


async def test_those_whose_wait_is_over_together_share_the_last_question(bench: Bench) -> None:
    asked = Asked(bench.pool)
    made = waiting(bench, wait_s=0.3, asked=asked)
    asked.answering.clear()  # so that the first question is over when all of them have begun
    tasks = [asyncio.create_task(made.reached(FOREIGN, who(f"account {number}"))) for number in range(400)]
    await asyncio.sleep(0.8)
    asked.answering.set()
    problems = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, Problem) and each.rule == "not-yet" for each in problems)
    assert asked.statements == 2


async def test_while_nothing_is_folded_nothing_is_asked(bench: Bench) -> None:
    asked = Asked(bench.pool)
    waits = asyncio.create_task(waiting(bench, asked=asked).reached(FOREIGN, who("mina")))
    await asyncio.sleep(0.5)
    assert asked.statements == 1, "once as the wait began"
    await gone(waits)


async def test_while_nobody_waits_nothing_is_asked(bench: Bench) -> None:
    asked = Asked(bench.pool)
    made = waiting(bench, asked=asked)
    await bench.join("mina")
    async with connected(bench, bench.notices):
        await bench.settle()
        await asyncio.sleep(0.1)
    assert asked.statements == made.questions == 0


async def test_a_fold_during_a_question_leads_to_another_one(bench: Bench) -> None:
    asked = Asked(bench.pool)
    asked.answering.clear()
    waits = asyncio.create_task(waiting(bench, asked=asked).reached(FOREIGN, who("mina")))
    await asyncio.sleep(0.05)
    bench.notices.moved()
    asked.answering.set()
    await asked.answers(2)
    assert asked.statements == 2, "the first may not have seen it"
    await gone(waits)


# ── Other processes ────────────────────────────────────────────────────────────────────────────────────


async def test_the_fold_of_another_process_ends_a_wait(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    api = CheckpointNotices()
    async with connected(bench, bench.notices), connected(bench, api):
        waits = asyncio.create_task(waiting(bench, notices=api).reached(f"account-{mina}@1", own(mina)))
        await asyncio.sleep(0.1)
        assert not waits.done()
        await bench.settle()
        await soon(waits)


async def test_after_its_connection_was_ended_a_process_asks_once(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    asked, api = Asked(bench.pool), CheckpointNotices()
    made = waiting(bench, notices=api, asked=asked)
    async with connected(bench, api):
        waits = asyncio.create_task(made.reached(f"account-{mina}@1", own(mina)))
        await asked.answers(1)
        await bench.settle()  # in a process whose notices get lost
        await asyncio.sleep(0.1)
        assert not waits.done()
        api.renew()
        await soon(waits)
    assert asked.statements == 2


# ── The end of a wait ──────────────────────────────────────────────────────────────────────────────────


async def test_a_lost_notice_costs_the_wait_until_the_deadline(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    await bench.settle()
    asked = Asked(bench.pool, in_vain=1)
    await waiting(bench, wait_s=0.2, asked=asked).reached(f"account-{mina}@1", own(mina))
    assert asked.statements == 2, "as it began and at its end"


async def test_a_lost_notice_makes_the_listening_connection_anew(bench: Bench) -> None:
    mina, _ = await bench.join("mina")
    await bench.settle()
    api = CheckpointNotices()
    made = waiting(bench, wait_s=0.2, notices=api, asked=Asked(bench.pool, in_vain=1))
    async with connected(bench, api) as woken:
        woken.clear()
        await made.reached(f"account-{mina}@1", own(mina))
        async with asyncio.timeout(PATIENCE_S):
            await woken.wait()


async def test_a_database_that_does_not_answer_keeps_nobody_much_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "LAST_ANSWER_S", 0.1)
    asked = Asked(bench.pool)
    asked.answering.clear()
    async with asyncio.timeout(PATIENCE_S):
        assert await refusal_of(waiting(bench, wait_s=0.1, asked=asked), FOREIGN) == (503, "not-yet")
    asked.answering.set()


# ── Bounds ─────────────────────────────────────────────────────────────────────────────────────────────


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
    await gone(*tasks, *more)
    again = asyncio.create_task(made.reached(FOREIGN, who("mina")))
    await started(again)
    assert len(made) == 1, "who has gone makes room"
    await gone(again)


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
