"""What Tenure answers, and what it refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import httpx


class StoredEvent(TypedDict):
    """An event that a command has brought about."""

    id: str
    type: str
    version: int
    data: Mapping[str, Any]


class Answer(TypedDict):
    """The answer to a command that was accepted."""

    stream: str
    version: int
    """The stream's version after the command."""
    events: Sequence[StoredEvent]
    """Empty if there was nothing to change."""


class ItemAnswer(TypedDict):
    """The answer to one item of a bulk command: an `Answer`, or a problem."""

    status: int
    answer: Mapping[str, Any]
    line: NotRequired[int | None]


class BulkAnswer(TypedDict):
    """The answers to a bulk command's items, in their order."""

    items: Sequence[ItemAnswer]
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a command is sent."""

    key: str = ""
    """The Idempotency-Key: a repeated command with the same key gets the first answer. "" for a new one."""
    dry_run: bool = False
    """Whether to ask only what would happen."""
    if_match: str = ""
    """The ETag of the version on which the command is decided; otherwise it is refused by `version-changed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An event of a topic."""

    position: int
    """Its place in the topic, from which a subscription goes on: keep it with what you have done for the event."""
    id: str
    type: str
    """Its name without the prefix, such as `SeatAssigned`."""
    subject: str
    """The stream."""
    time: str
    data: Mapping[str, Any]
    attributes: Mapping[str, str] = field(repr=False)
    """All CloudEvents attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A publisher's event that is kept."""

    source: str
    id: str
    location: str
    """The path at the console where its outcome is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a publisher's event."""

    status: str
    """`accepted`, `rejected`, or as the documents have it."""
    rule: str
    reason: str
    answer: Mapping[str, Any] = field(repr=False)
    """The whole outcome."""


class Refused(Exception):  # what happened, as the documents call it
    """A request that Tenure refused (RFC 9457). It is not sent again by itself."""

    def __init__(self, problem: Mapping[str, Any], status: int) -> None:
        self.status = status
        self.rule: str = problem.get("rule") or problem.get("error") or str(status)
        self.reason: str = problem.get("detail") or problem.get("error_description") or ""
        self.remedy: str = problem.get("remedy", "")
        self.because: Sequence[str] = problem.get("because", ())
        self.fields: Sequence[Mapping[str, str]] = problem.get("fields", ())
        super().__init__(f"{self.rule} ({status}): {self.reason} {self.remedy}".rstrip())


def refused(answer: httpx.Response) -> Refused:
    """Return the refusal that an answer is."""
    try:
        found = answer.json()
    except ValueError:
        found = {}
    return Refused(found if isinstance(found, dict) else {}, answer.status_code)


class Unavailable(Exception):
    """Tenure did not answer within the client's patience.

    Send the same command again with the same key.
    """


class HistoryGone(Exception):
    """The events after a position are not kept any more."""

    def __init__(self, nearest: int, snapshot: str) -> None:
        self.nearest = nearest
        """The first position that is kept."""
        self.snapshot = snapshot
        """Where the present state is read."""
        super().__init__(f"the first event that is kept is at {nearest}; read the present state from {snapshot}")
