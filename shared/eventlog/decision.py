"""The declarations of a rule file: a kind of stream, its fold and its decider.

This is the only part of the engine that `domain/` may import. It is pure: nothing here waits, reads a clock or makes
an id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from shared import rules
from shared.events.base import Event

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A decider's refusal of a command.

    Attributes:
        rule: The rule's id, a stable name.
        reason: Why the command is refused, for a person.
        remedy: What the person can do now.
        because: The events that justify the refusal.
    """

    rule: str
    reason: str
    remedy: str = ""
    because: tuple[Event, ...] = ()


Decision: TypeAlias = tuple[E, ...] | Rejected
"""The events to append (none if the command changes nothing), or a refusal."""


class _Supplied:
    """The mark of a command's field that the route supplies and the caller cannot.

    Such fields are the time, ids, the actor and facts of other streams.
    """

    def __repr__(self) -> str:
        return "SUPPLIED"


SUPPLIED: Final = _Supplied()
"""`now: Annotated[datetime, SUPPLIED]`: a field that is not part of the command's public form."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The unique names that an event takes or releases.

    At most one stream of a store holds a name at a time.
    """

    take: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


NO_CLAIMS: Final = Claims()


def no_claims(_state: Any, _event: Any) -> Claims:
    return NO_CLAIMS


def sender_decides(_event: Any) -> str:
    """Return the actor of an event that the command's sender decided: none of the event's own."""
    return ""


def _never_claimed(key: str) -> Rejected:
    return Rejected(rules.NAME_TAKEN, f"The name {key} is taken.", "Choose another name.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream(Generic[S, C, E]):
    """A kind of stream: its category, and the functions of its rule file.

    Attributes:
        category: The first part of the stream's id.
        initial: The state before the first event.
        evolve: Fold an event into the state. It accepts every event that `decide` has ever returned.
        decide: Return the events that a command leads to. A command that was carried out before leads to none.
        tenant: Return the organisation that a stream belongs to, from its first event.
        claims: Return the unique names that an event takes and releases, given the state before it.
        claimed: Return the refusal of a command whose event takes a name that another stream holds.
        actor: Return who decided an event, where that may not be the command's sender, such as a policy; "" for the
            sender.
    """

    category: str
    initial: S
    evolve: Callable[[S, E], S]
    decide: Callable[[C, S], Decision[E]]
    tenant: Callable[[E], str]
    claims: Callable[[S, E], Claims] = no_claims
    claimed: Callable[[str], Rejected] = _never_claimed
    actor: Callable[[E], str] = sender_decides

    def id(self, key: str) -> str:
        """Return the id of the stream of a business key, `<category>-<key>`.

        It is also the key of the stream's records in Kafka.
        """
        return f"{self.category}-{key}"
