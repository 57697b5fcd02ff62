"""What a publisher's people do themselves: plans and prices, CSNs, and answers to orders.

A publisher's systems send the same as events; the same deciders decide.
"""

import asyncio
from datetime import date, datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from services.marketplace.calendars import calendar_of_order
from services.marketplace.domain.order import ConfirmOrder, FailOrder, Unordered
from services.marketplace.domain.plan import (
    PLAN,
    AnnouncePrice,
    Listed,
    ListPlan,
    WithdrawPlan,
    hyphenated,
    plan_key,
)
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import STANDING, RecordCsn, RevokeCsn
from services.marketplace.domain.subscription import SUBSCRIPTION, fact_of
from services.marketplace.lists import stored_product_id
from services.marketplace.views import PlanView, SubscriptionStatus, plan_view
from shared.eventlog.write.log import Log
from shared.events import Money, Plan
from shared.events.base import Price
from shared.events.fields import Code, Day, Identifier, Months, Name, OptionalIdentifier, Text
from shared.events.identity import AgreementKind
from shared.events.marketplace import Billing, Category, Period, Support
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.lists import By, Listing, ListOf, Page, Search, searched
from shared.runtime.policies import policy_of
from shared.runtime.problems import unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.visibility import publisher_only
from shared.sql import Row, statements

SQL: Final = statements(__file__)
COMMANDS: Final = CommandRoutes()
QUERIES: Final = APIRouter(route_class=ListRoute)


class Asked(BaseModel):
    """A form of a publisher's people. Whose publisher it is, their account says."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NothingMore(Asked):
    """A form without fields."""


# ── Plans and prices ───────────────────────────────────────────────────────────────────────────────────


class PlanOffered(Asked):
    """A plan as its publisher offers it. Its product ID is given with or without hyphens."""

    product_id: Code
    programme: Code
    product: Code
    product_name: Name
    period: Period
    support: Support
    billing: Billing
    commitment_months: Months
    category: Category
    agreement: AgreementKind
    price: Price


class PriceAnnounced(Asked):
    """The price of a seat from a day (in UTC) on."""

    price: Price
    valid_from: Day


@COMMANDS.route("POST", "/publisher/plans", PLAN)
async def list_plan(context: RequestContext[PlanOffered]) -> Addressed[ListPlan]:
    publisher, asked = publisher_only(context.actor), context.asked
    stored = stored_product_id(asked.product_id)
    plan = Plan(**{**dict(asked), "product_id": stored, "publisher": publisher})
    return Addressed(plan_key(publisher, stored), ListPlan(plan, publisher, context.now))


@COMMANDS.route("POST", "/publisher/plans/{product_id}/prices", PLAN)
async def announce_price(context: RequestContext[PriceAnnounced], product_id: str) -> Addressed[AnnouncePrice]:
    publisher, stored = publisher_only(context.actor), stored_product_id(product_id)
    command = AnnouncePrice(
        product_id=stored,
        publisher=publisher,
        price=context.asked.price,
        valid_from=context.asked.valid_from,
        reported_by=publisher,
        said_at=context.now,
    )
    return Addressed(plan_key(publisher, stored), command)


@COMMANDS.route("DELETE", "/publisher/plans/{product_id}", PLAN)
async def withdraw_plan(context: RequestContext[NothingMore], product_id: str) -> Addressed[WithdrawPlan]:
    publisher, stored = publisher_only(context.actor), stored_product_id(product_id)
    return Addressed(plan_key(publisher, stored), WithdrawPlan(stored, publisher, publisher, context.now))


class PriceView(BaseModel):
    """The price of a seat from a day on."""

    valid_from: date | None
    """The first day (in UTC); null for the price that it was listed at first."""
    time_zone: Literal["UTC"] = "UTC"
    """The zone of publishers' days."""
    price: Money
    event_id: str


class OfferedPlan(PlanView):
    """One of the publisher's plans, with all its prices."""

    listed: bool
    """False once it is withdrawn."""
    prices: list[PriceView]
    """By their first day, also past ones; none for a withdrawn plan."""


PLANS: Final = Listing(
    SQL["plans"],
    key="product_id",
    sorts={"product_id": By(), "product_name": By(), "price": By(int)},
    order="product_name",
)


@QUERIES.get("/publisher/plans")
async def plans(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    page: Annotated[Page, Depends(PLANS.page)],
    status: Literal["listed", "withdrawn"] | None = None,
    q: Search = "",
) -> ListOf[OfferedPlan]:
    """List the publisher's own plans with their prices, also those that it has withdrawn."""
    publisher = publisher_only(actor)
    found = await PLANS.fetch(db, page, publisher, status, searched(q), searched(q.replace("-", "")))
    return ListOf(items=await asyncio.gather(*(_offered(row, log) for row in found.rows)), next=found.next)


async def _offered(row: Row, log: Log) -> OfferedPlan:
    plan = Plan.from_row(row["plan"])
    state = await log.state(PLAN, plan_key(plan.publisher, plan.product_id))
    prices = state.prices if isinstance(state, Listed) else ()
    return OfferedPlan(
        **dict(plan_view(plan, policy_of(Policy, plan.publisher))),
        listed=row["listed"],
        prices=[
            PriceView(
                valid_from=None if each.first == date.min else each.first, price=each.price, event_id=each.said.ref
            )
            for each in prices
        ],
    )


# ── CSNs ───────────────────────────────────────────────────────────────────────────────────────────────


class CsnGiven(Asked):
    """A CSN for a partner."""

    csn: Code
    organisation_id: Identifier


class CsnTaken(CsnGiven):
    """A CSN that is not valid any more."""

    reason: Text = ""


@COMMANDS.route("POST", "/publisher/csns", STANDING)
async def issue_csn(context: RequestContext[CsnGiven]) -> Addressed[RecordCsn]:
    publisher, asked = publisher_only(context.actor), context.asked
    command = RecordCsn(
        csn=asked.csn,
        organisation_id=asked.organisation_id,
        publisher=publisher,
        reported_by=publisher,
        said_at=context.now,
        policy=policy_of(Policy, publisher),
    )
    return Addressed(asked.organisation_id, command)


@COMMANDS.route("POST", "/publisher/csns/revocations", STANDING)
async def revoke_csn(context: RequestContext[CsnTaken]) -> Addressed[RevokeCsn]:
    publisher, asked = publisher_only(context.actor), context.asked
    command = RevokeCsn(
        csn=asked.csn,
        organisation_id=asked.organisation_id,
        publisher=publisher,
        reason=asked.reason,
        reported_by=publisher,
        said_at=context.now,
    )
    return Addressed(asked.organisation_id, command)


class CsnView(BaseModel):
    csn: str
    organisation_id: str
    organisation_name: str
    valid: bool
    reason: str
    said_at: datetime | None


class PartnerName(BaseModel):
    organisation_id: str
    organisation_name: str


CSNS: Final = Listing(
    SQL["csns"], key="cursor", sorts={"csn": By(), "organisation_name": By()}, order="organisation_name"
)
PARTNERS: Final = Listing(
    SQL["partners"], key="organisation_id", sorts={"organisation_name": By()}, order="organisation_name"
)


@QUERIES.get("/publisher/csns")
async def csns(
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(CSNS.page)],
    status: Literal["valid", "revoked"] | None = None,
    q: Search = "",
) -> ListOf[CsnView]:
    """List the CSNs that the publisher has issued."""
    valid = None if status is None else status == "valid"
    return await CSNS.show(db, page, CsnView, publisher_only(actor), valid, searched(q))


@QUERIES.get("/publisher/partners")
async def partners_by_name(
    actor: CurrentActor, db: Database, page: Annotated[Page, Depends(PARTNERS.page)], q: Search = ""
) -> ListOf[PartnerName]:
    """List the partners to whom a CSN can be issued, by their names."""
    publisher_only(actor)
    return await PARTNERS.show(db, page, PartnerName, searched(q))


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────


class OrderAccepted(Asked):
    """The acceptance of an order, under the publisher's own name of it."""

    reference: Name
    order: OptionalIdentifier = ""
    """The event that sent the order, so that an order that was corrected meanwhile is not answered unseen."""


class OrderRefused(Asked):
    """The refusal of an order, for a reason that the partner reads."""

    reason: Text
    order: OptionalIdentifier = ""


@COMMANDS.route("POST", "/publisher/orders/{subscription_id}/confirmation", SUBSCRIPTION)
async def confirm_order(context: RequestContext[OrderAccepted], subscription_id: str) -> Addressed[ConfirmOrder]:
    publisher = await _own_order(context, subscription_id)
    state = await context.state(SUBSCRIPTION, subscription_id)
    command = ConfirmOrder(
        reference=context.asked.reference,
        reported_by=publisher,
        calendar=calendar_of_order(state),
        order=context.asked.order,
        policy=policy_of(Policy, publisher),
    )
    return Addressed(subscription_id, command)


@COMMANDS.route("POST", "/publisher/orders/{subscription_id}/decline", SUBSCRIPTION)
async def decline_order(context: RequestContext[OrderRefused], subscription_id: str) -> Addressed[FailOrder]:
    publisher = await _own_order(context, subscription_id)
    return Addressed(subscription_id, FailOrder(context.asked.reason, publisher, context.asked.order))


async def _own_order(context: RequestContext[object], subscription_id: str) -> str:
    """Return the caller's publisher.

    Raises:
        Problem: 404 unless the order is for one of its plans.
    """
    publisher = publisher_only(context.actor)
    state = await context.state(SUBSCRIPTION, subscription_id)
    if isinstance(state, Unordered) or fact_of(state).plan.publisher != publisher:
        raise unknown("order")
    return publisher


class OrderView(BaseModel):
    subscription_id: str
    status: SubscriptionStatus
    product_id: str
    """With hyphens."""
    product_name: str
    partner_name: str
    customer_name: str
    seats: int
    total: Money
    starts: date
    time_zone: str
    """The customer's zone, in which the term starts."""
    csn: str | None
    order: str
    """The event that sent it last, which an answer names."""
    failure_reason: str | None
    publisher_reference: str | None


ORDERS: Final = Listing(
    SQL["orders"],
    rows=SQL["order_rows"],
    key="subscription_id",
    sorts={"subscription_id": By(), "status": By(), "product_name": By(), "seats": By(int), "starts": By(date)},
    order="-subscription_id",
)


@QUERIES.get("/publisher/orders")
async def orders_to_answer(
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(ORDERS.page)],
    status: SubscriptionStatus | None = None,
    q: Search = "",
) -> ListOf[OrderView]:
    """List the orders for the publisher's plans, the newest first.

    Those of status `awaiting` wait for its answer.
    """
    publisher = publisher_only(actor)
    return await ORDERS.show(db, page, _order_view, publisher, status, searched(q), searched(q.replace("-", "")))


def _order_view(row: Row) -> OrderView:
    return OrderView(
        **{name: row[name] for name in OrderView.model_fields if name not in ("product_id", "total", "order")},
        product_id=hyphenated(Plan.from_row(row["plan"]).product_id),
        total=Money(amount=row["total_amount"], currency=row["currency"]),
        order=row["order_event"],
    )
