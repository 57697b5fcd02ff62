"""What queries answer: the shapes, and how they are made of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel

from services.marketplace.domain import auto_renew
from services.marketplace.domain.plan import hyphenated, is_orderable
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.subscription import NO_REFUNDS
from services.marketplace.domain.terms import instalments, still_owed, term_ends
from shared.events import (
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CancelBy,
    CartCheckedOut,
    HeldSeat,
    Instalment,
    Money,
    Plan,
)
from shared.events.marketplace import Billing, Category, Period, Support
from shared.sql import Row


class PlanView(BaseModel):
    """One service plan. `price` is for one seat and the whole commitment, in minor units."""

    product_id: str
    """As people read it, 5-6-4."""
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
    """Whether its commitment is the one that subscriptions have."""


class Plans(BaseModel):
    items: list[PlanView]
    next: str | None
    """Pass it as `after` for the following page."""


class Choice(BaseModel):
    value: str
    label: str


class Wizard(BaseModel):
    """What can still be chosen: each choice leads to a plan."""

    plans: int
    """How many plans fit the choices made."""
    plan: PlanView | None
    """The plan, once one remains."""
    next: str | None
    """The first open step that makes a difference."""
    choices: dict[str, list[Choice]]
    remaining: list[str]
    """The product IDs of what fits, where there are at most ten."""


class Csn(BaseModel):
    publisher: str
    csn: str
    valid: bool
    reason: str
    event_id: str


class StandingView(BaseModel):
    organisation_id: str
    specialised_open_for: list[str]
    """The publishers whose specialised plans are open to the organisation."""
    csns: list[Csn]


class TermView(BaseModel):
    number: int
    """From 1; each renewal begins the next one."""
    starts: date
    ends: date
    """The last day."""


class CartLineView(BaseModel):
    """A line, and the subscription that it becomes once the publisher confirms it."""

    line: int
    plan: PlanView
    seats: int
    price_a_seat: Money
    total: Money
    term: TermView
    instalments: list[Instalment]
    cancel_by: CancelBy | None
    """Until when auto-renew can be turned off in that term; null before a purchaser is named."""
    csn: str | None
    """The number that the order names."""
    subscription_id: str | None


class CartView(BaseModel):
    """The whole order, for checking before it is sent; once it was sent, as it was."""

    cart_id: str
    status: Literal["open", "checked-out"]
    lines: list[CartLineView]
    total: Money | None
    commitment: str
    refunds: str
    customer: str | None
    purchaser: str | None
    starts: date
    assumed: list[str]
    """What stands here for what was not named."""


class AutoRenewView(BaseModel):
    state: Literal["on", "asked", "off"]
    cancel_by: CancelBy
    in_time: bool
    """Whether a request now would bind the running term."""
    ends: date | None
    """The subscription's last day, once auto-renew is off."""
    reminded: list[int]
    """So many days before this term's end its renewal was announced."""
    asked: AutoRenewDisableRequested | None
    """The last request."""
    refused: AutoRenewDisableRefused | None
    """The last answer, where it was a refusal."""


class SubscriptionView(BaseModel):
    subscription_id: str
    status: Literal["awaiting", "failed", "confirmed", "ended"]
    failure_reason: str | None
    publisher_reference: str | None
    cart_id: str
    contract_id: str
    partner: str
    customer: str
    purchaser: str
    plan: PlanView
    seats: int
    seats_next_term: int | None
    total: Money
    """For the running term."""
    csn: str | None
    starts: date
    term: TermView | None
    auto_renew: AutoRenewView | None
    instalments: list[Instalment]
    still_owed: Money
    """The instalments due after today (UTC); they are owed to the term's end all the same."""


class Subscriptions(BaseModel):
    items: list[SubscriptionView]
    next: str | None


class CancelPreview(BaseModel):
    """What turning auto-renew off would do now; of one that was asked for, or is off, what that does."""

    possible_now: bool
    in_time: bool
    """Whether the deadline is still ahead."""
    deadline: datetime
    last_permitted_day: date
    would_end: date | None
    """The subscription's last day if the request is granted; null where a request now would be refused as too late."""
    still_owed: Money
    """All that falls due after today (UTC), up to that last day."""
    next_term: Money | None
    """How much of it is for the term after the running one, where the subscription would run that, too: its seats at
    the price that the publisher has said by now for its first day."""
    seats_to_unassign: list[HeldSeat]
    note: str


class SupportView(BaseModel):
    """Who supports whom."""

    subscription_id: str
    customer: str
    supported_by: str
    """The partner: whoever of the customer's has a question asks here."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderedWith:
    """What a cart was ordered with, or would be."""

    customer: str | None
    purchaser: str | None
    starts: date
    csn: str | None
    cancel_by: CancelBy | None
    assumed: tuple[str, ...] = ()


def cart_view(
    cart_id: str,
    order: CartCheckedOut | None,
    lines: list[tuple[int, Plan, int]],
    policy: Policy,
    ordered_with: OrderedWith,
) -> CartView:
    """A cart with its (line, plan, seats), and what it was ordered as, if it was."""
    starts = ordered_with.starts
    term = TermView(number=1, starts=starts, ends=term_ends(starts))
    subscriptions = [line.subscription_id for line in order.lines] if order else [None] * len(lines)
    shown = [
        CartLineView(
            line=number,
            plan=plan_view(plan, policy),
            seats=seats,
            price_a_seat=plan.price,
            total=plan.price.times(seats),
            term=term,
            instalments=list(instalments(plan.price.times(seats), starts, plan.billing)),
            cancel_by=ordered_with.cancel_by,
            csn=ordered_with.csn,
            subscription_id=subscription_id,
        )
        for (number, plan, seats), subscription_id in zip(lines, subscriptions, strict=True)
    ]
    sums = [line.total.amount for line in shown]
    return CartView(
        cart_id=cart_id,
        status="checked-out" if order else "open",
        lines=shown,
        total=Money(amount=sum(sums), currency=shown[0].total.currency) if shown else None,
        commitment=f"Every subscription commits for {policy.commitment_months} months; it renews by itself unless "
        f"auto-renew is turned off until {policy.cancel_business_days} business days before its term ends.",
        refunds=NO_REFUNDS,
        customer=ordered_with.customer,
        purchaser=ordered_with.purchaser,
        starts=starts,
        assumed=list(ordered_with.assumed),
    )


def subscription_view(row: Row, parts: Sequence[Row], policy: Policy, now: datetime) -> SubscriptionView:
    """A row of `subscriptions` with its rows of `instalments`, as it reads at `now`."""
    currency = row["currency"]
    due = [
        Instalment(number=p["number"], due=p["due"], amount=Money(amount=p["amount"], currency=currency)) for p in parts
    ]
    return SubscriptionView(
        subscription_id=row["subscription_id"],
        status=row["status"],
        failure_reason=row["failure_reason"],
        publisher_reference=row["publisher_reference"],
        cart_id=row["cart_id"],
        contract_id=row["contract_id"],
        partner=row["partner"],
        customer=row["customer"],
        purchaser=row["purchaser"],
        plan=plan_view(Plan.from_row(row["plan"]), policy),
        seats=row["seats"],
        seats_next_term=row["next_seats"],
        total=Money(amount=row["total_amount"], currency=currency),
        csn=row["csn"],
        starts=row["starts"],
        term=TermView(number=row["term"], starts=row["term_starts"], ends=row["ends"]) if row["ends"] else None,
        auto_renew=_auto_renew(row, now) if row["auto_renew"] else None,
        instalments=due,
        still_owed=still_owed(due, currency, now),
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


def cancel_preview_view(preview: auto_renew.CancelPreview, cancel_by: CancelBy, held: list[HeldSeat]) -> CancelPreview:
    """A cancel preview with the deadline and the seats that are in the way; the seat pool decides, `held` is a copy."""
    return CancelPreview(
        possible_now=preview.possible_now,
        in_time=preview.in_time,
        deadline=cancel_by.deadline,
        last_permitted_day=cancel_by.last_day,
        would_end=preview.last_day,
        still_owed=preview.still_owed,
        next_term=preview.next_term,
        seats_to_unassign=held,
        note=_TOO_LATE if preview.too_late else _FINAL,
    )


_FINAL = "Final once it is off. The instalments are owed to the end, and seats may be assigned again until then."
_TOO_LATE = "The deadline has passed, so the subscription renews. It can be turned off in the next term."
