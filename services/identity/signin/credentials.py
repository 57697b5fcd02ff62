"""Passwords. A verifier is no business fact: it stands in a private table, never in an event or a log."""

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
"""argon2id at 19 MiB and two passes, as OWASP's Password Storage Cheat Sheet has it: 25 ms of a processor a sign-in."""


class HashingQueue:
    """Work for argon2: as many at once as there are processors, a few that wait, and 503 for everybody else.

    More at once would only take each other's processor and memory. More that wait would wait longer than people do.
    """

    def __init__(self, workers: int, waiting_at_most: int) -> None:
        self._threads = ThreadPoolExecutor(workers, "argon2")
        self._at_most = workers + waiting_at_most
        self.length = 0
        """Those that run and those that wait."""

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the work in one of the threads. Raises Problem 503 `busy` at once where too many wait already."""
        if self.length >= self._at_most:
            raise busy("Too many passwords are being checked at this moment.")
        self.length += 1
        future = self._threads.submit(work, *args, **kwargs)
        # Not when this coroutine ends: a caller that has gone leaves its work to the thread.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self.length -= 1


_PROCESSORS: Final = os.cpu_count() or 1
HASHING: Final = HashingQueue(_PROCESSORS, 4 * _PROCESSORS)
VERIFIER_OF_NOBODY: Final = _HASHER.hash("the password of an account that does not exist")


async def keep(db: Pool, account_id: str, password: str) -> bool:
    """Keeps the password's verifier for an account that is being opened, and says whether it did: the first one
    stays."""
    verifier = await _hashed(password)
    kept = await db.fetchval(SQL["keep"], account_id, verifier)
    return bool(kept)


async def replace(
    db: Pool, account_id: str, before: str | None, password: str, ending: Callable[[], Awaitable[None]]
) -> bool:
    """Put the password's verifier in the place of `before` (None: where there is none) and say whether it did: not
    where another one is by now, and not for somebody who is forgotten.

    `ending` appends the end of the account's sessions. It comes before the commit, and whoever signs in with the old
    password waits for that: a crash in between ends the sessions and leaves the old password.
    """
    verifier = await _hashed(password)
    arguments = (account_id, verifier) if before is None else (account_id, verifier, before)
    async with db.acquire() as tx, tx.transaction():
        done = bool(await tx.fetchval(SQL["add"] if before is None else SQL["replace"], *arguments))
        if done:
            await ending()
    return done


async def verifier_of(db: Pool, account_id: str) -> str | None:
    """The account's verifier, if it has one."""
    verifier: str | None = await db.fetchval(SQL["verifier"], account_id)
    return verifier


async def matched(db: Pool, account_id: str | None, password: str) -> str | None:
    """The account's verifier, if the password is the account's. Takes as long for an account that does not exist."""
    verifier = await verifier_of(db, account_id) if account_id else None
    right = await HASHING.run(verify_password, verifier or VERIFIER_OF_NOBODY, password)
    return verifier if right else None


def digest(verifier: str | None) -> str:
    """What a reset names the verifier by that it replaces. No guess can be compared with it: the salt is not known."""
    return hashlib.sha256((verifier or "").encode()).hexdigest()


async def _hashed(password: str) -> str:
    return await HASHING.run(_HASHER.hash, password)


def verify_password(verifier: str, password: str) -> bool:
    try:
        return _HASHER.verify(verifier, password)
    except (VerificationError, InvalidHashError):
        return False
