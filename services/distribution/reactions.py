"""What publishers' systems say about updates, on the inbound topic, becomes this service's own record."""

from collections.abc import Sequence
from typing import Final

from services.distribution.domain.update import UPDATE, RecordUpdate, WithdrawUpdate, key
from shared.eventlog.projection import Do, Reach, Reactions
from shared.events import UpdatePublished, UpdateWithdrawn
from shared.events.envelope import Envelope, publisher_of
from shared.events.registry import INBOUND

REACTIONS: Final = Reactions("reactions", topics=(INBOUND,))


@REACTIONS.on(UpdatePublished)
async def _published(event: UpdatePublished, of: Envelope, _reach: Reach) -> Sequence[Do]:
    return [Do(UPDATE, key(event.publisher, event.update_id), RecordUpdate(event, publisher_of(of.source)))]


@REACTIONS.on(UpdateWithdrawn)
async def _withdrawn(event: UpdateWithdrawn, of: Envelope, _reach: Reach) -> Sequence[Do]:
    return [Do(UPDATE, key(event.publisher, event.update_id), WithdrawUpdate(event, publisher_of(of.source)))]
