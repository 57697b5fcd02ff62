"""The ends of an account's sessions, one stream per account.

The start of a session is not an event.
"""

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias, assert_never

from shared.eventlog.decision import SUPPLIED, Decision, Stream
from shared.events import SessionEnded, SessionsEnded
from shared.events.identity import SessionEndReason, SessionsEndReason

Event: TypeAlias = SessionEnded | SessionsEnded


@dataclass(frozen=True, slots=True)
class Sessions:
    """The empty state: no decision depends on earlier ends, so a repeated end is recorded again."""


State: TypeAlias = Sessions
INITIAL: Final[State] = Sessions()


def evolve(state: State, event: Event) -> State:
    """Return the state, which no event changes."""
    match event:
        case SessionEnded() | SessionsEnded():
            return state
        case unreachable:
            assert_never(unreachable)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession:
    """End one session. Its tokens are no longer valid in any service."""

    session_id: Annotated[str, SUPPLIED]
    account_id: Annotated[str, SUPPLIED]
    organisation_id: Annotated[str, SUPPLIED]
    ended_by: Annotated[str, SUPPLIED]
    reason: Annotated[SessionEndReason, SUPPLIED] = "signed-out"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSessions:
    """End all sessions of the account that began before this."""

    account_id: Annotated[str, SUPPLIED]
    organisation_id: Annotated[str, SUPPLIED]
    ended_by: Annotated[str, SUPPLIED]
    reason: Annotated[SessionsEndReason, SUPPLIED] = "signed-out"


Command: TypeAlias = EndSession | EndSessions


def decide(command: Command, _state: State) -> Decision[Event]:
    """Return the event that follows from `command`."""
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
