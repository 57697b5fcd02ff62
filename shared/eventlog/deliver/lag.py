"""How far a consumer is behind in each of its partitions: in records, and in seconds."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, TypeAlias

from shared.eventlog.deliver.received import Partition


class PartitionLag(NamedTuple):
    """The number of unprocessed records of a partition, and the age of the oldest in seconds."""

    records: int
    seconds: float


class Fetched(Protocol):
    """A record as Kafka delivers it. Its `timestamp` is in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Mark(NamedTuple):
    """When a record was written, in seconds since 1970."""

    offset: int
    written: float


Times: TypeAlias = Mapping[Partition, tuple[Mark, Mark]]
"""When the first and the last record of a batch were written, by partition."""


def times_of(batch: Iterable[Fetched]) -> Times:
    """Return the times of a batch's records, which are in order in each partition."""
    times: dict[Partition, tuple[Mark, Mark]] = {}
    for record in batch:
        partition, mark = (record.topic, record.partition), Mark(record.offset, record.timestamp / 1000)
        times[partition] = times.get(partition, (mark,))[0], mark
    return times


class Lags:
    """The ages of the oldest unprocessed records, by what a consumer has fetched.

    Several batches can wait to be processed, so their times are kept until a check finds them processed. A record whose
    own time is not known is taken to be as old as the last one before it with a known time, or as the last check that
    found nothing to process, whichever is later.
    """

    def __init__(self) -> None:
        self._marks: dict[Partition, dict[int, float]] = {}
        """When records of a partition were written, by offset."""
        self._even: dict[Partition, float] = {}
        """When a check last found nothing to process."""
        self._known: dict[Partition, float] = {}
        """When a check first saw the partition."""

    def fetched(self, partition: Partition, marks: Iterable[Mark]) -> None:
        """Note when records of a partition were written."""
        self._marks.setdefault(partition, {}).update(marks)

    def at(
        self, offsets: Mapping[Partition, int], ends: Mapping[Partition, int], now: float
    ) -> dict[Partition, PartitionLag]:
        """Return the lag of each partition.

        Args:
            offsets: The next offset to process of each partition.
            ends: The partitions' ends.
            now: The time in seconds since 1970.
        """
        lags: dict[Partition, PartitionLag] = {}
        for partition, offset in offsets.items():
            records = max(0, ends[partition] - offset)
            self._known.setdefault(partition, now)
            self._forget(partition, offset, ends[partition])
            if records:
                lags[partition] = PartitionLag(records, max(0.0, now - self._written(partition, offset)))
            else:
                self._even[partition] = now
                lags[partition] = PartitionLag(0, 0.0)
        return lags

    def _forget(self, partition: Partition, offset: int, end: int) -> None:
        """Forget processed records except for the last one, and those beyond the end.

        The latter are a former topic's.
        """
        marks = self._marks.get(partition, {})
        last = max((each for each in marks if each < offset), default=offset)
        self._marks[partition] = {each: written for each, written in marks.items() if last <= each < end}

    def _written(self, partition: Partition, offset: int) -> float:
        """Return when the record at `offset` was written, as far as it is known."""
        marks = self._marks[partition]
        if offset in marks:
            return marks[offset]
        before = [written for each, written in marks.items() if each < offset]
        bounds = [*before, *([self._even[partition]] if partition in self._even else [])]
        return max(bounds, default=marks[min(marks)] if marks else self._known[partition])
