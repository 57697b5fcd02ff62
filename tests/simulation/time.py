"""Virtual time: an event loop that never waits, and processes that can be frozen and killed at any step.

Nothing here looks at a wall clock or draws from anything but the seed, so a seed is a history.
"""

import asyncio
import heapq
import random
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, cast

LONGEST_STEP_S: Final = 0.02
"""How long one call to the store, the broker or the database may take. Which of two comes first is chance."""

OFTEN_AT_ONCE: Final = 0.5
"""How many of these calls nobody comes between."""


class Deadlock(Exception):
    """Nothing is left to do, and nobody is done."""


class Handle:
    """A call to come: asyncio's, without what only its debugging reads."""

    __slots__ = ("args", "callback", "context", "dropped", "due")

    def __init__(self, callback: Any, args: Any, context: Context | None, due: float) -> None:
        self.callback, self.args, self.due = callback, args, due
        self.context = copy_context() if context is None else context
        self.dropped = False

    def cancel(self) -> None:
        self.dropped = True

    def cancelled(self) -> bool:
        return self.dropped

    def when(self) -> float:
        return self.due


class Loop(base_events.BaseEventLoop):
    """asyncio's own loop, without files and without waiting: where nothing is ready, the clock moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._timers: list[tuple[float, int, Handle | asyncio.Future[None]]] = []
        self._pushed = 0
        self._soon: deque[Handle] = deque()

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]  # typeshed's has type variables, here and below
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        handle = Handle(callback, args, context, self.now)
        self._soon.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        handle = Handle(callback, args, context, when)
        self._push(when, handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def _push(self, when: float, what: "Handle | asyncio.Future[None]") -> None:
        self._pushed += 1
        heapq.heappush(self._timers, (when, self._pushed, what))

    async def nap(self, seconds: float) -> None:
        """asyncio.sleep, of a task that has nothing else to do. Where nobody comes first, nobody is asked: the clock
        moves on there and then, as it would once this task waits."""
        when = self.now + seconds
        if not self._soon and (not self._timers or when < self._timers[0][0]):
            self.now = when
            return
        over: asyncio.Future[None] = asyncio.Future(loop=self)
        self._push(when, over)
        await over

    def _run_once(self) -> None:
        """All of it, at once: asyncio would call for each step."""
        soon, timers = self._soon, self._timers
        while not self._stopping:  # type: ignore[attr-defined]  # asyncio's own
            if not soon:
                if not timers:
                    raise Deadlock("every task waits for another")
                when, _, due = heapq.heappop(timers)
                if due.cancelled():
                    continue
                self.now = max(self.now, when)
                if isinstance(due, Handle):
                    soon.append(due)
                else:
                    due.set_result(None)
                    continue
            for _ in range(len(soon)):
                handle = soon.popleft()
                if handle.dropped:
                    continue
                try:
                    handle.context.run(handle.callback, *handle.args)
                except Exception as error:  # noqa: BLE001  # as asyncio's: a call that fails stops nobody else
                    self.call_exception_handler({"message": "a call failed", "exception": error})

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end on a loop of its own. What it leaves behind is thrown away, unfinished."""
    loop = Loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # a killed process's last words
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(work)
    finally:
        for _ in range(5):  # some only give up when asked again
            rest = asyncio.all_tasks(loop)
            if not rest:
                break
            for task in rest:
                task.cancel()
            loop.run_until_complete(asyncio.wait(rest, timeout=1))
        asyncio.set_event_loop(None)
        loop.close()


class Killed(asyncio.CancelledError):
    """This process is dead: no further effect of it comes through."""


class SimulatedProcess:
    """One service's process. All that it asks of the world passes its `gate`."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name, self._chance = name, chance
        self._loop = cast("Loop", asyncio.get_running_loop())
        self.dead = False
        self._going = asyncio.Event()
        self._going.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._steps = 0
        self._there = asyncio.Event()
        self.stalls = 0
        self.missed: Callable[[], None] = lambda: None
        """Told when the process stands still and when it goes on, as a group's coordinator would find out."""
        self.failed: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        async def guarded() -> None:
            PROCESS.set(self)
            try:
                await work
            except Exception as error:  # noqa: BLE001  # whatever a part dies of is told
                self.failed = self.failed or error

        task = asyncio.create_task(guarded())
        self._tasks.append(task)

    async def gate(self) -> None:
        """Time passes; the process may be frozen or killed meanwhile. Raises Killed."""
        taking = self._chance.random()
        if taking > OFTEN_AT_ONCE:
            await self._loop.nap((taking - OFTEN_AT_ONCE) * LONGEST_STEP_S)
        if self._steps:
            self._steps -= 1
            if not self._steps:
                self._there.set()
                self._going.clear()
        if not self._going.is_set():
            await self._going.wait()
        if self.dead:
            raise Killed

    @property
    def frozen(self) -> bool:
        return not self._going.is_set()

    @property
    def heard_of(self) -> bool:
        """Whether its groups count on it."""
        return not (self.dead or self.frozen or self.stalls)

    def freeze(self) -> None:
        self._going.clear()

    async def stall(self) -> None:
        """One of its transactions stands still, for longer than its groups wait for it."""
        self.stalls += 1
        self.missed()
        await asyncio.sleep(1 + self._chance.random() * 5)
        self.stalls -= 1
        self.missed()
        await self.gate()

    async def freeze_at_work(self, steps: int, patience_s: float) -> None:
        """Freezes it so many steps from now, in the middle of whatever it does then; after a while in any case."""
        self._steps = steps
        self._there.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._there.wait()
        self._steps = 0
        self.freeze()

    def thaw(self) -> None:
        self._going.set()

    def kill(self) -> None:
        self.dead = True
        self._going.set()
        for task in self._tasks:
            task.cancel()


class StillProcess(SimulatedProcess):
    """A process that no time passes for, and that nothing befalls."""

    async def gate(self) -> None:
        """Come through at once."""


PROCESS: ContextVar[SimulatedProcess] = ContextVar("process")
"""Whose code runs: the facades that stand in for a library's global names ask for it."""
