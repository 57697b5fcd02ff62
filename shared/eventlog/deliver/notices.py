"""Notices that a checkpoint has moved, for queries and pollers that wait in any process.

A notice is sent after the commit: in the fold's transaction, NOTIFY would take a lock at the commit that all notifying
transactions of the server share. A notice can be lost; a waiting query must ask once more at its deadline.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg
import structlog

from shared.eventlog.write.postgres import TRANSIENT
from shared.sql import statements

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)

CHANNEL: Final = "checkpoints"
"""In the service's own database."""
NOTICE_EVERY_S: Final = 0.005
"""The shortest time between two notices of a process. The first after a pause is sent at once."""
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0


class CheckpointNotices:
    """The notices that a process sends and receives.

    Within the process they need neither `run` nor the database.
    """

    def __init__(self) -> None:
        self._wakes: list[Callable[[], None]] = []
        self._unsent = asyncio.Event()
        self._resting = False
        self._moved_since = False
        self._connection: asyncpg.Connection | None = None

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` at each notice, and after each new connection.

        Notices that were sent while there was no connection are lost.
        """
        self._wakes.append(wake)

    def moved(self) -> None:
        """Send a notice. Call this after the commit. It neither waits nor raises."""
        self._unsent.set()
        if self._resting:
            self._moved_since = True
        else:
            self._wake_and_rest()

    def _wake_and_rest(self) -> None:
        self._resting, self._moved_since = True, False
        asyncio.get_running_loop().call_later(NOTICE_EVERY_S, self._rested)
        self._wake()

    def _rested(self) -> None:
        self._resting = False
        if self._moved_since:
            self._wake_and_rest()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()

    async def run(self, dsn: str) -> None:
        """Exchange notices with other processes until cancelled.

        The connection is opened again when it breaks.

        Args:
            dsn: The service's own database.
        """
        pause = FIRST_PAUSE_S
        while True:
            try:
                connection = self._connection = await asyncpg.connect(dsn, command_timeout=10, timeout=5)
                await connection.add_listener(CHANNEL, self._hear)
                self._wake()
                pause = FIRST_PAUSE_S
                await self._send(connection)
            except (asyncpg.PostgresError, *TRANSIENT) as fault:
                logger.warning("the connection for notices is opened again", fault=repr(fault), pause_s=pause)
            finally:
                self.renew()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def renew(self) -> None:
        """Close the connection, so that `run` opens another one. It may be dead without an error."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _send(self, connection: asyncpg.Connection) -> None:
        """Notify other processes until the connection breaks.

        The first notice is for what an earlier connection may have lost.
        """
        connection.add_termination_listener(lambda _: self._unsent.set())
        self._unsent.set()
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            await connection.execute(SQL["notify"])
            await asyncio.sleep(NOTICE_EVERY_S)

    def _hear(self, connection: Any, process: int, _channel: str, _payload: object) -> None:
        if process != connection.get_server_pid():  # `moved` has woken this process
            self._wake()


class Pause:
    """The pause between two polls of a table that the service's consumers fill.

    It ends when a checkpoint has moved. As notices can be lost, and tables can be changed by others, it also ends after
    a time.
    """

    def __init__(self, notices: CheckpointNotices | None = None) -> None:
        """Create the pause of one poller. Without notices it always takes its longest time."""
        self._moved = asyncio.Event()
        if notices is not None:
            notices.subscribe(self._moved.set)

    async def wait(self, least_s: float, most_s: float) -> None:
        """Wait for a notice since the last wait, but no shorter and no longer than this."""
        await asyncio.sleep(least_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, most_s - least_s)):
                await self._moved.wait()
        self._moved.clear()
