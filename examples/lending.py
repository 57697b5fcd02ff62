"""A whole service on one page: a library lends books.

Read it from top to bottom: two streams with their events, states and decisions; then what follows from events (a table,
a timer, a command to another stream); then the routes; then the service. A real service has these parts in files of
their own, named in docs/ARCHITECTURE.md, and its events in shared/events/. The terms are in docs/GLOSSARY.md.
`tests/services/test_example_service.py` runs this one: a decision needs no database, the rest runs on PostgreSQL.
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

# ── Events: business facts in the past tense, frozen, with everything that was decided ─────────────────────────────


class BookLent(Event):
    """The reader has the book and brings it back by `due`."""

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
    """The book was not back when it was due."""

    book_id: Identifier
    organisation_id: Identifier
    reader: ActorId


class ReaderSuspended(Event):
    """The reader borrows nothing more: a loan was overdue."""

    organisation_id: Identifier
    reader: ActorId
    book_id: Identifier


LendingEvent: TypeAlias = BookLent | BookReturned | LoanOverdue | ReaderSuspended
"""All that is on the topic. Whatever reads it handles or ignores each of them, or the service does not start."""

# ── The stream `book-<id>`: its phases, its fold, its commands, its decisions ──────────────────────────────────────

BookEvent: TypeAlias = BookLent | BookReturned | LoanOverdue


@dataclass(frozen=True, slots=True)
class OnShelf:
    """Nobody has the book."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A reader has it. A state keeps what decisions need, and the events that refusals name."""

    loan: BookLent
    overdue: bool = False


BookState: TypeAlias = OnShelf | Lent


def evolve_book(state: BookState, event: BookEvent) -> BookState:
    """Return the state after the event. Total: whatever was once appended can be read for ever."""
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
    """Lend the book for some days. A field marked SUPPLIED is filled in by the route, never by the caller."""

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
    """Note that the loan is overdue, if it still is."""

    now: datetime


BookCommand: TypeAlias = LendBook | ReturnBook | NoticeOverdue

BOOK_LENT: Final = "book-lent"
READER_SUSPENDED: Final = "reader-suspended"


def decide_book(command: BookCommand, state: BookState) -> Decision[BookEvent]:
    """Return the events to append, none where nothing is new, or a refusal. No I/O, no clock, no generated id."""
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
    """A command that is sent again changes nothing; a refusal names its rule and the events that justify it."""
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

# ── The stream `reader-<id>`: whoever owns a fact decides on it, so a suspension is no field of a book ──────────────


@dataclass(frozen=True, slots=True)
class SuspendReader:
    """Let the reader borrow nothing more."""

    organisation_id: str
    reader: str
    book_id: str


def evolve_reader(_state: ReaderSuspended | None, event: ReaderSuspended) -> ReaderSuspended:
    return event


def decide_reader(command: SuspendReader, suspended: ReaderSuspended | None) -> Decision[ReaderSuspended]:
    """Suspend once, however many loans are overdue."""
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

# ── The projection: events folded into a table, each once, in the transaction that moves the consumer's checkpoint ──

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


# ── The timer: events set and cancel it; due, it becomes a command, once, in the organisation's own time ────────────

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


# ── The reaction: an event becomes a command to another stream, under an id made of the event's ────────────────────

REACTIONS: Final = Reactions("reactions", topics=(TOPIC,), ignores=(BookLent, BookReturned, ReaderSuspended))


@REACTIONS.on(LoanOverdue)
async def suspend_reader(event: LoanOverdue, _envelope: Envelope, _reach: ReactionContext) -> Sequence[Dispatch]:
    return [Dispatch(READER, event.reader, SuspendReader(event.organisation_id, event.reader, event.book_id))]


# ── Routes: a command by POST and DELETE, a query of the table ─────────────────────────────────────────────────────

COMMANDS: Final = CommandRoutes()
QUERIES: Final = APIRouter()


@COMMANDS.route("POST", "/books/{book_id}/loan", BOOK)
async def lend_book(context: RequestContext[LendBook]) -> Addressed[LendBook]:
    """Finish the command with what the caller can't say: who they are, what time it is, what another stream knows."""
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
    """What the caller has at home."""
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
