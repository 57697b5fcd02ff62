"""Of any two versions of a publisher's updates one is newer, and it is always the same one."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.distribution.domain.versions import precedence
from tests.examples.distribution import DAY, NOON


def newer(version: str, than: str, *, published: datetime = NOON) -> bool:
    """Whether the version is newer, though it was published first and its id comes first."""
    return precedence(version, published, "a") > precedence(than, published + DAY, "b")


@pytest.mark.parametrize(
    ("version", "than"),
    [
        ("2027.10", "2027.9"),
        ("2027.1", "2026.99"),
        ("2027.1.1", "2027.1"),
        ("10", "9.9"),
        ("v2.0", "v1.9"),
        ("R14", "R9"),
        ("2027.1", "2027.1-rc.2"),
        ("2027.1", "2027.1 beta 3"),
        ("2027.1-beta", "2027.0"),
        ("2027.1-rc.10", "2027.1-rc.2"),
        ("2027.1-rc10", "2027.1-rc2"),
        ("2027.1-beta", "2027.1-alpha.9"),
        ("2027.1-beta.1", "2027.1-beta"),
        ("2027.1-beta", "2027.1-7"),
        ("2027.1rc1", "2027.1-beta.2"),
        ("1", "spring"),
    ],
)
def test_numbers_are_compared_first_then_the_stage(version: str, than: str) -> None:
    assert newer(version, than) and not newer(than, version)


@pytest.mark.parametrize(
    ("version", "other"),
    [
        ("2027.1", "2027.1"),
        ("2027.1", "2027.1.0"),
        ("2027.01", "2027.1"),
        ("V2027.1", "2027.1"),
        ("2027.1 SP1", "2027.1 SP2"),
        ("2027.1", "2027.1a"),
        ("2027.1+build.7", "2027.1"),
        ("2027.1-RC.1", "2027.1-rc1"),
        ("spring", "autumn"),
    ],
)
def test_what_cannot_be_compared_has_the_publishers_order(version: str, other: str) -> None:
    assert newer(other, version, published=NOON) is newer(version, other, published=NOON) is False
    assert precedence(version, NOON, "a") < precedence(other, NOON, "b"), "published at once: by its id"
    west = NOON.astimezone(timezone(timedelta(hours=-9)))
    assert precedence(version, west, "a") < precedence(other, NOON + timedelta(microseconds=1), "a")


_versions = st.from_regex(r"\A[!-~]([ -~]{0,12}[!-~])?\Z") | st.from_regex(
    r"\A[0-9]{1,3}(\.[0-9]{1,3}){0,3}(-[a-c0-9.]{1,5})?\Z"
)
_updates = st.lists(
    st.tuples(_versions, st.integers(0, 3), st.integers(0, 10**6)), min_size=2, max_size=20, unique_by=lambda u: u[2]
)


@given(_updates)
def test_the_order_is_total_and_strict_and_the_databases(updates: list[tuple[str, int, int]]) -> None:
    keys = sorted(precedence(version, NOON + days * DAY, f"u-{number}") for version, days, number in updates)
    assert all(older < newer for older, newer in pairwise(keys))
    assert keys == sorted(keys, key=str.encode), 'PostgreSQL compares bytes in the collation "C"'
