"""`tenure status` over real stores: the horizon, and who holds it."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from cli import horizon
from tests.cli.conftest import Tenure
from tests.cli.stores import append, csn
from tests.databases import as_operator

pytestmark = pytest.mark.system

Stores = Mapping[str, str]
HOLD = "select position from log.head for update"
WROTE = "create temporary table something (n int)"


async def _connected(dsn: str, name: str) -> Any:
    return await asyncpg.connect(as_operator(dsn), server_settings={"application_name": name})


@contextmanager
def transactions(dsn: str, *opened: tuple[str, str]) -> Iterator[None]:
    """Open transactions by name, each having done its statement or waiting for it, until the block ends."""
    ready, end = threading.Event(), threading.Event()

    async def hold() -> None:
        connections, waiting = [], []
        for name, statement in opened:
            db = await _connected(dsn, name)
            connections.append(db)
            await db.execute("begin")
            task = asyncio.create_task(db.execute(statement))
            await asyncio.wait([task], timeout=0.3)
            waiting.append(task)
        ready.set()
        await asyncio.to_thread(end.wait, 60)
        for db in connections:
            db.terminate()
        await asyncio.gather(*waiting, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        end.set()
        thread.join(20)


def service(tenure: Tenure, name: str) -> tuple[Any, list[str]]:
    said = tenure("status", "--over", "0", "--json")
    wrong = [line for line in said.json["wrong"] if "append" in line]
    return said.json["services"][name]["horizon"], wrong


def test_the_horizon_is_the_committed_head_and_readers_hold_nothing(tenure: Tenure, stores: Stores) -> None:
    append(stores["marketplace"], "marketplace", "partner-1", csn(1), csn(2))
    with transactions(stores["marketplace"], ("reader", "select * from log.head, log.events")):
        found, wrong = service(tenure, "marketplace")
    assert found == {"position": 2, "held_s": None, "appends_waiting": 0, "open": []}
    assert wrong == []


def test_whoever_has_written_or_holds_the_heads_row_is_named(
    tenure: Tenure, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = stores["marketplace"]
    append(dsn, "marketplace", "partner-1", csn(1))
    # An append that has put its event there, and not committed: nothing of it is below the horizon.
    insert = "update log.head set position = position + 1"
    with transactions(dsn, ("wrote", WROTE), ("psql", insert), ("one", HOLD), ("other", HOLD)):
        monkeypatch.setattr(horizon, "LATE_S", 60.0)
        found, wrong = service(tenure, "marketplace")
        assert wrong == [], "not that long yet"
        other, _ = service(tenure, "identity")
        assert other["open"] == [], "each database for itself"
        monkeypatch.setattr(horizon, "LATE_S", 0.2)
        _, wrong = service(tenure, "marketplace")
        said = tenure("status", "--over", "0")
    assert (found["position"], found["appends_waiting"]) == (1, 2)
    assert [each["application"] for each in found["open"]] == ["wrote", "psql", "one", "other"], "the oldest first"
    assert [each["head"] for each in found["open"]] == [False, True, True, True]
    assert [each["blocks"] for each in found["open"]] == [0, 2, 0, 0]
    assert found["held_s"] == found["open"][0]["age_s"] > 0.5
    holder = found["open"][1]
    assert holder["state"] == "idle in transaction"
    (line,) = wrong
    assert line.startswith("marketplace: 2 appends waiting for an open transaction, the first for ")
    assert f"psql (pid {holder['pid']}, user {holder['user']}), idle in transaction for" in line
    assert f"pg_terminate_backend({holder['pid']})" in line
    assert said.code == 1
    table = said.out.splitlines()[:5]
    assert "horizon" in table[0] and "held" in table[0] and max(map(len, table)) <= 80
    (row,) = [each for each in table if each.startswith("marketplace")]
    assert " s " in row, "how old it is"


def test_appends_behind_another_tables_lock_are_seen_at_the_queues_end(
    tenure: Tenure, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The append holds the head's row itself and waits for somebody who locked the events."""
    dsn = stores["entitlements"]
    monkeypatch.setattr(horizon, "LATE_S", 0.2)
    wants = "update log.head set position = position; lock table log.events in row exclusive mode"
    lock = "lock table log.events in share mode"
    with transactions(dsn, ("migrating", lock), ("append", wants), ("next", HOLD)):
        found, wrong = service(tenure, "entitlements")
    assert found["appends_waiting"] == 2
    (line,) = wrong
    assert "entitlements: 2 appends waiting" in line and "migrating (pid" in line


def test_a_prepared_transaction_can_hold_it_too() -> None:
    (line,) = horizon.faults(
        "identity",
        [
            horizon.OpenTransaction(
                pid=0, application="", user="", state="unknown", age_s=0, state_s=0, head=True, blocks=1, waits_s=9.0
            )
        ],
    )
    assert "a prepared transaction (pg_prepared_xacts)" in line and "pg_terminate_backend" not in line
