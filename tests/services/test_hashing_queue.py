"""The work of argon2 has a bounded queue: whoever does not fit into it is told so at once."""

import asyncio
import threading

import pytest

from services.identity.signin.credentials import HashingQueue
from shared.runtime.problems import Problem


async def test_what_fits_neither_threads_nor_queue_is_busy_at_once() -> None:
    queue, go_on = HashingQueue(2, 3), threading.Event()

    def work(name: str) -> str:
        go_on.wait(10)
        return name

    taken = [asyncio.create_task(queue.run(work, f"number {number}")) for number in range(400)]
    refused = taken[5:]
    await asyncio.wait(refused)
    assert queue.length == 5
    assert not any(task.done() for task in taken[:5])
    for task in refused:
        problem = task.exception()
        assert isinstance(problem, Problem)
        assert (problem.status, problem.rule, problem.headers["Retry-After"]) == (503, "busy", "1")
    go_on.set()
    assert await asyncio.gather(*taken[:5]) == [f"number {number}" for number in range(5)]
    assert queue.length == 0
    assert await queue.run(work, "the next") == "the next"


async def test_a_caller_that_has_gone_makes_no_room_until_its_work_is_done() -> None:
    queue, go_on = HashingQueue(1, 0), threading.Event()
    gone = asyncio.create_task(queue.run(go_on.wait, 10))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    with pytest.raises(Problem):
        await queue.run(str, "another")
    go_on.set()
    while queue.length:  # noqa: ASYNC110  # the thread says nothing else when it is done
        await asyncio.sleep(0)
    assert await queue.run(str, "another") == "another"


async def test_work_that_fails_makes_room() -> None:
    queue = HashingQueue(1, 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await queue.run(divmod, 1, 0)
    assert queue.length == 0
