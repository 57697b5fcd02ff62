"""Turns: the commands on one stream, decided one after the other in this process.

A command that is decided goes to the store, and the next one is decided on the state after it, before that is
committed. So the commands of a stream that come faster than commits share them. If one of them is not committed as it
was decided, those after it are not either: the turns begin again with the first of them once all are answered.
"""

import asyncio
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, TypeVar

S = TypeVar("S")


@dataclass(slots=True, kw_only=True)
class _Line(Generic[S]):
    """The commands of one stream.

    Attributes:
        members: How many there are.
        deciding: Whether a command has the turn.
        sent: How many decided commands wait for the store's answer.
        after: The state after the last of these.
        broken: Whether one of these was not committed.
        waiting: The commands that wait for the turn, by number.
    """

    members: int = 1
    deciding: bool = True
    sent: int = 0
    after: S | None = None
    broken: bool = False
    waiting: "list[tuple[int, Turn[S]]]" = field(default_factory=list)


class Turns(Generic[S]):
    """The commands of a process on all streams. `S` is the type of a stream's state."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line[S]] = {}
        self._begun = 0

    def begin(self, stream_id: str, *, alone: bool = False) -> "Turn[S]":
        """Ask for the stream's turn, which the command has once `comes` returns. It has to be ended.

        Args:
            alone: Whether the command is decided on what is committed only.
        """
        line = self._lines.get(stream_id)
        if line is None:
            self._lines[stream_id] = line = _Line()
            return Turn(self, stream_id, line, self._begun, alone, has=True)
        line.members += 1
        self._begun += 1
        turn = Turn(self, stream_id, line, self._begun, alone, has=False)
        turn.ask()
        return turn

    def drop(self, stream_id: str) -> None:
        """Forget a stream that no command is at."""
        del self._lines[stream_id]


class Turn(Generic[S]):
    """One command's place among those of its stream."""

    __slots__ = ("_alone", "_begun", "_given", "_has", "_line", "_number", "_sent", "_stream_id", "_turns", "after")

    def __init__(self, turns: Turns[S], stream_id: str, line: _Line[S], number: int, alone: bool, *, has: bool) -> None:
        self._turns, self._stream_id, self._line, self._number = turns, stream_id, line, number
        self._alone, self._has, self._sent = alone, has, False
        self._given: asyncio.Future[None] | None = None
        self.after: S | None = None
        """The state to decide on, which is not committed yet; None if that is the committed one."""

    async def comes(self) -> None:
        """Wait until the command has the turn."""
        if not self._has and self._given is not None:
            await self._given

    def ask(self) -> None:
        """Ask for the turn, again with the command's place among the others."""
        self._given = asyncio.get_running_loop().create_future()
        heappush(self._line.waiting, (self._number, self))
        self._pass()

    def sends(self, after: S) -> None:
        """Pass the turn on. The command was decided and is on its way to the store.

        Args:
            after: The state after it.
        """
        line = self._line
        self._has, self._sent = False, True
        line.deciding, line.after = False, after
        line.sent += 1
        if line.waiting:
            self._pass()

    def answered(self, *, committed: bool) -> None:
        """Note the store's answer to what was sent: whether it is committed as it was decided."""
        line = self._line
        self._sent = False
        line.sent -= 1
        line.broken = line.broken or not committed
        if not line.sent:
            line.after, line.broken = None, False
        if line.waiting:
            self._pass()

    async def again(self) -> None:
        """Note that what was sent was not committed, and wait for the turn to decide again."""
        self.answered(committed=False)
        self.ask()
        await self.comes()

    def end(self) -> None:
        """Leave the line, whatever the command has come to."""
        line = self._line
        if self._given is not None and not self._given.done():
            self._given.cancel()
        if self._has:
            self._has, line.deciding = False, False
            if line.waiting:
                self._pass()
        elif self._sent:
            self.answered(committed=False)
        line.members -= 1
        if not line.members:
            self._turns.drop(self._stream_id)

    def _pass(self) -> None:
        """Give the turn to the first command that waits, if it can be decided now."""
        line = self._line
        while line.waiting and not line.deciding and not line.broken:
            turn = line.waiting[0][1]
            given = turn._given
            if given is None or given.done():  # its caller has gone
                heappop(line.waiting)
                continue
            if turn._alone and line.sent:
                return
            heappop(line.waiting)
            line.deciding, turn._has, turn.after = True, True, line.after
            given.set_result(None)
