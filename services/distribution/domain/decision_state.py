"""What is known of updates in a fleet: those offered, and what was decided about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeAlias, assert_never

from services.distribution.domain.versions import precedence
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
    ended: Mapping[int, UpdateOffered] = field(default_factory=dict)
    """The offers of newer versions that ended rollouts for good, by number, until these are stopped."""
    again: Mapping[Key, datetime] = field(default_factory=dict)
    """When superseded updates were offered again, because the newer version was withdrawn."""
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
            return _offered(state, event)
        case UpdateRecalled():
            return _recalled(state, event)
        case UpdateApproved(number=number):
            decided = _decided(state, event)
            return replace(state, decided=decided, rollouts={**state.rollouts, number: event}, numbers=number)
        case UpdateHeld() | UpdateScheduled():
            return replace(state, decided=_decided(state, event))
        case ApprovalLapsed(number=lapsed):
            return replace(
                state,
                rollouts={n: approval for n, approval in state.rollouts.items() if n != lapsed},
                ended={n: newer for n, newer in state.ended.items() if n != lapsed},
            )
        case unreachable:
            assert_never(unreachable)


def _offered(state: State, event: UpdateOffered) -> State:
    """Return the state with the offer.

    The approvals whose rollouts it ends no longer count as decisions: if the newer version is withdrawn, administrators
    and policies decide about the older one anew.
    """
    return replace(
        state,
        offered={**state.offered, key_of(event): event},
        decided={
            what: decision
            for what, decision in state.decided.items()
            if not (isinstance(decision, UpdateApproved) and decision.number in event.rollouts)
        },
        ended={**state.ended, **dict.fromkeys(event.rollouts, event)},
    )


def _recalled(state: State, event: UpdateRecalled) -> State:
    after = replace(state, recalled={**state.recalled, key_of(event): event})
    if event.recalled_at is None:
        return after
    again = superseding(state).keys() - superseding(after).keys() - {key_of(event)}
    return replace(after, again={**state.again, **dict.fromkeys(again, event.recalled_at)})


def superseding(state: State) -> Mapping[Key, UpdateOffered]:
    """Return the newest version of each superseded update, by the superseded one.

    Versions of the same publisher, product, component, platform and kind supersede each other; withdrawn ones do not.
    Source: domain rules, distribution; the order is that of `versions.py`.
    """
    available = [
        offered for key, offered in state.offered.items() if key not in state.recalled and offered.platform != ""
    ]
    newest: dict[tuple[str, ...], UpdateOffered] = {}
    for offered in sorted(available, key=_precedence):
        newest[_line(offered)] = offered
    return {key_of(old): new for old in available if (new := newest[_line(old)]) is not old}


def _line(offered: UpdateOffered) -> tuple[str, ...]:
    return offered.publisher, offered.product, offered.component, offered.platform, offered.kind


def _precedence(offered: UpdateOffered) -> str:
    return precedence(offered.version, offered.published_at, offered.update_id)


def _decided(state: State, event: Deciding) -> Mapping[tuple[Key, str], Deciding]:
    return {**state.decided, **{(key_of(event), group): event for group in event.groups}}
