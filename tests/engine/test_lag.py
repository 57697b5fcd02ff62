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


def fetch(lags: Lags, *times_s: float, first: int = 0) -> None:
    lags.fetched(PARTITION, times_of(batch(*times_s, first=first))[PARTITION])


def at(lags: Lags, offset: int, end: int, now: float) -> PartitionLag:
    return lags.at({PARTITION: offset}, {PARTITION: end}, now)[PARTITION]


def test_a_record_in_process_has_the_age_of_its_timestamp() -> None:
    lags = Lags()
    fetch(lags, 100.0, 130.0)
    assert at(lags, 0, 5, 160.0) == (5, 60.0)


def test_nothing_to_process_is_no_lag() -> None:
    lags = Lags()
    fetch(lags, 100.0)
    assert at(lags, 1, 1, 160.0) == (0, 0.0)


def test_between_two_batches_the_backlog_keeps_its_age() -> None:
    lags = Lags()
    assert at(lags, 0, 500, 3_600.0) == (500, 0.0), "nothing is fetched yet, so that no age is known"
    fetch(lags, 100.0, 101.0)
    assert at(lags, 2, 500, 3_700.0) == (498, 3_599.0)


def test_a_record_after_a_long_silence_is_not_as_old_as_the_silence() -> None:
    lags = Lags()
    fetch(lags, 100.0)
    at(lags, 1, 1, 5_000.0)
    assert at(lags, 1, 2, 5_005.0) == (1, 5.0)


def test_a_batch_that_is_tried_again_keeps_its_age() -> None:
    lags = Lags()
    fetch(lags, 100.0, 200.0)
    fetch(lags, 100.0, 200.0)
    assert at(lags, 0, 2, 400.0) == (2, 300.0)


def test_a_record_with_a_time_ahead_has_no_negative_age() -> None:
    lags = Lags()
    fetch(lags, 500.0)
    assert at(lags, 0, 1, 400.0) == (1, 0.0)


def test_batches_that_wait_do_not_hide_the_age_of_the_one_in_process() -> None:
    lags = Lags()
    fetch(lags, 100.0, 110.0, 120.0)
    fetch(lags, 200.0, 210.0, 220.0, first=3)
    fetch(lags, 300.0, 310.0, 320.0, first=6)
    assert at(lags, 0, 9, 400.0) == (9, 300.0)
    assert at(lags, 3, 9, 400.0) == (6, 200.0)
    assert at(lags, 4, 9, 400.0) == (5, 200.0), "in the middle of a batch, no more is known than its beginning"
    assert at(lags, 6, 9, 400.0) == (3, 100.0)


def test_records_that_wait_do_not_hide_the_age_of_those_that_are_still_to_be_fetched() -> None:
    lags = Lags()
    fetch(lags, 100.0, 110.0)
    fetch(lags, 900.0, first=400)
    assert at(lags, 2, 401, 1_000.0) == (399, 890.0)


def test_times_of_processed_records_and_of_a_former_topic_are_forgotten() -> None:
    lags = Lags()
    for first in range(0, 40, 2):
        fetch(lags, 100.0, 110.0, first=first)
    at(lags, 30, 35, 400.0)
    assert sorted(lags._marks[PARTITION]) == [29, *range(30, 35)]
