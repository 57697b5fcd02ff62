"""Positions that somebody goes on from: whether their topic has come so far."""

from typing import Protocol

from shared import rules
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.ordered import head_before
from shared.runtime.problems import Problem, unavailable


class TopicHeads(Protocol):
    """Knowledge of the topics' heads."""

    async def before(self, topic: str, position: int) -> int | None:
        """Return the position of a topic's newest event if that is before a position.

        None if the topic has come so far, or may have.

        Raises:
            Exception: That can't be known now.
        """
        ...


class KafkaHeads:
    """The heads as Kafka has them."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access

    async def before(self, topic: str, position: int) -> int | None:
        return await head_before(topic, position, self._access)


async def require_position(heads: TopicHeads, topic: str, position: int) -> None:
    """Raise Problem 422 if a topic ends before a position, and 503 if that can't be known now."""
    if position == 0:
        return
    try:
        head = await heads.before(topic, position)
    except Exception as fault:  # whatever Kafka's client raises
        raise unavailable("It can't be read now whether the topic has come to this position.") from fault
    if head is not None:
        raise beyond(topic, position, head)


def beyond(topic: str, position: int, head: int) -> Problem:
    """Return Problem 422 for a position that a topic has not come to."""
    return Problem(
        rule=rules.POSITION_UNKNOWN,
        reason=f"{topic} has not come to position {position}: its newest event has position {head}.",
        remedy=f"Go on after a position that you have read, {head} at most.",
    )
