"""The check of a topic's records by themselves, without a store. Pure.

It keeps a note of each event and the head of each stream, as no store can be asked for them.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from shared.eventlog.deliver.received import Raw
from shared.eventlog.repair.anchors import Anchor
from shared.eventlog.repair.chains import reported_event
from shared.eventlog.repair.findings import HASH, NOTE, Findings, note_of
from shared.eventlog.write.store import Head
from shared.events.envelope import GENESIS, StoredEvent, is_relayed
from shared.events.registry import topic_of


class LoneTopicCheck:
    """Check of a topic's records, each partition's in order, without a store.

    Each record is checked by its own hash and headers, its stream's chain and its partition; repeats are compared with
    the first record, and the whole with the anchors.

    `records` is the number of records. A sound topic has no higher position, so notes up to it are in a dense array.
    Notes of higher positions are in a dictionary, so that a forged record with a huge position costs no memory.
    """

    def __init__(self, findings: Findings, service: str, partitions: int, records: int) -> None:
        self._findings, self._service, self._partitions = findings, service, partitions
        self._dense = bytearray(NOTE * (records + 1))
        self._sparse: dict[int, bytes] = {}
        self._size = records
        self._last: dict[int, int] = {}
        self._heads: dict[str, Head] = {}
        self.events = self.repeats = self.top = 0
        self.chain = GENESIS

    def record(self, raw: Raw) -> None:
        found = reported_event(raw, self._service, self._partitions, self._findings.add)
        if found is None:
            return
        where, event, what = found
        envelope, position = event.envelope, event.envelope.position or 0
        if not is_relayed(raw.headers, envelope):
            self._findings.add(where, f"{what} has headers that differ from its attributes")
        note, first = note_of(event), self._noted(position)
        if first is None:
            if self._first(where, what, raw.partition, event) or position <= self._size:
                self._note(position, note)
        elif first == note:
            self.repeats += 1
        else:
            differs = "by another event" if first[:HASH] != envelope.hash else "for another command"
            self._findings.add(where, f"{what} is no repeat: this position was taken before, {differs}")

    def _noted(self, position: int) -> bytes | None:
        if position > self._size:
            return self._sparse.get(position)
        note = bytes(self._dense[position * NOTE : (position + 1) * NOTE])
        return note if any(note) else None

    def _note(self, position: int, note: bytes) -> None:
        if position > self._size:
            self._sparse[position] = note
        else:
            self._dense[position * NOTE : (position + 1) * NOTE] = note
        self.events += 1
        self.top = max(self.top, position)

    def _first(self, where: str, what: str, partition: int, event: StoredEvent) -> bool:
        """Check the first record of a position: it must be in order in its partition and stream.

        Returns whether it continues its stream. A record that does not, and has a higher position than the topic has
        records, is no event.
        """
        envelope, last = event.envelope, self._last.get(partition, 0)
        head, version = self._heads.get(envelope.stream, Head()), envelope.version or 0
        follows = (version, envelope.prevhash) == (head.version + 1, head.hash)
        if (envelope.position or 0) < last:
            self._findings.add(where, f"{what} comes after position {last}")
        if follows or (envelope.position or 0) <= self._size:
            # Not the maximum, so that one wrong position is one finding.
            self._last[partition] = envelope.position or 0
        if version > head.version + 1:
            lost = f"version {head.version + 1}" + (f" to {version - 1}" if version > head.version + 2 else "")
            self._findings.add(where, f"{what} comes after version {head.version}: {lost} of its stream is missing")
        elif version <= head.version:
            self._findings.add(where, f"{what} conflicts with a version {version} of its stream at another position")
        elif not follows:
            self._findings.add(where, f"{what} does not continue version {head.version}, the one before it here")
        if version > head.version and (follows or (envelope.position or 0) <= self._size):
            self._heads[envelope.stream] = Head(version, envelope.hash)
        return follows

    def missing(self) -> list[tuple[int, int]]:
        """Return the ranges of positions, from 1 to the highest, without a record."""
        runs, expected = [], 1
        for position in self._positions():
            if position > expected:
                runs.append((expected, position - 1))
            expected = position + 1
        return runs

    def _positions(self) -> Iterator[int]:
        yield from (n for n in range(1, min(self.top, self._size) + 1) if self._noted(n) is not None)
        yield from sorted(self._sparse)

    def complete(self, marks: Iterable[Anchor] = ()) -> None:
        """Check at the end that no position is missing and that every anchor matches."""
        topic, gaps = topic_of(self._service), self.missing()
        for first, last in gaps:
            what = f"position {first} is missing" if first == last else f"positions {first} to {last} are missing"
            self._findings.add(topic, f"{what}, though later ones are there")
        whole = gaps[0][0] - 1 if gaps else self.top  # the chain can't be computed beyond the first gap
        by_position = sorted(set(marks), key=lambda mark: mark.position)  # a set, because topic and file have the same
        due, at = 0, 0
        for at in range(1, whole + 1):
            self.chain = sha256(self.chain + (self._noted(at) or b"")[:HASH]).digest()
            while due < len(by_position) and by_position[due].position <= at:
                self._anchored(topic, by_position[due], at)
                due += 1
        if by_position and by_position[-1].position > self.top:
            mark = by_position[-1]
            self._findings.add(
                topic,
                f"the tail was cut: an anchor of {mark.time} shows that position {mark.position} existed, the last "
                f"here is {self.top}",
            )

    def _anchored(self, topic: str, mark: Anchor, at: int) -> None:
        if mark.position == at and mark.chain != self.chain:
            self._findings.add(
                f"{topic}, positions 1 to {at}",
                f"the chain differs from the anchor of {mark.time}: events there were rewritten",
            )
