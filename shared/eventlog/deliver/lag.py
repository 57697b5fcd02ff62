"""How far a consumer is behind in each of its partitions: in records, and in seconds."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

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


class Times(NamedTuple):
    """When the records of a batch were written, by partition.

    Attributes:
        first: The offset and the time of the first record.
        newest: The time of the last record.
    """

    first: Mapping[Partition, tuple[int, float]]
    newest: Mapping[Partition, float]


def times_of(batch: Iterable[Fetched]) -> Times:
    """Return the times of a batch's records, which are in order in each partition."""
    first: dict[Partition, tuple[int, float]] = {}
    newest: dict[Partition, float] = {}
    for record in batch:
        partition, written = (record.topic, record.partition), record.timestamp / 1000
        first.setdefault(partition, (record.offset, written))
        newest[partition] = written
    return Times(first, newest)


class Lags:
    """The ages of the oldest unprocessed records, by what a consumer has fetched.

    Records that are not fetched have no known time. The oldest of them is then taken to be as old as the newest
    fetched one, or as the last check that found nothing to process, whichever is later.
    """

    def __init__(self) -> None:
        self._first: dict[Partition, tuple[int, float]] = {}
        """The offset and the time of the first record in the last batch."""
        self._newest: dict[Partition, float] = {}
        self._even: dict[Partition, float] = {}
        """When a check last found nothing to process."""
        self._known: dict[Partition, float] = {}
        """When a check first saw the partition."""

    def fetched(self, times: "Times") -> None:
        """Note the times of a batch's records."""
        self._first |= times.first
        self._newest |= times.newest

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
            if records:
                lags[partition] = PartitionLag(records, max(0.0, now - self._written(partition, offset)))
            else:
                self._even[partition] = now
                lags[partition] = PartitionLag(0, 0.0)
        return lags

    def _written(self, partition: Partition, offset: int) -> float:
        """Return when the record at `offset`, or the first one after it, was written at the latest."""
        first, written = self._first.get(partition, (-1, 0.0))
        if first >= offset:
            return written
        bounds = [times[partition] for times in (self._newest, self._even) if partition in times]
        return max(bounds, default=self._known[partition])
