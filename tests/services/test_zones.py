"""Names of time zones: those that people of a locale know, else the distance from GMT."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from babel import Locale

from shared.runtime.zones import zone_name


@pytest.mark.parametrize(
    ("zone", "locale", "name"),
    [
        ("Europe/Berlin", "de_DE", "MEZ"),
        ("Europe/Berlin", "en_GB", "CET"),
        ("Europe/Berlin", "en_US", "GMT+01:00"),
        ("America/New_York", "en_US", "EST"),
        ("Pacific/Auckland", "de_DE", "GMT+13:00"),
        ("UTC", "de_DE", "UTC"),
    ],
)
def test_a_zone_has_the_name_that_people_know(zone: str, locale: str, name: str) -> None:
    noon = datetime(2026, 12, 1, 12, tzinfo=UTC).astimezone(ZoneInfo(zone))
    assert zone_name(noon, Locale.parse(locale)) == name
