"""What was parked: looked at, grouped by its fault, tried, resumed in order, put right or given up. By an operator.

A retry does what the consumer would have done, under the same fences, while the consumer runs: its checkpoints of the
topic are locked, so that none of its transactions comes between; the stream's next version is checked against
`engine.seen`; the effect, `engine.seen` and the mark are one transaction. The record is copied into `engine.settled`
first and taken out only when that copy is the same.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import asyncpg

from shared.eventlog.deliver.consumer import PASSING, PASSING_IN_A_FOLD, Consumer, Fault
from shared.eventlog.deliver.plan import (
    Raw,
    Received,
    as_text,
    headers_json,
    headers_of,
    receive,
    seen_of,
)
from shared.eventlog.deliver.projection import Connection
from shared.eventlog.repair import turns
from shared.eventlog.repair.turns import CHAINED
from shared.eventlog.write.log import Answer
from shared.events.registry import EVENTS
from shared.sql import statements

SQL: Final = statements(__file__)
AT_ONCE: Final = 50
"""Records of a transaction: as long as the consumer is held still."""

Pool: TypeAlias = Any
Ended: TypeAlias = Literal["applied", "repeat", "ignored", "dropped"]


class CannotApply(Exception):
    """What was asked can't be done to this record; the message says why and what to do instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parked:
    """A parked record. `handle` is a short name for it; `behind` counts the later ones of its stream that wait."""

    handle: str
    consumer: str
    raw: Raw
    stream: str | None
    version: int | None
    reason: str
    detail: str
    holds_stream: bool
    time: datetime
    edited: bool
    behind: int = 0

    @property
    def place(self) -> tuple[str, str, int, int]:
        return self.consumer, self.raw.topic, self.raw.partition, self.raw.offset

    def header(self, name: str) -> str:
        """A header as text, "" where it is missing or no text."""
        values = [value for found, value in self.raw.headers if found == name and value is not None]
        return values[0].decode(errors="replace") if values else ""

    @property
    def type(self) -> str:
        return self.header("ce_type")

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.consumer, self.type, self.reason, self.detail)

    @property
    def line(self) -> "Line":
        return Line(self.consumer, self.stream if self.holds_stream else None, self.place)


class Line(NamedTuple):
    """What is resumed together: all that waits in a stream, or the one record at `place` that holds none."""

    consumer: str
    stream: str | None
    place: tuple[str, str, int, int]


_VARYING: Final = re.compile(
    r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{16,}\b|\b\d[\d.:T+-]*Z?\b", re.IGNORECASE
)


def shape(detail: str) -> str:
    """A fault without what differs from record to record: quoted values, ids, numbers, times."""
    return _VARYING.sub("*", detail.splitlines()[0] if detail else "")


def fingerprint(consumer: str, event_type: str, reason: str, detail: str) -> str:
    """The same for records that fail for the same cause."""
    return sha256(f"{consumer}\n{event_type}\n{reason}\n{shape(detail)}".encode()).hexdigest()[:8]


async def list_parked(
    db: Pool,
    consumer: str | None = None,
    stream: str | None = None,
    handles: Sequence[str] | None = None,
    *,
    behind: bool = False,
) -> list[Parked]:
    """Parked records, oldest first. Those that only wait behind another are left out unless `behind`."""
    rows = await db.fetch(SQL["look"], consumer, stream, None if handles is None else list(handles), behind)
    return [_parked(row, row["handle"], row["behind"]) for row in rows]


def _parked(row: asyncpg.Record, handle: str = "", behind: int = 0) -> Parked:
    unparsed = row["detail"] if row["reason"] == "unparsable" else ""
    headers = headers_of(json.loads(row["headers"]))
    raw = Raw(row["topic"], row["partition"], row["offset"], row["key"], headers, row["value"], unparsed)
    return Parked(
        handle=handle,
        consumer=row["consumer"],
        raw=raw,
        stream=row["stream"],
        version=row["version"],
        reason=row["reason"],
        detail=row["detail"],
        holds_stream=row["holds_stream"],
        time=row["time"],
        edited=row["edited"],
        behind=behind,
    )


def lines(parked: Sequence[Parked]) -> list[Line]:
    """What has to be resumed for these, each once, in the order in which they were parked."""
    found: dict[tuple[str, str] | tuple[str, str, int, int], Line] = {}
    for each in parked:
        line = each.line
        found.setdefault(line.place if line.stream is None else (line.consumer, line.stream), line)
    return list(found.values())


# ── Retry ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(kw_only=True, slots=True)
class Retried:
    """What became of a line. `stopped` says why it waits on, if it does."""

    applied: int = 0
    repeats: int = 0
    ignored: int = 0
    refused: int = 0
    """Records that are not the stream's: they stay parked, and hold it no longer."""
    waiting: int = 0
    stopped: str | None = None

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
    """Applies a line's records in order until one can't be, or none is left. `over_gap` goes on where versions before
    the first are missing, for which an unreadable record stands. Raises Fault, with nothing half done, when PostgreSQL
    or the store can't be reached for now."""
    done = Retried()
    more = True
    while more:
        before = done.settled
        try:
            async with db.acquire() as tx, tx.transaction():
                more = await _some(tx, consumer, line, operation, over_gap, done)
        except PASSING as fault:
            raise Fault(repr(fault)) from fault
        progress(done.settled - before)
    if line.stream is not None:
        done.waiting = await db.fetchval(SQL["waiting"], line.consumer, line.stream)
    elif done.stopped:
        done.waiting = 1
    return done


async def _some(tx: Connection, consumer: Consumer, line: Line, operation: str, over_gap: bool, done: Retried) -> bool:
    """Resume a transaction's worth of a line; whether there may be more of it."""
    await tx.execute(SQL["wait"])
    await tx.execute(SQL["fence"], line.consumer, line.place[1])
    rows = await _rows(tx, line, AT_ONCE)
    seen = await turns.seen(tx, line.consumer, line.stream)
    for parked in map(_parked, rows):
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
                await tx.execute(SQL["again"], *parked.place, reason, why[:2000], False)
                done.refused += 1
                if line.stream is None:
                    done.stopped = f"{reason}: {why}"
                continue
            if turn.kind == "early":
                done.stopped = gap(parked, seen.version)
                return False
        outcome = await _outcome(tx, consumer, parked, record, operation, holds=parked.holds_stream or turn is not None)
        if outcome is None:
            done.stopped = await _why(tx, parked)
            return False
        if outcome == "applied":
            done.applied += 1
        else:
            done.ignored += 1
        if turn is not None and record.envelope is not None:
            seen, over_gap = seen_of(record.envelope), False
            await turns.reach(tx, consumer, parked.raw, parked.stream, seen)
    return line.stream is not None and len(rows) == AT_ONCE


async def _rows(tx: Connection, line: Line, limit: int) -> list[asyncpg.Record]:
    if line.stream is None:
        return list(await tx.fetch(SQL["one"], *line.place))
    return list(await tx.fetch(SQL["line"], line.consumer, line.stream, limit))


def _received(consumer: Consumer, parked: Parked) -> Received:
    return receive(parked.raw, consumer.what.types, consumer.now(), edited=parked.edited)


def _counts(parked: Parked) -> bool:
    """Whether the record has a place in its stream that was not dealt with. One of a type that was unknown has not: its
    stream flowed on."""
    return parked.version is not None and (parked.holds_stream or parked.reason in CHAINED)


async def _outcome(
    tx: Connection, consumer: Consumer, parked: Parked, record: Received, operation: str, *, holds: bool
) -> Ended | None:
    """Apply one record and mark it. None when it can't be: its fault is noted instead."""
    if record.problem is not None:
        unknown = record.envelope is not None and record.envelope.type not in EVENTS and record.reason == "unreadable"
        if unknown and holds:  # as the consumer would: parked for itself, its stream flows on
            await tx.execute(SQL["again"], *parked.place, "unknown-type", as_text(record.problem)[:2000], False)
            return "ignored"
        await tx.execute(SQL["again"], *parked.place, record.reason, as_text(record.problem)[:2000], holds)
        return None
    if record.event is None:
        await _settle(tx, parked, "ignored", operation)
        return "ignored"
    fault = await _applied(tx, consumer, record)
    if fault is not None:
        reason = parked.reason if parked.reason == "conflicting-duplicate" else "failed"
        await tx.execute(SQL["again"], *parked.place, reason, as_text(fault)[:2000], holds)
        return None
    await _settle(tx, parked, "applied", operation)
    return "applied"


async def _applied(tx: Connection, consumer: Consumer, record: Received) -> str | None:
    """Has the effect, behind a savepoint; the fault when it raises for good."""
    try:
        async with tx.transaction():
            await consumer.apply(tx, record)
    except PASSING_IN_A_FOLD:
        raise
    except Exception as error:  # whatever a fold or a reaction raises: it is shown, and stays parked
        if isinstance(error, asyncpg.InterfaceError) and tx.is_closed():
            raise
        return f"{type(error).__name__}: {error}"
    return None


async def _why(tx: Connection, parked: Parked) -> str:
    row = (await tx.fetch(SQL["one"], *parked.place))[0]
    return f"{row['reason']}: {row['detail']}"


def gap(parked: Parked, seen: int) -> str:
    return (
        f"version {parked.version} waits, but after {seen} comes {seen + 1}, which is not here: it never came, or an "
        "unreadable record stands for it. Put that right (parked edit), or go on without it (--over-gap)"
    )


async def _settle(tx: Connection, parked: Parked, outcome: str, operation: str) -> None:
    copy = await tx.fetchval(SQL["keep"], *parked.place, outcome, operation)
    if not await tx.fetchval(SQL["unpark"], *parked.place, copy):
        raise RuntimeError(f"the copy of {parked.place} is not what is parked: nothing was changed")


# ── Trying it ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Tried:
    """What a retry would do now: how many records would be applied, the answers that a reaction's commands would get,
    and what would stop it."""

    would_apply: int = 0
    waiting: int = 0
    answers: list[Answer] | None = None
    stopped: str | None = None


class _Rollback(Exception):
    """Ends a transaction that was for looking only."""


async def attempt(db: Pool, consumer: Consumer, line: Line, *, over_gap: bool = False, limit: int = AT_ONCE) -> Tried:
    """Applies the first records of a line and takes it back; a reaction is asked what it would do, and its commands
    are only considered. The running consumer is not held up."""
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
    for parked in map(_parked, await _rows(tx, line, limit)):
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
        fault, answers = await _considered(tx, consumer, record)
        if fault is not None:
            tried.stopped = fault
            return
        tried.would_apply += 1
        tried.answers = [*(tried.answers or ()), *answers]


async def _considered(tx: Connection, consumer: Consumer, record: Received) -> tuple[str | None, list[Answer]]:
    """The fault that applying it would raise, and the answers to a reaction's commands."""
    if not consumer.folds:
        try:
            return None, await consumer.answers(record)
        except PASSING:
            raise
        except Exception as error:  # noqa: BLE001  # as when it is applied
            return f"{type(error).__name__}: {error}", []
    return await _applied(tx, consumer, record), []


# ── Putting right, giving up, copying in ───────────────────────────────────────────────────────────────


async def drop(db: Pool, consumer: Consumer, parked: Parked, operation: str) -> None:
    """Give a record up: this consumer will never have its effect. Only the first of a stream can be, so that the
    order stays. The later ones of its stream wait until they are retried; where it was not its stream's next event,
    that one is still missing. Raises CannotApply."""
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        await tx.execute(SQL["fence"], parked.consumer, parked.raw.topic)
        rows = await _rows(tx, parked.line, 1)
        if not rows or _parked(rows[0]).place != parked.place:
            raise CannotApply(
                f"{parked.handle} is not the first that waits in {parked.stream}: drop the one before it first"
            )
        record = _received(consumer, parked)
        if parked.holds_stream and record.envelope is not None:
            seen = await turns.seen(tx, parked.consumer, parked.stream)
            if (
                await turns.turn(tx, consumer, parked.raw, record.envelope, seen, edited=parked.edited, over_gap=False)
            ).kind == "next":
                await turns.reach(tx, consumer, parked.raw, parked.stream, seen_of(record.envelope))
        await _settle(tx, parked, "dropped", operation)


def edited(parked: Parked, types: frozenset[str], value: bytes | None, headers: dict[str, str]) -> tuple[Raw, Received]:
    """The record with another body and other headers, read. Raises CannotApply when it still is no event, or when it
    would be another event of the stream than the one that was parked."""
    kept = [(name, old) for name, old in parked.raw.headers if name not in headers]
    raw = parked.raw._replace(
        headers=[*kept, *((name, text.encode()) for name, text in headers.items() if text)],
        value=parked.raw.value if value is None else value,
    )
    record = receive(raw._replace(unparsed=""), types, edited=True)
    if record.problem is not None or record.envelope is None:
        raise CannotApply(f"changed like this it still can't be read: {record.problem}")
    if parked.version is not None and (record.envelope.stream, record.envelope.version) != (
        parked.stream,
        parked.version,
    ):
        raise CannotApply(f"it is version {parked.version} of {parked.stream}, and stays that: change only the rest")
    return raw, record


async def edit(db: Pool, parked: Parked, record: Received, operation: str) -> None:
    """Put the changed record in place and keep the original in `engine.settled`. Nothing is applied until a retry."""
    envelope = record.envelope
    assert envelope is not None, "`edited` made sure"  # noqa: S101  # a helper's promise, not a caller's input
    async with db.acquire() as tx, tx.transaction():
        await tx.execute(SQL["wait"])
        await tx.execute(SQL["fence"], parked.consumer, parked.raw.topic)
        found = await tx.fetch(SQL["one"], *parked.place)
        if not found or _parked(found[0]).raw != parked.raw:
            raise CannotApply(f"{parked.handle} is not parked any more, or was changed meanwhile: look again")
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
"""The partition of a copy that an operator made from a store: its offset is the event's position. Below it are those of
what was parked of a topic that was made anew since."""


async def forget(db: Connection, places: Sequence[tuple[str, str, int]]) -> None:
    """These consumers read these partitions of their topics from the beginning; what they have parked of them stays
    parked, and is moved aside. Call it in a transaction."""
    for consumer, topic, partition in sorted(places):  # the checkpoint first, and in order: as the consumer locks them
        await db.execute(SQL["forget"], consumer, topic, partition)
        await db.execute(SQL["aside"], consumer, topic, partition)


async def copy_in(db: Pool, consumer: str, raws: Sequence[Raw], operation: str) -> int:
    """Parks copies of events for one consumer; retried, each is applied once more. They hold no stream and move no
    checkpoint. Returns how many were not there yet."""
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
