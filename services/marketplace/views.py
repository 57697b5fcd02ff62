"""The models of the queries' responses, and the functions that build them from rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from pydantic import BaseModel

from services.marketplace.domain import auto_renew
from services.marketplace.domain.cart_state import CheckedOut, OpenedCart
from services.marketplace.domain.checkout import ReviewedLine, cart_empty
from services.marketplace.domain.order import contract_id
from services.marketplace.domain.plan import Priced, hyphenated, is_orderable
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import NO_REFUNDS
from services.marketplace.domain.terms import Falls, Term, falls, instalments, still_owed, term_ends
from shared import days
from shared.events import (
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CancelBy,
    HeldSeat,
    Instalment,
    Money,
    Plan,
    SubscriptionOrderAbandoned,
)
from shared.events.marketplace import Billing, Category, Period, Support
from shared.sql import Row

SubscriptionStatus: TypeAlias = Literal["awaiting", "failed", "abandoned", "confirmed", "ended"]
CartStatus: TypeAlias = Literal["open", "checked-out", "discarded"]
AutoRenewState: TypeAlias = Literal["on", "asked", "off"]


class PlanView(BaseModel):
    """One service plan. `price` is for one seat and the whole commitment, in minor units."""

    product_id: str
    """With hyphens: groups of 5, 6 and 4 characters."""
    publisher: str
    product: str
    product_name: str
    period: Period
    support: Support
    billing: Billing
    category: Category
    agreement: str
    commitment_months: int
    price: Money
    orderable: bool
    """Whether its commitment is that of the publisher's policy; other plans can't be ordered."""


class PriceFrom(BaseModel):
    """A price of a seat, from a day (in UTC) on until the next one."""

    price: Money
    valid_from: date | None
    """Null for a price that holds since the plan was first listed."""
    time_zone: Literal["UTC"] = "UTC"
    """The zone of publishers' days."""


class OnePlanView(PlanView):
    """A plan with its prices of today and later."""

    prices: list[PriceFrom]
    """Today's, and those that the publisher has announced. A term costs what holds on its first day."""


class Choice(BaseModel):
    value: str
    label: str


class Wizard(BaseModel):
    """The choices that are left; each of them leads to a plan."""

    plans: int
    """The number of plans that match the choices made."""
    plan: PlanView | None
    """The plan, once a single one remains."""
    next: str | None
    """The first open step that narrows the plans down; null if there is none."""
    choices: dict[str, list[Choice]]
    remaining: list[str]
    """The product IDs of the plans that match, if there are at most ten."""


class Csn(BaseModel):
    publisher: str
    csn: str
    valid: bool
    reason: str
    event_id: str


class StandingView(BaseModel):
    organisation_id: str
    specialised_open_for: list[str]
    """The publishers whose specialised plans the organisation can buy."""
    csns: list[Csn]


class TermView(BaseModel):
    number: int
    """From 1; each renewal begins the next one."""
    starts: date
    ends: date
    """The last day."""


class CartRefusal(BaseModel):
    """Why the checkout would refuse the cart now."""

    line: int | None
    """The line that it refuses; null if it is the whole cart."""
    rule: str
    reason: str
    remedy: str
    because: list[str]
    """The ids of the events that justify it."""


class CartLineView(BaseModel):
    """A cart line, with the subscription that it becomes."""

    line: int
    plan: PlanView
    """As it is offered now; as it was added, if it is not offered any more."""
    seats: int
    price_a_seat: Money
    price_when_added: Money
    """The price of a seat when the plan was put into the cart."""
    total: Money
    term: TermView
    instalments: list[Instalment]
    cancel_by: CancelBy | None
    """The deadline to turn auto-renew off in that term; null without a purchaser."""
    csn: str | None
    """The CSN on the order."""
    subscription_id: str | None
    opens_contract: bool | None
    """Whether its confirmation opens a contract, whose Contract Manager the purchaser becomes.

    Null without a customer, and once the cart is checked out.
    """


class CartView(BaseModel):
    """A cart as the order that it would be, or was checked out as."""

    cart_id: str
    status: Literal["open", "checked-out"]
    lines: list[CartLineView]
    total: Money | None
    """Null if the cart is empty, or a plan is sold in another currency since it was added."""
    refusals: list[CartRefusal]
    """What the checkout would refuse now, in its order: it answers with the first."""
    commitment: str
    refunds: str
    customer: str | None
    purchaser: str | None
    starts: date
    time_zone: str
    """The zone of the term's and the instalments' dates: the purchaser's; UTC without a purchaser."""
    assumed: list[str]
    """What was assumed for values that were not given."""


class CartSummary(BaseModel):
    """A cart in the list of the partner's carts."""

    cart_id: str
    status: CartStatus
    opened_by: str
    opened_at: datetime
    changed_at: datetime
    lines: int
    seats: int
    products: list[str]
    """The product of each line, in their order."""
    publisher: str | None
    """The one publisher of its plans; null for an empty cart."""
    total: Money | None
    """At the prices of when the lines were added; the cart itself has today's. Null for an empty cart."""


class AutoRenewView(BaseModel):
    state: AutoRenewState
    cancel_by: CancelBy
    in_time: bool
    """Whether a request now would apply to the running term."""
    ends: date | None
    """The subscription's last day, once auto-renew is off."""
    reminded: list[int]
    """The reminders of this term's renewal that were sent, as numbers of days before its end."""
    asked: AutoRenewDisableRequested | None
    """The last request."""
    refused: AutoRenewDisableRefused | None
    """The latest refusal of such a request, if the latest request was refused."""


class ChargeView(Instalment):
    """An instalment of a subscription."""

    falls: Falls
    """Whether its day is over, is the customer's today, or is still to come. The last are what is still owed."""


class SubscriptionView(BaseModel):
    subscription_id: str
    status: SubscriptionStatus
    failure_reason: str | None
    """The publisher's reason why it declined the order, until that is sent again."""
    abandoned: SubscriptionOrderAbandoned | None
    publisher_reference: str | None
    cart_id: str
    contract_id: str
    partner: str
    partner_name: str
    customer: str
    customer_name: str
    purchaser: str
    plan: PlanView
    seats: int
    seats_next_term: int | None
    total: Money
    """For the running term."""
    csn: str | None
    starts: date
    time_zone: str
    """The customer's zone, which the order fixed. All dates here are in it, but `cancel_by`, which names its own."""
    term: TermView | None
    auto_renew: AutoRenewView | None
    instalments: list[ChargeView]
    still_owed: Money
    """The sum of the instalments due after the customer's today; they are owed even if auto-renew is turned off."""


class RenewalMonth(BaseModel):
    """The terms that end in a month, of one currency."""

    month: date
    """Its first day."""
    renewing: int
    """The subscriptions that renew by themselves."""
    ending: int
    """The subscriptions that end, because auto-renew is off."""
    seats: int
    """Those of the next terms."""
    amount: Money
    """The sum of the next terms at the running terms' prices. A price that was announced since is not in it."""


class Renewals(BaseModel):
    ends_from: date
    ends_before: date
    months: list[RenewalMonth]


class CancelPreview(BaseModel):
    """What turning auto-renew off would do now, or does, if it was requested or is off."""

    possible_now: bool
    in_time: bool
    """Whether the deadline has not passed."""
    deadline: datetime
    last_permitted_day: date
    time_zone: str
    """The zone of both days."""
    would_end: date | None
    """The subscription's last day if the request is granted; null if a request now would be refused as too late."""
    still_owed: Money
    """The sum of the instalments due after the customer's today, up to that last day."""
    next_term: Money | None
    """The part of it for the next term, if the subscription would run through that, too.

    It is for the seats of the next term, at the price that the publisher has announced by now for its first day.
    """
    seats_to_unassign: list[HeldSeat]
    note: str


class SupportView(BaseModel):
    """Who supports whom."""

    subscription_id: str
    customer: str
    supported_by: str
    """The partner, which the customer's users ask for support."""
    partner_supported_by: list[str]
    """The distributor and the publisher, who support the partner only."""
    answer: str


def plan_view(plan: Plan, policy: Policy) -> PlanView:
    return PlanView(
        product_id=hyphenated(plan.product_id),
        publisher=plan.publisher,
        product=plan.product,
        product_name=plan.product_name,
        period=plan.period,
        support=plan.support,
        billing=plan.billing,
        category=plan.category,
        agreement=plan.agreement,
        commitment_months=plan.commitment_months,
        price=plan.price,
        orderable=is_orderable(plan, policy),
    )


def one_plan_view(plan: Plan, prices: Sequence[Priced], policy: Policy) -> OnePlanView:
    """Return the view of a plan, with its prices from today on."""
    shown = [PriceFrom(price=each.price, valid_from=None if each.first == date.min else each.first) for each in prices]
    return OnePlanView(**dict(plan_view(plan, policy)), prices=shown)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderedWith:
    """The values of a cart's checkout, made or assumed."""

    customer: str | None
    purchaser: str | None
    starts: date
    time_zone: str
    csn: str | None
    cancel_by: CancelBy | None
    contracts: frozenset[str] | None = None
    """The contracts that the customer has; None without a customer, and of a checked-out cart."""
    assumed: tuple[str, ...] = ()


def cart_view(
    state: OpenedCart | CheckedOut, lines: Sequence[ReviewedLine], policy: Policy, ordered_with: OrderedWith
) -> CartView:
    """Return the view of a cart.

    Args:
        state: The cart.
        lines: Its lines, as they would be ordered now or were ordered.
        policy: The publisher's policy.
        ordered_with: The values of the checkout, made or assumed.
    """
    starts = ordered_with.starts
    term = TermView(number=1, starts=starts, ends=term_ends(starts))
    order = state.order if isinstance(state, CheckedOut) else None
    subscriptions = [line.subscription_id for line in order.lines] if order else [None] * len(lines)
    shown = [
        CartLineView(
            line=line.number,
            plan=plan_view(line.plan, policy),
            seats=line.seats,
            price_a_seat=line.plan.price,
            price_when_added=line.price_when_added,
            total=line.total,
            term=term,
            instalments=list(instalments(line.total, starts, line.plan.billing)),
            cancel_by=ordered_with.cancel_by,
            csn=ordered_with.csn,
            subscription_id=subscription_id,
            opens_contract=_opens_contract(line.plan, ordered_with),
        )
        for line, subscription_id in zip(lines, subscriptions, strict=True)
    ]
    currencies = {line.total.currency for line in shown}
    total = sum(line.total.amount for line in shown)
    return CartView(
        cart_id=state.opened.cart_id,
        status="checked-out" if order else "open",
        lines=shown,
        total=Money(amount=total, currency=shown[0].total.currency) if len(currencies) == 1 else None,
        refusals=_cart_refusals(state, lines),
        commitment=f"Every subscription commits for {policy.commitment_months} months; it renews by itself unless "
        f"auto-renew is turned off until {policy.cancel_business_days} business days before its term ends.",
        refunds=NO_REFUNDS,
        customer=ordered_with.customer,
        purchaser=ordered_with.purchaser,
        starts=starts,
        time_zone=ordered_with.time_zone,
        assumed=list(ordered_with.assumed),
    )


def _opens_contract(plan: Plan, ordered_with: OrderedWith) -> bool | None:
    if ordered_with.contracts is None or ordered_with.customer is None:
        return None
    return contract_id(ordered_with.customer, plan.publisher, plan.programme) not in ordered_with.contracts


def _cart_refusals(state: OpenedCart | CheckedOut, lines: Sequence[ReviewedLine]) -> list[CartRefusal]:
    empty = cart_empty(state) if isinstance(state, OpenedCart) else None
    found = [(None, empty), *((line.number, line.refusal) for line in lines)]
    return [
        CartRefusal(
            line=line,
            rule=refusal.rule,
            reason=refusal.reason,
            remedy=refusal.remedy,
            because=[event.ref for event in refusal.because],
        )
        for line, refusal in found
        if refusal is not None
    ]


def charge_views(parts: Sequence[Instalment], today: date) -> list[ChargeView]:
    """Return the views of instalments on the customer's day."""
    return [
        ChargeView(number=each.number, due=each.due, amount=each.amount, falls=falls(each.due, today)) for each in parts
    ]


def subscription_view(
    row: Row, parts: Sequence[Row], names: Mapping[str, str], policy: Policy, now: datetime
) -> SubscriptionView:
    """Return the view at `now` of a row of `subscriptions` with its rows of `instalments`.

    Args:
        names: The organisations' names by id, as far as they are known.
    """
    currency, today = row["currency"], days.day_of(now, row["time_zone"])
    due = [
        Instalment(number=p["number"], due=p["due"], amount=Money(amount=p["amount"], currency=currency)) for p in parts
    ]
    return SubscriptionView(
        subscription_id=row["subscription_id"],
        status=row["status"],
        failure_reason=row["failure_reason"],
        abandoned=SubscriptionOrderAbandoned.from_row(row["abandoned"]) if row["abandoned"] else None,
        publisher_reference=row["publisher_reference"],
        cart_id=row["cart_id"],
        contract_id=row["contract_id"],
        partner=row["partner"],
        partner_name=names.get(row["partner"], row["partner"]),
        customer=row["customer"],
        customer_name=names.get(row["customer"], row["customer"]),
        purchaser=row["purchaser"],
        plan=plan_view(Plan.from_row(row["plan"]), policy),
        seats=row["seats"],
        seats_next_term=row["next_seats"],
        total=Money(amount=row["total_amount"], currency=currency),
        csn=row["csn"],
        starts=row["starts"],
        time_zone=row["time_zone"],
        term=TermView(number=row["term"], starts=row["term_starts"], ends=row["ends"]) if row["ends"] else None,
        auto_renew=_auto_renew(row, now) if row["auto_renew"] else None,
        instalments=charge_views(due, today),
        still_owed=still_owed(due, currency, today),
    )


def _auto_renew(row: Row, now: datetime) -> AutoRenewView:
    cancel_by = CancelBy.from_row(row["cancel_by"])
    asked, refused = row["asked"], row["refused"]
    return AutoRenewView(
        state=row["auto_renew"],
        cancel_by=cancel_by,
        in_time=auto_renew.is_in_time(cancel_by, now),
        ends=row["last_day"],
        reminded=row["reminded"],
        asked=AutoRenewDisableRequested.from_row(asked) if asked else None,
        refused=AutoRenewDisableRefused.from_row(refused) if refused else None,
    )


def cancel_preview_view(preview: auto_renew.CancelPreview, term: Term, held: list[HeldSeat]) -> CancelPreview:
    """Return the view of a cancel preview.

    `held` is read from a copy of the seat pool's assignments; the seat pool itself decides about a request.
    """
    return CancelPreview(
        possible_now=preview.possible_now,
        in_time=preview.in_time,
        deadline=term.cancel_by.deadline,
        last_permitted_day=term.cancel_by.last_day,
        time_zone=term.time_zone,
        would_end=preview.last_day,
        still_owed=preview.still_owed,
        next_term=preview.next_term,
        seats_to_unassign=held,
        note=_TOO_LATE if preview.too_late else _FINAL,
    )


_FINAL = "Final once it is off. The instalments are owed to the end, and seats may be assigned again until then."
_TOO_LATE = "The deadline has passed, so the subscription renews. It can be turned off in the next term."
