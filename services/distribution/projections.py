"""distribution's tables, folded from events."""

from typing import Final

from shared.eventlog.projection import Connection, Projection
from shared.events import SeatPoolOpened, UpdatePublished, UpdateWithdrawn
from shared.events.envelope import Envelope
from shared.events.registry import DISTRIBUTION, ENTITLEMENTS
from shared.runtime.access import access_projection

AVAILABILITY: Final = Projection("availability", topics=(DISTRIBUTION, ENTITLEMENTS))
ACCESS: Final = access_projection()


@AVAILABILITY.on(UpdatePublished)
async def _published(tx: Connection, event: UpdatePublished, of: Envelope) -> None:
    await tx.execute(
        "insert into updates (publisher, update_id, product, kind, title, version, platform, severity, sha256, "
        "size_bytes, location, published_at, event_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        event.publisher, event.update_id, event.product, event.kind, event.title, event.version, event.platform,
        event.severity, event.sha256, event.size_bytes, event.location, event.published_at, of.id,
    )  # fmt: skip


@AVAILABILITY.on(UpdateWithdrawn)
async def _withdrawn(tx: Connection, event: UpdateWithdrawn, _of: Envelope) -> None:
    await tx.execute(
        "update updates set withdrawn = $3 where publisher = $1 and update_id = $2",
        event.publisher, event.update_id, event.reason,
    )  # fmt: skip


@AVAILABILITY.on(SeatPoolOpened)
async def _owned(tx: Connection, event: SeatPoolOpened, of: Envelope) -> None:
    """A contract owns a product from the moment that its seats exist."""
    await tx.execute(
        "insert into owned_products (contract_id, subscription_id, customer, product, starts, ends, event_id) "
        "values ($1, $2, $3, $4, $5, $6, $7)",
        event.contract_id, event.subscription_id, event.customer, event.product, event.starts, event.ends, of.id,
    )  # fmt: skip
