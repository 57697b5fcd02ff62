"""How the sessions of one account end. One stream per account; that a session began is no business fact."""

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias, assert_never

from shared.eventlog.decision import SUPPLIED, Decision, Stream
from shared.events import SessionEnded, SessionsEnded
from shared.events.identity import SessionEndReason, SessionsEndReason

Event: TypeAlias = SessionEnded | SessionsEnded


@dataclass(frozen=True, slots=True)
class Sessions:
    """Nothing is decided from what has ended: a session ends as often as somebody says so."""


State: TypeAlias = Sessions
INITIAL: Final[State] = Sessions()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
    match event:
        case SessionEnded() | SessionsEnded():
            return state
        case unreachable:
            assert_never(unreachable)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession:
    """Sign out of one session: its tokens open nothing any more, here or in any other service."""

    session_id: Annotated[str, SUPPLIED]
    account_id: Annotated[str, SUPPLIED]
    organisation_id: Annotated[str, SUPPLIED]
    ended_by: Annotated[str, SUPPLIED]
    reason: Annotated[SessionEndReason, SUPPLIED] = "signed-out"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSessions:
    """Sign out everywhere: whatever session of the account began before this has ended."""

    account_id: Annotated[str, SUPPLIED]
    organisation_id: Annotated[str, SUPPLIED]
    ended_by: Annotated[str, SUPPLIED]
    reason: Annotated[SessionsEndReason, SUPPLIED] = "signed-out"


Command: TypeAlias = EndSession | EndSessions


def decide(command: Command, _state: State) -> Decision[Event]:
    """What follows from `command`."""
    match command:
        case EndSession():
            return (
                SessionEnded(
                    account_id=command.account_id,
                    organisation_id=command.organisation_id,
                    session_id=command.session_id,
                    reason=command.reason,
                    ended_by=command.ended_by,
                ),
            )
        case EndSessions():
            return (
                SessionsEnded(
                    account_id=command.account_id,
                    organisation_id=command.organisation_id,
                    reason=command.reason,
                    ended_by=command.ended_by,
                ),
            )
        case unreachable:
            assert_never(unreachable)


SESSIONS: Final = Stream(
    category="sessions", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.organisation_id
)
