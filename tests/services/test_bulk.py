"""Many commands in one request: an answer per item, in their order, under one idempotency key."""

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest

from shared.eventlog.log import Log
from shared.eventlog.memory import MemoryStore
from shared.eventlog.store import Outcome, Unavailable, Write
from shared.runtime.doors import Call, Doors, Pool, Target
from shared.runtime.http import make_app
from shared.runtime.problems import Problem
from tests.engine.examples import COUNTER, Count
from tests.services.test_doors import TOKEN, parts

HOW_MANY = 1000


class Store(MemoryStore):
    """Away after so many appends."""

    left = 10**6

    async def append(self, write: Write) -> Outcome:
        if self.left == 0:
            raise Unavailable("away")
        self.left -= 1
        return await super().append(write)


async def _target(call: Call) -> Target:
    if call.body.by == "nobody":
        raise Problem(409, rule="user-unknown", reason="No such user.")
    return Target(call.path["key"])


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    doors, made = Doors(), parts()
    doors.post("/counters/{key}", COUNTER, Count, supply=_target, bulk=True)
    made.opened_log = Log(store, "entitlements", observer=made.metrics)
    made.opened_db = cast("Pool", object())  # these doors ask it nothing
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = httpx.ASGITransport(make_app(made, doors, None, api=True), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as opened:
        yield opened


async def send(client: httpx.AsyncClient, *by: str, key: str = "one", limit: int = 9, query: str = "") -> Any:
    sent = {"items": [{"by": each, "limit": limit} for each in by]}
    return await client.post(f"/counters/one/bulk{query}", json=sent, headers={"Idempotency-Key": key})


async def test_each_item_is_answered_as_it_would_be_alone_in_order(client: httpx.AsyncClient, store: Store) -> None:
    answer = await send(client, "ana", "nobody", "ben", "chiyo", limit=2)
    assert (answer.status_code, answer.headers["Tenure-Version"]) == (200, "counter-one@2")
    body = answer.json()
    assert ([item["status"] for item in body["items"]], body["accepted"]) == ([200, 409, 200, 409], 2)
    first, unknown, second, full = (item["answer"] for item in body["items"])
    assert [each["events"][0]["data"]["account_id"] for each in (first, second)] == ["ana", "ben"]
    assert (unknown["rule"], full["rule"]) == ("user-unknown", "limit")
    assert full["because"] == [second["events"][0]["id"]]
    assert list(store._commands) == ["account:one:0", "account:one:2", "account:one:3"]
    assert {event.of.correlation_id for event in store.events} == {answer.headers["X-Correlation-ID"]}


async def test_sent_again_with_its_key_it_gets_its_first_answers(client: httpx.AsyncClient, store: Store) -> None:
    first, again = await send(client, "ana", "ben", limit=1), await send(client, "ana", "ben", limit=1)
    assert len(store.events) == 1
    one, two = first.json()["items"], again.json()["items"]
    assert two[0]["answer"] == one[0]["answer"] | {"repeated": True}
    assert two[1] == one[1]
    other = (await send(client, "ben", "ana", limit=1)).json()["items"]
    assert {item["answer"]["rule"] for item in other} == {"idempotency-key-reused"}


async def test_after_a_fault_it_goes_on_where_it_was(client: httpx.AsyncClient, store: Store) -> None:
    store.left = 2
    assert (await send(client, "ana", "ben", "chiyo")).status_code == 503
    store.left = 9
    items = (await send(client, "ana", "ben", "chiyo")).json()["items"]
    assert [item["answer"]["repeated"] for item in items] == [True, True, False]
    assert len(store.events) == 3


async def test_a_dry_run_decides_each_item_after_those_before_it(client: httpx.AsyncClient, store: Store) -> None:
    await send(client, "ana", key="before")
    dry = (await send(client, "ben", "chiyo", "dora", limit=3, query="?dry_run=true")).json()
    assert len(store.events) == 1, "nothing is kept"
    real = (await send(client, "ben", "chiyo", "dora", limit=3)).json()
    assert [item["status"] for item in dry["items"]] == [item["status"] for item in real["items"]] == [200, 200, 409]
    assert dry["dry_run"] is True
    for one, other in zip(dry["items"][:2], real["items"][:2], strict=True):
        assert one["answer"]["version"] == other["answer"]["version"]
        assert one["answer"]["events"][0]["data"] == other["answer"]["events"][0]["data"]
    assert dry["items"][2]["answer"]["because"] == [], "an event that is not there has no id"


@pytest.mark.parametrize("items", [[], [{}] * (HOW_MANY + 1), [{"by": 5}], [{"more": 1}], None])
async def test_a_malformed_request_does_nothing(client: httpx.AsyncClient, store: Store, items: Any) -> None:
    answer = await client.post("/counters/one/bulk", json={"items": [{}, *items] if items == [{"by": 5}] else items})
    assert (answer.status_code, answer.json()["rule"]) == (422, "malformed")
    assert store.events == []


async def test_every_seat_of_the_largest_subscription_goes_into_one_request(client: httpx.AsyncClient) -> None:
    sent = {"items": [{"by": f"{number:036}"} for number in range(HOW_MANY)]}
    answer = await client.post("/counters/one/bulk", json=sent)
    assert answer.json()["accepted"] == HOW_MANY


async def test_it_stands_in_the_document_with_its_own_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/counters/{key}/bulk"]["post"]
    assert operation["operationId"] == "CountBulk"
    schemas = document["components"]["schemas"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/BulkAnswer")
    assert schemas["CountBulk"]["properties"]["items"]["items"]["$ref"].endswith("/CountItem")
    assert schemas["Count"]["properties"]["limit"]["type"] == "integer"
