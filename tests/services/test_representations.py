"""What a response says of itself: its tag, its encoding, and who may store it."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute

from services import definition_of
from services.marketplace.__main__ import SERVICE
from shared.runtime.database import Pool
from shared.runtime.http import CurrentActor, make_app
from shared.runtime.representations import COMPRESSED_FROM
from shared.services import SERVICES
from tests.examples.marketplace import NOON
from tests.services.counters import TOKEN, counting, parts
from tests.services.market import Market

QUERIES = APIRouter()
SHOWN: dict[str, Any] = {"number": 1}


@QUERIES.get("/shown")
async def shown() -> dict[str, Any]:
    return SHOWN


@QUERIES.get("/own")
async def own(actor: CurrentActor) -> dict[str, str]:
    return {"account_id": actor.account_id}


@QUERIES.get("/token")
async def token(response: Response) -> dict[str, str]:
    response.headers["Cache-Control"] = "no-store"
    return {"token": "x" * COMPRESSED_FROM}


@QUERIES.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for _ in range(3):
            yield "x" * COMPRESSED_FROM

    return StreamingResponse(parts(), media_type="text/csv")


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    made = parts()
    made.opened_db = cast("Pool", object())  # these routes ask it nothing
    monkeypatch.setitem(SHOWN, "number", 1)
    monkeypatch.setitem(SHOWN, "text", "")
    transport = httpx.ASGITransport(make_app(made, counting(), QUERIES, api=True))
    headers = {"Accept-Encoding": "identity"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as opened:
        yield opened


async def test_what_the_caller_has_is_not_sent_again_until_it_is_another(client: httpx.AsyncClient) -> None:
    first = await client.get("/shown")
    known = {"If-None-Match": f'"other", W/{first.headers["ETag"]}'}
    for method in ("GET", "HEAD"):
        again = await client.request(method, "/shown", headers=known)
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
        assert not {"content-type", "content-length"} & set(again.headers)
    SHOWN["number"] = 2
    changed = await client.get("/shown", headers=known)
    assert (changed.status_code, changed.json()["number"]) == (200, 2)
    assert changed.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize(("value", "status"), [("*", 304), ('"other"', 200), ("no tag", 200), ("", 200)])
async def test_only_what_exists_or_has_the_tag_is_known(client: httpx.AsyncClient, value: str, status: int) -> None:
    assert (await client.get("/shown", headers={"If-None-Match": value})).status_code == status


@pytest.mark.parametrize("accepts", ["gzip", "deflate, gzip;q=0.5", "*", "identity, gzip"])
async def test_a_large_body_is_compressed_for_those_who_read_it(client: httpx.AsyncClient, accepts: str) -> None:
    SHOWN["text"] = "x" * COMPRESSED_FROM
    plain = await client.get("/shown")
    assert "content-encoding" not in plain.headers and plain.headers["Vary"] == "Accept-Encoding"
    async with client.stream("GET", "/shown", headers={"Accept-Encoding": accepts}) as packed:
        raw = b"".join([part async for part in packed.aiter_raw()])
    assert (packed.headers["Content-Encoding"], packed.headers["Content-Length"]) == ("gzip", str(len(raw)))
    assert gzip.decompress(raw) == plain.content and len(raw) < len(plain.content)
    assert packed.headers["ETag"] != plain.headers["ETag"], "a strong tag is for one sequence of bytes"
    for tag in (packed.headers["ETag"], plain.headers["ETag"]):
        headers = {"Accept-Encoding": accepts, "If-None-Match": tag}
        assert (await client.get("/shown", headers=headers)).status_code == 304


@pytest.mark.parametrize("accepts", ["identity", "gzip;q=0", "x-gzip", "br"])
async def test_nobody_gets_an_encoding_that_it_does_not_read(client: httpx.AsyncClient, accepts: str) -> None:
    SHOWN["text"] = "x" * COMPRESSED_FROM
    answer = await client.get("/shown", headers={"Accept-Encoding": accepts})
    assert "content-encoding" not in answer.headers and json.loads(answer.content) == SHOWN


@pytest.mark.parametrize("path", ["/token", "/stream"])
async def test_a_token_and_a_stream_are_neither_compressed_nor_tagged(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200 and len(answer.content) >= COMPRESSED_FROM
    assert not {"content-encoding", "etag"} & set(answer.headers)


async def test_what_is_for_one_caller_is_stored_by_nobody(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path, status in (("/own", 200), ("/nowhere", 404)):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")
    assert "Cache-Control" not in (await client.get("/shown")).headers


@pytest.mark.system
async def test_a_query_of_one_thing_has_its_streams_version(market: Market) -> None:
    market.parts.own_projections, market.parts.now = SERVICE.own_projections, lambda: NOON
    subscription = await market.running()
    path = f"/subscriptions/{subscription}"
    first, preview = [await market.when("clerk", "GET", each) for each in (path, f"{path}/cancel-preview")]
    tags = [answer.headers["ETag"].strip('"').partition(";")[0] for answer in (first, preview)]
    assert tags == [f"subscription-{subscription}@2"] * 2
    await market.asked(subscription)
    later = await market.when("clerk", "GET", path)
    assert later.headers["ETag"].startswith(f'"subscription-{subscription}@3;')
    past = await market.when("clerk", "GET", f"{path}?as_of={quote(NOON.isoformat())}")
    assert past.status_code == 200 and "@" not in past.headers["ETag"], "no version that a command could be for"


@pytest.mark.system
async def test_a_version_that_a_table_lacks_is_not_shown(market: Market) -> None:
    market.parts.own_projections = [*SERVICE.own_projections, "marketplace.behind"]
    subscription = await market.running()
    answer = await market.when("clerk", "GET", f"/subscriptions/{subscription}")
    assert answer.status_code == 200 and "@" not in answer.headers["ETag"]


@pytest.mark.system
async def test_what_a_command_creates_is_where_its_answer_says(market: Market) -> None:
    preview = await market.when("clerk", "POST", "/carts?dry_run=true", {})
    opened = await market.when("clerk", "POST", "/carts", {})
    cart = opened.json()["events"][0]["data"]["cart_id"]
    assert "Location" not in preview.headers and opened.headers["Location"] == f"/carts/{cart}"
    assert (await market.when("clerk", "GET", opened.headers["Location"])).json()["cart_id"] == cart
    assert "Location" not in (await market.when("clerk", "DELETE", f"/carts/{cart}")).headers


@pytest.mark.parametrize("service", SERVICES)
def test_a_location_is_a_query_and_its_names_are_fields_of_the_first_event(service: str) -> None:
    definition = definition_of(service)
    assert definition.queries is not None
    queries = {route.path for route in definition.queries.routes if isinstance(route, APIRoute)}
    creating = [route for route in definition.commands.routes if route.location]
    assert creating or service == "entitlements"
    for route in creating:
        named = set(re.findall(r"{(\w+)}", route.location))
        assert route.location in queries and any(named <= set(event.model_fields) for event in route.events)
