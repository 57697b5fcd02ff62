"""Questions to the database that wait at the same time, asked in one statement.

It is the reading side of group commit: the more callers there are, the fewer round trips each of them costs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

RUNNING: Final = 2
"""How many statements run at the same time. A question that comes later waits for one of them to end."""
TOGETHER: Final = 32
"""The most questions of a statement, so that their answers stay small."""


class Gathering(Generic[Q, A]):
    """Questions of one kind.

    Each is asked after it was put, so that its answer has what was committed before.
    """

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        """Create it.

        Args:
            ask: Returns the answer to each of these questions, in their order.
        """
        self._ask = ask
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._running = 0
        self._tasks = set[asyncio.Task[None]]()

    async def __call__(self, question: Q) -> A:
        """Return the answer.

        A question that fails does not fail others.

        Raises:
            Exception: Asking failed.
        """
        if self._running >= RUNNING:
            answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
            self._waiting.append((question, answer))
            return await answer
        self._running += 1
        try:
            (found,) = await self._ask([question])
            return found
        finally:
            self._next()

    def _next(self) -> None:
        """Let those who wait have the place of a statement that has ended."""
        if self._waiting:
            task = asyncio.create_task(self._answer(), name="read")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._running -= 1

    async def _answer(self) -> None:
        try:
            while self._waiting:
                put = [self._waiting.popleft() for _ in range(min(TOGETHER, len(self._waiting)))]
                put = [
                    (question, answer) for question, answer in put if not answer.done()
                ]  # who gave up is not asked for
                if not await self._told(put):
                    for each in put:
                        await self._told([each])
        finally:
            self._running -= 1

    async def _told(self, put: Sequence[tuple[Q, asyncio.Future[A]]]) -> bool:
        """Ask these questions, and answer them. Return False if several failed together."""
        if not put:
            return True
        try:
            found = await self._ask([question for question, _ in put])
        except Exception as error:  # noqa: BLE001  # Each caller gets the error of its own question.
            if len(put) > 1:
                return False
            if not put[0][1].done():
                put[0][1].set_exception(error)
            return True
        for (_, answer), each in zip(put, found, strict=True):
            if not answer.done():
                answer.set_result(each)
        return True
