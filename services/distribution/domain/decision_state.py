"""What is known of updates in a fleet: those offered, and what was decided about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, assert_never

from shared.events import (
    ApprovalLapsed,
    UpdateApproved,
    UpdateHeld,
    UpdateOffered,
    UpdateRecalled,
    UpdateScheduled,
)

Deciding: TypeAlias = UpdateApproved | UpdateHeld | UpdateScheduled
Event: TypeAlias = UpdateOffered | UpdateRecalled | Deciding | ApprovalLapsed
Key: TypeAlias = tuple[str, str]
"""An update: its publisher and its id."""

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """The updates offered to a contract, and what was decided about them."""

    offered: Mapping[Key, UpdateOffered] = field(default_factory=dict)
    recalled: Mapping[Key, UpdateRecalled] = field(default_factory=dict)
    decided: Mapping[tuple[Key, str], Deciding] = field(default_factory=dict)
    """The latest decision about an update for a group."""
    rollouts: Mapping[int, UpdateApproved] = field(default_factory=dict)
    """The approvals whose rollouts are not stopped, by number."""
    numbers: int = 0
    """The number of the latest approval. Numbers are not reused."""

    def concerned(
        self, *, product: str | None = None, groups: frozenset[str] | None = None, key: Key | None = None
    ) -> tuple[int, ...]:
        """Return the numbers of the rollouts that match every given criterion."""
        return tuple(
            number
            for number, approved in self.rollouts.items()
            if (product is None or self.offered[key_of(approved)].product == product)
            and (groups is None or groups & frozenset(approved.groups))
            and (key is None or key == key_of(approved))
        )


State: TypeAlias = Decisions
INITIAL: Final[State] = Decisions()


def key_of(event: UpdateOffered | UpdateRecalled | Deciding) -> Key:
    """Return the key of the event's update."""
    return event.publisher, event.update_id


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case UpdateOffered():
            return replace(state, offered={**state.offered, key_of(event): event})
        case UpdateRecalled():
            return replace(state, recalled={**state.recalled, key_of(event): event})
        case UpdateApproved(number=number):
            decided = _decided(state, event)
            return replace(state, decided=decided, rollouts={**state.rollouts, number: event}, numbers=number)
        case UpdateHeld() | UpdateScheduled():
            return replace(state, decided=_decided(state, event))
        case ApprovalLapsed(number=lapsed):
            return replace(state, rollouts={n: approval for n, approval in state.rollouts.items() if n != lapsed})
        case unreachable:
            assert_never(unreachable)


def _decided(state: State, event: Deciding) -> Mapping[tuple[Key, str], Deciding]:
    return {**state.decided, **{(key_of(event), group): event for group in event.groups}}
