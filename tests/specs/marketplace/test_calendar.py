"""Business days and the deadline that counts them; months, terms and instalments."""

from datetime import UTC, date, datetime

import pytest

from services.marketplace.domain.calendar import Calendar, cancel_by, last_permitted_day
from services.marketplace.domain.terms import instalments, months_after, term_ends
from shared.events import Money


def weekends_only(*holidays: date, working: frozenset[date] = frozenset()) -> Calendar:
    return Calendar(
        id="example", version="1", time_zone="Europe/Berlin", holidays=frozenset(holidays), working_days=working
    )


@pytest.mark.parametrize(
    ("ends", "holidays", "expected"),
    [
        (date(2016, 12, 31), (), date(2016, 12, 26)),
        (date(2016, 12, 31), (date(2016, 12, 26),), date(2016, 12, 23)),
        (date(2026, 1, 2), (), date(2025, 12, 26)),
        (date(2026, 1, 2), (date(2025, 12, 25), date(2026, 1, 1)), date(2025, 12, 24)),
    ],
)
def test_the_last_permitted_day_is_five_business_days_before_the_term_end(
    ends: date, holidays: tuple[date, ...], expected: date
) -> None:
    assert last_permitted_day(ends, weekends_only(*holidays)) == expected


def test_a_worked_saturday_counts() -> None:
    saturday = date(2016, 12, 24)
    calendar = weekends_only(date(2016, 12, 26), working=frozenset({saturday}))
    assert last_permitted_day(date(2016, 12, 31), calendar) == saturday


def test_another_weekend_gives_another_day() -> None:
    fridays = Calendar(id="example", version="1", time_zone="Asia/Dubai", weekend=frozenset({4, 5}))
    assert last_permitted_day(date(2016, 12, 31), fridays) == date(2016, 12, 25)


def test_a_calendar_that_never_works_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no 5 business days"):
        last_permitted_day(
            date(2026, 1, 2), Calendar(id="idle", version="1", time_zone="UTC", weekend=frozenset(range(7)))
        )


def test_the_deadline_is_the_end_of_that_day_in_its_zone_and_names_its_calendar() -> None:
    found = cancel_by(date(2026, 1, 2), weekends_only(), 5)
    assert found.last_day == date(2025, 12, 26)
    assert found.deadline == datetime(2025, 12, 26, 23, tzinfo=UTC)
    assert (found.calendar, found.calendar_version, found.time_zone) == ("example", "1", "Europe/Berlin")


def test_a_term_ends_a_year_later_less_a_day() -> None:
    assert term_ends(date(2026, 11, 23)) == date(2027, 11, 22)
    assert term_ends(date(2027, 1, 1)) == date(2027, 12, 31)
    assert term_ends(date(2023, 3, 1)) == date(2024, 2, 29)


def test_a_29_february_start_ends_on_the_27th_and_finds_its_day_again_in_a_leap_year() -> None:
    starts = date(2028, 2, 29)
    assert [term_ends(starts, term) for term in range(1, 6)] == [
        date(2029, 2, 27),
        date(2030, 2, 27),
        date(2031, 2, 27),
        date(2032, 2, 28),
        date(2033, 2, 27),
    ]


def test_instalments_fall_due_on_the_starts_day_or_the_months_last() -> None:
    due = [i.due for i in instalments(Money(amount=1200, currency="EUR"), date(2026, 8, 31), "instalments")]
    assert due[:7] == [
        date(2026, 8, 31),
        date(2026, 9, 30),
        date(2026, 10, 31),
        date(2026, 11, 30),
        date(2026, 12, 31),
        date(2027, 1, 31),
        date(2027, 2, 28),
    ]
    assert len(due) == 12
    assert months_after(date(2026, 12, 31), 2) == date(2027, 2, 28)


def test_twelve_instalments_add_up_to_the_last_minor_unit() -> None:
    parts = instalments(Money(amount=720_003, currency="EUR"), date(2026, 11, 23), "instalments")
    assert [part.number for part in parts] == list(range(1, 13))
    assert [part.amount.amount for part in parts] == [60_001] * 3 + [60_000] * 9


def test_upfront_is_one_sum_at_the_start() -> None:
    (only,) = instalments(Money(amount=99, currency="EUR"), date(2026, 11, 23), "upfront")
    assert (only.number, only.due, only.amount.amount) == (1, date(2026, 11, 23), 99)
