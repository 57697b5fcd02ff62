"""The example service of examples/lending.py: its decisions alone, then all of it over a real database."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, get_args

import asyncpg
import httpx
import pytest

from examples.lending import (
    BOOK,
    BOOK_LENT,
    LOANS,
    READER,
    READER_SUSPENDED,
    SERVICE,
    SQL,
    TOPIC,
    BookEvent,
    BookLent,
    BookReturned,
    LendBook,
    LendingEvent,
    LoanOverdue,
    NoticeOverdue,
    ReaderSuspended,
    ReturnBook,
)
from shared.eventlog.deliver.readers import unanswered, unfolded
from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import EVENTS
from shared.runtime.auth import Actor, TokenSigner
from shared.runtime.http import make_app
from tests.databases import execute_as_operator
from tests.examples.engine import NOON, new_id
from tests.services.counters import KEY, parts
from tests.services.world import World
from tests.spec import given, given_tables, sends

BY = {"book_id": "b", "organisation_id": "o", "reader": "ana"}
DUE = NOON + timedelta(days=14)
LENT = BookLent(**BY, due=DUE)
RETURNED = BookReturned(**BY)
OVERDUE = LoanOverdue(**BY)
SUSPENDED = ReaderSuspended(**BY)


def lend(reader: str = "ana", suspended_by: ReaderSuspended | None = None) -> LendBook:
    return LendBook("b", 14, "o", reader, suspended_by, NOON)


def test_every_reader_answers_every_event_of_its_topic() -> None:
    events = {TOPIC: get_args(LendingEvent)}
    assert unanswered({each.name: each for each in SERVICE.consumers}, events) == []
    assert SERVICE.timers is not None
    assert unanswered({"timers": SERVICE.timers.projection}, events) == []
    assert unfolded(SERVICE.name, SERVICE.streams, events) == []


def test_book_on_the_shelf_is_lent() -> None:
    given(BOOK).when(lend()).then(LENT)


def test_lending_twice_to_one_reader_changes_nothing() -> None:
    given(BOOK, LENT).when(lend()).then_nothing()


def test_lent_book_is_refused_to_others() -> None:
    given(BOOK, LENT).when(lend("ben")).then_refused(BOOK_LENT, because=[LENT])


def test_suspended_reader_is_refused() -> None:
    given(BOOK).when(lend(suspended_by=SUSPENDED)).then_refused(READER_SUSPENDED, because=[SUSPENDED])


def test_returned_book_is_lent_again() -> None:
    given(BOOK, LENT, RETURNED).when(lend()).then(LENT)


def test_returning_a_book_on_the_shelf_changes_nothing() -> None:
    given(BOOK, LENT, RETURNED).when(ReturnBook()).then_nothing()


@pytest.mark.parametrize(("hours", "then"), [(-1, ()), (0, (OVERDUE,))])
def test_loan_is_overdue_when_it_is_due(hours: int, then: tuple[BookEvent, ...]) -> None:
    given(BOOK, LENT).when(NoticeOverdue(DUE + timedelta(hours=hours))).then(*then)


def test_overdue_loan_is_noted_once() -> None:
    given(BOOK, LENT, OVERDUE).when(NoticeOverdue(DUE)).then_nothing()


class Library:
    """The service's consumers, timers and routes, without the wires of Kafka and HTTP."""

    def __init__(self, world: World) -> None:
        self.world = world
        made = parts()
        made.opened_log, made.opened_db, made.clocks = world.log, world.pool, world.clocks
        app = make_app(made, SERVICE.commands, SERVICE.queries, api=True)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://library")

    @sends
    async def when(self, reader: str, method: str, path: str, json: Any = None) -> httpx.Response:
        token = TokenSigner(KEY).sign(
            Actor(account_id=reader, organisation_id="o", organisation_kind="customer"), new_id()
        )
        return await self.client.request(method, path, json=json, headers={"Authorization": f"Bearer {token}"})

    async def settle(self) -> None:
        await self.world.settle(random.Random(1))

    async def pass_days(self, days: int) -> None:
        now = self.world.clocks.real() + timedelta(days=days)
        self.world.clocks.real = lambda: now
        await self.settle()


@pytest.fixture
async def library(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Library]:
    for event in (BookLent, BookReturned, LoanOverdue, ReaderSuspended):
        monkeypatch.setitem(EVENTS, event.type(), event)  # as if its file were in shared/events/
    await execute_as_operator(database, SQL["schema"])
    store = await PostgresStore(database, SERVICE.name).open()
    pool = await asyncpg.create_pool(database, min_size=1, max_size=4)
    made = Library(World(SERVICE, pool, store, NOON))
    yield made
    await made.client.aclose()
    await store.close()
    await pool.close()
    await execute_as_operator(database, "drop table loans")


@pytest.mark.system
async def test_loan_has_a_row_until_the_book_is_back(library: Library) -> None:
    tables, loans = given_tables(LOANS, library.world.pool, NOON), "select book_id, reader, due, overdue from loans"
    await tables.when(LENT)
    await tables.then_rows(loans, ("b", "ana", DUE, False))
    await tables.when(OVERDUE)
    await tables.then_rows(loans, ("b", "ana", DUE, True))
    await tables.when(RETURNED)
    await tables.then_rows(loans)


@pytest.mark.system
async def test_route_lends_a_book_and_query_shows_it(library: Library) -> None:
    await library.when("ana", "POST", "/books/b/loan", {"days": 14}).then(BookLent)
    await library.settle()
    shown = await library.when("ana", "GET", "/me/loans").then_ok()
    assert shown == [{"book_id": "b", "due": DUE.isoformat().replace("+00:00", "Z"), "overdue": False}]


@pytest.mark.system
async def test_refusal_names_its_rule_and_its_evidence(library: Library) -> None:
    lent = await library.when("ana", "POST", "/books/b/loan", {"days": 14}).then(BookLent)
    because = [lent["events"][0]["id"]]
    await library.when("ben", "POST", "/books/b/loan", {"days": 14}).then_refused(BOOK_LENT, because=because)


@pytest.mark.system
async def test_timer_notes_the_overdue_loan_and_reaction_suspends_its_reader(library: Library) -> None:
    await library.when("ana", "POST", "/books/b/loan", {"days": 14}).then(BookLent)
    await library.settle()
    await library.pass_days(14)
    assert (await library.when("ana", "GET", "/me/loans").then_ok())[0]["overdue"] is True
    assert await library.world.log.state(READER, "ana") == SUSPENDED
    await library.when("ana", "POST", "/books/c/loan", {"days": 1}).then_refused(READER_SUSPENDED)


@pytest.mark.system
async def test_book_returned_in_time_is_never_overdue(library: Library) -> None:
    await library.when("ana", "POST", "/books/b/loan", {"days": 14}).then(BookLent)
    await library.settle()
    await library.when("ana", "DELETE", "/books/b/loan").then(BookReturned)
    await library.settle()
    await library.pass_days(15)
    assert (await library.when("ana", "GET", "/me/loans").then_ok()) == []
    assert await library.world.log.state(READER, "ana") is None
