"""The end of a verb that waits for a PostgreSQL which takes connections and does not answer.

A statement may take long, and some have no limit. So a verb that takes long is ended only if PostgreSQL does not answer
another connection either.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import asyncpg

from cli.context import Context
from cli.exit_codes import UNREACHABLE, OperatorError

T = TypeVar("T")

EVERY_S: Final = 10.0
"""How often a running verb's PostgreSQL is asked."""
ANSWER_S: Final = 10.0
"""How long it may take to accept a login."""
END_S: Final = 2.0


async def watched(context: Context, work: Awaitable[T]) -> T:
    """Run a verb to its end.

    Raises:
        OperatorError: PostgreSQL, which the verb has asked, does not answer any more.
    """
    running = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait({running}, timeout=EVERY_S)
            if done:
                return running.result()
            if context.asked is not None and not await _answers(context.asked):
                raise OperatorError(
                    f"PostgreSQL does not answer a login within {ANSWER_S:.0f} s ({context.where}): look whether its "
                    "processes are stopped or its disk hangs, and run the command again once it answers.",
                    UNREACHABLE,
                )
    finally:
        await _end(context, running)


async def _answers(dsn: str) -> bool:
    """Return whether the server answers, be it with a refusal."""
    try:
        async with asyncio.timeout(ANSWER_S):
            (await asyncpg.connect(dsn, timeout=ANSWER_S)).terminate()
    except TimeoutError:
        return False
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return True  # the verb finds out itself
    return True


async def _end(context: Context, running: "asyncio.Future[T]") -> None:
    """End a verb that has not ended: what it awaits in its cleaning up is ended, too."""
    for _ in range(5):
        if running.done():
            return
        context.abandon()
        running.cancel()
        await asyncio.wait({running}, timeout=END_S)
