"""Operations that are cancelled: who may, what is recorded, and what is left behind."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from cli.app import NOTHING_CHANGED, VERBS, load_verbs
from cli.operation import ChangePlan, Operation, Outcome, record_step
from cli.serving.forms import served
from shared.eventlog.write.log import Log
from shared.eventlog.write.operations import Command
from tests.cli.serving import OPERATOR, STRANGERS, Server, Slow
from tests.cli.stores import Stores, operations

WHY = "It is the wrong one."


@pytest.fixture(autouse=True)
def verbs() -> None:
    load_verbs()


async def forever(_: Operation) -> Outcome:
    await asyncio.sleep(60)
    raise AssertionError("it was not cancelled")


def slow_change(
    monkeypatch: pytest.MonkeyPatch,
    apply: Callable[[Operation], Awaitable[Outcome]] = forever,
    plan: Callable[[], Awaitable[ChangePlan | Sequence[ChangePlan]]] | None = None,
) -> None:
    """Let `keys rotate` be a change of identity that goes on until it is cancelled, or what `plan` returns."""

    async def planned() -> ChangePlan:
        return ChangePlan(service="identity", arguments=[], total=1, thing="key", apply=apply)

    monkeypatch.setattr("cli.serving.app.ANSWER_S", 0.05)
    monkeypatch.setitem(VERBS, "keys rotate", replace(VERBS["keys rotate"], function=plan or planned))


def test_every_verb_says_what_it_leaves_behind() -> None:
    for verb in served().values():
        assert verb.if_cancelled.endswith("."), verb.name
        assert verb.changes != (verb.if_cancelled == NOTHING_CHANGED), verb.name


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_only_the_operators_people_cancel(stranger: str) -> None:
    answer = await Server(STRANGERS[stranger]).cancel("x", WHY)
    assert answer.status_code == (401 if stranger == "nobody" else 403)


async def test_what_only_reads_is_cancelled_without_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    Slow(monkeypatch)
    server = Server()
    begun = await server.run("refusals-ls")
    cancelled = await server.cancel(begun.json()["id"])
    assert cancelled.status_code == 202 and cancelled.json()["cancellation"]["by"] == OPERATOR.account_id
    ended = await server.ended(begun)
    assert (ended["state"], ended["answer"], ended["problem"]["rule"]) == ("cancelled", None, "operation-cancelled")
    assert ended["problem"]["remedy"] == NOTHING_CHANGED
    again = await server.cancel(begun.json()["id"])
    assert (again.status_code, again.json()["rule"]) == (409, "operation-ended")
    assert (await server.cancel("unknown")).status_code == 404
    assert server.parts.operations.running == 0


async def test_a_cancelled_change_is_recorded_with_who_and_why(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_change(monkeypatch)
    server = Server()
    plan = (await server.run("keys-rotate")).json()["plan"]
    begun = await server.run("keys-rotate", yes=True, reason="To try it.", plan=plan)
    id_ = begun.json()["id"]
    for _ in range(200):
        if operations(stores["identity"]):
            break
        await asyncio.sleep(0.02)
    without = await server.cancel(id_, " ")
    assert (without.status_code, without.json()["rule"]) == (422, "malformed")
    assert (await server.cancel(id_, WHY)).status_code == 202
    ended = await server.ended(begun)
    assert (ended["state"], ended["cancellation"]["reason"]) == ("cancelled", WHY)
    assert ended["problem"]["remedy"] == VERBS["keys rotate"].if_cancelled
    first, last = operations(stores["identity"])
    assert (first["outcome"], last["outcome"]) == ("begun", "failed")
    assert last["result"] == f"cancelled by {OPERATOR.account_id}: {WHY}"
    again = await server.run("keys-rotate", yes=True, reason="Once more.", plan=plan)
    assert again.status_code == 202, "a change of the same kind may be made again"
    await server.cancel(again.json()["id"], WHY)
    await server.ended(again)


@pytest.mark.parametrize(
    ("step", "state", "outcomes"), [("begin", "cancelled", ["begun", "failed"]), ("end", "done", ["begun", "done"])]
)
async def test_a_change_that_is_cancelled_while_it_is_recorded_has_its_end(
    step: str, state: str, outcomes: list[str], stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = asyncio.Event()

    async def slowly(log: Log, name: str, actor: str, recorded: str, command: Command) -> None:
        await record_step(log, name, actor, recorded, command)
        if recorded == step:
            stored.set()
            await asyncio.sleep(0.2)

    async def apply(_: Operation) -> Outcome:
        return Outcome(ok=True, summary=[])

    slow_change(monkeypatch, apply if step == "end" else forever)
    server = Server()
    monkeypatch.setattr("cli.operation.record_step", slowly)
    plan = (await server.run("keys-rotate")).json()["plan"]
    begun = await server.run("keys-rotate", yes=True, reason="To try it.", plan=plan)
    await stored.wait()
    await server.cancel(begun.json()["id"], WHY)
    assert (await server.ended(begun))["state"] == state
    assert [each["outcome"] for each in operations(stores["identity"])] == outcomes


async def test_a_cancellation_between_two_plans_stops_the_later_one(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = list[str]()

    def planned(service: str) -> ChangePlan:
        async def apply(_: Operation) -> Outcome:
            applied.append(service)
            return Outcome(ok=True, summary=[])

        return ChangePlan(service=service, arguments=[], total=1, thing="key", apply=apply)

    async def plan() -> Sequence[ChangePlan]:
        return planned("identity"), planned("marketplace")

    async def cancelled_at_its_end(log: Log, name: str, actor: str, step: str, command: Command) -> None:
        await record_step(log, name, actor, step, command)
        if step == "end":
            await server.cancel(begun.json()["id"], WHY)
            await asyncio.sleep(0.05)

    slow_change(monkeypatch, plan=plan)
    server = Server()
    digest = (await server.run("keys-rotate")).json()["plan"]
    monkeypatch.setattr("cli.serving.app.ANSWER_S", 0.0)
    monkeypatch.setattr("cli.operation.record_step", cancelled_at_its_end)
    begun = await server.run("keys-rotate", yes=True, reason="To try it.", plan=digest)
    assert (await server.ended(begun))["state"] == "cancelled" and applied == ["identity"]
    assert [each["outcome"] for each in operations(stores["identity"])] == ["begun", "done"]
    assert not operations(stores["marketplace"])


async def test_a_change_that_is_recorded_afterwards_is_recorded_whatever_cancels_it(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def apply(_: Operation) -> Outcome:
        return Outcome(ok=True, summary=[])

    async def plan() -> ChangePlan:
        return ChangePlan(service="identity", arguments=[], total=1, thing="key", apply=apply, recorded_afterwards=True)

    async def cancelled_twice(log: Log, name: str, actor: str, step: str, command: Command) -> None:
        (running,) = server.parts.operations._running
        assert running.task is not None
        for reason in ("first", "second"):
            running.task.cancel(reason)
            await asyncio.sleep(0)
        await record_step(log, name, actor, step, command)

    slow_change(monkeypatch, plan=plan)
    server = Server()
    monkeypatch.setattr("cli.serving.app.ANSWER_S", 10.0)
    monkeypatch.setattr("cli.operation.record_step", cancelled_twice)
    answer = await server.applied("keys-rotate")
    assert answer["ok"] and "Recorded" in answer["lines"][-1]
    assert [each["outcome"] for each in operations(stores["identity"])] == ["begun", "done"]


async def test_a_change_that_is_cancelled_while_it_plans_has_changed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def plan() -> ChangePlan:
        await asyncio.sleep(60)
        raise AssertionError("it was not cancelled")

    slow_change(monkeypatch, plan=plan)
    server = Server()
    begun = await server.run("keys-rotate", yes=True, reason="To try it.", plan="a digest")
    await server.cancel(begun.json()["id"], WHY)
    assert (await server.ended(begun))["problem"]["remedy"] == NOTHING_CHANGED


async def test_an_operation_that_is_cancelled_twice_keeps_the_first_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    server = Server()
    begun = await server.run("refusals-ls")
    id_ = begun.json()["id"]
    await asyncio.gather(server.cancel(id_, "first"), server.cancel(id_, "second"))
    assert (await server.ended(begun))["cancellation"]["reason"] == "first"
    assert slow.runs == 1
