"""Password verifiers, which are in a private table only, never in an event or a log line."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.runtime.database import Pool
from shared.runtime.problems import busy
from shared.sql import statements

SQL: Final = statements(__file__)

P = ParamSpec("P")
R = TypeVar("R")

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""argon2id with 19 MiB and two passes, some 25 ms of processor time. Source: OWASP, Password Storage Cheat Sheet."""


class HashingQueue:
    """The queue for argon2: a thread for each processor, and a limited number of waiting tasks.

    All other tasks are refused with 503. More threads would only compete for processors and memory; with a longer queue
    callers would wait too long.
    """

    def __init__(self, workers: int, waiting_at_most: int) -> None:
        self._threads = ThreadPoolExecutor(workers, "argon2")
        self._at_most = workers + waiting_at_most
        self.length = 0
        """The number of running and waiting tasks."""

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the work in one of the threads. Raises Problem 503 `busy` if too many tasks wait."""
        if self.length >= self._at_most:
            raise busy("Too many passwords are being checked at this moment.")
        self.length += 1
        future = self._threads.submit(work, *args, **kwargs)
        # The task counts until the thread has done it, even if the caller was cancelled before.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self.length -= 1


_PROCESSORS: Final = os.cpu_count() or 1
HASHING: Final = HashingQueue(_PROCESSORS, 4 * _PROCESSORS)
VERIFIER_OF_NOBODY: Final = _HASHER.hash("the password of an account that does not exist")


async def store_first(db: Pool, account_id: str, password: str) -> bool:
    """Store the verifier of an account that is being opened; return whether it had none."""
    verifier = await _hashed(password)
    stored = await db.fetchval(SQL["store_first"], account_id, verifier)
    return bool(stored)


async def is_first(db: Pool, account_id: str, password: str | None) -> bool:
    """Store the verifier of a new account, if it gets one; return whether it had none."""
    if password is None:
        return await verifier_of(db, account_id) is None
    return await store_first(db, account_id, password)


async def replace(
    db: Pool, account_id: str, before: str | None, password: str, ending: Callable[[], Awaitable[None]]
) -> bool:
    """Replace the verifier `before`, or add one if it is None; return whether that was done.

    It is not done if the verifier is another one by now, or if the person was erased. `ending` appends the end of the
    account's sessions, before the commit, and a sign-in with the old password waits for the commit. A crash in between
    ends the sessions and leaves the old password.
    """
    verifier = await _hashed(password)
    arguments = (account_id, verifier) if before is None else (account_id, verifier, before)
    async with db.acquire() as tx, tx.transaction():
        done = bool(await tx.fetchval(SQL["add"] if before is None else SQL["replace"], *arguments))
        if done:
            await ending()
    return done


async def verifier_of(db: Pool, account_id: str) -> str | None:
    """Return the account's verifier, if it has one."""
    verifier: str | None = await db.fetchval(SQL["verifier"], account_id)
    return verifier


async def matched(db: Pool, account_id: str | None, password: str) -> str | None:
    """Return the account's verifier, or None if the password doesn't match.

    It takes as long for an account that does not exist.
    """
    verifier = await verifier_of(db, account_id) if account_id else None
    right = await HASHING.run(verify_password, verifier or VERIFIER_OF_NOBODY, password)
    return verifier if right else None


def digest(verifier: str | None) -> str:
    """Return the digest by which a reset names the verifier that it replaces.

    Guesses can't be compared with it, because the verifier's salt is secret.
    """
    return hashlib.sha256((verifier or "").encode()).hexdigest()


async def _hashed(password: str) -> str:
    return await HASHING.run(_HASHER.hash, password)


def verify_password(verifier: str, password: str) -> bool:
    try:
        return _HASHER.verify(verifier, password)
    except (VerificationError, InvalidHashError):
        return False
