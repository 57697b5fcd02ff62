"""Worker processes that check the parts of a verification.

A worker is this module, started with Python, and lives as long as its standard input is open: it ends with the process
that started it, however that ends. Parts, results and exceptions pass through its standard input and output, pickled;
so does the database's address, which the list of processes would show.
"""

import asyncio
import os
import pickle
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.verify_parts import CheckedStore, CheckedTopic, PartChecker, StorePart, TopicPart
from shared.eventlog.write.store import Unavailable

WORKERS_AT_MOST: Final = 4
_ROOT: Final = Path(__file__).resolve().parents[3]
_SIZE: Final = 8


class ChecksParts(Protocol):
    """Whoever checks parts, one at a time."""

    async def store(self, part: StorePart) -> CheckedStore: ...

    async def topic(self, part: TopicPart) -> CheckedTopic: ...


class WorkerEnded(Unavailable):
    """A worker process ended before its part was checked."""


class Worker:
    """A worker process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def started(cls, service: str, dsn: str, access: KafkaAccess) -> "Worker":
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for this process, which then ends the worker
        )
        worker = cls(process)
        await worker._send((service, dsn, access))
        return worker

    async def store(self, part: StorePart) -> CheckedStore:
        """Check a part of the store. Raises what `PartChecker.store` does, and WorkerEnded."""
        result: CheckedStore = await self._ask(part)
        return result

    async def topic(self, part: TopicPart) -> CheckedTopic:
        """Check a part of the topic. Raises what `PartChecker.topic` does, and WorkerEnded."""
        result: CheckedTopic = await self._ask(part)
        return result

    async def _ask(self, part: StorePart | TopicPart) -> Any:
        await self._send(part)
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        try:
            size = int.from_bytes(await self._process.stdout.readexactly(_SIZE))
            result = pickle.loads(await self._process.stdout.readexactly(size))  # noqa: S301  # from the own process
        except asyncio.IncompleteReadError:
            raise WorkerEnded(f"a worker process ended with code {await self._process.wait()}") from None
        if isinstance(result, Exception):
            raise result
        return result

    async def _send(self, what: object) -> None:
        assert self._process.stdin is not None  # noqa: S101  # it was asked for
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is noticed by who reads
            self._process.stdin.write(_framed(what))
            await self._process.stdin.drain()

    async def end(self) -> None:
        """End the process, whatever it does."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Workers:
    """Several checkers of parts, each of which is given a part when it has none."""

    def __init__(self, checkers: list[ChecksParts]) -> None:
        self.number = len(checkers)
        self._idle: asyncio.Queue[ChecksParts] = asyncio.Queue()
        for each in checkers:
            self._idle.put_nowait(each)

    async def store(self, part: StorePart) -> CheckedStore:
        async with self.one() as checker:
            return await checker.store(part)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[ChecksParts]:
        """Wait for a checker that is idle, and keep it."""
        checker = await self._idle.get()
        try:
            yield checker
        finally:
            self._idle.put_nowait(checker)


@asynccontextmanager
async def workers(number: int, service: str, dsn: str, access: KafkaAccess) -> AsyncIterator[Workers]:
    """Start this number of worker processes, and end them. A single one is this process itself."""
    if number <= 1:
        async with PartChecker(service, dsn, access) as checker:
            yield Workers([checker])
        return
    started: list[Worker] = []
    try:
        for _ in range(number):
            started.append(await Worker.started(service, dsn, access))  # noqa: PERF401  # each is ended if a later one fails
        yield Workers(list(started))
    finally:
        for worker in started:
            await asyncio.shield(worker.end())


def default_workers() -> int:
    """Return as many workers as this machine has processors, at most WORKERS_AT_MOST."""
    return min(WORKERS_AT_MOST, os.cpu_count() or 1)


def _framed(what: object) -> bytes:
    try:
        data = pickle.dumps(what)
    except Exception as error:  # noqa: BLE001  # an exception may hold anything
        data = pickle.dumps(OSError(f"{what!r} ({error!r})"))
    return len(data).to_bytes(_SIZE) + data


def _read(source: BinaryIO) -> Any:
    """Read what the parent sent; None at the end."""
    size = source.read(_SIZE)
    return pickle.loads(source.read(int.from_bytes(size))) if size else None  # noqa: S301  # from the own parent


async def _serve(source: BinaryIO, answer: Callable[[bytes], Awaitable[object]]) -> None:
    async with PartChecker(*await asyncio.to_thread(_read, source)) as checker:
        while (part := await asyncio.to_thread(_read, source)) is not None:
            result: object
            try:
                result = await (checker.store(part) if isinstance(part, StorePart) else checker.topic(part))
            except Exception as error:  # noqa: BLE001  # the parent raises it
                result = error
            await answer(_framed(result))


def main() -> None:
    """Check parts until the standard input ends."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever is printed goes elsewhere

        async def answer(data: bytes) -> None:
            out.write(data)
            out.flush()

        asyncio.run(_serve(sys.stdin.buffer, answer))


if __name__ == "__main__":
    # So that what is pickled here has the same classes as in the parent.
    from shared.eventlog.repair import verify_workers

    verify_workers.main()
