"""A service with one list, for the tests of sorting, paging and exports."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import asyncpg
import httpx
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, Database, make_app
from shared.runtime.lists import By, Listing, ListOf, Page, Search, searched
from shared.runtime.routes import CommandRoutes
from tests.services.counters import TOKEN, parts

FIRST: Final = date(2027, 1, 1)
STATEMENT: Final = """
select id, name, size, day, made
from (
    select subscription_id as id, 'name ' || term || '_' as name, days_before as size, ends as day, time as made
    from reminders
) as things
where ($6::text is null or name = $6) and ($7 = '%%' or name ilike $7);
"""
"""The rows of a table of marketplace, under other names."""
THINGS: Final = Listing(
    STATEMENT,
    key="id",
    sorts={"id": By(), "name": By(), "size": By(int), "day": By(date), "at": By(datetime, "made")},
    order="-day",
    limit=3,
)
KEYS: Final = """
select id, name, size, day, made
from (
    select subscription_id as id, 'name ' || term || '_' as name, days_before as size, ends as day, time as made
    from reminders
) as things;
"""
ROWS: Final = """
select subscription_id as id, $2::text as name, days_before as size, ends as day, time as made
from reminders where subscription_id = any($1::text[]);
"""
BY_KEYS: Final = Listing(KEYS, rows=ROWS, key="id", sorts={"name": By(), "size": By(int)}, order="name", limit=3)
"""A list of the same rows that finds their keys first."""


class Place(BaseModel):
    city: str
    zone: str | None


class Thing(BaseModel):
    id: str
    name: str
    size: int
    day: date
    made: datetime
    place: Place | None = None
    words: list[str] = []
    parts: list[Place] = []


QUERIES: Final = APIRouter(route_class=ListRoute)


@QUERIES.get("/things")
async def things(
    _: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(THINGS.page)],
    name: str | None = None,
    q: Search = "",
) -> ListOf[Thing]:
    return await THINGS.show(db, page, Thing, name, searched(q))


@QUERIES.get("/things/by-keys")
async def things_by_keys(_: CurrentActor, db: Database, page: Annotated[Page, Depends(BY_KEYS.page)]) -> ListOf[Thing]:
    return await BY_KEYS.show(db, page, Thing, rows_for=("the same",))


IN_MEMORY: Final = [
    Thing(
        id=f"{number}",
        name=name,
        size=number,
        day=FIRST,
        made=datetime(2027, 1, 1, tzinfo=UTC),
        place=Place(city="=1+1", zone=None) if number else None,
        words=["a", "b"],
        parts=[Place(city="x", zone="y")],
    )
    for number, name in enumerate(["-1", 'a "quoted", text', "two\nlines", "Zürich"])
]


@QUERIES.get("/kept")
async def kept(_: CurrentActor, page: Annotated[Page, Depends(THINGS.page)]) -> ListOf[Thing]:
    return THINGS.select(page, IN_MEMORY)


@asynccontextmanager
async def a_client(dsn: str, rows: int = 10) -> AsyncIterator[tuple[httpx.AsyncClient, asyncpg.Pool]]:
    """A client of the service, whose table has so many rows, some of which share each value."""
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    try:
        await pool.copy_records_to_table("reminders", records=[row(number) for number in range(rows)])
        opened = parts()
        opened.opened_db = pool
        app = make_app(opened, CommandRoutes(), QUERIES, api=True)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield client, pool
    finally:
        pool.terminate()


def row(number: int) -> tuple[str, int, int, date, datetime]:
    """Return a row of `reminders`."""
    made = datetime(2027, 1, 1 + number % 2, tzinfo=UTC)
    return f"id-{number:06}", number % 3, number % 4, FIRST + timedelta(number % 5), made
