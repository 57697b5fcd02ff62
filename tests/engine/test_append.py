"""What a caller of the log's own functions can't do, whatever it hands in."""

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import pytest

from shared.eventlog.repair.guard import FENCE
from shared.eventlog.repair.tries import MENDING
from shared.eventlog.write.postgres import SQL, PostgresStore, append_arguments
from shared.eventlog.write.store import Head, Unavailable, Write, Written
from shared.events.envelope import StoredEvent
from tests.databases import as_operator
from tests.examples.engine import head_of, next_events, write

pytestmark = pytest.mark.system


def changed(events: Sequence[StoredEvent], at: int, **fields: Any) -> list[StoredEvent]:
    """The events with other fields in the envelope of one of them."""
    made = list(events)
    made[at] = StoredEvent(made[at].envelope._replace(**fields), made[at].data)
    return made


BROKEN: dict[str, Callable[[Sequence[StoredEvent]], Sequence[StoredEvent]]] = {
    "a version is left out": lambda events: changed(events, 2, version=9),
    "a version stands there twice": lambda events: changed(events, 2, version=4),
    "it begins later": lambda events: [*events[1:]],
    "the first continues another head": lambda events: changed(events, 0, prevhash=bytes(32)),
    "the last continues another event": lambda events: changed(events, 2, prevhash=events[0].envelope.hash),
    "a hash is too short": lambda events: changed(events, 2, hash=b"short"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_an_event_that_does_not_continue_its_stream_is_refused(
    database: str, broken: Callable[[Sequence[StoredEvent]], Sequence[StoredEvent]]
) -> None:
    store = await PostgresStore(database, "entitlements").open()
    first = write("s", number=2)
    assert isinstance(await store.append(first), Written)
    head = head_of(first.events)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await store.append(write("s", head, events=broken(next_events("s", head, 3))))
    assert refused.value.sqlstate in ("TN002", asyncpg.UniqueViolationError.sqlstate)
    assert await store.position() == 2
    await store.close()


async def test_a_new_stream_begins_with_the_genesis_hash(database: str) -> None:
    store = await PostgresStore(database, "entitlements").open()
    pretended = Head(0, bytes(range(32)))
    with pytest.raises(asyncpg.PostgresError) as refused:
        await store.append(write("s", pretended, number=1))
    assert refused.value.sqlstate == "TN002"
    await store.close()


@pytest.mark.parametrize("counts", [(2, 1), (0, 2), (1, 2), (3, 0)])
async def test_a_command_has_as_many_events_as_it_says(database: str, counts: tuple[int, int]) -> None:
    db = await asyncpg.connect(database)
    commands, events, *claims = append_arguments([write("a"), write("b")])
    said = [(*command[:5], count, *command[6:]) for command, count in zip(commands, counts, strict=True)]
    with pytest.raises(asyncpg.PostgresError) as refused:
        await db.fetch(SQL["append"], said, events, *claims)
    assert refused.value.sqlstate == "TN002"
    assert await db.fetchval("select position from log.head") == 0
    await db.close()


@pytest.mark.parametrize(
    ("second", "continues"),
    [
        (write("a", Head(2, bytes(32))), [0, 1]),  # a later version
        (write("a", Head(1, bytes(32))), [0, 1]),  # another head
        (write("b", Head(1, bytes(32))), [0, 1]),  # another stream
        (write("a"), [0, 2]),  # itself
        (write("a"), [2, 0]),  # each other
    ],
)
async def test_a_command_continues_one_before_it_on_its_own_stream(
    database: str, second: Write, continues: list[int]
) -> None:
    db = await asyncpg.connect(database)
    *arguments, _ = append_arguments([write("a"), second])
    with pytest.raises(asyncpg.PostgresError) as refused:
        await db.fetch(SQL["append"], *arguments, continues)
    assert refused.value.sqlstate == "TN002"
    assert await db.fetchval("select position from log.head") == 0
    await db.close()


async def test_a_process_of_the_version_before_appends_as_it_did(database: str) -> None:
    db = await asyncpg.connect(database)
    first = write("a")
    *arguments, continues = append_arguments([first, write("b")])
    assert not continues
    former = "select * from log.append($1, $2, $3, $4)"
    assert [row["verdict"] for row in await db.fetch(former, *arguments)] == [0]
    moved = append_arguments([write("a")])[:-1]
    assert [row["verdict"] for row in await db.fetch(former, *moved)] == [0, 1]
    await db.close()


async def test_the_guard_neither_replaces_nor_lifts_what_an_operator_fenced_for(database: str) -> None:
    store = await PostgresStore(database, "entitlements").open()
    db = await asyncpg.connect(as_operator(database))
    await db.execute("update log.head set fenced = $1", f"{MENDING}begun")
    await store.fence(f"{FENCE}ahead")
    await store.fence(None)
    assert await db.fetchval("select fenced from log.head") == f"{MENDING}begun"
    await db.close()
    await store.close()


async def test_the_guards_fence_holds_until_it_lifts_it(database: str) -> None:
    store = await PostgresStore(database, "entitlements").open()
    await store.fence(f"{FENCE}ahead")
    with pytest.raises(Unavailable, match="ahead"):
        await store.append(write("s"))
    await store.fence(None)
    assert isinstance(await store.append(write("s")), Written)
    await store.close()


async def test_a_reason_that_is_not_the_guards_fences_nothing(database: str) -> None:
    store = await PostgresStore(database, "entitlements").open()
    await store.fence("for fun")
    assert isinstance(await store.append(write("s")), Written)
    await store.close()
