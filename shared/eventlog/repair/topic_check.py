"""The check of a topic's records against its store. Pure.

Each partition is checked in parts, one after the other, different partitions by different processes. A part compares
each record with what the store has at its position (`TopicCheck`). `Presence` then knows of every position whether the
topic has it, by one bit.
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from shared.eventlog.deliver.received import Raw
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.chains import reported_event
from shared.eventlog.repair.findings import Findings
from shared.events.envelope import StoredEvent, is_relayed
from shared.events.registry import topic_of

_NOT_FULL: Final = re.compile(rb"\x00+|[^\xff]", re.DOTALL)


class InLog(NamedTuple):
    """What the store has at a position: an event's hash, and its command's id."""

    hash: bytes
    command_id: str


class ReadEvent(NamedTuple):
    """A record's place, its headers, the event in it and what it is in words."""

    where: str
    raw: Raw
    event: StoredEvent
    what: str


class Late(NamedTuple):
    """A record whose position is not the highest so far: a repeat, or out of order."""

    position: int
    after: int
    """The highest position before it."""
    where: str
    what: str


class TopicCheck:
    """Check of a part of one partition, against what the store has."""

    def __init__(self, findings: Findings, service: str, partitions: int, last: int = 0) -> None:
        """Start a check.

        Args:
            last: the highest position among the partition's records before this part.
        """
        self._findings, self._service, self._partitions = findings, service, partitions
        self.last = last
        self.present = array("Q")
        """The positions of events that the topic has here, in order."""
        self.late: list[Late] = []

    def read(self, raws: Iterable[Raw]) -> Sequence[ReadEvent]:
        """Read the events of records. What is none becomes a finding."""
        result = []
        for raw in raws:
            found = reported_event(raw, self._service, self._partitions, self._findings.add)
            if found is not None:
                where, event, what = found
                result.append(ReadEvent(where, raw, event, what))
        return result

    def compare(self, records: Iterable[ReadEvent], stored: Mapping[int, InLog]) -> None:
        """Compare the records with what the store has at their positions."""
        for where, raw, event, what in records:
            envelope, position = event.envelope, event.envelope.position or 0
            here = stored.get(position)
            if here is None or here.hash != envelope.hash:
                self._findings.add(where, f"{what} is not the event that the store has there")
                continue
            if here.command_id != envelope.command_id:
                said = f"{what} names another command than the store's event: {envelope.command_id!r}"
                self._findings.add(where, said)
            if not is_relayed(raw.headers, envelope):
                self._findings.add(where, f"{what} has headers that differ from its attributes")
            if position > self.last:
                self.last = position
                self.present.append(position)
            else:
                self.late.append(Late(position, self.last, where, what))


class Presence:
    """Which positions the topic has, in one bit for each after `base`."""

    def __init__(self, base: int = 0, bits: bytes = b"") -> None:
        """Start with nothing present.

        Args:
            base: the position up to which an earlier check has found everything.
            bits: the bits of a check that was stopped.
        """
        self.base = base
        self.bits = bytearray(bits)

    def take(self, present: Iterable[int], late: Iterable[Late], findings: Findings) -> None:
        """Note what a part has. A late record that no part had before is out of order."""
        for position in present:
            self._note(position)
        for each in late:
            if not self._has(each.position):
                findings.add(each.where, f"{each.what} comes after position {each.after}")
                self._note(each.position)

    def _has(self, position: int) -> bool:
        at, bit = divmod(position - self.base - 1, 8)
        return position <= self.base or (at < len(self.bits) and bool(self.bits[at] >> bit & 1))

    def _note(self, position: int) -> None:
        if position <= self.base:
            return
        at, bit = divmod(position - self.base - 1, 8)
        if at >= len(self.bits):
            self.bits += bytes(at + 1 - len(self.bits))
        self.bits[at] |= 1 << bit

    @property
    def top(self) -> int:
        """The highest position that is present."""
        used = self.bits.rstrip(b"\0")
        return self.base + 8 * (len(used) - 1) + used[-1].bit_length() if used else self.base

    def complete(self, service: str, relayed: int, marks: Iterable[Anchor], findings: Findings) -> int:
        """Check that no event up to `relayed` and the last anchor is missing. Return the last."""
        marked = max((mark.position for mark in marks), default=0)
        expected = max(relayed, marked, self.top)
        for first, last in self._missing(expected):
            what = f"position {first} is missing" if first == last else f"positions {first} to {last} are missing"
            tail = ": the tail was cut" if last == expected else ""
            findings.add(topic_of(service), f"{what}, though they were published{tail}")
        return expected

    def _missing(self, expected: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of positions, up to the expected one, that are not present."""
        first = last = 0
        for begin, end in self._absent(expected):
            if first and begin > last + 1:
                yield first, last
                first = begin
            first, last = first or begin, end
        if first:
            yield first, last

    def _absent(self, expected: int) -> Iterator[tuple[int, int]]:
        """Yield such ranges, of which one may continue the one before it."""
        for found in _NOT_FULL.finditer(self.bits):
            begin = self.base + 1 + 8 * found.start()
            if found[0][0] == 0:
                if begin <= expected:
                    yield begin, min(begin + 8 * len(found[0]) - 1, expected)
                continue
            for bit in range(8):
                if begin + bit <= expected and not found[0][0] >> bit & 1:
                    yield begin + bit, begin + bit
        beyond = self.base + 1 + 8 * len(self.bits)
        if beyond <= expected:
            yield beyond, expected
