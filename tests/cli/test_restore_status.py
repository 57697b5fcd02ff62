"""A restore that is followed and cancelled. Kafka is its own."""

import asyncio
import itertools
from typing import Any

import httpx
import pytest

from cli.app import load_verbs
from shared.eventlog.repair import restore as engine
from shared.eventlog.repair.importing import Importer
from shared.eventlog.repair.tries import MENDING, RestoreAttempt, continued_by
from tests.cli.serving import OPERATOR, Server
from tests.cli.stores import Stores, append, database, fleet

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        ({}, "open"),
        ({"runs": True}, "running"),
        ({"runs": True, "relayed": 3}, "running"),
        ({"runs": True, "relayed": 3, "has_lease": True}, "publishing"),
        ({"runs": True, "fenced": f"{MENDING}begun"}, "restoring"),
        ({"fenced": f"{MENDING}begun"}, "interrupted"),
        ({"fenced": "the store and its topic differ"}, "fenced"),
    ],
)
def test_a_restore_that_has_done_nothing_yet_does_not_seem_to_publish(standing: dict[str, Any], state: str) -> None:
    load_verbs()
    from cli.verbs.restore_status import state_of  # after its group of verbs is declared

    row: Any = {"position": 5, "relayed": 5, "fenced": None, "runs": False, "has_lease": False, **standing}
    assert state_of(row) == state


def test_what_continues_a_restore_is_not_taken_from_what_its_operator_wrote() -> None:
    again = RestoreAttempt("marketplace", "reconcile", "Kim: run `tenure restore store marketplace` again").again
    wrote = "begun by Kim: run `tenure restore store marketplace` again, which continues from there"
    assert continued_by(f"{MENDING}{wrote}; {again}") == "reconcile"
    assert continued_by(wrote + ".") is None


async def test_a_restore_that_is_cancelled_says_who_and_why_and_is_followed_meanwhile(
    lost: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, server = lost["distribution"], Server()
    await asyncio.to_thread(append, dsn, "distribution", "pool-7", *(fleet(number) for number in range(6)))

    async def applied(verb: str) -> httpx.Response:
        plan = (await server.ended(await server.run(verb, service="distribution")))["answer"]["plan"]
        return await server.run(verb, service="distribution", yes=True, reason="It was lost.", plan=plan)

    assert (await server.ended(await applied("restore-topic")))["answer"]["ok"]
    await asyncio.to_thread(database, dsn, 'drop database "{name}" with (force)')
    take, batches = Importer.take, itertools.count(1)

    async def hangs(importer: Importer, found: Any) -> None:
        await (asyncio.sleep(60) if next(batches) == 3 else take(importer, found))

    async def standing() -> Any:
        found = (await server.run("restore-status", over=0.1)).json()["result"]["services"]
        return next(each for each in found if each["service"] == "distribution")

    monkeypatch.setattr("cli.serving.app.ANSWER_S", 60.0)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "AT_ONCE", 2)
        patched.setattr(Importer, "take", hangs)
        begun = await applied("restore-store")
        async with asyncio.timeout(30):
            while (now := await standing())["position"] != 4:  # noqa: ASYNC110 - only the store knows
                await asyncio.sleep(0.05)
        assert (now["state"], now["of"]) == ("restoring", 7) and "It was lost." in now["why"]
        assert (await server.cancel(begun.json()["id"], "Wrong service.")).status_code == 202
        ended = await server.ended(begun)
    assert (ended["state"], ended["problem"]["rule"]) == ("cancelled", "operation-cancelled")
    left = await standing()
    assert (left["state"], left["position"]) == ("interrupted", 4)
    assert f"importing (cancelled by {OPERATOR.account_id}: Wrong service.)" in left["why"]
    assert "run `tenure restore store distribution` again" in left["why"]
    assert left["continued_by"] == "restore store"
    assert (await server.ended(await applied("restore-store")))["answer"]["ok"]
    assert (await standing())["state"] == "open"
