"""A partner's cart, one stream per cart, `cart-<id>`.

A plan is checked twice against the catalogue and the partner's standing: when it is added, and when the cart is checked
out. What was shown is what is ordered: a plan that changed since it was added is refused at the checkout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, TypeAlias, assert_never

from services.marketplace.domain import rules, wizard
from services.marketplace.domain.plan import hyphenated, is_orderable, plan_unknown, plan_withdrawn, read_product_id
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens, valid_csn
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import (
    AccountClosed,
    AccountOpened,
    CartCheckedOut,
    CartLine,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    Money,
    OrderLine,
    Plan,
    PlanListed,
    PlanWithdrawn,
)
from shared.events.fields import Count, Day, Identifier, Number, OptionalCode, OptionalIdentifier
from shared.events.marketplace import Billing, Period, Support

LINES_AT_MOST = 50
"""The largest number of lines of a cart: it is one order by a person, not a price list."""

Account: TypeAlias = AccountOpened | AccountClosed
"""The latest event of identity about an account that is known here."""

Event: TypeAlias = CartOpened | CartLineAdded | CartLineRemoved | CartCheckedOut

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


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


State: TypeAlias = Unopened | OpenedCart | CheckedOut
INITIAL: State = Unopened()


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
            return CheckedOut(state.opened, event) if isinstance(state, OpenedCart) else state
        case unreachable:
            assert_never(unreachable)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpenCart:
    """Open a cart for the caller's partner organisation."""

    cart_id: Annotated[str, SUPPLIED]
    partner: Annotated[str, SUPPLIED]
    opened_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class AddToCart:
    """Put a plan into the cart, with a number of seats.

    The plan is named by its product ID, with or without hyphens, or by as many of the wizard's choices as leave one
    plan. A plan has one line: adding it again sets the line's seats.
    """

    seats: Count
    product_id: OptionalCode = ""
    product: OptionalCode = ""
    period: Period | None = None
    support: Support | None = None
    billing: Billing | None = None
    customer: OptionalIdentifier = ""
    """The customer, if it is a sandbox: the price is then the one of the day on that customer's clock."""
    offers: Annotated[tuple[PlanListed, ...], SUPPLIED] = ()
    """The catalogue's plans with the product ID, or those that the wizard's choices may lead to."""
    withdrawn: Annotated[PlanWithdrawn | None, SUPPLIED] = None
    """The withdrawal of the plan with this product ID, if the plan is withdrawn."""
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, slots=True)
class RemoveFromCart:
    """Remove a line from the cart."""

    line: Number


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckOut:
    """Order the cart's lines for a customer.

    Each line becomes one order, in the cart's sequence. The purchaser, an account of the customer, becomes Contract
    Manager with the contract's first order. `starts` is a date in UTC, from today on.
    """

    customer: Identifier
    purchaser: Identifier
    starts: Day
    ordered_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    subscription_ids: Annotated[tuple[str, ...], SUPPLIED]
    """New ids, at least one for each line."""
    purchaser_account: Annotated[Account | None, SUPPLIED] = None
    offered: Annotated[tuple[PlanListed | PlanWithdrawn, ...], SUPPLIED] = ()
    """The latest event of the catalogue about each plan in the cart."""
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


Command: TypeAlias = OpenCart | AddToCart | RemoveFromCart | CheckOut


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
            return _check_out(command, state)
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


def _add(command: AddToCart, state: OpenedCart) -> Decision[Event]:
    if not 1 <= command.seats <= command.policy.seats_at_most:
        return seats_out_of_range(command.policy)
    plan = _chosen(command)
    if isinstance(plan, Rejected):
        return plan
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


# ── Finding the plan ───────────────────────────────────────────────────────────────────────────────────


def _chosen(command: AddToCart) -> Plan | Rejected:
    selection = wizard.Selection(command.product, command.period or "", command.support or "", command.billing or "")
    if not command.product_id:
        return _by_wizard(selection, command)
    if selection != wizard.Selection():
        return Rejected(
            rules.PRODUCT_ID_OR_WIZARD,
            "The request has both a product ID and choices. A product ID names exactly one plan.",
            "Send either the product ID or the choices.",
        )
    return _by_product_id(command)


def _by_product_id(command: AddToCart) -> Plan | Rejected:
    stored = read_product_id(command.product_id)
    if isinstance(stored, Rejected):
        return stored
    listed = [offer for offer in command.offers if offer.plan.product_id == stored]
    if len(listed) > 1:
        return _ambiguous(listed, wizard.Selection())
    if not listed and command.withdrawn is not None:
        return plan_withdrawn(stored, command.withdrawn)
    if not listed:
        return plan_unknown(stored)
    plan = listed[0].plan
    return not_orderable(plan, listed[0], command.policy) or (
        plan if opens(command.standing, plan) else needs_csn(command.standing, plan, listed[0])
    )


def _by_wizard(selection: wizard.Selection, command: AddToCart) -> Plan | Rejected:
    fitting = [offer for offer in command.offers if selection.fits(offer.plan)]
    if not fitting:
        return Rejected(
            rules.SELECTION_LEADS_NOWHERE,
            "No plan of the catalogue fits all of these choices.",
            "Change one of the choices (GET /wizard lists those that lead to a plan).",
        )
    committed = [offer for offer in fitting if is_orderable(offer.plan, command.policy)]
    if not committed:
        return not_orderable(fitting[0].plan, fitting[0], command.policy) or fitting[0].plan
    opened = [offer for offer in committed if opens(command.standing, offer.plan)]
    match opened:
        case []:
            return needs_csn(command.standing, committed[0].plan, committed[0])
        case [offer]:
            return offer.plan
        case _:
            return _ambiguous(opened, selection)


def _ambiguous(offers: list[PlanListed], selection: wizard.Selection) -> Rejected:
    """Return the refusal of choices that more than one plan fits.

    It names at most ten plans or choices, because without any choice the whole catalogue fits.
    """
    plans = [offer.plan for offer in offers]
    because = tuple(offers[:10])
    step = wizard.next_step(plans, selection)
    if step is None:
        named = ", ".join(hyphenated(plan.product_id) for plan in plans[:10])
        return Rejected(
            rules.SELECTION_AMBIGUOUS, f"{len(plans)} plans fit: {named}.", "Order one by its product ID.", because
        )
    open_choices = wizard.choices(plans, selection, step)
    shown = ", ".join(open_choices[:10]) + (", …" if len(open_choices) > 10 else "")
    return Rejected(
        rules.SELECTION_AMBIGUOUS,
        f"{len(plans)} plans fit. Still to choose: {step} ({shown}).",
        f"Choose a {step}, too.",
        because,
    )


# ── Removing and checking out ──────────────────────────────────────────────────────────────────────────


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


def _check_out(command: CheckOut, state: OpenedCart) -> Decision[Event]:
    if not state.lines:
        return Rejected(rules.CART_EMPTY, "The cart is empty.", "Put a plan into the cart.", because=(state.opened,))
    purchaser = purchaser_of(command.customer, command.purchaser, command.purchaser_account)
    if isinstance(purchaser, Rejected):
        return purchaser
    refusal = start_refused(command.starts, command.now, command.policy)
    if refusal is not None:
        return refusal
    lines = [state.lines[number] for number in sorted(state.lines)]
    for added in lines:
        refusal = _changed_since(added, command)
        if refusal is not None:
            return refusal
    if len(command.subscription_ids) < len(lines):
        raise ValueError("the route must supply an id per line")
    ordered = tuple(
        OrderLine(
            subscription_id=new, plan=a.line.plan, seats=a.line.seats, total=a.line.plan.price.times(a.line.seats)
        )
        for new, a in zip(command.subscription_ids, lines, strict=False)
    )
    csn = valid_csn(command.standing, ordered[0].plan.publisher)
    total = Money(amount=sum(line.total.amount for line in ordered), currency=ordered[0].total.currency)
    return (
        CartCheckedOut(
            cart_id=state.opened.cart_id,
            partner=state.opened.partner,
            ordered_by=command.ordered_by,
            customer=command.customer,
            purchaser=command.purchaser,
            starts=command.starts,
            csn=csn.csn if csn else None,
            lines=ordered,
            total=total,
            country=purchaser.country,
            time_zone=purchaser.time_zone,
        ),
    )


def purchaser_of(customer: str, purchaser: str, account: Account | None) -> AccountOpened | Rejected:
    """Return the purchaser's account if it may order for the customer, or the refusal.

    The refusal does not tell whether another organisation's account exists.
    """
    if account is None or account.organisation_id != customer:
        return Rejected(
            rules.PURCHASER_UNKNOWN,
            f"No account {purchaser[:40]!r} of this customer is known here.",
            "Check the id. An account that was opened a moment ago is known in a few seconds: send a new request then.",
        )
    if isinstance(account, AccountClosed):
        return Rejected(
            rules.PURCHASER_CLOSED,
            "The purchaser's account is closed, so it can't become the contract's Contract Manager.",
            "Name an open account of the customer.",
            because=(account,),
        )
    if account.organisation_kind != "customer":
        return Rejected(
            rules.NOT_A_CUSTOMER,
            f"{account.organisation_name} is a {account.organisation_kind}, not a customer.",
            "Order for an organisation that signed up as a customer.",
            because=(account,),
        )
    return account


def _changed_since(added: CartLineAdded, command: CheckOut) -> Rejected | None:
    """Return why the line can't be ordered as it was added; None when it can."""
    plan = added.line.plan
    match next((offered for offered in command.offered if _code(offered) == plan.product_id), None):
        case PlanListed() as offer:
            if offer.plan != plan:
                return Rejected(
                    rules.PLAN_CHANGED,
                    f"{plan.product_name} ({hyphenated(plan.product_id)}) has changed since it was put into the cart. "
                    f"It now costs {offer.plan.price.amount} {offer.plan.price.currency} minor units a seat.",
                    "Put it into the cart again (for a sandbox, naming the customer), check it, and check out.",
                    because=(added, offer),
                )
            if not opens(command.standing, plan):
                return needs_csn(command.standing, plan, offer)
            return not_orderable(plan, offer, command.policy)
        case withdrawal:
            return plan_withdrawn(plan.product_id, withdrawal)


def _code(event: PlanListed | PlanWithdrawn) -> str:
    return event.plan.product_id if isinstance(event, PlanListed) else event.product_id


# ── Rules shared with resubmitted orders ───────────────────────────────────────────────────────────────


def start_refused(starts: date, now: datetime, policy: Policy) -> Rejected | None:
    """Return why a term can't start on `starts`; None when it can.

    A term starts today (in UTC) or at most `policy.start_days_ahead` days later.
    """
    today = now.astimezone(UTC).date()
    latest = today + timedelta(days=policy.start_days_ahead)
    if starts < today:
        return Rejected(
            rules.START_IN_THE_PAST,
            f"The start {starts} is in the past. Today is {today} (UTC).",
            f"Choose a start between {today} and {latest}.",
        )
    if starts > latest:
        return Rejected(
            rules.START_TOO_FAR_AHEAD,
            f"The start {starts} is more than {policy.start_days_ahead} days after today, {today} (UTC).",
            f"Choose a start between {today} and {latest}.",
        )
    return None


def seats_out_of_range(policy: Policy) -> Rejected:
    """Return the refusal of a number of seats that a subscription can't have."""
    return Rejected(
        rules.SEATS_OUT_OF_RANGE,
        f"A subscription has 1 to {policy.seats_at_most} seats.",
        "Choose a number in that range. For more seats, order a second subscription.",
    )


def not_orderable(plan: Plan, offer: PlanListed, policy: Policy) -> Rejected | None:
    """Return why the plan can't be ordered under the policy; None when it can."""
    if is_orderable(plan, policy):
        return None
    return Rejected(
        rules.TWELVE_MONTH_COMMITMENT,
        f"Every subscription commits for {policy.commitment_months} months. {hyphenated(plan.product_id)} commits for "
        f"{plan.commitment_months}.",
        "Choose the annual plan, or the monthly pre-paid one, which is the same commitment in instalments.",
        because=(offer,),
    )


def _tenant(event: Event) -> str:
    return event.partner if not isinstance(event, CartLineRemoved) else ""


CART = Stream(category="cart", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
