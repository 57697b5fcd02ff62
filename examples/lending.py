"""A complete service on one page: a library that lends books.

Read it from top to bottom: two streams with their events, states and deciders; then a projection, a timer and a
reaction; then the routes; then the declaration of the service. In a real service these parts are in separate files,
which docs/ARCHITECTURE.md lists, and its events are in shared/events/. docs/GLOSSARY.md explains the terms.
`tests/services/test_example_service.py` runs this service: the deciders without a database, the rest on PostgreSQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeAlias, assert_never

from fastapi import APIRouter
from pydantic import BaseModel, Field

from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.eventlog.deliver.projection import Connection, Dispatch, Projection, ReactionContext, Reactions
from shared.eventlog.deliver.timers import Cancel, Set, Timers
from shared.events.base import Event
from shared.events.envelope import Envelope
from shared.events.fields import ActorId, Identifier, Instant
from shared.events.registry import topic_of
from shared.runtime.http import CurrentActor, Database
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.service import Service
from shared.sql import statements

TOPIC: Final = topic_of("lending")
SQL: Final = statements(__file__)

# ── Events: immutable business facts in the past tense, with everything that was decided ─────────────────────────────


class BookLent(Event):
    """The reader has borrowed the book until `due`."""

    book_id: Identifier
    organisation_id: Identifier
    reader: ActorId
    due: Instant


class BookReturned(Event):
    """The book is on the shelf again."""

    book_id: Identifier
    organisation_id: Identifier
    reader: ActorId


class LoanOverdue(Event):
    """The book was not returned when it was due."""

    book_id: Identifier
    organisation_id: Identifier
    reader: ActorId


class ReaderSuspended(Event):
    """The reader may not borrow any more, because a loan was overdue."""

    organisation_id: Identifier
    reader: ActorId
    book_id: Identifier


LendingEvent: TypeAlias = BookLent | BookReturned | LoanOverdue | ReaderSuspended
"""All events of the topic; a service does not start if a consumer neither handles nor ignores one of them."""

# ── The stream `book-<id>`: its phases, its fold, its commands, its decisions ──────────────────────────────────────

BookEvent: TypeAlias = BookLent | BookReturned | LoanOverdue


@dataclass(frozen=True, slots=True)
class OnShelf:
    """Nobody has the book."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A reader has the book.

    A state has what decisions need, and the events that justify refusals.
    """

    loan: BookLent
    overdue: bool = False


BookState: TypeAlias = OnShelf | Lent


def evolve_book(state: BookState, event: BookEvent) -> BookState:
    """Return the state after the event.

    It must accept every event that was ever appended, in any state.
    """
    match event:
        case BookLent():
            return Lent(event)
        case BookReturned():
            return OnShelf()
        case LoanOverdue():
            return Lent(state.loan, overdue=True) if isinstance(state, Lent) else state
        case _ as unreachable:
            assert_never(unreachable)  # a new event fails the type check here


@dataclass(frozen=True, slots=True)
class LendBook:
    """Lend the book for some days.

    A field marked SUPPLIED is set by the route, never by the caller.
    """

    book_id: Identifier
    days: Annotated[int, Field(ge=1, le=60)]
    organisation_id: Annotated[str, SUPPLIED]
    reader: Annotated[str, SUPPLIED]
    suspended_by: Annotated[ReaderSuspended | None, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]


@dataclass(frozen=True, slots=True)
class ReturnBook:
    """Take the book back."""


@dataclass(frozen=True, slots=True)
class NoticeOverdue:
    """Record that the loan is overdue, if it still is."""

    now: datetime


BookCommand: TypeAlias = LendBook | ReturnBook | NoticeOverdue

BOOK_LENT: Final = "book-lent"
READER_SUSPENDED: Final = "reader-suspended"


def decide_book(command: BookCommand, state: BookState) -> Decision[BookEvent]:
    """Return the events to append, none if nothing changes, or a refusal.

    A decider is pure: no I/O, no clock, no generated ids.
    """
    match command:
        case LendBook():
            return decide_loan(command, state)
        case ReturnBook():
            if isinstance(state, OnShelf):
                return ()
            by = state.loan
            return (BookReturned(book_id=by.book_id, organisation_id=by.organisation_id, reader=by.reader),)
        case NoticeOverdue(now):
            if isinstance(state, OnShelf) or state.overdue or now < state.loan.due:
                return ()
            by = state.loan
            return (LoanOverdue(book_id=by.book_id, organisation_id=by.organisation_id, reader=by.reader),)
        case _ as unreachable:
            assert_never(unreachable)


def decide_loan(command: LendBook, state: BookState) -> Decision[BookEvent]:
    """Lend the book, unless somebody else has it or the reader is suspended.

    A repeated command changes nothing. A refusal has a rule, a reason, a remedy and the events that justify it.
    """
    if isinstance(state, Lent):
        if state.loan.reader == command.reader:
            return ()
        remedy = f"Ask again after {state.loan.due:%d %B}."
        return Rejected(BOOK_LENT, "Somebody else has the book.", remedy, (state.loan,))
    if command.suspended_by is not None:
        reason = "You kept a book for too long."
        return Rejected(READER_SUSPENDED, reason, "Ask at the desk.", (command.suspended_by,))
    due = command.now + timedelta(days=command.days)
    lent = BookLent(book_id=command.book_id, organisation_id=command.organisation_id, reader=command.reader, due=due)
    return (lent,)


BOOK: Final[Stream[BookState, BookCommand, BookEvent]] = Stream(
    category="book",
    initial=OnShelf(),
    evolve=evolve_book,
    decide=decide_book,
    tenant=lambda event: event.organisation_id,
)

# ── The stream `reader-<id>`: a suspension is a fact about the reader, so it has its own stream ─────────────────


@dataclass(frozen=True, slots=True)
class SuspendReader:
    """Stop the reader from borrowing."""

    organisation_id: str
    reader: str
    book_id: str


def evolve_reader(_state: ReaderSuspended | None, event: ReaderSuspended) -> ReaderSuspended:
    return event


def decide_reader(command: SuspendReader, suspended: ReaderSuspended | None) -> Decision[ReaderSuspended]:
    """Suspend the reader once, however many loans are overdue."""
    if suspended is not None:
        return ()
    return (ReaderSuspended(organisation_id=command.organisation_id, reader=command.reader, book_id=command.book_id),)


READER: Final[Stream[ReaderSuspended | None, SuspendReader, ReaderSuspended]] = Stream(
    category="reader",
    initial=None,
    evolve=evolve_reader,
    decide=decide_reader,
    tenant=lambda event: event.organisation_id,
)

# ── The projection: folds each event into a table once, in the same transaction as the consumer's checkpoint ────────

LOANS: Final = Projection("loans", topics=(TOPIC,), tables=("loans",), ignores=(ReaderSuspended,))


@LOANS.on(BookLent)
@LOANS.on(BookReturned)
@LOANS.on(LoanOverdue)
async def fold_loan(tx: Connection, event: BookEvent, _envelope: Envelope) -> None:
    match event:
        case BookLent():
            await tx.execute(SQL["lent"], event.book_id, event.reader, event.due)
        case BookReturned():
            await tx.execute(SQL["returned"], event.book_id)
        case LoanOverdue():
            await tx.execute(SQL["overdue"], event.book_id)
        case _ as unreachable:
            assert_never(unreachable)


# ── The timer: set and cancelled by events; when due in the organisation's time, it becomes a command, once ─────────

TIMERS: Final = Timers(topics=(TOPIC,), ignores=(LoanOverdue, ReaderSuspended))


@TIMERS.on(BookLent)
def start_waiting(event: BookLent, _envelope: Envelope) -> Sequence[Set]:
    return [Set("overdue", event.book_id, event.due, event.organisation_id)]


@TIMERS.on(BookReturned)
def stop_waiting(event: BookReturned, _envelope: Envelope) -> Sequence[Cancel]:
    return [Cancel("overdue", event.book_id)]


@TIMERS.fires("overdue", BOOK)
async def notice_overdue(_book_id: str, now: datetime, _reach: ReactionContext) -> NoticeOverdue:
    return NoticeOverdue(now)


# ── The reaction: an event becomes a command to another stream, with an id derived from the event's ────────────────

REACTIONS: Final = Reactions("reactions", topics=(TOPIC,), ignores=(BookLent, BookReturned, ReaderSuspended))


@REACTIONS.on(LoanOverdue)
async def suspend_reader(event: LoanOverdue, _envelope: Envelope, _reach: ReactionContext) -> Sequence[Dispatch]:
    return [Dispatch(READER, event.reader, SuspendReader(event.organisation_id, event.reader, event.book_id))]


# ── Routes: a command by POST and DELETE, a query of the table ─────────────────────────────────────────────────────

COMMANDS: Final = CommandRoutes()
QUERIES: Final = APIRouter()


@COMMANDS.route("POST", "/books/{book_id}/loan", BOOK)
async def lend_book(context: RequestContext[LendBook]) -> Addressed[LendBook]:
    """Add what the caller must not supply: identity, time, and another stream's state."""
    actor = context.actor
    command = replace(
        context.asked,
        organisation_id=actor.organisation_id,
        reader=actor.account_id,
        suspended_by=await context.state(READER, actor.account_id),
        now=context.now,
    )
    return Addressed(command.book_id, command)


@COMMANDS.route("DELETE", "/books/{book_id}/loan", BOOK)
async def return_book(context: RequestContext[ReturnBook], book_id: str) -> Addressed[ReturnBook]:
    return Addressed(book_id, context.asked)


class Loan(BaseModel):
    book_id: str
    due: datetime
    overdue: bool


@QUERIES.get("/me/loans")
async def my_loans(actor: CurrentActor, db: Database) -> list[Loan]:
    """Return the caller's loans."""
    return [Loan(**row) for row in await db.fetch(SQL["of_reader"], actor.account_id)]


# ── The service: `run(SERVICE)` in its `__main__.py` starts HTTP, relay and consumers ──────────────────────────────

SERVICE: Final = Service(
    name="lending",
    migrations=Path(__file__).parent / "migrations",
    streams=(BOOK, READER),
    commands=COMMANDS,
    queries=QUERIES,
    consumers=(LOANS, REACTIONS),
    timers=TIMERS,
)
