"""A process that is older than its log says so: 503 with the reason, for commands, dry runs and queries."""

from collections.abc import AsyncIterator
from typing import Any, Literal, cast

import httpx
import pytest
from fastapi import APIRouter

from shared.eventlog.write.log import Log
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.store import Head
from shared.events.base import Record
from shared.events.envelope import StoredEvent
from shared.runtime.database import Pool
from shared.runtime.http import CurrentLog, make_app
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from tests.examples.engine import COUNTER, Count, next_events, write
from tests.services.counters import TOKEN, parts

QUERIES = APIRouter()


@QUERIES.get("/counters/{key}")
async def counter(key: str, log: CurrentLog) -> int:
    return (await log.state(COUNTER, key)).number


class Seats(Record):
    period: Literal["monthly"]


@QUERIES.get("/tables/{period}")
async def table(period: str) -> str:
    return Seats.from_row(f'{{"period": "{period}"}}').period


async def count(context: RequestContext[Count], key: str) -> Addressed[Count]:
    return Addressed(key, context.asked)


async def a_log_with(**newer: Any) -> MemoryStore:
    store = MemoryStore()
    (made,) = next_events("counter-one", Head(), 1)
    await store.append(write("counter-one", events=[StoredEvent(made.envelope._replace(**newer), made.data)]))
    return store


@pytest.fixture(params=[{"schema": 2}, {"schema": 999_999}, {"type": "SeatInvented"}], ids=str)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    commands, made = CommandRoutes(), parts()
    commands.route("POST", "/counters/{key}", COUNTER)(count)
    commands.route("POST", "/counters/{key}/bulk", COUNTER, bulk=True)(count)
    made.opened_log = Log(await a_log_with(**request.param), "entitlements")
    made.opened_db = cast("Pool", object())  # nothing asks it anything
    transport = httpx.ASGITransport(make_app(made, commands, QUERIES, api=True))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as opened:
        yield opened


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/counters/one", {}),
        ("POST", "/counters/one?dry_run=true", {}),
        ("POST", "/counters/one/bulk", {"items": [{}]}),
        ("GET", "/counters/one", None),
    ],
)
async def test_it_answers_503_with_the_reason(client: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["rule"]) == (503, "newer-event"), answer.text
    assert "SeatUnassigned version" in answer.json()["detail"] or "SeatInvented" in answer.json()["detail"]
    assert "Upgrade" in answer.json()["remedy"] and answer.headers["Retry-After"]
    other = await client.request(method, path.replace("one", "two"), json=body)
    assert other.status_code == 200, "the streams that it can read go on"


async def test_so_does_a_query_of_a_table_that_newer_code_has_written(client: httpx.AsyncClient) -> None:
    answer = await client.get("/tables/fortnightly")
    assert (answer.status_code, answer.json()["rule"]) == (503, "newer-event"), answer.text
    assert "Seats" in answer.json()["detail"]
    assert (await client.get("/tables/monthly")).status_code == 200
