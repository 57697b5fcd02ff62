"""The end of a verb that waits for a PostgreSQL or a Kafka that hangs.

It takes connections and does not answer. A statement or a topic may take long, and some have no limit. So a verb that
takes long is ended only if what it has asked does not answer another connection either. A request to a service has a
limit of its own (`cli.context.ANSWER_S`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from cli.context import Context
from cli.exit_codes import UNREACHABLE, OperatorError
from shared.eventlog.deliver.kafka import KafkaAccess

T = TypeVar("T")

EVERY_S: Final = 10.0
"""How often what a running verb has asked is asked again."""
ANSWER_S: Final = 10.0
"""How long it may take to accept a login."""
END_S: Final = 2.0


async def watched(context: Context, work: Awaitable[T]) -> T:
    """Run a verb to its end.

    Raises:
        OperatorError: PostgreSQL or Kafka, which the verb has asked, does not answer any more.
    """
    running = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait({running}, timeout=EVERY_S)
            if not done and (silent := await _silent(context, running)):
                raise OperatorError(
                    f"{silent} does not answer a login within {ANSWER_S:.0f} s ({context.where}): look whether its "
                    "processes are stopped or its disk hangs, and run the command again once it answers.",
                    UNREACHABLE,
                )
            if running.done():
                return running.result()
    finally:
        await _end(context, running)


async def _silent(context: Context, running: "asyncio.Future[T]") -> str:
    """Return what the verb has asked and does not answer, or "". It is "" if the verb has ended."""
    asked: list[tuple[str, Callable[[], Awaitable[bool]]]] = []
    if context.asked is not None:
        asked.append(("PostgreSQL", partial(_postgres_answers, context.asked)))
    if context.asks_kafka:
        asked.append(("Kafka", partial(_kafka_answers, context.settings.kafka)))
    for name, answers in asked:
        asking = asyncio.ensure_future(answers())
        both: set[asyncio.Future[Any]] = {asking, running}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            asking.cancel()
            return ""
        if not asking.result():
            return name
    return ""


async def _postgres_answers(dsn: str) -> bool:
    """Return whether the server answers, be it with a refusal."""
    try:
        async with asyncio.timeout(ANSWER_S):
            (await asyncpg.connect(dsn, timeout=ANSWER_S)).terminate()
    except TimeoutError:
        return False
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return True  # the verb finds out itself
    return True


async def _kafka_answers(access: KafkaAccess) -> bool:
    """Return whether a broker answers, be it with a refusal."""
    client = AIOKafkaAdminClient(**access.client(), request_timeout_ms=int(ANSWER_S * 2_000))
    try:
        async with asyncio.timeout(ANSWER_S):
            await client.start()
    except TimeoutError:
        return False
    except (OSError, KafkaError):
        return True  # the verb finds out itself
    finally:
        with suppress(Exception):
            async with asyncio.timeout(END_S):
                await client.close()
    return True


async def _end(context: Context, running: "asyncio.Future[T]") -> None:
    """End a verb that has not ended: what it awaits in its cleaning up is ended, too."""
    for _ in range(5):
        if running.done():
            return
        context.abandon()
        running.cancel()
        await asyncio.wait({running}, timeout=END_S)
