"""Queries that many items of a request have in common."""

import asyncio
from typing import Any

import pytest

from shared.runtime import asked_once
from shared.runtime.asked_once import AskedOnce


class Database:
    """Answers each query with the number of queries so far, when it is told to."""

    def __init__(self) -> None:
        self.asked, self.open, self.away = list[Any](), asyncio.Event(), False
        self.open.set()

    async def _answer(self, *asked: object) -> int:
        self.asked.append(asked)
        number = len(self.asked)
        await self.open.wait()
        if self.away:
            raise OSError("away")
        return number

    async def fetch(self, *asked: object) -> int:
        return await self._answer("fetch", *asked)

    async def fetchrow(self, *asked: object) -> int:
        return await self._answer("fetchrow", *asked)

    async def fetchval(self, *asked: object) -> int:
        return await self._answer("fetchval", *asked)

    async def execute(self, *asked: object) -> str:
        return str(await self._answer("execute", *asked))


def shared() -> tuple[Database, AskedOnce]:
    database: Any = Database()
    return database, AskedOnce(database)


async def test_equal_queries_have_one_answer_also_while_the_first_is_asked() -> None:
    database, once = shared()
    database.open.clear()
    asking = [asyncio.create_task(once.fetchrow("select $1, $2", 1, ["a", "b"])) for _ in range(5)]
    await asyncio.sleep(0.01)
    database.open.set()
    assert await asyncio.gather(*asking) == [1] * 5
    assert await once.fetchrow("select $1, $2", 1, ["a", "b"]) == 1
    assert database.asked == [("fetchrow", "select $1, $2", 1, ["a", "b"])]


async def test_other_queries_other_values_and_other_methods_are_asked() -> None:
    _, once = shared()
    answers = [
        await once.fetchval("select $1", 1),
        await once.fetchval("select $1", 2),
        await once.fetchval("select -$1", 1),
        await once.fetchrow("select $1", 1),
        await once.fetch("select $1", 1),
    ]
    assert answers == [1, 2, 3, 4, 5]


async def test_an_answer_is_kept_for_a_short_time_and_until_something_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, once = shared()
    assert [await once.fetchval("select"), await once.fetchval("select")] == [1, 1]
    assert await once.execute("update") == "2"
    assert await once.fetchval("select") == 3
    monkeypatch.setattr(asked_once, "KEPT_S", -1.0)
    assert await once.fetchval("select") == 4


async def test_what_was_asked_before_a_change_ended_is_not_kept() -> None:
    database, once = shared()
    database.open.clear()
    changing = asyncio.create_task(once.execute("update"))
    await asyncio.sleep(0)
    asking = asyncio.create_task(once.fetchval("select"))
    await asyncio.sleep(0.01)
    database.open.set()
    await asyncio.gather(changing, asking)
    assert await once.fetchval("select") == 3


async def test_an_error_is_not_kept_and_who_leaves_fails_nobody() -> None:
    database, once = shared()
    database.away = True
    with pytest.raises(OSError, match="away"):
        await once.fetchval("select")
    database.away = False
    database.open.clear()
    first, second = (asyncio.create_task(once.fetchval("select")) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    database.open.set()
    assert await second == 2
