"""The encryption of personal fields, as the log asks for it."""

from collections.abc import Sequence
from typing import Protocol

from shared.events.base import Event


class Sealer(Protocol):
    """The encryption of personal fields in stored events.

    States and answers have the fields in the clear.
    """

    async def seal(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events as they are stored. The fields of a forgotten person are stored empty."""
        ...

    async def open(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return stored events with their fields in the clear.

        The fields of a forgotten person are empty.
        """
