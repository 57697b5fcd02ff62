"""Items of a bulk request that are under way at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.runtime.in_order import Place, in_order

Decide = Callable[[int, Place], Awaitable[int]]


def slow_first(log: list[str]) -> Decide:
    """Each item takes less time than the one before, before and after it is decided."""

    async def decide(item: int, place: Place) -> int:
        for _ in range(20 - item):
            await asyncio.sleep(0)
        await place.comes()
        log.append(f"{item} decided")
        place.decided()
        for _ in range(20 - item):
            await asyncio.sleep(0)
        log.append(f"{item} answered")
        return item * 10

    return decide


async def test_they_are_decided_in_order_before_the_first_is_answered_and_their_answers_are_in_order() -> None:
    log = list[str]()
    assert await in_order(range(6), slow_first(log), 4) == [0, 10, 20, 30, 40, 50]
    decided = [each for each in log if each.endswith("decided")]
    assert decided == [f"{item} decided" for item in range(6)]
    assert log.index("3 decided") < log.index("0 answered") < log.index("4 decided"), "four at once"


async def test_one_at_a_time_each_begins_after_the_answer_before() -> None:
    log = list[str]()
    await in_order(range(3), slow_first(log), 1)
    assert log == [f"{item} {word}" for item in range(3) for word in ("decided", "answered")]


async def test_who_reads_what_others_change_waits_until_they_are_answered() -> None:
    log = list[str]()
    write = slow_first(log)

    async def decide(item: int, place: Place) -> int:
        if item == 2:
            await place.all_before_are_answered()
            log.append("read")
        return await write(item, place)

    await in_order(range(4), decide)
    assert log.index("read") > max(log.index("0 answered"), log.index("1 answered"))
    assert log.index("2 decided") < log.index("3 decided")


async def test_an_item_that_is_answered_without_a_decision_holds_nobody() -> None:
    log = list[str]()
    write = slow_first(log)

    async def decide(item: int, place: Place) -> int:
        return -1 if item == 1 else await write(item, place)

    assert await in_order(range(3), decide) == [0, -1, 20]


async def test_after_a_fault_no_item_is_left_under_way() -> None:
    log = list[str]()
    write = slow_first(log)

    async def decide(item: int, place: Place) -> int:
        if item == 2:
            raise OSError("away")
        return await write(item, place)

    with pytest.raises(OSError, match="away"):
        async with asyncio.timeout(5):
            await in_order(range(9), decide, 4)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "item"]
    assert [each for each in log if each.endswith("decided")] == ["0 decided", "1 decided"]
