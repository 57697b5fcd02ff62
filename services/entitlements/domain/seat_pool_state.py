"""The state of a seat pool: its seats, users, term and update right, folded from its events."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Final, TypeAlias, assert_never

from shared import days
from shared.events import (
    PoolCsnNoted,
    SeatAssigned,
    SeatPoolCleared,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolHeld,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    SeatUnassigned,
    UpdateRightGranted,
    UpdateRightLost,
)

Step: TypeAlias = SeatPoolExpired | SeatPoolSuspended | SeatPoolEnded
Event: TypeAlias = (
    SeatPoolOpened
    | SeatAssigned
    | SeatUnassigned
    | SeatPoolCleared
    | SeatPoolHeld
    | SeatPoolResized
    | SeatPoolRenewed
    | SeatPoolExpired
    | SeatPoolSuspended
    | SeatPoolEnded
    | PoolCsnNoted
    | UpdateRightGranted
    | UpdateRightLost
)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    """A pool whose subscription is not confirmed. It may have answered requests nevertheless."""

    answered: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedSeatPool:
    """The pool of a confirmed subscription."""

    opened: SeatPoolOpened
    seats: int
    ends: date
    """The running term's last day."""
    time_zone: str
    """The zone of the pool's dates."""
    held: Mapping[int, SeatAssigned]
    """By seat number, from 1, in the order of assignment."""
    answered: frozenset[str]
    """The ids of the AutoRenewDisableRequested events that were answered."""
    over: Step | None = None
    """The latest step after the last term's end; None during a term."""
    numbers: Mapping[str, PoolCsnNoted] = field(default_factory=dict)
    """The latest event about the CSN of the customer and of the partner, by organisation."""
    right: UpdateRightGranted | None = None

    @property
    def begins(self) -> datetime:
        """When the first term begins."""
        return days.begins(self.opened.starts, self.opened.time_zone)

    @property
    def usable(self) -> bool:
        """Whether seats can be used: during a term, and while the pool is expired but not suspended."""
        return self.over is None or isinstance(self.over, SeatPoolExpired)

    def seat_of(self, account_id: str) -> SeatAssigned | None:
        """Return the user's seat, or None."""
        return next((held for held in self.held.values() if held.account_id == account_id), None)


State: TypeAlias = Unopened | OpenedSeatPool
INITIAL: Final[State] = Unopened()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case SeatPoolOpened():
            return OpenedSeatPool(
                opened=event,
                seats=event.seats,
                ends=event.ends,
                time_zone=event.time_zone,
                held={},
                answered=state.answered,
            )
        case SeatPoolCleared(request=request) | SeatPoolHeld(request=request):
            return replace(state, answered=state.answered | {request})
        case _:
            return evolve_opened(state, event) if isinstance(state, OpenedSeatPool) else state


def evolve_opened(
    state: OpenedSeatPool,
    event: SeatAssigned
    | SeatUnassigned
    | SeatPoolResized
    | SeatPoolRenewed
    | Step
    | PoolCsnNoted
    | UpdateRightGranted
    | UpdateRightLost,
) -> OpenedSeatPool:
    """Return the state of an opened pool after `event`."""
    match event:
        case SeatAssigned(seat=seat):
            return replace(state, held={**state.held, seat: event})
        case SeatUnassigned(seat=freed):
            return replace(state, held={seat: held for seat, held in state.held.items() if seat != freed})
        case SeatPoolResized(seats=seats):
            return replace(state, seats=seats)
        case SeatPoolRenewed(seats=seats, ends=ends, time_zone=zone):
            return replace(state, seats=seats, ends=ends, time_zone=zone or state.time_zone)
        case SeatPoolExpired() | SeatPoolSuspended() | SeatPoolEnded():
            return replace(state, over=event)
        case PoolCsnNoted(organisation_id=organisation):
            return replace(state, numbers={**state.numbers, organisation: event})
        case UpdateRightGranted():
            return replace(state, right=event)
        case UpdateRightLost():
            return replace(state, right=None)
        case unreachable:
            assert_never(unreachable)
