"""Conditional requests of commands: If-Match and If-None-Match on the version of the stream that decides."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.eventlog.write.log import Log
from shared.eventlog.write.memory import MemoryStore
from shared.runtime.conditions import etag
from tests.examples.engine import COUNTER, Count, meta
from tests.services.counters import a_client


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(store) as opened:
        yield opened


async def test_an_answer_has_the_streams_version_as_its_tag(client: httpx.AsyncClient) -> None:
    answers = [await client.post("/counters/one", json={}) for _ in range(2)]
    assert [answer.headers["ETag"] for answer in answers] == ['"counter-one@1"', '"counter-one@2"']


async def test_a_dry_run_has_the_version_that_it_was_decided_on(client: httpx.AsyncClient) -> None:
    assert "ETag" not in (await client.post("/counters/one?dry_run=true", json={})).headers, "nothing exists yet"
    await client.post("/counters/one", json={})
    preview = await client.post("/counters/one?dry_run=true", json={})
    assert preview.headers["ETag"] == '"counter-one@1"'
    done = await client.post("/counters/one", json={}, headers={"If-Match": preview.headers["ETag"]})
    assert done.json()["version"] == 2


async def test_a_command_for_another_version_is_refused_with_the_events_since(
    client: httpx.AsyncClient, store: MemoryStore
) -> None:
    first, second = [(await client.post("/counters/one", json={})).json() for _ in range(2)]
    for query in ("", "?dry_run=true"):
        refused = await client.post(f"/counters/one{query}", json={}, headers={"If-Match": '"counter-one@1"'})
        assert (refused.status_code, refused.json()["rule"]) == (412, "version-changed")
        assert refused.json()["because"] == [second["events"][0]["id"]] != [first["events"][0]["id"]]
    assert len(store.events) == 2


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("If-Match", '"counter-one@1"', 200),
        ("If-Match", '"counter-one@1;a-digest"', 200),
        ("If-Match", '"other@1" , "counter-one@1"', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"counter-other@1"', 412),
        ("If-Match", '"counter-one@0"', 412),
        ("If-Match", '"counter-one@99999999999999999999"', 412),
        ("If-Match", '"1"', 412),
        ("If-Match", 'W/"counter-one@1"', 412),
        ("If-Match", "counter-one@1", 422),
        ("If-Match", '"counter-one@1', 422),
        ("If-Match", '*, "counter-one@1"', 422),
        ("If-Match", "", 422),
        ("If-None-Match", "*", 412),
        ("If-None-Match", '"counter-one@1"', 412),
        ("If-None-Match", 'W/"counter-one@1"', 412),
        ("If-None-Match", '"counter-one@2"', 200),
    ],
)
async def test_what_exists_meets_a_condition_or_not(
    client: httpx.AsyncClient, header: str, value: str, status: int
) -> None:
    await client.post("/counters/one", json={})
    assert (await client.post("/counters/one", json={}, headers={header: value})).status_code == status


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("If-Match", "*", 412), ("If-Match", '"counter-one@0"', 412), ("If-None-Match", "*", 200)],
)
async def test_what_does_not_exist_meets_a_condition_or_not(
    client: httpx.AsyncClient, header: str, value: str, status: int
) -> None:
    assert (await client.post("/counters/one", json={}, headers={header: value})).status_code == status


async def test_a_repeated_request_gets_its_first_answer_though_the_stream_went_on(client: httpx.AsyncClient) -> None:
    await client.post("/counters/one", json={})
    again = {"Idempotency-Key": "key", "If-Match": '"counter-one@1"'}
    first = await client.post("/counters/one", json={}, headers=again)
    await client.post("/counters/one", json={})
    second = await client.post("/counters/one", json={}, headers=again)
    assert second.json() == first.json() | {"repeated": True} and second.headers["ETag"] == '"counter-one@2"'


async def test_a_key_is_free_after_a_failed_condition(client: httpx.AsyncClient) -> None:
    await client.post("/counters/one", json={})
    key = {"Idempotency-Key": "key"}
    assert (await client.post("/counters/one", json={}, headers=key | {"If-Match": '"old"'})).status_code == 412
    answer = await client.post("/counters/one", json={}, headers=key | {"If-Match": '"counter-one@1"'})
    assert (answer.status_code, answer.json()["repeated"]) == (200, False)


async def test_a_version_that_another_process_wrote_is_seen(client: httpx.AsyncClient, store: MemoryStore) -> None:
    await client.post("/counters/one", json={})
    await Log(store, "entitlements").execute(COUNTER, "one", Count(), meta())
    for tag, status in (('"counter-one@1"', 412), ('"counter-one@2"', 200)):
        assert (await client.post("/counters/one", json={}, headers={"If-Match": tag})).status_code == status


async def test_of_two_commands_for_one_version_one_is_decided(store: MemoryStore) -> None:
    async with a_client(store) as here, a_client(store) as there:
        await here.post("/counters/one", json={})
        await there.post("/counters/one?dry_run=true", json={})  # both have read version 1
        condition = {"If-Match": '"counter-one@1"'}
        answers = [await client.post("/counters/one", json={}, headers=condition) for client in (here, there)]
    assert [answer.status_code for answer in answers] == [200, 412] and len(store.events) == 2


def test_a_tag_can_have_any_streams_name() -> None:
    assert etag('a "stream", or; two', 3) == '"a%20%22stream%22%2C%20or%3B%20two@3"'
