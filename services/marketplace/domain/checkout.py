"""The checkout of a cart: each line becomes an order.

Every line is reviewed again, for the checkout and for the cart that is shown before it. What was shown is what is
ordered: a plan that changed since it was added is refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, TypeAlias

from services.marketplace.domain import rules
from services.marketplace.domain.cart_state import CheckedOut, OpenedCart
from services.marketplace.domain.engagement import INITIAL as NEVER_ENGAGED
from services.marketplace.domain.engagement import State as Engagement
from services.marketplace.domain.engagement import order_refused
from services.marketplace.domain.plan import hyphenated, not_orderable, plan_withdrawn, product_id_of
from services.marketplace.domain.policy import DEFAULT, Policy
from services.marketplace.domain.standing import INITIAL as NO_STANDING
from services.marketplace.domain.standing import State as Standing
from services.marketplace.domain.standing import needs_csn, opens, valid_csn
from shared import days
from shared.eventlog.decision import SUPPLIED, Decision, Rejected
from shared.events import (
    AccountClosed,
    AccountOpened,
    CartCheckedOut,
    CartLineAdded,
    Money,
    OrderLine,
    Plan,
    PlanListed,
    PlanWithdrawn,
)
from shared.events.fields import Day, Identifier, countries, time_zones
from shared.money import written

Account: TypeAlias = AccountOpened | AccountClosed
"""The latest event of identity about an account that is known here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckOut:
    """Order the cart's lines for a customer.

    The customer must have engaged the partner. Each line becomes one order, in the cart's sequence. The purchaser, an
    account of the customer, becomes Contract Manager with the contract's first order. `starts` is a date in the
    purchaser's time zone, from today on.
    """

    customer: Identifier
    purchaser: Identifier
    starts: Day
    ordered_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    subscription_ids: Annotated[tuple[str, ...], SUPPLIED]
    """New ids, at least one for each line."""
    purchaser_account: Annotated[Account | None, SUPPLIED] = None
    engagement: Annotated[Engagement, SUPPLIED] = NEVER_ENGAGED
    ordered_before: Annotated[bool, SUPPLIED] = False
    """Whether there is a subscription that the partner ordered for the customer."""
    offered: Annotated[tuple[PlanListed | PlanWithdrawn, ...], SUPPLIED] = ()
    """The latest event of the catalogue about each plan in the cart."""
    standing: Annotated[Standing, SUPPLIED] = NO_STANDING
    policy: Annotated[Policy, SUPPLIED] = DEFAULT


def check_out(command: CheckOut, state: OpenedCart) -> Decision[CartCheckedOut]:
    """Return the order of the cart's lines, or the refusal."""
    if (empty := cart_empty(state)) is not None:
        return empty
    purchaser = purchaser_of(command.customer, command.purchaser, command.purchaser_account)
    if isinstance(purchaser, Rejected):
        return purchaser
    refusal = order_refused(command.engagement, ordered_before=command.ordered_before)
    if refusal is not None:
        return refusal
    refusal = start_refused(command.starts, command.now, purchaser.time_zone, command.policy)
    if refusal is not None:
        return refusal
    lines = review(state, command.offered, standing=command.standing, policy=command.policy)
    for line in lines:
        if line.refusal is not None:
            return line.refusal
    if len(command.subscription_ids) < len(lines):
        raise ValueError("the route must supply an id per line")
    ordered = tuple(
        OrderLine(subscription_id=new, plan=line.plan, seats=line.seats, total=line.total)
        for new, line in zip(command.subscription_ids, lines, strict=False)
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
    return _place_unknown(account) or account


def _place_unknown(account: AccountOpened) -> Rejected | None:
    """Return why the term's dates can't be counted where the purchaser is; None when they can.

    Profiles from before countries and time zones were checked may have any text there.
    """
    if account.country.upper() in countries() and account.time_zone in time_zones():
        return None
    return Rejected(
        rules.PURCHASER_PLACE_UNKNOWN,
        "The purchaser's profile has no known country or time zone, in which the term's dates are counted.",
        "Ask the purchaser to set both (PUT /me/profile), and send a new request a few seconds later.",
        because=(account,),
    )


# ── The cart's lines ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewedLine:
    """A cart's line as it would be ordered now, or was ordered."""

    number: int
    plan: Plan
    """As it is offered now; as it was added, if it is not offered any more."""
    seats: int
    price_when_added: Money
    refusal: Rejected | None = None
    """Why the checkout refuses it."""

    @property
    def total(self) -> Money:
        """The price of all its seats."""
        return self.plan.price.times(self.seats)


def cart_empty(state: OpenedCart) -> Rejected | None:
    """Return the refusal of a cart without lines; None where it has some."""
    if state.lines:
        return None
    return Rejected(rules.CART_EMPTY, "The cart is empty.", "Put a plan into the cart.", because=(state.opened,))


def review(
    state: OpenedCart, offered: Iterable[PlanListed | PlanWithdrawn], *, standing: Standing, policy: Policy
) -> tuple[ReviewedLine, ...]:
    """Return the cart's lines as the checkout would order or refuse them.

    Args:
        state: the cart.
        offered: the latest event of the catalogue about each plan in the cart.
        standing: the partner's standing.
        policy: the policy of the plans' publisher.
    """
    offers = {product_id_of(offer): offer for offer in offered}
    added = (state.lines[number] for number in sorted(state.lines))
    return tuple(_review(each, offers.get(each.line.plan.product_id), standing, policy) for each in added)


def _review(
    added: CartLineAdded, offer: PlanListed | PlanWithdrawn | None, standing: Standing, policy: Policy
) -> ReviewedLine:
    plan = added.line.plan
    match offer:
        case PlanListed():
            refusal = _changed_since(added, offer) or (
                not_orderable(plan, offer, policy) if opens(standing, plan) else needs_csn(standing, plan, offer)
            )
        case withdrawal:
            refusal = plan_withdrawn(plan.product_id, withdrawal)
    return ReviewedLine(
        number=added.line.line,
        plan=offer.plan if isinstance(offer, PlanListed) else plan,
        seats=added.line.seats,
        price_when_added=plan.price,
        refusal=refusal,
    )


def _changed_since(added: CartLineAdded, offer: PlanListed) -> Rejected | None:
    plan = added.line.plan
    if offer.plan == plan:
        return None
    return Rejected(
        rules.PLAN_CHANGED,
        f"{plan.product_name} ({hyphenated(plan.product_id)}) has changed since it was put into the cart. "
        f"It now costs {written(offer.plan.price.amount, offer.plan.price.currency)} a seat.",
        "Put it into the cart again (for a sandbox, naming the customer), check it, and check out.",
        because=(added, offer),
    )


def ordered_lines(state: CheckedOut) -> tuple[ReviewedLine, ...]:
    """Return the lines of a checked-out cart as they were ordered."""
    return tuple(
        ReviewedLine(number=number, plan=line.plan, seats=line.seats, price_when_added=line.plan.price)
        for number, line in zip(state.numbers, state.order.lines, strict=True)
    )


# ── Rules shared with resubmitted orders ───────────────────────────────────────────────────────────────


def start_refused(starts: date, now: datetime, time_zone: str, policy: Policy) -> Rejected | None:
    """Return why a term can't start on `starts`; None when it can.

    A term starts today, by the customer's time zone, or at most `policy.start_days_ahead` days later.
    """
    today = days.day_of(now, time_zone)
    latest = today + timedelta(days=policy.start_days_ahead)
    if starts < today:
        return Rejected(
            rules.START_IN_THE_PAST,
            f"The start {starts} is in the past. Today is {today} ({time_zone}).",
            f"Choose a start between {today} and {latest}.",
        )
    if starts > latest:
        return Rejected(
            rules.START_TOO_FAR_AHEAD,
            f"The start {starts} is more than {policy.start_days_ahead} days after today, {today} ({time_zone}).",
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
