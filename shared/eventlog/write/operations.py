"""The decider of operators' actions.

Each action is a stream `operation-<id>` in the service's log. It is begun before anything is changed and ended
afterwards, so that an interrupted action can be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from shared import rules
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import OperationPerformed
from shared.events.fields import TEXT_AT_MOST, Text

Event: TypeAlias = OperationPerformed


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The state of an operation before its first event."""


@dataclass(frozen=True, slots=True)
class Performed:
    """The state of an operation that has begun; `last` is its latest event."""

    last: OperationPerformed


State: TypeAlias = NotBegun | Performed


@dataclass(frozen=True, slots=True)
class Begin:
    """The command to record that an operation begins."""

    verb: str
    arguments: tuple[str, ...]
    actor: Annotated[str, SUPPLIED]
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The command to record the outcome of an operation."""

    outcome: Literal["done", "failed"]
    result: str


Command: TypeAlias = Begin | End


def evolve(_state: State, event: Event) -> State:
    return Performed(event)


def decide(command: Command, state: State) -> Decision[Event]:
    if isinstance(command, Begin):
        if isinstance(state, Performed):
            return ()
        return (
            OperationPerformed(
                verb=command.verb,
                arguments=_kept(command.arguments),
                actor=command.actor,
                reason=command.reason,
                outcome="begun",
            ),
        )
    if isinstance(state, NotBegun):
        return Rejected(rules.OPERATION_UNBEGUN, "This operation has not begun.", "Begin the operation first.")
    if state.last.outcome != "begun":
        return ()
    return (state.last.model_copy(update={"outcome": command.outcome, "result": shown(command.result)}),)


_TEXT: Final[TypeAdapter[str]] = TypeAdapter(Text)


def shown(text: str) -> str:
    """Return the text in a form that an event can hold.

    It is cut to the greatest length of a text. If it has characters that a text may not have, it is escaped as ASCII.
    """
    try:
        return _TEXT.validate_python(text[:TEXT_AT_MOST])
    except ValidationError:
        escaped = text.encode("unicode_escape").decode().replace("\\n", "\n").replace("\\t", "\t")
        return _TEXT.validate_python(escaped[:TEXT_AT_MOST])


def _kept(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return arguments in a form that an event can hold.

    They may name what came from outside, such as the type of a publisher's record.
    """
    kept = [shown(each) for each in arguments[: OperationPerformed.ARGUMENTS_AT_MOST]]
    if left := len(arguments) - len(kept):
        kept[-1] = f"and {left + 1} more"
    return tuple(kept)


TENANT: Final = "operator"
INITIAL: Final[State] = NotBegun()
OPERATION: Final = Stream(
    category="operation", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda _event: TENANT
)
