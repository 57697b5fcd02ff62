"""Notices of checkpoints: within a process at once, to other processes over a connection that is made anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from shared.eventlog.deliver.notices import CHANNEL, NOTICE_EVERY_S, CheckpointNotices, Pause

PATIENCE_S = 20.0


class Woken:
    """How often somebody was woken."""

    def __init__(self) -> None:
        self.times = 0
        self._changed = asyncio.Event()

    def __call__(self, *_: object) -> None:
        self.times += 1
        self._changed.set()

    async def more_than(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.times <= times:
                self._changed.clear()
                await self._changed.wait()


def a_process() -> tuple[CheckpointNotices, Woken]:
    """Its notices, and how often they wake those who wait in it."""
    notices, woken = CheckpointNotices(), Woken()
    notices.subscribe(woken)
    return notices, woken


@asynccontextmanager
async def exchanging(dsn: str, notices: CheckpointNotices) -> AsyncIterator[None]:
    exchange = asyncio.create_task(notices.run(dsn))
    try:
        yield
    finally:
        exchange.cancel()
        with suppress(asyncio.CancelledError):
            await exchange


@asynccontextmanager
async def listening(dsn: str) -> AsyncIterator[tuple[CheckpointNotices, Woken]]:
    """A process that hears of others already."""
    notices, woken = a_process()
    async with exchanging(dsn, notices):
        await woken.more_than(0)
        yield notices, woken


async def end_connections(dsn: str) -> None:
    """As an administrator or a restart of the server does."""
    db = await asyncpg.connect(dsn)
    try:
        ended = await db.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
    finally:
        await db.close()
    assert ended


async def quiet() -> None:
    """Long enough for a notice too many to show."""
    await asyncio.sleep(20 * NOTICE_EVERY_S)


async def test_in_the_process_those_who_wait_are_woken_at_once() -> None:
    notices, woken = a_process()
    notices.moved()
    assert woken.times == 1


async def test_a_burst_of_moves_wakes_at_its_begin_and_once_after_it() -> None:
    notices, woken = a_process()
    for _ in range(100):
        notices.moved()
    assert woken.times == 1
    await quiet()
    assert woken.times == 2


async def test_a_move_after_a_rest_wakes_at_once_again() -> None:
    notices, woken = a_process()
    notices.moved()
    await quiet()
    notices.moved()
    assert woken.times == 2


async def test_a_pause_ends_at_a_notice_also_at_one_that_came_while_the_poller_was_busy() -> None:
    notices = CheckpointNotices()
    pause = Pause(notices)
    notices.moved()
    async with asyncio.timeout(PATIENCE_S):
        await pause.wait(0, 3600)
        waiting = asyncio.create_task(pause.wait(0, 3600))
        await quiet()
        assert not waiting.done(), "each notice ends one pause"
        notices.moved()
        await waiting


async def test_a_pause_without_a_notice_ends_after_its_longest_time() -> None:
    async with asyncio.timeout(PATIENCE_S):
        await Pause(CheckpointNotices()).wait(0, 0.01)
        await Pause().wait(0.01, 0)


@pytest.mark.system
async def test_another_process_is_woken(database: str) -> None:
    there, _ = a_process()
    async with listening(database) as (_, woken), exchanging(database, there):
        await woken.more_than(1)  # connected
        there.moved()
        await woken.more_than(2)


@pytest.mark.system
async def test_a_burst_is_one_notice_for_other_processes(database: str) -> None:
    there, _ = a_process()
    async with listening(database) as (_, woken), exchanging(database, there):
        await woken.more_than(1)
        for _ in range(100):
            there.moved()
        await woken.more_than(2)
        await quiet()
        assert woken.times == 3


@pytest.mark.system
async def test_a_process_does_not_hear_its_own_notices(database: str) -> None:
    db = await asyncpg.connect(database)
    others = Woken()
    await db.add_listener(CHANNEL, others)
    try:
        async with listening(database) as (here, woken):
            await others.more_than(0)
            before = woken.times
            here.moved()
            await others.more_than(1)
            await quiet()
            assert woken.times == before + 1
    finally:
        await db.close()


@pytest.mark.system
async def test_a_connection_that_was_ended_is_made_anew_and_wakes_for_what_it_missed(database: str) -> None:
    async with listening(database) as (_, woken):
        before = woken.times
        await end_connections(database)
        await woken.more_than(before)


@pytest.mark.system
async def test_after_its_connection_was_ended_a_process_is_woken_by_others_again(database: str) -> None:
    there, _ = a_process()
    async with listening(database) as (_, woken):
        before = woken.times
        await end_connections(database)
        await woken.more_than(before)
        async with exchanging(database, there):
            await woken.more_than(before + 1)
            there.moved()
            await woken.more_than(before + 2)


@pytest.mark.system
async def test_after_its_connection_was_ended_a_process_tells_others_again(database: str) -> None:
    there, _ = a_process()
    async with exchanging(database, there):
        async with listening(database) as (_, woken):
            there.moved()
            await woken.more_than(1)
        await end_connections(database)
        async with listening(database) as (_, woken):
            there.moved()
            await woken.more_than(1)


@pytest.mark.system
async def test_what_moved_while_there_was_no_connection_is_told_with_the_next_one(database: str) -> None:
    there, _ = a_process()
    there.moved()
    async with listening(database) as (_, woken), exchanging(database, there):
        await woken.more_than(1)


@pytest.mark.system
async def test_a_server_that_is_not_there_yet_is_waited_for(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    connect = asyncpg.connect

    async def later(dsn: str, **options: Any) -> Any:
        tried.append(dsn)
        if len(tried) < 3:
            raise ConnectionRefusedError
        return await connect(dsn, **options)

    monkeypatch.setattr(asyncpg, "connect", later)
    async with listening(database):
        assert len(tried) == 3
