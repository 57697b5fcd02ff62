"""Example streams, events and writes of the engine's tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Final

import uuid_utils

from shared.eventlog.decision import Claims, Decision, Rejected, Stream
from shared.eventlog.write.log import Meta
from shared.eventlog.write.store import Head, Write
from shared.events import CsnIssued, SeatUnassigned
from shared.events.envelope import Envelope, StoredEvent, chained, source_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CSN_BODY = CsnIssued(csn="1", organisation_id="o", publisher="p").data()
_numbers = count(1)


def new_id() -> str:
    return str(uuid_utils.uuid7())


def next_events(
    stream: str,
    head: Head,
    number: int,
    data: bytes = b'{"n": 1}',
    *,
    service: str = "entitlements",
    event_type: str = "SeatUnassigned",
) -> list[StoredEvent]:
    """The next events of a stream, chained to its head."""
    events = []
    for version in range(head.version + 1, head.version + 1 + number):
        envelope = Envelope(
            new_id(),
            source_of(service),
            event_type,
            stream,
            NOON,
            1,
            version,
            None,
            "c",
            "d",
            "a",
            "t",
            "",
            head.hash,
        )
        envelope = envelope._replace(hash=chained(envelope, data))
        events.append(StoredEvent(envelope, data))
        head = Head(version, envelope.hash)
    return events


def head_of(events: Sequence[StoredEvent]) -> Head:
    return Head(events[-1].envelope.version or 0, events[-1].envelope.hash)


def write(stream: str, head: Head | None = None, number: int = 1, **rest: object) -> Write:
    """A write of `number` events after `head`; `rest` are other fields of it."""
    start = head or Head()
    made = Write(
        command_id=f"command-{next(_numbers)}-{new_id()}", fingerprint=b"", stream=stream, expected=start, time=NOON
    )
    made.events = [
        StoredEvent(e.envelope._replace(command_id=made.command_id), e.data) for e in next_events(stream, start, number)
    ]
    for name, value in rest.items():
        setattr(made, name, value)
    return made


@dataclass(frozen=True, slots=True)
class Count:
    """One more, up to `limit`; `name` is claimed."""

    by: str = "somebody"
    limit: int = 1_000_000
    name: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    number: int = 0
    last: SeatUnassigned | None = None


NAMELESS: Final = "nameless"


def decide(command: Count, state: Counted) -> Decision[SeatUnassigned]:
    if command.by == "a bug":
        raise ZeroDivisionError
    if state.number >= command.limit:
        return Rejected("limit", f"{state.number} is the limit.", "Stop.", (state.last,) if state.last else ())
    event = SeatUnassigned(
        subscription_id=command.name or NAMELESS,
        contract_id="c",
        seat=state.number + 1,
        account_id=command.by,
        unassigned_by="x",
    )
    return (event,)


def _claims(state: Counted, event: SeatUnassigned) -> Claims:
    return Claims(take=(f"name:{event.subscription_id}",)) if event.subscription_id != NAMELESS else Claims()


COUNTER = Stream(
    category="counter",
    initial=Counted(),
    evolve=lambda state, event: Counted(state.number + 1, event),
    decide=decide,
    tenant=lambda _: "tenant",
    claims=_claims,
    claimed=lambda key: Rejected("name-taken", f"{key} is taken."),
)


def meta(command_id: str | None = None, fingerprint: str = "") -> Meta:
    return Meta(command_id or new_id(), "actor", NOON, "correlation", "cause", "", fingerprint.encode())
