"""Days follow each other in every zone without a gap and without an overlap."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.days import begins, day_of, ends
from shared.events.fields import time_zones
from tests.examples.zones import FAR_APART

INSTANT = timedelta(microseconds=1)
zones = st.one_of(st.sampled_from(FAR_APART), st.sampled_from(sorted(time_zones())))
days = st.dates(date(1900, 1, 2), date(2100, 12, 31))


@given(zones, days)
@example("Africa/Cairo", date(2026, 4, 24))
@example("America/Santiago", date(2026, 9, 6))
@example("America/Toronto", date(1919, 3, 31))
@example("America/St_Johns", date(2010, 11, 7))
@example("Pacific/Apia", date(2011, 12, 30))
def test_a_day_has_begun_from_its_first_instant_on_and_never_before(zone: str, day: date) -> None:
    first = begins(day, zone)
    assert day_of(first - INSTANT, zone) < day <= day_of(first, zone)
    assert first.astimezone(ZoneInfo(zone)).date() >= day
    assert first <= ends(day, zone) == begins(day + timedelta(days=1), zone)


@given(zones, st.datetimes(datetime(1900, 1, 2), datetime(2100, 12, 31), timezones=st.just(UTC)))
def test_every_instant_belongs_to_one_day(zone: str, now: datetime) -> None:
    today = day_of(now, zone)
    assert begins(today, zone) <= now < ends(today, zone)


@given(zones, st.datetimes(datetime(1900, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)), st.integers(0, 9**6))
@example("America/St_Johns", datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC), 60)
def test_the_day_never_goes_back(zone: str, now: datetime, seconds: int) -> None:
    assert day_of(now, zone) <= day_of(now + timedelta(seconds=seconds), zone)


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("Europe/Berlin", date(2026, 7, 2), datetime(2026, 7, 1, 22, tzinfo=UTC)),
        ("Pacific/Auckland", date(2026, 12, 1), datetime(2026, 11, 30, 11, tzinfo=UTC)),
        ("Africa/Cairo", date(2026, 4, 24), datetime(2026, 4, 23, 22, tzinfo=UTC)),
        ("America/Toronto", date(1919, 3, 31), datetime(1919, 3, 31, 4, 30, tzinfo=UTC)),
        ("Atlantic/Azores", date(2026, 10, 25), datetime(2026, 10, 25, tzinfo=UTC)),
        ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ],
    ids=["summer time", "far ahead", "midnight skipped", "skipped from 23:30", "midnight twice", "day skipped"],
)
def test_the_first_instant_of_a_day(zone: str, day: date, first: datetime) -> None:
    assert begins(day, zone) == first
