"""Passwords. A verifier is no business fact: it stands in a private table, never in an event or a log."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.runtime.doors import Pool

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""argon2id at 19 MiB and two passes, as OWASP's Password Storage Cheat Sheet has it: 25 ms of a processor a sign-in."""
_HASHING: Final = ThreadPoolExecutor(os.cpu_count(), "argon2")
"""More at once would only take each other's processor and memory; everything else goes on beside them."""
_NOBODY: Final = _HASHER.hash("the password of an account that does not exist")


async def keep(db: Pool, account_id: str, password: str) -> bool:
    """Keeps the password's verifier for an account that is being opened, and says whether it did: the first one
    stays."""
    verifier = await asyncio.get_running_loop().run_in_executor(_HASHING, _HASHER.hash, password)
    kept = await db.fetchval(
        "insert into credentials (account_id, verifier) values ($1, $2) on conflict do nothing returning true",
        account_id, verifier,
    )  # fmt: skip
    return bool(kept)


async def matches(db: Pool, account_id: str | None, password: str) -> bool:
    """Whether the password is the account's. Takes as long for an account that does not exist."""
    verifier = account_id and await db.fetchval("select verifier from credentials where account_id = $1", account_id)
    right = await asyncio.get_running_loop().run_in_executor(_HASHING, _verify, verifier or _NOBODY, password)
    return right and bool(verifier)


def _verify(verifier: str, password: str) -> bool:
    try:
        return _HASHER.verify(verifier, password)
    except (VerificationError, InvalidHashError):
        return False
