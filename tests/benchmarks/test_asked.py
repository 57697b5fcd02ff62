"""The benchmark of lists asks every list of every service, by each of its filters."""

import pytest

from shared.services import SERVICES
from tests.benchmarks.asked import ASKED, wrong_in
from tests.services.every_list import routes


@pytest.mark.parametrize("service", SERVICES)
def test_the_benchmark_asks_every_list_by_each_filter(service: str) -> None:
    wrong = [each for route in routes(service) if (each := wrong_in(route)) is not None]
    assert not wrong, f"change tests/benchmarks/asked.py: {wrong}"


def test_the_benchmark_asks_no_list_that_is_gone() -> None:
    gone = ASKED.keys() - {route.path for service in SERVICES for route in routes(service)}
    assert not gone, f"remove from tests/benchmarks/asked.py: {sorted(gone)}"
