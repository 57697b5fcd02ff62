"""What became of publishers' records: each is answered once, by the consumer of its type.

A record of no readable type is answered by one consumer of the system, which says so in its declaration. A `waiting`
record failed here for no fault of its sender's; once an operator applies it, or gives it up, it has a second outcome.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from shared.eventlog.deliver.plan import BatchPlan, ParkedRecord
from shared.eventlog.deliver.projection import Reactions
from shared.eventlog.deliver.received import Place, Received, as_text
from shared.eventlog.write.log import Answer, Refused
from shared.events.envelope import Envelope
from shared.events.registry import EVENTS, is_inbound

Status = Literal["accepted", "rejected", "waiting"]
Answers: TypeAlias = Mapping[Place, Sequence[Answer]]
REASON_CHARACTERS: Final = 500
WAITS: Final = "It could not be processed, for no fault of the event's: the operator decides."
"""The reason of a record that waits; why it failed is for the operator."""
CORRECT_IT: Final = "Correct the event, and send it under another id."
DROPPED: Final = "dropped"
GIVEN_UP: Final = "It could not be processed, and the operator has given it up."
AGAIN: Final = "Send it again, if it still matters."
"""The rule, the reason and the remedy of a record that waited and was dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a record.

    Attributes:
        envelope: The event's envelope; None where the record cannot be read or may not be from its source.
        rule: The rule by which it was rejected, or why it is parked; "" where it was accepted.
        because: The ids of the events that justify the rejection.
        events: The ids of the events that followed from it in the service's log.
    """

    place: Place
    envelope: Envelope | None
    status: Status
    rule: str = ""
    reason: str = ""
    remedy: str = ""
    because: tuple[str, ...] = ()
    events: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, str, str]:
        """The event's source, id and type; "" each where they are not known."""
        return ("", "", "") if self.envelope is None else (self.envelope.source, self.envelope.id, self.envelope.type)


def outcomes_of(reactions: Reactions[Any], done: BatchPlan, answers: Answers) -> list[Outcome]:
    """Return the outcomes of those of a batch's records that this consumer answers.

    Args:
        answers: The answers to the commands that followed from each record.
    """
    applied = [each for each in done.apply if is_inbound(each.raw.topic)]
    parked = [each for each in done.parked if _answers(reactions, each.record)]
    found = [outcome_of(each, answers.get(each.raw.place, ())) for each in applied]
    return found + [_of_parked(each) for each in parked]


def _answers(reactions: Reactions[Any], record: Received) -> bool:
    if not is_inbound(record.raw.topic):
        return False
    if record.envelope is not None and record.envelope.type in EVENTS:
        return record.envelope.type in reactions.types
    return reactions.answers_unreadable


def outcome_of(record: Received, answers: Sequence[Answer]) -> Outcome:
    """Return the outcome of a record whose commands were answered so."""
    refused = next((each for each in answers if isinstance(each, Refused)), None)
    if refused is None:
        made = tuple(event.id for answer in answers if not isinstance(answer, Refused) for event in answer.events)
        return Outcome(place=record.raw.place, envelope=record.envelope, status="accepted", events=made)
    return Outcome(
        place=record.raw.place,
        envelope=record.envelope,
        status="rejected",
        rule=refused.rule,
        reason=refused.reason,
        remedy=refused.remedy,
        because=refused.because,
    )


def of_dropped(reactions: Reactions[Any], record: Received) -> list[Outcome]:
    """Return the last outcome of a dropped record, if this consumer answers it."""
    if not _answers(reactions, record):
        return []
    return [
        Outcome(
            place=record.raw.place,
            envelope=record.envelope,
            status="rejected",
            rule=DROPPED,
            reason=GIVEN_UP,
            remedy=AGAIN,
        )
    ]


def _of_parked(parked: ParkedRecord) -> Outcome:
    place, envelope = parked.record.raw.place, parked.record.envelope
    if parked.reason == "failed":
        return Outcome(place=place, envelope=envelope, status="waiting", rule=parked.reason, reason=WAITS)
    return Outcome(
        place=place,
        envelope=envelope,
        status="rejected",
        rule=parked.reason,
        reason=as_text(parked.detail)[:REASON_CHARACTERS],
        remedy=CORRECT_IT,
    )
