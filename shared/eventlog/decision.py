"""What a rule file declares: how a stream's events fold into a state, and what a command makes of it.

The only part of the engine that `domain/` may import. Pure: nothing here waits, reads a clock or makes an id.
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
    """A refusal: the rule by its stable name, the reason for a person, what to do now, the facts that justify it."""

    rule: str
    reason: str
    remedy: str = ""
    because: tuple[Event, ...] = ()


Decision: TypeAlias = tuple[E, ...] | Rejected
"""Events to append (none where nothing is new), or a refusal."""


class _Supplied:
    """Marks a command's field that its route supplies (time, ids, actor, facts of other streams), never the caller."""

    def __repr__(self) -> str:
        return "SUPPLIED"


SUPPLIED: Final = _Supplied()
"""`now: Annotated[datetime, SUPPLIED]`: a field that is not part of the command's public form."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Names that an event takes or gives back. A name is held by one stream of the store at a time."""

    take: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


NO_CLAIMS: Final = Claims()


def no_claims(_state: Any, _event: Any) -> Claims:
    return NO_CLAIMS


def _never_claimed(key: str) -> Rejected:
    return Rejected(rules.NAME_TAKEN, f"{key} is taken.", "Choose another.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream(Generic[S, C, E]):
    """A kind of stream: its category, and the functions of its rule file.

    `evolve` is total over every event that `decide` ever allowed. `decide` answers a retried command with no
    event. `tenant` names the organisation that a stream belongs to, from its first event. `claims` says which
    unique names an event takes or gives back, in the state before it; `claimed` is the refusal when one is taken.
    """

    category: str
    initial: S
    evolve: Callable[[S, E], S]
    decide: Callable[[C, S], Decision[E]]
    tenant: Callable[[E], str]
    claims: Callable[[S, E], Claims] = no_claims
    claimed: Callable[[str], Rejected] = _never_claimed

    def id(self, key: str) -> str:
        """The stream's id for a business key, `<category>-<key>`: the key of its records on the bus."""
        return f"{self.category}-{key}"
