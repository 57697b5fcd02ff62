"""Many who ask at once: few runs, and none of them began before its caller asked."""

import asyncio

import pytest

from shared.runtime.joined import Joined


class Slow:
    """An action that ends when it is let go, and fails when it is told to."""

    def __init__(self) -> None:
        self.begun, self.fails = 0, set[int]()
        self._ends: dict[int, asyncio.Event] = {}

    async def __call__(self) -> None:
        self.begun += 1
        number = self.begun
        await self._ends.setdefault(number, asyncio.Event()).wait()
        if number in self.fails:
            raise OSError(str(number))

    async def end(self, number: int) -> None:
        self._ends.setdefault(number, asyncio.Event()).set()
        await steps()


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_asks_during_a_run_shares_the_next_one() -> None:
    act = Slow()
    joined = Joined(act)
    first = asyncio.create_task(joined())
    await steps()
    others = [asyncio.create_task(joined()) for _ in range(5)]
    await steps()
    assert act.begun == 1
    await act.end(1)
    assert first.done() and act.begun == 2 and not any(each.done() for each in others), "the first began too early"
    late = asyncio.create_task(joined())
    await steps()
    await act.end(2)
    assert all(each.done() for each in others) and act.begun == 3 and not late.done()
    await act.end(3)
    await late


async def test_alone_each_call_is_a_run() -> None:
    act = Slow()
    joined = Joined(act)
    for number in (1, 2):
        await act.end(number)
        await joined()
        assert act.begun == number


async def test_a_failure_is_its_callers_and_the_next_one_runs_again() -> None:
    act = Slow()
    joined = Joined(act)
    act.fails = {1}
    first = asyncio.create_task(joined())
    await steps()
    second = asyncio.create_task(joined())
    await act.end(1)
    with pytest.raises(OSError, match="1"):
        await first
    await act.end(2)
    await second
    assert act.begun == 2


async def test_who_gives_up_holds_nobody() -> None:
    act = Slow()
    joined = Joined(act)
    first = asyncio.create_task(joined())
    await steps()
    second, third = asyncio.create_task(joined()), asyncio.create_task(joined())
    await steps()
    first.cancel()
    await steps()
    assert act.begun == 2
    second.cancel()
    await steps()
    assert act.begun == 3
    await act.end(3)
    await third
