"""Who of a stream's commands decides, on which state, and who waits."""

import asyncio
from collections.abc import Sequence

from shared.eventlog.write.turns import Turn, Turns


def lined_up(turns: Turns[int], number: int, *, alone: Sequence[int] = ()) -> list[Turn[int]]:
    return [turns.begin("s", alone=each in alone) for each in range(number)]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def has(turn: Turn[int]) -> bool:
    return turn._has


async def test_each_is_decided_on_the_state_after_the_one_before_which_is_not_committed_yet() -> None:
    turns = Turns[int]()
    first, second, third = lined_up(turns, 3)
    await first.comes()
    assert (first.after, has(second), has(third)) == (None, False, False)
    first.sends(1)
    await second.comes()
    assert (second.after, has(third)) == (1, False)
    first.answered(committed=True)
    first.end()
    second.sends(2)
    await third.comes()
    assert third.after == 2


async def test_what_is_committed_is_decided_on_as_it_was_read() -> None:
    turns = Turns[int]()
    first, second = lined_up(turns, 2)
    first.sends(1)
    second.sends(2)
    for each in (first, second):
        each.answered(committed=True)
    late = turns.begin("s")
    assert has(late) and late.after is None
    for each in (first, second, late):
        each.end()
    assert not turns._lines, "nothing is kept for a stream that is quiet"


async def test_after_one_that_was_not_committed_all_are_answered_and_it_begins_again() -> None:
    turns = Turns[int]()
    first, second, third, fourth = lined_up(turns, 4)
    for number, each in enumerate((first, second, third), start=1):
        await each.comes()
        each.sends(number)
    await fourth.comes()
    first_again = asyncio.create_task(first.again())
    await settled()
    assert not has(first), "the fourth decides, and two are on their way"
    fourth.sends(4)
    again = [asyncio.create_task(each.again()) for each in (fourth, third)]
    await settled()
    assert not any(map(has, (first, second, third, fourth)))
    again.append(asyncio.create_task(second.again()))
    async with asyncio.timeout(1):
        await first_again
    assert first.after is None, "none of what was decided has come to be"
    for turn, following in ((first, second), (second, third), (third, fourth)):
        assert has(turn) and not has(following)
        turn.sends(0)
        await settled()
    await asyncio.gather(*again)


async def test_one_that_is_alone_waits_until_all_before_it_are_committed() -> None:
    turns = Turns[int]()
    first, second, third = lined_up(turns, 3, alone=[1])
    first.sends(1)
    await settled()
    assert not has(second) and not has(third), "nobody overtakes it"
    first.answered(committed=True)
    await second.comes()
    assert second.after is None
    second.sends(2)
    await third.comes()
    assert third.after == 2


async def test_a_caller_that_leaves_as_its_turn_comes_passes_it_on() -> None:
    turns = Turns[int]()
    order = list[str]()

    async def call(name: str) -> None:
        turn = turns.begin("s")
        try:
            await turn.comes()
            order.append(name)
            await asyncio.sleep(0)
            turn.sends(1)
            if name == "first":
                second.cancel()  # in the very step that gave it its turn
            turn.answered(committed=True)
        finally:
            turn.end()

    first, second, third, fourth = (asyncio.create_task(call(name)) for name in ("first", "second", "third", "fourth"))
    async with asyncio.timeout(5):
        await asyncio.gather(first, second, third, fourth, return_exceptions=True)
    assert second.cancelled()
    assert order == ["first", "third", "fourth"]
    assert not turns._lines


async def test_callers_that_leave_while_they_wait_or_while_theirs_is_on_its_way_hold_nobody() -> None:
    turns = Turns[int]()
    first, second, third = lined_up(turns, 3)
    second.end()
    first.sends(1)
    await third.comes()
    first.end()  # without an answer: whether it is committed is unknown
    fourth = turns.begin("s")
    assert not has(fourth)
    third.end()
    await fourth.comes()
    assert fourth.after is None
    fourth.end()
    assert not turns._lines
