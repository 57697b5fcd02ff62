"""The event that answers a publisher's record, on the topics of outcomes."""

from typing import Literal

from shared.events.base import Event


class RecordAnswered(Event):
    """What became of a record that a publisher's system sent.

    Its id is the place of the record and the status, so a repeat has the same id. A record that was `waiting` is
    answered again once the operator has decided.
    """

    status: Literal["accepted", "rejected", "waiting"]
    """`waiting`: it failed for no fault of its sender's, and the operator decides."""
    event_source: str
    """The event's source; "" if the record can't be read, or may not be from there. So are its id and type."""
    event_id: str
    event_type: str
    rule: str
    """The rule by which it was rejected, or why it waits; "" if it was accepted."""
    reason: str
    remedy: str
    because: tuple[str, ...]
    """The ids of the events that justify the rejection."""
    events: tuple[str, ...]
    """The ids of the events that followed from it in the service that answers; none if it changed nothing."""
    topic: str
    """The topic that has the record."""
    partition: int
    offset: int
