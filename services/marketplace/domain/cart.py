"""A partner's cart: what is being put together for a customer. One stream per cart, `cart-<id>`.

Everything is checked twice: when a plan goes in, and again when the cart is checked out, against what the catalogue
and the partner's standing say then. What is ordered is what was shown: a plan that changed since is looked at again.
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
"""A cart is one clerk's order, not a price list."""

Account: TypeAlias = AccountOpened | AccountClosed
"""identity's last word about an account, as far as it is known here."""

Event: TypeAlias = CartOpened | CartLineAdded | CartLineRemoved | CartCheckedOut

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unopened:
    pass


@dataclass(frozen=True, slots=True)
class OpenedCart:
    opened: CartOpened
    lines: Mapping[int, CartLineAdded] = field(default_factory=dict)
    next_line: int = 1


@dataclass(frozen=True, slots=True)
class CheckedOut:
    opened: CartOpened
    order: CartCheckedOut


State: TypeAlias = Unopened | OpenedCart | CheckedOut
INITIAL: State = Unopened()


def evolve(state: State, event: Event) -> State:
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
    """Begin an order. The cart belongs to the partner that the caller works for."""

    cart_id: Annotated[str, SUPPLIED]
    partner: Annotated[str, SUPPLIED]
    opened_by: Annotated[str, SUPPLIED]


@dataclass(frozen=True, kw_only=True, slots=True)
class AddToCart:
    """Put one plan into the cart, for so many named users: by its product ID (hyphens or not), or by the wizard's
    choices, as many as it takes to single one plan out. A plan has one line; adding it again sets its seats."""

    seats: Count
    product_id: OptionalCode = ""
    product: OptionalCode = ""
    period: Period | None = None
    support: Support | None = None
    billing: Billing | None = None
    customer: OptionalIdentifier = ""
    """For whom it will be ordered, where that is a sandbox: the price is the one of that customer's day."""
    offers: Annotated[tuple[PlanListed, ...], SUPPLIED] = ()
    """What the catalogue lists under the product ID, or under the wizard's choices."""
    withdrawn: Annotated[PlanWithdrawn | None, SUPPLIED] = None
    """The publisher's withdrawal of the plan with this product ID, if that is its last word."""
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


@dataclass(frozen=True, slots=True)
class RemoveFromCart:
    """Take a line out of the cart."""

    line: Number


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckOut:
    """Order what is in the cart, for a customer: each line becomes one order, in the cart's sequence. The purchaser, an
    account of the customer's, becomes Contract Manager with the first order. `starts` is a date in UTC, today on."""

    customer: Identifier
    purchaser: Identifier
    starts: Day
    ordered_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    subscription_ids: Annotated[tuple[str, ...], SUPPLIED]
    """New ids, at least one per line."""
    purchaser_account: Annotated[Account | None, SUPPLIED] = None
    offered: Annotated[tuple[PlanListed | PlanWithdrawn, ...], SUPPLIED] = ()
    """The catalogue's last word on each plan in the cart."""
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


Command: TypeAlias = OpenCart | AddToCart | RemoveFromCart | CheckOut


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
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
                "This cart was ordered; it takes no change any more.",
                "Open a new cart for anything else.",
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
        unlike = _unlike(plan, first)
        if unlike is not None:
            return unlike
    same = next((added.line for added in state.lines.values() if added.line.plan.product_id == plan.product_id), None)
    if same is None and len(state.lines) >= LINES_AT_MOST:
        return Rejected(
            rules.TOO_MANY_LINES,
            f"A cart has at most {LINES_AT_MOST} lines.",
            "Check this cart out and open another.",
            because=tuple(state.lines.values()),
        )
    line = CartLine(line=same.line if same else state.next_line, plan=plan, seats=command.seats)
    if line == same:
        return ()
    return (CartLineAdded(cart_id=state.opened.cart_id, partner=state.opened.partner, line=line),)


def _unlike(plan: Plan, first: CartLineAdded) -> Rejected | None:
    """A cart's total is one sum in one currency, and its order goes to one publisher under one CSN."""
    there = first.line.plan
    if plan.publisher != there.publisher:
        return Rejected(
            rules.ONE_PUBLISHER_A_CART,
            f"The cart holds plans of {there.publisher}; {plan.product_name} is of {plan.publisher}.",
            "Put it into a cart of its own.",
            because=(first,),
        )
    if plan.price.currency != there.price.currency:
        return Rejected(
            rules.ONE_CURRENCY_A_CART,
            f"The cart is in {there.price.currency}; {plan.product_name} is sold in {plan.price.currency}.",
            "Put it into a cart of its own.",
            because=(first,),
        )
    return None


# ── Which plan ─────────────────────────────────────────────────────────────────────────────────────────


def _chosen(command: AddToCart) -> Plan | Rejected:
    selection = wizard.Selection(command.product, command.period or "", command.support or "", command.billing or "")
    if not command.product_id:
        return _by_wizard(selection, command)
    if selection != wizard.Selection():
        return Rejected(
            rules.PRODUCT_ID_OR_WIZARD,
            "A product ID already names exactly one plan; there is nothing left to choose.",
            "Send the product ID alone, or the choices without it.",
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
            "Ask the wizard what can be chosen, and change one.",
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
    """Names ten of what fits at most: without any choice that is the whole catalogue."""
    plans = [offer.plan for offer in offers]
    because = tuple(offers[:10])
    step = wizard.next_step(plans, selection)
    if step is None:
        named = ", ".join(hyphenated(plan.product_id) for plan in plans[:10])
        return Rejected(
            rules.SELECTION_AMBIGUOUS, f"{len(plans)} plans fit: {named}.", "Order one by its product ID.", because
        )
    left = wizard.choices(plans, selection, step)
    shown = ", ".join(left[:10]) + (", …" if len(left) > 10 else "")
    return Rejected(
        rules.SELECTION_AMBIGUOUS,
        f"{len(plans)} plans fit. Still to choose: {step} ({shown}).",
        f"Choose a {step}, too.",
        because,
    )


# ── Out of the cart ────────────────────────────────────────────────────────────────────────────────────


def _remove(line: int, state: OpenedCart) -> Decision[Event]:
    if line in state.lines:
        return (CartLineRemoved(cart_id=state.opened.cart_id, line=line),)
    if 1 <= line < state.next_line:
        return ()
    return Rejected(
        rules.LINE_UNKNOWN, f"The cart never had a line {line}.", "Look at the cart.", because=(state.opened,)
    )


def _check_out(command: CheckOut, state: OpenedCart) -> Decision[Event]:
    if not state.lines:
        return Rejected(
            rules.CART_EMPTY, "There is nothing in the cart.", "Put a plan into it.", because=(state.opened,)
        )
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
    """The account with the id `purchaser`, if it may order for the customer. Whether another
    organisation's account exists is not told."""
    if account is None or account.organisation_id != customer:
        return Rejected(
            rules.PURCHASER_UNKNOWN,
            f"No account {purchaser[:40]!r} of this customer is known here.",
            "Check the id. One that was opened a moment ago is known in a few seconds: send a new request then.",
        )
    if isinstance(account, AccountClosed):
        return Rejected(
            rules.PURCHASER_CLOSED,
            "The purchaser's account is closed; nobody would be the contract's Contract Manager.",
            "Name an open account of the customer's.",
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
    """Whether a line can no longer be ordered as it was put into the cart."""
    plan = added.line.plan
    match next((word for word in command.offered if _code(word) == plan.product_id), None):
        case PlanListed() as offer:
            if offer.plan != plan:
                return Rejected(
                    rules.PLAN_CHANGED,
                    f"{plan.product_name} ({hyphenated(plan.product_id)}) reads otherwise than when it was put into "
                    f"the cart: it now costs {offer.plan.price.amount} {offer.plan.price.currency} minor units a seat.",
                    "Put it into the cart again (for a sandbox, naming the customer), look at it, and check out.",
                    because=(added, offer),
                )
            if not opens(command.standing, plan):
                return needs_csn(command.standing, plan, offer)
            return not_orderable(plan, offer, command.policy)
        case withdrawal:
            return plan_withdrawn(plan.product_id, withdrawal)


def _code(word: PlanListed | PlanWithdrawn) -> str:
    return word.plan.product_id if isinstance(word, PlanListed) else word.product_id


# ── Rules that an order sent again shares ──────────────────────────────────────────────────────────────


def start_refused(starts: date, now: datetime, policy: Policy) -> Rejected | None:
    """A term starts today (in UTC) or at most so many days ahead."""
    today = now.astimezone(UTC).date()
    latest = today + timedelta(days=policy.start_days_ahead)
    if starts < today:
        return Rejected(
            rules.START_IN_THE_PAST,
            f"{starts} is over; today is {today} (UTC).",
            f"Start between {today} and {latest}.",
        )
    if starts > latest:
        return Rejected(
            rules.START_TOO_FAR_AHEAD,
            f"{starts} is more than {policy.start_days_ahead} days ahead of {today} (UTC).",
            f"Start between {today} and {latest}.",
        )
    return None


def seats_out_of_range(policy: Policy) -> Rejected:
    return Rejected(
        rules.SEATS_OUT_OF_RANGE,
        f"A subscription has 1 to {policy.seats_at_most} seats.",
        "Give a number in that range; more seats take a second subscription.",
    )


def not_orderable(plan: Plan, offer: PlanListed, policy: Policy) -> Rejected | None:
    if is_orderable(plan, policy):
        return None
    return Rejected(
        rules.TWELVE_MONTH_COMMITMENT,
        f"Every subscription commits for {policy.commitment_months} months; {hyphenated(plan.product_id)} commits for "
        f"{plan.commitment_months}.",
        "Choose the annual plan, or the monthly pre-paid one: the same commitment in instalments.",
        because=(offer,),
    )


def _tenant(event: Event) -> str:
    return event.partner if not isinstance(event, CartLineRemoved) else ""


CART = Stream(category="cart", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
