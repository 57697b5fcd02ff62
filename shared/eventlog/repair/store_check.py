"""The check of a store's events by their hashes, chains and anchors. Pure."""

from collections.abc import Iterable
from hashlib import sha256

from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.findings import NOTE, Findings, note_of
from shared.eventlog.write.store import Head
from shared.events.envelope import GENESIS, StoredEvent, chained


class StoreCheck:
    """Check of a store's events, in the order of their positions, its batches and its head."""

    def __init__(self, findings: Findings, marks: Iterable[Anchor] = ()) -> None:
        self._findings = findings
        self._heads: dict[str, Head] = {}
        self._marks = sorted(marks, key=lambda mark: mark.position)
        self._mark = 0
        self.notes = bytearray()
        """For each position from 1, the note that the topic is compared with."""
        self.position = 0
        self.chain = GENESIS
        self._batch_from = 0
        self._batches_fit = True

    def event(self, event: StoredEvent) -> None:
        envelope = event.envelope
        where = f"store, position {envelope.position} ({envelope.stream} version {envelope.version})"
        if envelope.position != self.position + 1:
            self._findings.add(where, f"position {self.position + 1} was expected here")
        # Later events are checked by their own positions, so that one gap is one finding.
        lost = max(0, (envelope.position or 0) - self.position - 1)
        self.notes += bytes(NOTE) * lost + note_of(event)
        self.position += lost + 1
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

    def head(self, position: int, chain: bytes) -> None:
        """Check the head, after all events and batches."""
        if position != self.position:
            self._findings.add("store, head", f"it is at {position}, the last event is at {self.position}")
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
