"""Bulk requests as CSV files: an answer for each line, with its number."""

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from pydantic import BaseModel

from shared.eventlog.write.log import Log
from shared.eventlog.write.memory import MemoryStore
from shared.runtime.csv_items import columns_of
from shared.runtime.database import Pool
from shared.runtime.forms import ITEMS_AT_MOST, form_of
from shared.runtime.http import make_app
from shared.runtime.routes import CommandRoutes
from tests.examples.engine import COUNTER, Count
from tests.services.counters import TOKEN, WithSecret, count, parts


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    commands, made = CommandRoutes(), parts()
    commands.route("POST", "/counters/{key}", COUNTER)(count)
    commands.route("POST", "/counters/{key}/bulk", COUNTER, bulk=True)(count)
    made.opened_log = Log(store, "entitlements", observer=made.metrics)
    made.opened_db = cast("Pool", object())  # these routes ask it nothing
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = httpx.ASGITransport(make_app(made, commands, None, api=True), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as opened:
        yield opened


async def send(
    client: httpx.AsyncClient, file: str | bytes, *, kind: str = "text/csv", key: str = "one", query: str = ""
) -> httpx.Response:
    raw = file if isinstance(file, bytes) else file.encode()
    headers = {"Content-Type": kind, "Idempotency-Key": key}
    return await client.post(f"/counters/one/bulk{query}", content=raw, headers=headers)


async def answered(client: httpx.AsyncClient, file: str | bytes) -> list[tuple[int, int]]:
    """The line and the status of each answer."""
    response = await send(client, file)
    assert response.status_code == 200, response.text
    return [(item["line"], item["status"]) for item in response.json()["items"]]


async def test_each_line_is_an_item_and_answered_with_its_number(client: httpx.AsyncClient, store: MemoryStore) -> None:
    response = await send(client, "by,limit\r\nana,2\r\nben,2\r\nchiyo,2\r\n")
    items = response.json()["items"]
    assert [(item["line"], item["status"]) for item in items] == [(2, 200), (3, 200), (4, 409)]
    assert [item["answer"]["events"][0]["data"]["account_id"] for item in items[:2]] == ["ana", "ben"]
    assert list(store._commands) == ["account:~0:one", "account:~1:one", "account:~2:one"]


async def test_a_wrong_line_is_answered_and_the_others_are_done(client: httpx.AsyncClient, store: MemoryStore) -> None:
    file = "by,limit\nana,9\nben,many\nchiyo\ndora,9,9\neli,9\n"
    items = (await send(client, file)).json()["items"]
    assert [(item["line"], item["status"]) for item in items] == [(2, 200), (3, 422), (4, 422), (5, 422), (6, 200)]
    assert [item["answer"].get("rule") for item in items[1:4]] == ["malformed"] * 3
    assert items[1]["answer"]["fields"][0]["field"] == "limit" and "many" not in str(items[1])
    assert len(store.events) == 2


async def test_a_dry_run_previews_each_line(client: httpx.AsyncClient, store: MemoryStore) -> None:
    file = "by,limit\nana,1\nben,one\nchiyo,1\n"
    dry = (await send(client, file, query="?dry_run=true")).json()
    assert (dry["dry_run"], store.events) == (True, [])
    real = (await send(client, file)).json()
    for shown in (dry, real):
        assert [(item["line"], item["status"]) for item in shown["items"]] == [(2, 200), (3, 422), (4, 409)]


async def test_sent_again_with_its_key_as_either_it_gets_its_first_answers(client: httpx.AsyncClient) -> None:
    first = (await send(client, "by,limit\nana,9\nben,9\n")).json()["items"]
    again = (await send(client, "limit;by\n9;ana\n9;ben\n")).json()["items"]
    same = {"items": [{"by": "ana", "limit": 9}, {"by": "ben", "limit": 9}]}
    as_json = await client.post("/counters/one/bulk", json=same, headers={"Idempotency-Key": "one"})
    for items in (again, as_json.json()["items"]):
        assert [item["answer"] for item in items] == [item["answer"] | {"repeated": True} for item in first]
    assert "line" not in as_json.json()["items"][0]


@pytest.mark.parametrize(
    ("file", "lines"),
    [
        (b"\xef\xbb\xbfby\nana\n", [2]),  # a spreadsheet's byte order mark
        ("by\n\nana\n , \nben", [3, 5]),
        ('by\n"a\nb"\nben\n', [2, 4]),
        ("limit,by\n9,ana\n", [2]),
        (" by ;limit\n ana ;9\n", [2]),
        ("by,limit\nana,\n", [2]),
    ],
)
async def test_files_as_programs_write_them(client: httpx.AsyncClient, file: str | bytes, lines: list[int]) -> None:
    assert [line for line, _ in await answered(client, file)] == lines


@pytest.mark.parametrize(
    ("file", "line", "why"),
    [
        ("", 1, "empty"),
        ("by\n", 1, "no line after the header"),
        ("by,whom\nana,ben\n", 1, "no column 'whom'"),
        ("by,by\nana,ana\n", 1, "twice"),
        (b"by\nana\nb\xe9n\n", 3, "not UTF-8"),
        ("by\nana".encode("utf-16"), 1, "not UTF-8"),
        ('by\nana\n"ben\n', 3, "not CSV"),
        ('by\n"ana" x\n', 2, "not CSV"),
        ("by\n" + "ana\n" * (ITEMS_AT_MOST + 1), ITEMS_AT_MOST + 2, "more than 1000 lines"),
    ],
)
async def test_a_file_that_is_none_does_nothing(
    client: httpx.AsyncClient, store: MemoryStore, file: str | bytes, line: int, why: str
) -> None:
    response = await send(client, file)
    problem = response.json()
    assert (response.status_code, problem["rule"]) == (422, "malformed")
    assert problem["fields"][0]["field"] == f"line {line}" and why in problem["detail"]
    assert store.events == []


@pytest.mark.parametrize("kind", ["text/csv; charset=utf-8", 'text/CSV; charset="UTF-8"; header=present'])
async def test_its_type_may_say_more(client: httpx.AsyncClient, kind: str) -> None:
    assert (await send(client, "by\nana\n", kind=kind)).status_code == 200


@pytest.mark.parametrize("kind", ["text/csv; charset=latin-1", "text/plain", "application/csv"])
async def test_another_type_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    response = await send(client, "by\nana\n", kind=kind)
    assert (response.status_code, response.json()["rule"]) == (415, "unsupported-media-type")


async def test_a_route_for_one_command_reads_no_file(client: httpx.AsyncClient) -> None:
    response = await client.post("/counters/one", content=b"by\nana\n", headers={"Content-Type": "text/csv"})
    assert response.status_code == 415


async def test_it_stands_in_the_document_with_its_columns(client: httpx.AsyncClient) -> None:
    document: Any = (await client.get("/openapi.json")).json()
    content = document["paths"]["/counters/{key}/bulk"]["post"]["requestBody"]["content"]
    assert "columns of by, limit" in content["text/csv"]["schema"]["description"]
    assert list(document["paths"]["/counters/{key}"]["post"]["requestBody"]["content"]) == ["application/json"]


class Nested(BaseModel):
    by: str
    inner: WithSecret


def test_columns_are_text_whole_numbers_and_truth_values() -> None:
    assert columns_of(form_of(Count, "")) == {"by": "string", "limit": "integer", "name": "string"}
    assert columns_of(Nested) == {}, "no file has what is not flat"
