"""Many commands in one request: an answer per item, in their order, under one idempotency key."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import httpx
import pytest
from pydantic import BaseModel

from services import definition_of
from shared.eventlog.write.log import Accepted, Log, Meta
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.store import Outcome, Unavailable, Write
from shared.runtime.database import Pool
from shared.runtime.http import make_app
from shared.runtime.problems import Problem
from shared.runtime.representations import COMPRESSED_FROM
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.sizes import BODY_BYTES, CEILING_BYTES
from shared.services import SERVICES
from tests.examples.engine import COUNTER, Count
from tests.services.counters import TOKEN, Unread, parts

HOW_MANY = 1000


class Store(MemoryStore):
    """Away after so many appends."""

    left = 10**6
    at_once = most_at_once = 0

    async def append(self, write: Write) -> Outcome:
        if self.left == 0:
            raise Unavailable("away")
        self.left -= 1
        outcome = await super().append(write)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return outcome


class Secret(BaseModel):
    token: str


class Refusals:
    """Stands in for the database, which these routes only ask to keep refusals."""

    async def execute(self, *_: object) -> str:
        return "INSERT 0 1"


async def count(context: RequestContext[Count], key: str) -> Addressed[Count]:
    if context.asked.by == "nobody":
        raise Problem(rule="user-unknown", reason="No such user.")
    return Addressed(key, context.asked)


async def count_seen(context: RequestContext[Count], key: str) -> Addressed[Count]:
    before = await context.state(COUNTER, key)
    return Addressed(key, replace(context.asked, by=f"{context.asked.by}-after-{before.number}"))


async def count_another_too(context: RequestContext[Count], key: str) -> Addressed[Count]:
    meta = Meta(context.further_id("release"), context.actor.account_id, context.now)
    assert not (await context.log.execute(COUNTER, "another", Count(), meta)).repeated
    return Addressed(key, context.asked)


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    commands, made = CommandRoutes(), parts()
    commands.route("POST", "/counters/{key}", COUNTER)(count)
    commands.route("POST", "/counters/{key}/bulk", COUNTER, bulk=True)(count)
    commands.route("POST", "/seen/{key}/bulk", COUNTER, bulk=True)(count_seen)
    commands.route("POST", "/further/{key}", COUNTER)(count_another_too)
    made.opened_log = Log(store, "entitlements", observer=made.metrics)
    made.opened_db = cast("Pool", Refusals())
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = httpx.ASGITransport(make_app(made, commands, None, api=True), raise_app_exceptions=False)
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
    assert list(store._commands) == ["account:~0:one", "account:~2:one", "account:~3:one"]
    assert {event.envelope.correlation_id for event in store.events} == {answer.headers["X-Correlation-ID"]}


async def test_an_item_that_reads_a_stream_sees_what_the_items_before_have_changed(client: httpx.AsyncClient) -> None:
    sent = {"items": [{"by": f"{number}", "limit": 99} for number in range(20)]}
    body = (await client.post("/seen/one/bulk", json=sent)).json()
    by = [item["answer"]["events"][0]["data"]["account_id"] for item in body["items"]]
    assert by == [f"{number}-after-{number}" for number in range(20)]


async def test_items_of_one_stream_do_not_wait_for_the_commits_before(client: httpx.AsyncClient, store: Store) -> None:
    answer = await send(client, *(f"{number}" for number in range(40)), limit=30)
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [200] * 30 + [409] * 10
    by = [item["answer"]["events"][0]["data"]["account_id"] for item in items[:30]]
    assert by == [f"{number}" for number in range(30)]
    assert [event.envelope.version for event in store.events] == list(range(1, 31))
    assert store.most_at_once > 1


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


@pytest.mark.parametrize("key", ["b:0", "~0:b", "~~0:b", "~", "~b"])
async def test_no_key_of_a_single_request_meets_an_item(client: httpx.AsyncClient, store: Store, key: str) -> None:
    single = await client.post("/counters/one", json={"by": "ana"}, headers={"Idempotency-Key": key})
    assert single.status_code == 200
    for bulk in ("b", "~0:b", key):
        items = (await send(client, "ben", "chiyo", key=bulk)).json()["items"]
        assert [item["status"] for item in items] == [200, 200], (key, bulk, items)
    again = await client.post("/counters/one", json={"by": "ana"}, headers={"Idempotency-Key": key})
    assert again.json()["repeated"] is True
    assert all(command.startswith("account:") for command in store._commands), "so that all of a person's are found"


async def test_no_key_meets_a_further_command_of_a_request(client: httpx.AsyncClient, store: Store) -> None:
    for key in ("x", "x:release", "~release:x", "~~release:x", "~0:x"):
        await client.post("/further/one", json={}, headers={"Idempotency-Key": key})
        await send(client, "ana", key=key)
    assert len(store._commands) == len(set(store._commands)) == 5 * 3
    assert all(command.startswith("account:") for command in store._commands)


async def test_an_answer_with_an_items_secret_is_stored_by_nobody(store: Store) -> None:
    async def secret(_: Accepted) -> BaseModel:
        return Secret(token="token")

    async def invite(context: RequestContext[Count], key: str) -> Addressed[Count]:
        return Addressed(key, context.asked, extra_response=secret if context.asked.by == "ana" else None)

    commands, made = CommandRoutes(), parts()
    commands.route("POST", "/invitations/{key}/bulk", COUNTER, bulk=True, extra_response=Secret)(invite)
    made.opened_log, made.opened_db = Log(store, "entitlements"), cast("Pool", Refusals())
    transport = httpx.ASGITransport(make_app(made, commands, None, api=True))
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "gzip"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as asking:
        items = [{"by": "ana"}, *[{"by": "ben"}] * 40]
        answer = await asking.post("/invitations/one/bulk", json={"items": items})
    assert answer.json()["items"][0]["answer"]["token"] == "token" and len(answer.content) > COMPRESSED_FROM
    assert answer.headers["Cache-Control"] == "no-store" and "Content-Encoding" not in answer.headers


async def test_a_condition_does_not_say_which_of_many_commands_it_is_for(client: httpx.AsyncClient) -> None:
    answer = await client.post("/counters/one/bulk", json={"items": [{}]}, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["fields"][0]["field"]) == (422, "header.if-match")


async def test_a_bulk_request_of_before_an_upgrade_gets_its_first_answers(
    client: httpx.AsyncClient, store: Store
) -> None:
    await send(client, "ana", "ben", key="b")
    new = {f"account:~{number}:b": f"account:b:{number}" for number in range(2)}
    store._commands = {new[name]: answer for name, answer in store._commands.items()}  # as they were named then
    items = (await send(client, "ana", "ben", "chiyo", key="b")).json()["items"]
    assert [item["answer"]["repeated"] for item in items] == [True, True, False]
    assert list(store._commands) == ["account:b:0", "account:b:1", "account:~2:b"]
    other = (await send(client, "dora", "ben", key="b")).json()["items"]
    assert [item["answer"]["repeated"] for item in other] == [False, True], "only what was asked is asked again"


@pytest.mark.parametrize(
    ("number", "characters", "status"),
    [(HOW_MANY, 36, 200), (HOW_MANY, 500, 200), (HOW_MANY + 1, 36, 422), (HOW_MANY - 1, 36, 200)],
)
async def test_as_many_items_as_are_promised_are_taken(
    client: httpx.AsyncClient, number: int, characters: int, status: int
) -> None:
    sent = {"items": [{"by": f"{n:0{characters}}"} for n in range(number)]}
    answer = await client.post("/counters/one/bulk?dry_run=true", content=json.dumps(sent, indent=4))
    assert answer.status_code == status, answer.text[:300]


async def test_what_is_larger_than_all_items_can_be_is_refused_unread(client: httpx.AsyncClient) -> None:
    headers = {"Content-Length": str(CEILING_BYTES + 1)}
    answer = await client.post("/counters/one/bulk", content=Unread(), headers=headers)
    assert (answer.status_code, answer.json()["rule"]) == (413, "too-large")


@pytest.mark.parametrize("name", SERVICES)
def test_every_bulk_route_takes_the_largest_items_that_its_form_allows(name: str) -> None:
    for route in definition_of(name).commands.routes:
        if route.bulk:
            schema = route.form.model_json_schema()
            body = json.dumps({"items": [_largest(schema["$defs"], schema["properties"]["items"]["items"])] * HOW_MANY})
            assert len(body) <= route.body_bytes or route.body_bytes == CEILING_BYTES, f"{route.path}: {len(body)}"
            assert route.body_bytes >= 200 * HOW_MANY
        else:
            assert route.body_bytes == BODY_BYTES


def _largest(shapes: Any, schema: Any) -> Any:
    if "$ref" in schema:
        return _largest(shapes, shapes[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return max((_largest(shapes, each) for each in schema["anyOf"]), key=lambda each: len(json.dumps(each)))
    if schema["type"] == "object":
        return {name: _largest(shapes, each) for name, each in schema["properties"].items()}
    return {"string": "\u4e00" * schema.get("maxLength", 2000), "integer": -(2**62), "boolean": False, "null": None}[
        schema["type"]
    ]


async def test_it_stands_in_the_document_with_its_own_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/counters/{key}/bulk"]["post"]
    assert operation["operationId"] == "count_bulk"
    schemas = document["components"]["schemas"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/BulkAnswer")
    assert schemas["CountBulk"]["properties"]["items"]["items"]["$ref"].endswith("/CountItem")
    assert schemas["Count"]["properties"]["limit"]["type"] == "integer"
