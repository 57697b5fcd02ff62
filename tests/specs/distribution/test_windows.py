"""Maintenance windows, by the clocks of their time zones."""

from datetime import datetime

import pytest

from services.distribution.windows import is_open
from shared.events import MaintenanceWindow


@pytest.mark.parametrize(
    ("now", "expected"),
    [("2026-11-21T20:59Z", False), ("2026-11-21T21:00Z", True), ("2026-11-22T00:59Z", True),
     ("2026-11-22T01:00Z", False), ("2026-11-22T21:30Z", False)],
)  # fmt: skip
def test_a_window_is_open_by_its_own_clock_also_over_midnight(now: str, expected: bool) -> None:
    window = MaintenanceWindow(weekday="saturday", starts="22:00", minutes=240, time_zone="Europe/Berlin")
    assert is_open([window], datetime.fromisoformat(now)) is expected
    assert is_open([], datetime.fromisoformat(now))
