"""The application of a batch's records: in order or by stream, with what fails parked."""

import asyncio
from typing import Final

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from shared.eventlog.deliver import duplicates
from shared.eventlog.deliver.bundles import Bundles
from shared.eventlog.deliver.plan import BatchPlan, park
from shared.eventlog.deliver.projection import Connection, Projection
from shared.eventlog.deliver.received import Reason, Received
from shared.eventlog.deliver.traced import Act
from shared.eventlog.write.log import KeyReused
from shared.eventlog.write.postgres import TRANSIENT
from shared.eventlog.write.store import Conflict, Unavailable

logger = structlog.get_logger(__name__)

REACTIONS_AT_ONCE: Final = 16

PASSING: Final = (*TRANSIENT, asyncpg.LockNotAvailableError, Unavailable, Conflict, KafkaError, duplicates.Unsure)
"""Temporary errors: the batch is tried again. Any other exception of a fold or a reaction parks its event."""

CONFLICTS: Final = (duplicates.Conflicting, KeyReused)
"""The errors by which an event with the id of another one is recognised."""

PASSING_IN_A_FOLD: Final = tuple(fault for fault in PASSING if fault is not asyncpg.InterfaceError)
"""The temporary errors of a fold. If the connection is open, an InterfaceError means that the fold has a bug."""


class Failed(Exception):
    """A fold or a reaction raised an exception, which is the cause of this one."""

    consumer = ""
    """The consumer whose fold it is, if it is known."""


class Fault(Exception):
    """A temporary error: the batch has to be tried again later.

    Nothing that a repetition would double has happened.
    """


class Overtaken(Fault):
    """The checkpoint has moved while the batch was processed.

    Another process, or an operator, was first. It happens whenever a partition moves to another process, and nothing is
    wrong with the consumer.
    """


async def apply_each(done: BatchPlan, act: Act, careful: bool) -> None:
    """Apply the records of a plan in order.

    Args:
        act: Apply one record.
        careful: Whether to park a record whose application fails, with the later ones of its stream, and go on.

    Raises:
        Failed: A record failed, and `careful` is false.
    """
    await _apply_in_order(done, list(done.apply), act, careful)


async def apply_concurrently(done: BatchPlan, act: Act) -> None:
    """Apply the records of a plan, those of several streams at the same time.

    Reactions spend their time waiting for commits, and commands that wait at the same time are committed together. The
    records of one stream are applied in order, and so are publishers' records of one partition and key. A record that
    fails is parked with the later ones of its stream.
    """
    lines: dict[object, list[Received]] = {}
    for record in done.apply:
        raw, envelope = record.raw, record.envelope
        own = envelope is not None and record.sequenced
        lines.setdefault(envelope.stream if own and envelope else (raw.topic, raw.partition, raw.key), []).append(
            record
        )
    gate = asyncio.Semaphore(REACTIONS_AT_ONCE)

    async def follow(line: list[Received]) -> None:
        async with gate:
            await _apply_in_order(done, line, act, careful=True)

    # All of them end before an error is raised, so that none is still running when the batch is repeated.
    results = await asyncio.gather(*(follow(line) for line in lines.values()), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    done.parked.sort(key=lambda parked: parked.record.raw.place)


async def _apply_in_order(done: BatchPlan, waiting: list[Received], act: Act, careful: bool) -> None:
    while waiting:
        record = waiting.pop(0)
        try:
            await act(record)
        except Exception as error:
            if isinstance(error, Failed):
                raise
            if not careful:
                raise Failed from error
            if isinstance(error, PASSING):
                raise
            detail = f"{type(error).__name__}: {error}"
            logger.exception(
                "an event cannot be applied", event_id=record.envelope and record.envelope.id, fault=detail
            )
            reason: Reason = "conflicting-duplicate" if isinstance(error, CONFLICTS) else "failed"
            waiting = park(done, record, detail, waiting, reason)


def folding(projection: Projection, tx: Connection, careful: bool, bundles: Bundles | None = None) -> Act:
    """Return the function that folds a record in the transaction `tx`.

    If `careful`, it sets a savepoint around each fold.

    Args:
        bundles: What collects the statements of folds that are not careful, or None to send each at once.
    """

    async def fold(record: Received) -> None:
        if record.event is not None and record.envelope is not None:
            to = tx if bundles is None else bundles.of_stream(record.envelope.stream)
            await projection.apply(to, record.event, record.envelope)

    async def guarded(record: Received) -> None:
        try:
            async with tx.transaction():  # a savepoint
                await fold(record)
        except (asyncpg.InterfaceError, *PASSING_IN_A_FOLD) as error:
            if tx.is_closed() or isinstance(error, PASSING_IN_A_FOLD):
                raise Failed from error
            raise RuntimeError(f"the fold uses the database driver incorrectly: {error}") from error

    return guarded if careful else fold
