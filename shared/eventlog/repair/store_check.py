"""The check of a store's events by their hashes, chains and anchors. Pure.

A store is checked in parts: ranges of positions that end where batches do. A part starts from the chain that the store
noted at the end of the part before it, and has to arrive at the one noted at its own end. So parts can be checked in
any order and by several processes, and all of them together prove what one check of the whole store does.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.findings import Findings
from shared.eventlog.write.store import Head
from shared.events.envelope import GENESIS, StoredEvent, chained


class Point(NamedTuple):
    """A position of a log and its chain there."""

    position: int
    chain: bytes


BEGIN: Final = Point(0, GENESIS)


class StoreCheck:
    """Check of a part of a store: events by position, batches and, in the last part, the head."""

    def __init__(self, findings: Findings, marks: Iterable[Anchor] = (), begin: Point = BEGIN) -> None:
        """Start a check.

        Args:
            marks: the anchors. Topic and file have the same, and one is enough.
            begin: the end of the part before, and the chain that is noted there.
        """
        self._findings = findings
        self._heads: dict[str, Head] = {}
        self._marks = sorted({mark for mark in marks if mark.position > begin.position}, key=lambda each: each.position)
        self._mark = 0
        self.position, self.chain = begin
        self._begin = self._batch_from = begin.position
        self._batches_fit = True

    @property
    def end(self) -> Point:
        """The last position so far and the chain there, as computed from the events."""
        return Point(self.position, self.chain)

    def know(self, heads: Mapping[str, Head], *, forget: bool = False) -> None:
        """Take the heads of streams before the next event. Without one, a stream begins there.

        Args:
            forget: whether to forget all others, which will be given again.
        """
        if forget:
            self._heads.clear()
        self._heads.update(heads)

    def event(self, event: StoredEvent) -> None:
        envelope = event.envelope
        where = f"store, position {envelope.position} ({envelope.stream} version {envelope.version})"
        if envelope.position != self.position + 1:
            self._findings.add(where, f"position {self.position + 1} was expected here")
        # Later events are checked by their own positions, so that one gap is one finding.
        self.position = max(self.position + 1, envelope.position or 0)
        head = self._heads.get(envelope.stream, Head())
        if envelope.version != head.version + 1:
            self._findings.add(where, f"the version before it in its stream is {head.version}")
        elif envelope.prevhash != head.hash:
            self._findings.add(where, "it does not continue the event before it in its stream")
        if chained(envelope, event.data) != envelope.hash:
            self._findings.add(where, "it was altered: its hash does not match")
        self._heads[envelope.stream] = Head(envelope.version or 0, envelope.hash)
        self.chain = sha256(self.chain + envelope.hash).digest()
        while self._mark < len(self._marks) and self._marks[self._mark].position <= self.position:
            self._anchored(self._marks[self._mark])
            self._mark += 1

    def _anchored(self, mark: Anchor) -> None:
        if mark.position == self.position and mark.chain != self.chain:
            self._findings.add(
                f"store, positions 1 to {mark.position}",
                f"the chain differs from the anchor of {mark.time}: events there were rewritten",
            )

    def batch(self, last: int, chain: bytes) -> None:
        """Check the end of a batch. Call it right after the batch's last event."""
        if self._batches_fit and (last != self.position or chain != self.chain):
            self._findings.add(
                f"store, positions {self._batch_from + 1} to {last}",
                "the chain does not match: events there were altered, removed or swapped",
            )
            self._batches_fit = False  # no later chain can match
        self._batch_from = last

    def part(self, end: int) -> None:
        """Check that the part's last event is there, if the part is not the last one."""
        if self.position < end:
            self._findings.add(
                f"store, position {end}", f"the last event before it is at {self.position}: what followed was removed"
            )

    def head(self, position: int, chain: bytes) -> None:
        """Check the head, after all events and batches of the last part."""
        if position != self.position:
            empty = 0 < self.position == self._begin
            last = f"no event is after {self.position}" if empty else f"the last event is at {self.position}"
            self._findings.add("store, head", f"it is at {position}, {last}")
        elif self._batch_from != position:
            self._findings.add("store, head", f"it is at {position}, the last batch ends at {self._batch_from}")
        elif self._batches_fit and chain != self.chain:
            self._findings.add("store, head", "its chain does not match the last batch's")
        beyond = self._marks[self._mark :]
        if beyond:
            self._findings.add(
                f"store, after position {self.position}",
                f"the tail was cut: an anchor of {beyond[-1].time} shows that position {beyond[-1].position} existed",
            )
