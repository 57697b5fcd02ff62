"""What an operator does by hand leaves events as any decision does: a stream `operation-<id>` in the service's log.

It is begun before anything is changed and ended afterwards, so that one that was cut off shows, too.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from shared import rules
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import OperationPerformed

Event: TypeAlias = OperationPerformed


@dataclass(frozen=True, slots=True)
class Unbegun:
    pass


@dataclass(frozen=True, slots=True)
class Performed:
    """`last` says how far it is."""

    last: OperationPerformed


State: TypeAlias = Unbegun | Performed


@dataclass(frozen=True, slots=True)
class Begin:
    verb: str
    arguments: tuple[str, ...]
    actor: Annotated[str, SUPPLIED]
    reason: str


@dataclass(frozen=True, slots=True)
class End:
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
                arguments=command.arguments,
                actor=command.actor,
                reason=command.reason,
                outcome="begun",
            ),
        )
    if isinstance(state, Unbegun):
        return Rejected(rules.OPERATION_UNBEGUN, "This operation has not begun.", "Begin it first.")
    if state.last.outcome != "begun":
        return ()
    return (state.last.model_copy(update={"outcome": command.outcome, "result": command.result}),)


TENANT: Final = "operator"
INITIAL: Final[State] = Unbegun()
OPERATION: Final = Stream(
    category="operation", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda _event: TENANT
)
