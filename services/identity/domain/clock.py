"""A sandbox organisation's time: so many seconds ahead of real time, in every service. One stream per organisation.

A year of renewals can be seen in a minute; production organisations follow real time.
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
"""Five years hold one or two leap days."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Real:
    """Never moved: the organisation follows real time."""


@dataclass(frozen=True, slots=True)
class Ahead:
    moved: ClockMoved


State: TypeAlias = Real | Ahead
INITIAL: Final[State] = Real()


def evolve(_state: State, event: Event) -> State:
    """The state after `event`."""
    return Ahead(event)


def ahead_s(state: State) -> int:
    """How far ahead of real time the organisation is."""
    return state.moved.ahead_s if isinstance(state, Ahead) else 0


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveClock:
    """Make it `to` now for one's own sandbox organisation, in all services; from there its time runs on.
    Forward only."""

    to: Instant
    organisation_id: Annotated[str, SUPPLIED]
    sandbox: Annotated[bool, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    """Real time."""
    moved_by: Annotated[str, SUPPLIED]


Command: TypeAlias = MoveClock

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`."""
    match command:
        case MoveClock():
            return _move(command, state)
        case unreachable:
            assert_never(unreachable)


def _move(command: MoveClock, state: State) -> Decision[Event]:
    if not command.sandbox:
        return Rejected(
            rules.NOT_A_SANDBOX,
            "This organisation follows real time; only a sandbox's time can be moved.",
            "Sign up with a new organisation that says sandbox.",
        )
    ahead = -((command.now - command.to) // timedelta(seconds=1))  # whole seconds, not short of `to`
    before = ahead_s(state)
    because = (state.moved,) if isinstance(state, Ahead) else ()
    if ahead < before:
        theirs = (command.now + timedelta(seconds=before)).isoformat("T", "seconds")
        return Rejected(
            rules.CLOCK_BACKWARDS,
            f"It is {theirs} for this organisation already, and time does not run backwards.",
            "Choose a later time.",
            because,
        )
    if timedelta(seconds=ahead) > FURTHEST:
        return Rejected(
            rules.CLOCK_TOO_FAR,
            "A clock is moved at most five years ahead of real time.",
            "Choose an earlier time, or start with a new sandbox.",
            because,
        )
    if ahead == before:
        return ()
    return (ClockMoved(organisation_id=command.organisation_id, ahead_s=ahead, moved_by=command.moved_by),)


CLOCK: Final = Stream(
    category="clock", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.organisation_id
)
