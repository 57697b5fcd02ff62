"""The age of the oldest record that a consumer has not processed."""

from dataclasses import dataclass
from typing import Final

from shared.eventlog.deliver.lag import Lags, PartitionLag, times_of

PARTITION: Final = ("topic", 0)


@dataclass
class Record:
    offset: int
    timestamp: int
    topic: str = "topic"
    partition: int = 0


def batch(*times_s: float, first: int = 0) -> list[Record]:
    return [Record(offset, int(1000 * time)) for offset, time in enumerate(times_s, first)]


def at(lags: Lags, offset: int, end: int, now: float) -> PartitionLag:
    return lags.at({PARTITION: offset}, {PARTITION: end}, now)[PARTITION]


def test_a_record_in_process_has_the_age_of_its_timestamp() -> None:
    lags = Lags()
    lags.fetched(times_of(batch(100.0, 130.0)))
    assert at(lags, 0, 5, 160.0) == (5, 60.0)


def test_nothing_to_process_is_no_lag() -> None:
    lags = Lags()
    lags.fetched(times_of(batch(100.0)))
    assert at(lags, 1, 1, 160.0) == (0, 0.0)


def test_between_two_batches_the_backlog_keeps_its_age() -> None:
    lags = Lags()
    assert at(lags, 0, 500, 3_600.0) == (500, 0.0), "nothing is fetched yet, so that no age is known"
    lags.fetched(times_of(batch(100.0, 101.0)))
    assert at(lags, 2, 500, 3_700.0) == (498, 3_599.0)


def test_a_record_after_a_long_silence_is_not_as_old_as_the_silence() -> None:
    lags = Lags()
    lags.fetched(times_of(batch(100.0)))
    at(lags, 1, 1, 5_000.0)
    assert at(lags, 1, 2, 5_005.0) == (1, 5.0)


def test_a_batch_that_is_tried_again_keeps_its_age() -> None:
    lags = Lags()
    lags.fetched(times_of(batch(100.0, 200.0)))
    lags.fetched(times_of(batch(100.0, 200.0)))
    assert at(lags, 0, 2, 400.0) == (2, 300.0)


def test_a_record_with_a_time_ahead_has_no_negative_age() -> None:
    lags = Lags()
    lags.fetched(times_of(batch(500.0)))
    assert at(lags, 0, 1, 400.0) == (1, 0.0)
