"""distribution's doors and queries: what is available to the administrators of a contract, and to nobody else."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel

from shared.runtime.access import require_access
from shared.runtime.doors import Doors
from shared.runtime.http import CurrentActor, Database, Now
from shared.runtime.problems import unknown

DOORS: Final = Doors()
QUERIES: Final = APIRouter()


class UpdateView(BaseModel):
    publisher: str
    update_id: str
    product: str
    kind: str
    title: str
    version: str
    platform: str
    severity: str
    sha256: str
    size_bytes: int
    location: str
    published_at: datetime
    event_id: str


class UpdateList(BaseModel):
    items: list[UpdateView]
    next: str | None


_FIELDS: Final = ", ".join(f"u.{name}" for name in UpdateView.model_fields)
_AVAILABLE: Final = f"""
    select {_FIELDS} from updates u
    where u.withdrawn is null and exists (
        select from owned_products o where o.contract_id = $1 and o.product = u.product
        and (u.kind <> 'extension' or $2 between o.starts and o.ends))"""  # noqa: S608  # extensions: subscribers only


def _view(row: Any) -> UpdateView:
    return UpdateView(**dict(row))


@QUERIES.get("/contracts/{contract_id}/updates")
async def available_updates(
    contract_id: str,
    actor: CurrentActor,
    db: Database,
    now: Now,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: str = "",
) -> UpdateList:
    """The updates and extensions available for the products that the contract owns, for its administrators only."""
    await require_access(db, actor, contract_id)
    rows = await db.fetch(
        f"{_AVAILABLE} and u.event_id > $3 order by u.event_id limit $4", contract_id, now.date(), after, limit
    )
    following = rows[-1]["event_id"] if len(rows) == limit else None
    return UpdateList(items=[_view(row) for row in rows], next=following)


@QUERIES.get("/contracts/{contract_id}/updates/{publisher}/{update_id}")
async def available_update(
    contract_id: str, publisher: str, update_id: str, actor: CurrentActor, db: Database, now: Now
) -> UpdateView:
    """One of these updates."""
    await require_access(db, actor, contract_id)
    query = f"{_AVAILABLE} and u.publisher = $3 and u.update_id = $4"
    row = await db.fetchrow(query, contract_id, now.date(), publisher, update_id)
    if row is None:
        raise unknown("update", "See GET /contracts/{contract_id}/updates for those that are available.")
    return _view(row)
