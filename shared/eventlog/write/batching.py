"""Group commit: waiting writes go to the store in one batch.

Each caller gets the outcome of its own write.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from shared.eventlog.write.store import Outcome, Unavailable, Write

MAX_WRITES: Final = 500
ANSWERS_AT_ONCE: Final = 16
MAX_BYTES: Final = 4 * 1024 * 1024

Waiting = tuple[Write, "asyncio.Future[Outcome]"]
Send = Callable[[Sequence[Write]], Awaitable[Sequence[Outcome]]]


def next_batch(
    queue: deque[Waiting], sent: Collection[str] = frozenset(), max_writes: int = MAX_WRITES
) -> list[Waiting]:
    """Take the writes that can share a transaction from the front of the queue.

    No two writes of a batch have a command id or a unique name in common, because `log.append` checks each write
    against what is committed and not against the rest of the batch. Those of one stream each continue the one before. A
    write that has to come after another one of its stream stays in the queue.

    Args:
        sent: The streams of the writes that wait for the store's answer.
    """
    batch: list[Waiting] = []
    touched: set[str] = set()  # One set for ids and names: a false match only splits a batch.
    last: dict[str, Write | None] = {}
    left: list[Waiting] = []
    size = 0
    while queue and len(batch) < max_writes and size < MAX_BYTES:
        write = queue[0][0]
        stream = write.stream
        if stream in sent or (stream in last and not _continues(write, last[stream])):
            last[stream] = None
            left.append(queue.popleft())
            continue
        marks = (write.command_id, *write.take, *write.release)
        if not touched.isdisjoint(marks):
            break
        touched.update(marks)
        last[stream] = write
        size += sum([len(data) for _, data in write.events])
        batch.append(queue.popleft())
    queue.extendleft(reversed(left))
    return batch


def _continues(write: Write, before: Write | None) -> bool:
    return before is not None and before.after == write.expected


class Batcher:
    """A queue of writes, and tasks that send them to the store in batches.

    There is one task for each of `sends`. Each has at most one batch in flight, so that the next batch is prepared
    while the store works on the last one. A batch that fails is sent again write by write, so that an invalid write
    fails only its own caller.
    """

    def __init__(self, sends: Sequence[Send]) -> None:
        self._queue: deque[Waiting] = deque()
        self._sent = set[str]()
        """The streams of the writes that wait for the store's answer."""
        self._loop = asyncio.get_running_loop()  # Kept, because asking for it is a system call.
        self._idle: list[asyncio.Future[None]] = []
        self._woken = False
        self._closed = False
        self._tasks = [asyncio.create_task(self._run(send), name="append") for send in sends]

    def submit(self, write: Write) -> "asyncio.Future[Outcome]":
        """Queue a write. The returned future gets its outcome, or the error of the store."""
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        if self._closed:
            outcome.set_exception(Unavailable("the log is closed"))
            return outcome
        self._queue.append((write, outcome))
        if not self._woken:
            self._wake_one()
        return outcome

    async def close(self) -> None:
        """Send what is queued, then end the tasks."""
        self._closed = True
        while self._idle:
            self._idle.pop().set_result(None)
        await asyncio.gather(*self._tasks)

    def _wake_one(self) -> None:
        """Wake a task that is idle. It takes all that callers queue until it runs."""
        if self._idle:
            self._idle.pop().set_result(None)
            self._woken = True

    async def _run(self, send: Send) -> None:
        while True:
            while not (batch := next_batch(self._queue, self._sent)):
                if self._closed:  # what is left has to come after what another task has sent, which takes it
                    return
                turn: asyncio.Future[None] = self._loop.create_future()
                self._idle.append(turn)
                await turn
                self._woken = False
            if self._queue:
                self._wake_one()
            streams = {write.stream for write, _ in batch}
            self._sent |= streams
            try:
                if not await _deliver(send, batch):
                    for waiting in batch:
                        await _deliver(send, [waiting])
            finally:
                self._sent -= streams
            await asyncio.sleep(0)  # Let every caller that has its answer join the next batch.


async def _deliver(send: Send, batch: Sequence[Waiting]) -> bool:
    """Send a batch. Return whether every caller has its answer, which can be an error."""
    if not batch:
        return True
    try:
        outcomes = await send([write for write, _ in batch])
    except Exception as error:  # noqa: BLE001  # Each caller gets the error.
        if len(batch) > 1 and not isinstance(error, Unavailable):
            return False
        for _, outcome in batch:
            if not outcome.done():
                outcome.set_exception(error)
        return True
    for number, ((_, outcome), result) in enumerate(zip(batch, outcomes, strict=True), start=1):
        if not outcome.done():
            outcome.set_result(result)
        if number % ANSWERS_AT_ONCE == 0:
            await asyncio.sleep(0)  # Let these callers submit their next commands before the rest is answered.
    return True
