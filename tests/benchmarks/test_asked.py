"""The benchmark of lists asks every list of every service, by each of its filters."""

import pytest

from shared.services import SERVICES
from tests.benchmarks.asked import ASKED, wrong_in
from tests.services.every_list import routes


@pytest.mark.parametrize("service", SERVICES)
def test_the_benchmark_asks_every_list_by_each_filter(service: str) -> None:
    assert not [wrong for route in routes(service) if (wrong := wrong_in(route)) is not None]


def test_the_benchmark_asks_no_list_that_is_gone() -> None:
    assert ASKED.keys() == {route.path for service in SERVICES for route in routes(service)}
