"""The event that the measurements write."""

import pytest

from tests.benchmarks.measure import Assign, decided, number_of


@pytest.mark.parametrize("number", [0, 37_314_923_299_514, 2**63])
def test_the_event_holds_when_it_was_meant_to_be_sent(number: int) -> None:
    (event,) = decided(Assign(number), 0)
    assert number_of(event) == number
    assert len(event.data()) == len(decided(Assign(0), 0)[0].data()), "each is as long as the peers'"
