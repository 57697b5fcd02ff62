"""Questions that are put at the same time: asked together, each answered by itself."""

import asyncio
from collections.abc import Sequence

import pytest

from shared.eventlog.write.gathering import RUNNING, TOGETHER, Gathering


class Database:
    """It answers a question by its double, once it is let go. It refuses 13."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.open = asyncio.Event()

    async def __call__(self, questions: Sequence[int]) -> Sequence[int]:
        self.asked.append(list(questions))
        await self.open.wait()
        if 13 in questions:
            raise ValueError("13")
        return [2 * question for question in questions]


async def steps() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_waits_for_a_statement_is_asked_together() -> None:
    database = Database()
    ask = Gathering(database)
    answers = [asyncio.create_task(ask(number)) for number in range(100, 106)]
    await steps()
    assert database.asked == [[100], [101]] and RUNNING == 2
    database.open.set()
    assert await asyncio.gather(*answers) == [2 * number for number in range(100, 106)]
    assert database.asked[2:] == [[102, 103, 104, 105]]
    assert await ask(7) == 14 and database.asked[-1] == [7]


async def test_a_statement_has_not_too_many_questions() -> None:
    database = Database()
    ask = Gathering(database)
    many = [asyncio.create_task(ask(number)) for number in range(100, 100 + RUNNING + 2 * TOGETHER + 1)]
    await steps()
    database.open.set()
    await asyncio.gather(*many)
    assert max(map(len, database.asked)) == TOGETHER and sum(map(len, database.asked)) == len(many)


async def test_a_question_that_fails_fails_no_other() -> None:
    database = Database()
    ask = Gathering(database)
    answers = [asyncio.create_task(ask(number)) for number in (1, 2, 3, 13, 4)]
    await steps()
    database.open.set()
    assert await asyncio.gather(*answers, return_exceptions=True) == [2, 4, 6, answers[3].exception(), 8]
    assert isinstance(answers[3].exception(), ValueError)
    with pytest.raises(ValueError, match="13"):
        await ask(13)
    assert await ask(5) == 10, "the places are free again"
    assert await ask(6) == 12


async def test_who_gives_up_holds_nobody_and_is_not_asked_for() -> None:
    database = Database()
    ask = Gathering(database)
    running = [asyncio.create_task(ask(number)) for number in (1, 2)]
    waiting = [asyncio.create_task(ask(number)) for number in (3, 4)]
    await steps()
    waiting[0].cancel()
    running[0].cancel()
    await steps()
    assert database.asked == [[1], [2], [4]]
    database.open.set()
    assert await waiting[1] == 8 and await running[1] == 4
