"""Credits that a publisher's system sold to a contract that this service does not know."""

from datetime import timedelta
from typing import Any, cast

import pytest

from services.entitlements import reactions
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.projection import ReactionContext
from shared.events import CreditsPurchased
from shared.events.envelope import Envelope
from tests.examples.engine import NOON


class NoContract:
    """Lookups that find nothing, and count how often they were asked."""

    asked = 0

    async def customer(self, _contract_id: str, _publisher: str) -> str | None:
        self.asked += 1
        return None

    async def has_parked(self, _projection: str, _stream: str) -> bool:
        return False


@pytest.mark.parametrize(("before", "asked"), [(timedelta(hours=1), 1), (timedelta(0), 3)])
async def test_a_contract_is_waited_for_since_the_record_arrived(
    before: timedelta, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a flood of records of unknown contracts waits once."""
    monkeypatch.setattr(reactions, "LOOKS", 3)
    monkeypatch.setattr(reactions, "PAUSE", timedelta(microseconds=1))
    lookups = NoContract()
    reach = ReactionContext(
        lookups=cast(Any, lookups),
        log=cast(Any, None),
        now=NOON,
        clocks=Clocks(lambda: NOON),
        arrived=NOON - before,
    )
    sold = CreditsPurchased(contract_id="nobodys", grant_id="g", amount=1)
    (do,) = await reactions.REACTIONS.react(sold, Envelope("e", "urn:publisher:a", sold.type(), "", NOON), reach)
    assert (do.command.customer, lookups.asked) == ("", asked)
