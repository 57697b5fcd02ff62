"""The pages' histories have a sentence for each event of the streams that they show."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from services.console.pages.portal.histories import WHAT
from services.console.pages.updates.words import EVENTS
from services.distribution.domain.fleet import FLEET
from services.distribution.domain.rollout import ROLLOUT
from services.entitlements.domain.seat_pool import SEAT_POOL
from services.identity.domain.contract import CONTRACT
from services.marketplace.domain.subscription import SUBSCRIPTION
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.readers import folded, names

OF_MACHINES: Final = {"PhaseReportsDue"}
"""What sets a timer only."""


@pytest.mark.parametrize("stream", [CONTRACT, SUBSCRIPTION, SEAT_POOL], ids=lambda stream: str(stream.category))
def test_each_event_of_the_portals_histories_has_a_sentence(stream: Stream[Any, Any, Any]) -> None:
    assert names(folded(stream)) - WHAT.keys() == set()


def test_each_event_of_a_rollout_has_a_sentence() -> None:
    assert names(folded(ROLLOUT)) - EVENTS.keys() == OF_MACHINES


@pytest.mark.parametrize(
    ("sentences", "streams"), [(WHAT, (CONTRACT, SUBSCRIPTION, SEAT_POOL)), (EVENTS, (ROLLOUT, FLEET))]
)
def test_no_sentence_is_of_an_event_that_no_history_shows(
    sentences: Mapping[str, str], streams: tuple[Stream[Any, Any, Any], ...]
) -> None:
    assert sentences.keys() - frozenset().union(*(names(folded(stream)) for stream in streams)) == set()
