"""Exports of lists with account ids: they name the people, page by page, or say that they can't."""

import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Depends
from pydantic import BaseModel

from shared.runtime.exports import PEOPLE, ListRoute, columns_of, item_of
from shared.runtime.http import CurrentActor, make_app
from shared.runtime.lists import By, Listing, ListOf, Page
from shared.runtime.names import AT_ONCE, IdentityNameBook
from shared.runtime.routes import CommandRoutes
from shared.services import SERVICES
from tests.services.counters import TOKEN, parts
from tests.services.every_list import routes
from tests.services.identity_bench import Bench

ROWS: Final = 1203


def account(number: int) -> str:
    return str(UUID(int=number))


class Given(BaseModel):
    given_by: str


class Seat(BaseModel):
    seat: str
    account_id: str | None
    members: list[str]
    last: Given | None


SEATS: Final = Listing(key="seat", sorts={"seat": By()}, order="seat")
QUERIES: Final = APIRouter(route_class=ListRoute)
ALL: Final = [
    Seat(
        seat=f"{number:05}",
        account_id=account(number) if number else None,
        members=[account(1), account(number), "timer"] if number % 2 else [],
        last=Given(given_by="timer") if number == 2 else Given(given_by=account(1)) if number else None,
    )
    for number in range(ROWS)
]


@QUERIES.get("/seats")
async def seats(_: CurrentActor, page: Annotated[Page, Depends(SEATS.page)]) -> ListOf[Seat]:
    return SEATS.select(page, ALL)


class FakeIdentity:
    """Identity, which knows everybody but account 3, and the address of account 1 only."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.status = 200
        self.fails_after = ROWS
        """The number of requests after which it does not answer any more."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert (request.url.path, request.headers["authorization"]) == ("/accounts/names", f"Bearer {TOKEN}")
        if len(self.asked) == self.fails_after:
            raise httpx.ConnectError("away")
        self.asked.append(json.loads(request.content)["account_ids"])
        items = [
            {
                "account_id": each,
                "name": f"P{UUID(each).int}",
                "email": "=one@x.example" if each == account(1) else None,
            }
            for each in self.asked[-1]
            if each != account(3)
        ]
        return httpx.Response(self.status, json={"items": items})


@pytest.fixture
def identity() -> FakeIdentity:
    return FakeIdentity()


@asynccontextmanager
async def client_of(identity: FakeIdentity) -> AsyncIterator[httpx.AsyncClient]:
    opened = parts()
    opened.name_book = IdentityNameBook("http://identity", httpx.MockTransport(identity))
    transport = httpx.ASGITransport(make_app(opened, CommandRoutes(), QUERIES, api=True))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        yield client


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_account_ids_are_followed_by_names_and_addresses(identity: FakeIdentity) -> None:
    async with client_of(identity) as client:
        text = (await client.get("/seats?format=csv")).text
    assert text.splitlines()[0] == (
        "seat,account_id,account_id.name,account_id.email,members,members.name,members.email,"
        "last.given_by,last.given_by.name,last.given_by.email"
    )
    rows = read(text)
    assert len(rows) == ROWS
    assert [row["account_id.name"] for row in rows[:5]] == ["", "P1", "P2", "", "P4"], "3 is not known to the caller"
    assert [row["account_id.email"] for row in rows[:3]] == ["", "'=one@x.example", ""]
    assert (rows[5]["members.name"], rows[5]["members.email"]) == ("P1; P5; ", "'=one@x.example; ; ")
    assert [row["last.given_by.name"] for row in rows[:3]] == ["", "P1", ""], "a timer has no name"


async def test_identity_is_asked_for_the_people_of_a_page_at_once(identity: FakeIdentity) -> None:
    async with client_of(identity) as client:
        await client.get("/seats?format=csv")
        asked, identity.asked = identity.asked, []
        await client.get("/seats?limit=200")
    assert len(asked) == 8 and max(map(len, asked)) == AT_ONCE
    assert identity.asked == [], "JSON has account ids only"


async def test_while_identity_does_not_answer_there_is_no_export(identity: FakeIdentity) -> None:
    identity.fails_after = 0
    async with client_of(identity) as client:
        answer = await client.get("/seats?format=csv")
        assert (answer.status_code, answer.json()["rule"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "2" and "Identity" in answer.json()["detail"]
        assert (await client.get("/seats")).status_code == 200


async def test_an_export_that_identity_leaves_in_the_middle_breaks_off(identity: FakeIdentity) -> None:
    """Half a file, or one whose second half has no names, would be taken for the whole."""
    identity.fails_after = 4
    async with client_of(identity) as client:
        with pytest.raises((RuntimeError, AssertionError)):  # for which a server closes the connection
            await client.get("/seats?format=csv")


async def test_a_machine_that_may_not_ask_for_names_gets_ids(identity: FakeIdentity) -> None:
    identity.status = 403
    async with client_of(identity) as client:
        rows = read((await client.get("/seats?format=csv")).text)
    assert len(rows) == ROWS and {row["account_id.name"] for row in rows} == {""}


@pytest.mark.parametrize("service", SERVICES)
def test_every_column_that_may_have_people_says_so_by_its_name(service: str) -> None:
    """A new field of account ids has one of these names, or is added to them."""
    for route in routes(service):
        item = item_of(route.response_model)
        assert item is not None
        columns = list(columns_of(item))
        ids = {column.path[-1] for column in columns if column.of == "name"}
        assert {name for name in ids if name not in PEOPLE and not name.endswith("_by")} == set()
        people = {"account_id", "user", "person", "member", "holder", "manager", "purchaser", "actor", "sender"}
        named = {column.path[-1] for column in columns} & people
        assert {"name", "email"} <= item.model_fields.keys() or named <= ids, route.path


# ── In identity, which has the names itself ────────────────────────────────────────────────────────────


@pytest.mark.system
async def test_identity_names_the_people_in_its_own_lists(bench: Bench) -> None:
    _, founder = await bench.join("oskar")
    await bench.invited(founder, "mina")
    await bench.settle()
    (row,) = read((await bench.when(founder, "GET", "/invitations?format=csv")).text)
    assert (row["issued_by.name"], row["issued_by.email"]) == ("oskar Okafor", "oskar@x.example")
    assert (row["account_id.name"], row["account_id.email"]) == ("mina Okafor", "mina@x.example")
    assert row["email"] == "", "it is erased with the settled invitation"
    people = await bench.when(founder, "GET", "/people?format=csv")
    assert people.text.startswith("account_id,name,email,first_account,")


@pytest.mark.system
async def test_a_contracts_history_names_who_acted(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    await bench.purchase(oskar)
    await bench.when(founder, "POST", "/contracts/c/role-requests", {"role": "software_coordinator"})
    rows: list[dict[str, Any]] = read((await bench.when(founder, "GET", "/contracts/c/history?format=csv")).text)
    assert {(row["actor.name"], row["actor.email"]) for row in rows if row["actor"] == oskar} <= {
        ("oskar Okafor", "oskar@x.example")
    }
