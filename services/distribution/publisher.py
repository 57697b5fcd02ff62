"""What a publisher's people do themselves: publish updates and withdraw them.

A publisher's systems send the same as events; the same decider decides.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from services.distribution.domain.update import UPDATE, Available, RecordUpdate, WithdrawUpdate, key
from shared.events import UpdatePublished, UpdateWithdrawn
from shared.events.distribution import Severity, UpdateKind
from shared.events.fields import Bytes, Code, Identifier, Location, Name, OptionalCode, Sha256, Text
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, Database
from shared.runtime.lists import By, Listing, ListOf, Page, Search, searched
from shared.runtime.problems import unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.visibility import publisher_only
from shared.sql import statements

SQL: Final = statements(__file__)
COMMANDS: Final = CommandRoutes()
QUERIES: Final = APIRouter(route_class=ListRoute)


class UpdateOffered(BaseModel):
    """An update as its publisher publishes it now."""

    model_config = ConfigDict(extra="forbid", strict=True)

    update_id: Identifier
    product: Code
    kind: UpdateKind
    title: Name
    version: Code
    platform: Code
    severity: Severity
    sha256: Sha256
    size_bytes: Bytes
    location: Location
    component: OptionalCode = ""


class Withdrawal(BaseModel):
    """Why an update is withdrawn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Text


@COMMANDS.route("POST", "/publisher/updates", UPDATE)
async def publish_update(context: RequestContext[UpdateOffered]) -> Addressed[RecordUpdate]:
    """Publish the update as of now.

    One that is published already keeps its time, so that it can be sent again.
    """
    publisher = publisher_only(context.actor)
    asked = context.asked
    stream = key(publisher, asked.update_id)
    state = await context.state(UPDATE, stream)
    published_at = state.published.published_at if isinstance(state, Available) else context.now
    update = UpdatePublished(**dict(asked), publisher=publisher, published_at=published_at)
    return Addressed(stream, RecordUpdate(update, publisher))


@COMMANDS.route("POST", "/publisher/updates/{update_id}/withdrawal", UPDATE)
async def withdraw_update(context: RequestContext[Withdrawal], update_id: str) -> Addressed[WithdrawUpdate]:
    publisher = publisher_only(context.actor)
    state = await context.state(UPDATE, key(publisher, update_id))
    if not isinstance(state, Available):
        raise unknown("update", "See GET /publisher/updates for those that are offered.")
    withdrawal = UpdateWithdrawn(update_id=update_id, publisher=publisher, reason=context.asked.reason)
    return Addressed(key(publisher, update_id), WithdrawUpdate(withdrawal, publisher))


class PublishedUpdate(BaseModel):
    update_id: str
    product: str
    kind: str
    title: str
    version: str
    platform: str
    severity: str
    component: str
    size_bytes: int
    location: str
    published_at: datetime
    withdrawn: str | None
    """Why it was withdrawn; null while it is offered."""


UPDATES: Final = Listing(
    SQL["updates"],
    key="event_id",
    sorts={"event_id": By(), "published_at": By(datetime), "product": By(), "title": By()},
    order="-event_id",
)


@QUERIES.get("/publisher/updates")
async def published_updates(
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(UPDATES.page)],
    status: Literal["offered", "withdrawn"] | None = None,
    q: Search = "",
) -> ListOf[PublishedUpdate]:
    """List the publisher's own updates, the newest first, also those that it has withdrawn."""
    return await UPDATES.show(db, page, PublishedUpdate, publisher_only(actor), status, searched(q))
