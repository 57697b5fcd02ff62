"""The clock of a sandbox organisation, ahead of real time, one stream per organisation.

All services use it, so a year of renewals can be tried in a minute. Production organisations follow real time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias, assert_never

from services.identity.domain import rules
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import ClockMoved
from shared.events.base import Instant

Event: TypeAlias = ClockMoved

FURTHEST: Final = timedelta(days=5 * 365 + 2)
"""How far ahead of real time a clock may be: five years, of which up to two are leap years."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Real:
    """A clock that was never moved: the organisation follows real time."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """A clock that was moved ahead of real time."""

    moved: ClockMoved


State: TypeAlias = Real | Ahead
INITIAL: Final[State] = Real()


def evolve(_state: State, event: Event) -> State:
    """Return the state after `event`."""
    return Ahead(event)


def ahead_s(state: State) -> int:
    """Return how many seconds the clock is ahead of real time."""
    return state.moved.ahead_s if isinstance(state, Ahead) else 0


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveClock:
    """Move the clock of one's own sandbox organisation forward to `to`, in all services.

    From there its time passes as real time does.
    """

    to: Instant
    organisation_id: Annotated[str, SUPPLIED]
    sandbox: Annotated[bool, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    """Real time."""
    moved_by: Annotated[str, SUPPLIED]


Command: TypeAlias = MoveClock

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case MoveClock():
            return _move(command, state)
        case unreachable:
            assert_never(unreachable)


def _move(command: MoveClock, state: State) -> Decision[Event]:
    if not command.sandbox:
        return Rejected(
            rules.NOT_A_SANDBOX,
            "This organisation follows real time. Only the clock of a sandbox can be moved.",
            'Sign up with a new organisation that has "sandbox": true.',
        )
    ahead = -((command.now - command.to) // timedelta(seconds=1))  # rounded up, so that `to` is reached
    before = ahead_s(state)
    because = (state.moved,) if isinstance(state, Ahead) else ()
    if ahead < before:
        present = (command.now + timedelta(seconds=before)).isoformat("T", "seconds")
        return Rejected(
            rules.CLOCK_BACKWARDS,
            f"This organisation's clock is at {present} already, and a clock is only moved forward.",
            "Choose a later time.",
            because,
        )
    if timedelta(seconds=ahead) > FURTHEST:
        return Rejected(
            rules.CLOCK_TOO_FAR,
            "A clock can be at most five years ahead of real time.",
            "Choose an earlier time, or start a new sandbox.",
            because,
        )
    if ahead == before:
        return ()
    return (ClockMoved(organisation_id=command.organisation_id, ahead_s=ahead, moved_by=command.moved_by),)


CLOCK: Final = Stream(
    category="clock", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.organisation_id
)
