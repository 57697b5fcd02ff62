"""Lists: sorting with ties, pages, cursors that fit their list only, and exports as CSV."""

import base64
import csv
import io
import json
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.runtime.exports import cell
from shared.runtime.lists import By, Listing, searched
from tests.services.listing import BY_KEYS, IN_MEMORY, a_client


@pytest.fixture
async def listing(databases: Callable[[str], str]) -> AsyncIterator[tuple[httpx.AsyncClient, asyncpg.Pool]]:
    async with a_client(databases("marketplace")) as made:
        yield made


@pytest.fixture
def client(listing: tuple[httpx.AsyncClient, asyncpg.Pool]) -> httpx.AsyncClient:
    return listing[0]


async def walked(client: httpx.AsyncClient, path: str) -> list[list[dict[str, object]]]:
    """The items of each page."""
    pages, after = [], ""
    while True:
        page = (await client.get(f"{path}&after={after}" if after else path)).raise_for_status().json()
        pages.append(page["items"])
        if (after := page["next"]) is None:
            return pages


@pytest.mark.parametrize(
    ("sort", "field"), [("id", "id"), ("name", "name"), ("size", "size"), ("day", "day"), ("at", "made")]
)
async def test_pages_have_every_row_once_in_order_both_ways(client: httpx.AsyncClient, sort: str, field: str) -> None:
    for descending in (False, True):
        pages = await walked(client, f"/things?limit=3&sort={'-' * descending}{sort}")
        rows = [(row[field], row["id"]) for page in pages for row in page]
        assert [len(page) for page in pages] == [3, 3, 3, 1]
        assert len(set(rows)) == 10 and rows == sorted(rows, reverse=descending)


@pytest.mark.parametrize("sort", ["name", "-name", "size", "-size"])
async def test_rows_that_are_read_by_their_keys_are_in_the_same_order(client: httpx.AsyncClient, sort: str) -> None:
    whole, by_keys = [await walked(client, f"/things{path}?limit=3&sort={sort}") for path in ("", "/by-keys")]
    assert by_keys == [[{**row, "name": "the same"} for row in page] for page in whole]


async def test_one_row_is_read_by_its_key(listing: tuple[httpx.AsyncClient, asyncpg.Pool]) -> None:
    _, pool = listing
    row = await BY_KEYS.one(pool, rows_for=("the same",))
    assert row is not None and row["name"] == "the same"
    await pool.execute("delete from reminders")
    assert await BY_KEYS.one(pool, rows_for=("the same",)) is None


async def test_a_page_that_ends_with_the_list_is_the_last(client: httpx.AsyncClient) -> None:
    assert [len(page) for page in await walked(client, "/things?limit=5")] == [5, 5]


async def test_the_default_order_and_limit_are_the_lists_own(client: httpx.AsyncClient) -> None:
    plain, asked = [(await client.get(f"/things{query}")).json() for query in ("", "?sort=-day&limit=3")]
    assert plain == asked and len(plain["items"]) == 3


async def test_a_page_of_a_search_has_what_was_found_only(client: httpx.AsyncClient) -> None:
    pages = await walked(client, "/things?q=NAME%201&limit=2")
    assert {row["name"] for page in pages for row in page} == {"name 1_"}
    assert sum(map(len, pages)) == 3
    assert await walked(client, "/things?q=%25") == [[]], "% is searched for as it is"
    assert await walked(client, "/things?name=name%202_&limit=3&q=2_") != [[]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("sort=colour", "query.sort"),
        ("sort=--day", "query.sort"),
        ("sort=", "query.sort"),
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("after=x", "query.after"),
        ("after=a.b", "query.after"),
        ("colour=red", "query.colour"),
        ("format=xml", "query.format"),
        ("format=csv&limit=3", "query.limit"),
        ("format=csv&after=x", "query.after"),
    ],
)
async def test_a_parameter_that_is_no_good_is_named(client: httpx.AsyncClient, query: str, field: str) -> None:
    answer = await client.get(f"/things?{query}")
    assert answer.status_code == 422
    assert field in [each["field"] for each in answer.json()["fields"]]


async def test_a_cursor_fits_only_its_list_its_filters_and_its_order(client: httpx.AsyncClient) -> None:
    cursor = (await client.get("/things?q=name&limit=2")).json()["next"]
    assert (await client.get(f"/things?after={cursor}&limit=9&q=name")).status_code == 200
    for path in (
        "/things?q=nam",
        "/things?sort=day&q=name",
        "/things?q=name&name=x",
        "/kept?q=name",
        "/things?limit=2",
    ):
        answer = await client.get(f"{path}&after={cursor}")
        assert answer.status_code == 422, path


def written(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=4
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(value=VALUES, key=VALUES, sort=st.sampled_from(["id", "size", "day", "at"]), raw=st.binary(max_size=40))
async def test_a_forged_cursor_is_refused_or_names_a_position(
    client: httpx.AsyncClient, value: object, key: object, sort: str, raw: bytes
) -> None:
    made = (await client.get(f"/things?sort={sort}")).json()["next"]
    digest = json.loads(base64.urlsafe_b64decode(made + "=" * (-len(made) % 4)))[0]
    for cursor in (written([digest, value, key]), written(value), base64.urlsafe_b64encode(raw).decode().rstrip("=")):
        answer = await client.get("/things", params={"sort": sort} | ({"after": cursor} if cursor else {}))
        assert answer.status_code in (200, 422), answer.text


async def test_rows_that_come_and_go_repeat_none_and_hide_none(
    listing: tuple[httpx.AsyncClient, asyncpg.Pool],
) -> None:
    client, pool = listing
    first = (await client.get("/things?sort=id&limit=3")).json()
    await pool.execute("delete from reminders where subscription_id in ('id-000000', 'id-000002')")
    await pool.execute(
        "insert into reminders select 'id-0000021', term, days_before, ends, time from reminders limit 1"
    )
    rest = (await client.get(f"/things?sort=id&limit=200&after={first['next']}")).json()
    assert [row["id"] for row in rest["items"]] == ["id-0000021", *(f"id-{n:06}" for n in range(3, 10))]


def test_a_default_order_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="the default order colour is none of id, -id"):
        Listing("select 1", key="id", sorts={"id": By()}, order="colour")


def test_a_pattern_finds_a_text_as_it_is() -> None:
    assert searched("50%_\\") == "%50\\%\\_\\\\%" and searched("") == "%%"


# ── CSV ────────────────────────────────────────────────────────────────────────────────────────────────


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_a_csv_has_every_row_in_the_order_of_the_list(client: httpx.AsyncClient) -> None:
    for sort in ("size", "-at"):
        answer = await client.get(f"/things?sort={sort}&format=csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.headers["content-disposition"] == 'attachment; filename="things.csv"'
        shown = [row["id"] for page in await walked(client, f"/things?sort={sort}") for row in page]
        assert [row["id"] for row in read(answer.text)] == shown


async def test_a_csv_of_many_pages_has_every_row(databases: Callable[[str], str]) -> None:
    async with a_client(databases("marketplace"), rows=1203) as (client, _):
        rows = read((await client.get("/things?sort=id&format=csv")).text)
        assert [row["id"] for row in rows] == [f"id-{n:06}" for n in range(1203)]
        assert len(read((await client.get("/things?name=name%201_&format=csv")).text)) == 401


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"),
        ("text/csv;q=0.9, */*", "text/csv"),
        ("application/json", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("*/*", "application/json"),
    ],
)
async def test_the_header_accept_asks_for_a_csv(client: httpx.AsyncClient, accept: str, kind: str) -> None:
    answer = await client.get("/things", headers={"Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == kind
    json_after_all = await client.get("/things?format=json", headers={"Accept": accept})
    assert json_after_all.headers["content-type"] == "application/json"


async def test_an_export_without_a_token_or_with_a_wrong_parameter_is_refused(client: httpx.AsyncClient) -> None:
    stranger = await client.get("/things?format=csv", headers={"Authorization": "Bearer x"})
    assert (stranger.status_code, stranger.headers["content-type"]) == (401, "application/problem+json")
    assert (await client.get("/things?format=csv&colour=red")).status_code == 422


async def test_columns_are_the_fields_and_texts_are_no_formulas(client: httpx.AsyncClient) -> None:
    text = (await client.get("/kept?sort=size&format=csv")).content.decode()
    assert text.startswith("id,name,size,day,made,place.city,place.zone,words,parts\r\n")
    rows = read(text)
    assert [row["name"] for row in rows] == ["'-1", 'a "quoted", text', "two\nlines", "Zürich"]
    assert [row["place.city"] for row in rows] == ["", "'=1+1", "'=1+1", "'=1+1"]
    assert {(row["place.zone"], row["words"]) for row in rows} == {("", "a; b")}
    assert [json.loads(row["parts"]) for row in rows] == [[{"city": "x", "zone": "y"}]] * len(IN_MEMORY)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (-5, "-5"),
        ("-5", "'-5"),
        ("+49", "'+49"),
        ("@x", "'@x"),
        ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
        ("\t=1", "'\t=1"),
        ("＝1", "'＝1"),
        (["=1", "b"], "'=1; b"),
        ({"a": 1}, '{"a": 1}'),
        ("a=1", "a=1"),
    ],
)
def test_a_cell_is_a_text_or_a_number_and_never_a_formula(value: object, shown: str) -> None:
    assert cell(value) == shown


async def test_the_document_says_that_a_list_has_a_csv(client: httpx.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"]["/things"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    (sort,) = [each for each in operation["parameters"] if each["name"] == "sort"]
    assert sort["schema"]["enum"][:2] == ["id", "-id"] and sort["schema"]["default"] == "-day"
