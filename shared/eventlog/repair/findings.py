"""The findings of a verification, and the note of an event that they are found by."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

from shared.events.envelope import StoredEvent

SHOWN: Final = 1_000
"""How many findings are kept in words; all are counted."""
HASH: Final = 32
_COMMAND: Final = 8
NOTE: Final = HASH + _COMMAND
"""The bytes kept for an event: its hash, and a digest of its command's id, which the hash does not cover."""


class Finding(NamedTuple):
    """A fault: its location and what is wrong there."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@dataclass(slots=True)
class Findings:
    """The findings of one verification: all are counted, the first are kept in words."""

    service: str
    first: list[Finding] = field(default_factory=list)
    number: int = 0

    def add(self, place: str, what: str) -> None:
        self.number += 1
        if len(self.first) < SHOWN:
            self.first.append(Finding(f"{self.service}, {place}", what))

    def include(self, others: "Findings") -> None:
        """Add the findings of a part."""
        self.number += others.number
        self.first += others.first[: max(0, SHOWN - len(self.first))]


def note_of(event: StoredEvent) -> bytes:
    return event.envelope.hash + sha256(event.envelope.command_id.encode()).digest()[:_COMMAND]
