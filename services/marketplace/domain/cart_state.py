"""A cart's state, and the fold of its events."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from shared.events import CartCheckedOut, CartDiscarded, CartLineAdded, CartLineRemoved, CartOpened

Event: TypeAlias = CartOpened | CartLineAdded | CartLineRemoved | CartCheckedOut | CartDiscarded


@dataclass(frozen=True, slots=True)
class Unopened:
    """A cart without any event."""


@dataclass(frozen=True, slots=True)
class OpenedCart:
    """A cart that was opened and not checked out."""

    opened: CartOpened
    lines: Mapping[int, CartLineAdded] = field(default_factory=dict)
    next_line: int = 1


@dataclass(frozen=True, slots=True)
class CheckedOut:
    """A cart that was checked out. It does not change any more."""

    opened: CartOpened
    order: CartCheckedOut
    numbers: tuple[int, ...] = ()
    """The numbers of the order's lines, in its sequence."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """A cart that was given up. It does not change any more."""

    opened: CartOpened
    event: CartDiscarded


State: TypeAlias = Unopened | OpenedCart | CheckedOut | Discarded
INITIAL: State = Unopened()


def publisher_in(state: OpenedCart | CheckedOut) -> str | None:
    """Return the one publisher of the cart's plans, or None if the cart is empty."""
    plans = (
        (added.line.plan for added in state.lines.values())
        if isinstance(state, OpenedCart)
        else (line.plan for line in state.order.lines)
    )
    return next((plan.publisher for plan in plans), None)


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case CartOpened():
            return OpenedCart(event)
        case CartLineAdded(line=line):
            if not isinstance(state, OpenedCart):
                return state
            return replace(
                state, lines={**state.lines, line.line: event}, next_line=max(state.next_line, line.line + 1)
            )
        case CartLineRemoved(line=number):
            if not isinstance(state, OpenedCart):
                return state
            return replace(state, lines={n: added for n, added in state.lines.items() if n != number})
        case CartCheckedOut():
            if not isinstance(state, OpenedCart):
                return state
            return CheckedOut(state.opened, event, tuple(sorted(state.lines)))
        case CartDiscarded():
            return Discarded(state.opened, event) if isinstance(state, OpenedCart) else state
        case unreachable:
            assert_never(unreachable)
