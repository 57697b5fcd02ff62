"""A parked record, its short forms for people, and the lines of retried records."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

import asyncpg

from shared.eventlog.deliver.received import Raw, headers_of
from shared.events.envelope import type_off_wire
from shared.events.registry import is_inbound


@dataclass(frozen=True, kw_only=True, slots=True)
class Parked:
    """A parked record. `handle` is a short name; `behind` counts the later ones of its stream."""

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
        """Return a header as text, or "" if it is missing."""
        values = [value for key, value in self.raw.attributes if key == name and value is not None]
        return values[0].decode(errors="replace") if values else ""

    @property
    def type(self) -> str:
        return type_off_wire(self.header("ce_type"))

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.consumer, self.type, self.reason, self.shape)

    @property
    def shape(self) -> str:
        """The first line of the error, without what differs between records."""
        return shape(self.detail, (self.header("ce_id"), self.header("ce_subject"), self.stream or ""))

    @property
    def line(self) -> "Line":
        return Line(self.consumer, self.stream if self.holds_stream else None, self.place)


class Line(NamedTuple):
    """The unit of a retry: a stream's parked records, or one record that does not hold a stream."""

    consumer: str
    stream: str | None
    place: tuple[str, str, int, int]


_VARYING: Final = re.compile(
    r"'[^']*'|\"[^\"]*\"|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{16,}\b|\b\d[\d.:T+-]*Z?\b", re.IGNORECASE
)


def shape(detail: str, names: Collection[str] = ()) -> str:
    """Replace what differs between records in an error.

    These are quoted values, ids, numbers, times, and the given names.
    """
    line = detail.splitlines()[0] if detail else ""
    for name in sorted({*names} - {""}, key=len, reverse=True):
        line = _without(line, name)
    return _VARYING.sub("*", line)


def _without(line: str, name: str) -> str:
    """Replace a name where it is no part of a word.

    No pattern does, as compiling one for each record takes longer than all else.
    """
    shown, *others = line.split(name)
    for other in others:
        inside = shown[-1:].isalnum() or other[:1].isalnum()
        shown += (name if inside else "*") + other
    return shown


def fingerprint(consumer: str, event_type: str, reason: str, shape: str) -> str:
    """Return a digest that is the same for records that fail for the same cause."""
    return sha256(f"{consumer}\n{event_type}\n{reason}\n{shape}".encode()).hexdigest()[:8]


def parked_of(row: asyncpg.Record, handle: str = "", behind: int = 0) -> Parked:
    """Return the parked record of a row of `engine.parked`."""
    unparsed = row["detail"] if row["reason"] == "unparsable" else ""
    headers = headers_of(json.loads(row["headers"]))
    arrived = row["time"] if is_inbound(row["topic"]) else None
    raw = Raw(row["topic"], row["partition"], row["offset"], row["key"], headers, row["value"], unparsed, arrived)
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
