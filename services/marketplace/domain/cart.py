"""A partner's cart, one stream per cart, `cart-<id>`.

A plan is checked twice against the catalogue and the partner's standing: when it is added (`plan_choice.py`), and when
the cart is checked out (`checkout.py`).
"""

from dataclasses import dataclass
from typing import Annotated, TypeAlias, assert_never

from services.marketplace.domain import rules
from services.marketplace.domain.cart_state import (
    INITIAL,
    CheckedOut,
    Discarded,
    Event,
    OpenedCart,
    State,
    Unopened,
    evolve,
)
from services.marketplace.domain.checkout import CheckOut, check_out, seats_out_of_range
from services.marketplace.domain.plan_choice import AddToCart, chosen_plan
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import CartCheckedOut, CartDiscarded, CartLine, CartLineAdded, CartLineRemoved, CartOpened, Plan
from shared.events.fields import Number

LINES_AT_MOST = 50
"""The largest number of lines of a cart: it is one order by a person, not a price list."""

# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpenCart:
    """Open a cart for the caller's partner organisation."""

    cart_id: Annotated[str, SUPPLIED]
    partner: Annotated[str, SUPPLIED]
    opened_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, slots=True)
class RemoveFromCart:
    """Remove a line from the cart."""

    line: Number


@dataclass(frozen=True, slots=True)
class DiscardCart:
    """Give the cart up, with all of its lines."""

    discarded_by: Annotated[str, SUPPLIED]


Command: TypeAlias = OpenCart | AddToCart | RemoveFromCart | CheckOut | DiscardCart


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match state:
        case Unopened():
            if isinstance(command, OpenCart):
                return (CartOpened(cart_id=command.cart_id, partner=command.partner, opened_by=command.opened_by),)
            return Rejected(rules.CART_UNKNOWN, "There is no such cart.", "Open a cart first.")
        case CheckedOut(_, order):
            return _after_checkout(command, order)
        case Discarded(_, event):
            return () if isinstance(command, OpenCart | DiscardCart) else cart_discarded(event)
        case OpenedCart():
            pass
        case unreachable_state:
            assert_never(unreachable_state)
    match command:
        case OpenCart():
            return ()
        case AddToCart():
            return _add(command, state)
        case RemoveFromCart(line):
            return _remove(line, state)
        case CheckOut():
            return check_out(command, state)
        case DiscardCart(by):
            opened = state.opened
            return (CartDiscarded(cart_id=opened.cart_id, partner=opened.partner, discarded_by=by),)
        case unreachable:
            assert_never(unreachable)


def _after_checkout(command: Command, order: CartCheckedOut) -> Decision[Event]:
    match command:
        case OpenCart():
            return ()
        case CheckOut(customer=customer, purchaser=purchaser, starts=starts) if (customer, purchaser, starts) == (
            order.customer,
            order.purchaser,
            order.starts,
        ):
            return ()
        case _:
            return Rejected(
                rules.CART_CHECKED_OUT,
                "This cart was ordered and can't be changed any more.",
                "Open a new cart.",
                because=(order,),
            )


def cart_discarded(event: CartDiscarded) -> Rejected:
    """Return the refusal of what needs the cart, after it was given up."""
    return Rejected(
        rules.CART_DISCARDED,
        "This cart was discarded.",
        "Open a new cart, or go on with another one (GET /carts).",
        because=(event,),
    )


def _add(command: AddToCart, state: OpenedCart) -> Decision[Event]:
    plan = chosen_plan(command)
    if isinstance(plan, Rejected):
        return plan
    policy = command.policies.of(plan.publisher)
    if not 1 <= command.seats <= policy.seats_at_most:
        return seats_out_of_range(policy)
    first = next(iter(state.lines.values()), None)
    if first is not None:
        refusal = _does_not_fit(plan, first)
        if refusal is not None:
            return refusal
    same = next((added.line for added in state.lines.values() if added.line.plan.product_id == plan.product_id), None)
    if same is None and len(state.lines) >= LINES_AT_MOST:
        return Rejected(
            rules.TOO_MANY_LINES,
            f"A cart has at most {LINES_AT_MOST} lines.",
            "Check this cart out, and open another cart.",
            because=tuple(state.lines.values()),
        )
    line = CartLine(line=same.line if same else state.next_line, plan=plan, seats=command.seats)
    if line == same:
        return ()
    return (CartLineAdded(cart_id=state.opened.cart_id, partner=state.opened.partner, line=line),)


def _does_not_fit(plan: Plan, first: CartLineAdded) -> Rejected | None:
    """Return why the plan can't be in a cart with this first line; None when it can.

    A cart's order goes to one publisher under one CSN, and its total is in one currency.
    """
    present = first.line.plan
    if plan.publisher != present.publisher:
        return Rejected(
            rules.ONE_PUBLISHER_A_CART,
            f"The cart has plans of {present.publisher}, and {plan.product_name} is a plan of {plan.publisher}.",
            "Put it into another cart.",
            because=(first,),
        )
    if plan.price.currency != present.price.currency:
        return Rejected(
            rules.ONE_CURRENCY_A_CART,
            f"The cart is in {present.price.currency}, and {plan.product_name} is sold in {plan.price.currency}.",
            "Put it into another cart.",
            because=(first,),
        )
    return None


def _remove(line: int, state: OpenedCart) -> Decision[Event]:
    if line in state.lines:
        return (CartLineRemoved(cart_id=state.opened.cart_id, line=line),)
    if 1 <= line < state.next_line:
        return ()
    return Rejected(
        rules.LINE_UNKNOWN,
        f"The cart never had a line {line}.",
        "Check the line's number (GET /carts/{cart_id}).",
        because=(state.opened,),
    )


def _tenant(event: Event) -> str:
    return event.partner if not isinstance(event, CartLineRemoved) else ""


CART = Stream(category="cart", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
