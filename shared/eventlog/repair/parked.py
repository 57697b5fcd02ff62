"""Operators' actions on parked records: list, group, preview, retry in order, edit, drop.

A retry does what the consumer would have done, with the same checks, while the consumer runs: the consumer's
checkpoints in the topic are locked, the stream's next version is checked against `engine.seen`, and that is updated in
the effect's transaction. The record is copied into `engine.settled`, and deleted only if that copy is identical.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import asyncpg

from shared.eventlog.deliver.applying import PASSING, PASSING_IN_A_FOLD, Fault
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.plan import seen_of
from shared.eventlog.deliver.projection import Connection
from shared.eventlog.deliver.received import Raw, Received, as_text, headers_json, receive
from shared.eventlog.repair import turns
from shared.eventlog.repair.parked_record import Line, Parked, parked_of
from shared.eventlog.repair.turns import CHAINED
from shared.eventlog.write.log import Answer
from shared.events.registry import EVENTS
from shared.sql import statements

SQL: Final = statements(__file__)
AT_ONCE: Final = 50
"""The number of records in a transaction; the consumer is blocked that long."""

Pool: TypeAlias = Any
Ended: TypeAlias = Literal["applied", "repeat", "ignored", "dropped"]


class CannotApply(Exception):
    """The operation can't be done to this record. The message says why and what to do instead."""


async def list_parked(
    db: Pool,
    consumer: str | None = None,
    stream: str | None = None,
    handles: Sequence[str] | None = None,
    *,
    behind: bool = False,
) -> list[Parked]:
    """List parked records, oldest first; with `behind` also those that wait behind another one."""
    rows = await db.fetch(SQL["list"], consumer, stream, None if handles is None else list(handles), behind)
    return [parked_of(row, row["handle"], row["behind"]) for row in rows]


def lines(parked: Sequence[Parked]) -> list[Line]:
    """Return the lines of these records, each once, in the order in which they were parked."""
    result: dict[tuple[str, str] | tuple[str, str, int, int], Line] = {}
    for record in parked:
        line = record.line
        result.setdefault(line.place if line.stream is None else (line.consumer, line.stream), line)
    return list(result.values())


# ── Retry ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(kw_only=True, slots=True)
class Retried:
    """The outcome of a line's retry."""

    applied: int = 0
    repeats: int = 0
    ignored: int = 0
    refused: int = 0
    """Records that are no events of the stream: they stay parked, but no longer hold it."""
    waiting: int = 0
    stopped: str | None = None
    """Why the retry stopped before the end of the line, if it did."""

    @property
    def settled(self) -> int:
        return self.applied + self.repeats + self.ignored


async def retry(
    db: Pool,
    consumer: Consumer,
    line: Line,
    operation: str,
    *,
    over_gap: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> Retried:
    """Apply a line's records in order, until one can't be applied or none is left.

    With `over_gap` it continues although versions before the first record are missing, because an unreadable record was
    in their place. Raises Fault, and rolls the transaction back, if PostgreSQL or the store is temporarily unavailable.
    """
    done = Retried()
    more = True
    while more:
        before = done.settled
        try:
            async with db.acquire() as tx, tx.transaction():
                more = await _retry(tx, consumer, line, operation, over_gap, done)
        except PASSING as fault:
            raise Fault(repr(fault)) from fault
        progress(done.settled - before)
    if line.stream is not None:
        done.waiting = await db.fetchval(SQL["waiting"], line.consumer, line.stream)
    elif done.stopped:
        done.waiting = 1
    return done


async def _retry(tx: Connection, consumer: Consumer, line: Line, operation: str, over_gap: bool, done: Retried) -> bool:
    """Retry up to AT_ONCE records of a line, and return whether it may have more."""
    await tx.execute(SQL["wait"])
    await tx.execute(SQL["fence"], line.consumer, line.place[1])
    rows = await _rows(tx, line, AT_ONCE)
    seen = await turns.seen(tx, line.consumer, line.stream)
    for parked in map(parked_of, rows):
        record = _received(consumer, parked)
        turn: turns.Turn | None = None
        if record.envelope is not None and _counts(parked):
            if line.stream is None:
                seen = await turns.seen(tx, line.consumer, parked.stream)
            turn = await turns.turn(
                tx, consumer, parked.raw, record.envelope, seen, edited=parked.edited, over_gap=over_gap
            )
            if turn.kind == "repeat":
                await _settle(tx, parked, "repeat", operation)
                done.repeats += 1
                continue
            if turn.kind == "refused":
                reason, why = turn.fault
                await tx.execute(SQL["note_failure"], *parked.place, reason, why[:2000], False)
                done.refused += 1
                if line.stream is None:
                    done.stopped = f"{reason}: {why}"
                continue
            if turn.kind == "early":
                done.stopped = gap(parked, seen.version)
                return False
        outcome = await _outcome(tx, consumer, parked, record, operation, holds=parked.holds_stream or turn is not None)
        if outcome is None:
            done.stopped = await _failure(tx, parked)
            return False
        if outcome == "applied":
            done.applied += 1
        else:
            done.ignored += 1
        if turn is not None and record.envelope is not None:
            seen, over_gap = seen_of(record.envelope), False
            await turns.reach(tx, consumer, parked.raw, parked.stream, seen, edited=parked.edited)
    return line.stream is not None and len(rows) == AT_ONCE


async def _rows(tx: Connection, line: Line, limit: int) -> list[asyncpg.Record]:
    if line.stream is None:
        return list(await tx.fetch(SQL["one"], *line.place))
    return list(await tx.fetch(SQL["line"], line.consumer, line.stream, limit))


def _received(consumer: Consumer, parked: Parked) -> Received:
    return receive(parked.raw, consumer.definition.types, consumer.now(), edited=parked.edited)


def _counts(parked: Parked) -> bool:
    """Return whether the record's place in its stream has not been processed.

    For a record of an unknown type it has: such a record does not hold its stream.
    """
    return parked.version is not None and (parked.holds_stream or parked.reason in CHAINED)


async def _outcome(
    tx: Connection, consumer: Consumer, parked: Parked, record: Received, operation: str, *, holds: bool
) -> Ended | None:
    """Apply one record and settle it. If it can't be applied, note its error and return None."""
    if record.problem is not None:
        unknown = record.envelope is not None and record.envelope.type not in EVENTS and record.reason == "unreadable"
        if unknown and holds:  # as the consumer does: the record stays parked and no longer holds its stream
            await tx.execute(SQL["note_failure"], *parked.place, "unknown-type", as_text(record.problem)[:2000], False)
            return "ignored"
        await tx.execute(SQL["note_failure"], *parked.place, record.reason, as_text(record.problem)[:2000], holds)
        return None
    if record.event is None:
        await _settle(tx, parked, "ignored", operation)
        return "ignored"
    fault = await _applied(tx, consumer, record)
    if fault is not None:
        reason = parked.reason if parked.reason == "conflicting-duplicate" else "failed"
        await tx.execute(SQL["note_failure"], *parked.place, reason, as_text(fault)[:2000], holds)
        return None
    await _settle(tx, parked, "applied", operation)
    return "applied"


async def _applied(tx: Connection, consumer: Consumer, record: Received) -> str | None:
    """Apply the record inside a savepoint. Return the error if it is permanent."""
    try:
        async with tx.transaction():
            await consumer.apply(tx, record)
    except PASSING_IN_A_FOLD:
        raise
    except Exception as error:  # any error of a fold or a reaction: it is shown, and the record stays parked
        if isinstance(error, asyncpg.InterfaceError) and tx.is_closed():
            raise
        return f"{type(error).__name__}: {error}"
    return None


async def _failure(tx: Connection, parked: Parked) -> str:
    row = (await tx.fetch(SQL["one"], *parked.place))[0]
    return f"{row['reason']}: {row['detail']}"


def gap(parked: Parked, seen: int) -> str:
    return (
        f"version {parked.version} can't be applied, because version {seen + 1} is missing after {seen}: it never "
        "arrived, or an unreadable record is in its place. Correct that record (parked edit), or continue without it "
        "(--over-gap)"
    )


async def _settle(tx: Connection, parked: Parked, outcome: str, operation: str) -> None:
    copy = await tx.fetchval(SQL["keep"], *parked.place, outcome, operation)
    if not await tx.fetchval(SQL["unpark"], *parked.place, copy):
        raise RuntimeError(f"the copy of {parked.place} differs from the parked record: nothing was changed")


# ── Preview ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Tried:
    """The preview of a retry."""

    would_apply: int = 0
    waiting: int = 0
    answers: list[Answer] | None = None
    """The answers that a reaction's commands would get."""
    stopped: str | None = None
    """What would stop the retry, if anything."""


class _Rollback(Exception):
    """Raised to roll back the transaction of a preview."""


async def attempt(db: Pool, consumer: Consumer, line: Line, *, over_gap: bool = False, limit: int = AT_ONCE) -> Tried:
    """Preview a retry: apply the first records of a line and roll back.

    A reaction's commands are dry runs. The running consumer is not blocked. Raises Fault as `retry` does.
    """
    tried = Tried(answers=[])
    try:
        async with db.acquire() as tx, tx.transaction():
            await tx.execute(SQL["wait_briefly"])
            await _try(tx, consumer, line, over_gap, limit, tried)
            raise _Rollback
    except _Rollback:
        return tried
    except PASSING as fault:
        raise Fault(repr(fault)) from fault


async def _try(tx: Connection, consumer: Consumer, line: Line, over_gap: bool, limit: int, tried: Tried) -> None:
    tried.waiting = 1
    if line.stream is not None:
        tried.waiting = await tx.fetchval(SQL["waiting"], line.consumer, line.stream)
    seen = await turns.seen(tx, line.consumer, line.stream)
    for parked in map(parked_of, await _rows(tx, line, limit)):
        record = _received(consumer, parked)
        if record.envelope is not None and _counts(parked):
            if line.stream is None:
                seen = await turns.seen(tx, line.consumer, parked.stream)
            turn = await turns.turn(
                tx, consumer, parked.raw, record.envelope, seen, edited=parked.edited, over_gap=over_gap
            )
            if turn.kind == "early":
                tried.stopped = gap(parked, seen.version)
                return
            if turn.kind == "refused" and line.stream is None:
                tried.stopped = ": ".join(turn.fault)
                return
            if turn.kind != "next":
                tried.would_apply += turn.kind == "repeat"
                continue
            seen, over_gap = seen_of(record.envelope), False
        if record.problem is not None:
            tried.stopped = record.problem
            return
        fault, answers = await _preview(tx, consumer, record)
        if fault is not None:
            tried.stopped = fault
            return
        tried.would_apply += 1
        tried.answers = [*(tried.answers or ()), *answers]


async def _preview(tx: Connection, consumer: Consumer, record: Received) -> tuple[str | None, list[Answer]]:
    """Return the error that the record would raise, and the answers to a reaction's commands."""
    if not consumer.folds:
        try:
            return None, await consumer.answers(record)
        except PASSING:
            raise
        except Exception as error:  # noqa: BLE001  # any error of a reaction is shown, as in a retry
            return f"{type(error).__name__}: {error}", []
    return await _applied(tx, consumer, record), []


# ── Drop, edit, copy in ────────────────────────────────────────────────────────────────────────────────


async def drop(db: Pool, consumer: Consumer, parked: Parked, operation: str) -> None:
    """Drop a record: this consumer will never apply it.

    Only the first parked record of a stream can be dropped, so that the order is kept; CannotApply is raised for
    another. The later ones of its stream wait until they are retried. If the record was not the next event of its
    stream, that event is still missing. The sender of a publisher's record that waited is answered.
    """
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        await tx.execute(SQL["fence"], parked.consumer, parked.raw.topic)
        rows = await _rows(tx, parked.line, 1)
        if not rows or parked_of(rows[0]).place != parked.place:
            raise CannotApply(
                f"{parked.handle} is not the first parked record of {parked.stream}: drop the one before it first"
            )
        record = _received(consumer, parked)
        if parked.holds_stream and record.envelope is not None:
            seen = await turns.seen(tx, parked.consumer, parked.stream)
            raw, edited = parked.raw, parked.edited
            turn = await turns.turn(tx, consumer, raw, record.envelope, seen, edited=edited, over_gap=False)
            if turn.kind == "next":
                await turns.reach(tx, consumer, raw, parked.stream, seen_of(record.envelope), edited=edited)
        await _settle(tx, parked, "dropped", operation)
        await consumer.gave_up(tx, record)


def edited(parked: Parked, types: frozenset[str], value: bytes | None, headers: dict[str, str]) -> tuple[Raw, Received]:
    """Return the record with another body and other headers, as bytes and as read.

    Raises CannotApply if it still is no event, or if its stream or version would change.
    """
    unchanged = [(name, old) for name, old in parked.raw.headers if name not in headers]
    raw = parked.raw._replace(
        headers=[*unchanged, *((name, text.encode()) for name, text in headers.items() if text)],
        value=parked.raw.value if value is None else value,
    )
    record = receive(raw._replace(unparsed=""), types, edited=True)
    if record.problem is not None or record.envelope is None:
        raise CannotApply(f"with these changes the record still can't be read: {record.problem}")
    is_same = (record.envelope.stream, record.envelope.version) == (parked.stream, parked.version)
    if parked.version is not None and not is_same:
        raise CannotApply(f"it is version {parked.version} of {parked.stream}, which can't be changed: edit the rest")
    return raw, record


async def edit(db: Pool, parked: Parked, record: Received, operation: str) -> None:
    """Replace a parked record and keep the original in `engine.settled`; a retry applies it.

    Raises CannotApply if the record is no longer parked, or has changed.
    """
    envelope = record.envelope
    assert envelope is not None, "checked by `edited`"  # noqa: S101  # guaranteed by a helper, not a caller's input
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        await tx.execute(SQL["fence"], parked.consumer, parked.raw.topic)
        rows = await tx.fetch(SQL["one"], *parked.place)
        if not rows or parked_of(rows[0]).raw != parked.raw:
            raise CannotApply(f"{parked.handle} is no longer parked, or has changed: list the parked records again")
        stream = envelope.stream if record.sequenced else None
        seen = await turns.seen(tx, parked.consumer, stream)
        holds = stream is not None and envelope.version is not None and envelope.version > seen.version
        await tx.execute(SQL["keep"], *parked.place, "edited", operation)
        await tx.execute(
            SQL["edit"],
            *parked.place,
            stream,
            envelope.version,
            f"edited by an operator ({operation})",
            holds,
            json.dumps(headers_json(record.raw.headers)),
            record.raw.value,
        )


FROM_STORE: Final = -1
"""The partition of copies that an operator made from a store; their offsets are the events' positions. Lower numbers
are partitions of a former topic that was replaced after their records were parked."""


async def copy_in(db: Pool, consumer: str, raws: Sequence[Raw], operation: str) -> int:
    """Park copies of events for one consumer, and return how many were new.

    A retry applies each of them once more. They hold no stream and move no checkpoint.
    """
    rows = [
        (
            consumer,
            raw.topic,
            raw.partition,
            raw.offset,
            None,
            None,
            "replayed",
            f"copied by an operator ({operation})",
            False,
            raw.key,
            json.dumps(headers_json(raw.headers)),
            raw.value,
        )
        for raw in raws
    ]
    async with db.acquire() as tx, tx.transaction():
        before = await tx.fetchval(SQL["count"], consumer)
        await tx.executemany(SQL["copy"], rows)
        after = await tx.fetchval(SQL["count"], consumer)
    return int(after - before)
