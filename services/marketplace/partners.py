"""Partners and their customers: routes and queries of engagements and requests for seats."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Annotated, Final, Literal, TypeAlias

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from services.marketplace.domain import rules
from services.marketplace.domain.engagement import (
    ENGAGEMENT,
    EngagePartner,
    ReleasePartner,
    engagement_key,
    may_not_engage,
    release_of,
)
from services.marketplace.domain.order import Unordered
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.seats_request import ConfirmSeatsRequest, DeclineSeatsRequest, RequestSeats
from services.marketplace.domain.standing import STANDING
from services.marketplace.domain.subscription import SUBSCRIPTION, fact_of
from services.marketplace.domain.terms import Falls, falls
from shared import days
from shared.eventlog.deliver.clocks import Clocks
from shared.events import Money, PartnerReleased, SubscriptionConfirmed, SubscriptionOrdered
from shared.events.fields import Identifier, OptionalIdentifier
from shared.organisations import is_founder
from shared.runtime.auth import Actor
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, Database, Now
from shared.runtime.lists import By, Listing, ListOf, Page, Search, searched
from shared.runtime.policies import policy_of
from shared.runtime.problems import Problem, rejected, unknown
from shared.runtime.routes import Addressed, CommandRoutes, RequestContext
from shared.runtime.written import WrittenDay
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

COMMANDS: Final = CommandRoutes()
LISTS: Final = APIRouter(route_class=ListRoute)

DUE_AHEAD: Final = timedelta(days=31)
"""The days of instalments that are listed if no other are asked for."""
LAST_ZONE: Final = "Etc/GMT+12"
"""The zone in which each day ends last, 12 hours after UTC."""

# ── The parties to a subscription ──────────────────────────────────────────────────────────────────────


def partner_only(actor: Actor) -> None:
    """Raise Problem 403 unless the caller belongs to a partner."""
    if actor.organisation_kind != "partner":
        raise Problem(
            rule=rules.PARTNER_ONLY,
            reason="Only partners have carts, and order for their customers.",
            remedy="Ask your partner to order.",
        )


async def party_to(
    context: RequestContext[object], subscription_id: str
) -> SubscriptionOrdered | SubscriptionConfirmed:
    """Return the subscription's confirmation, or its order where it is not confirmed.

    Raises:
        Problem: 404 unless the caller belongs to its partner or customer.
    """
    state = await context.state(SUBSCRIPTION, subscription_id)
    if isinstance(state, Unordered):
        raise unknown("subscription")
    fact = fact_of(state)
    if context.actor.organisation_id not in (fact.partner, fact.customer):
        raise unknown("subscription")
    return fact


async def own_order(
    context: RequestContext[object], subscription_id: str
) -> SubscriptionOrdered | SubscriptionConfirmed:
    """Return the calling partner's order.

    Raises:
        Problem: 403 if the caller doesn't belong to a partner; 404 if it is not an order of this partner.
    """
    partner_only(context.actor)
    fact = await party_to(context, subscription_id)
    if context.actor.organisation_id != fact.partner:
        raise unknown("order")
    return fact


# ── Engaging and releasing ─────────────────────────────────────────────────────────────────────────────


async def ordered_before(db: Queryable, customer: str, partner: str) -> bool:
    """Return whether there is a subscription that the partner ordered for the customer."""
    found: bool = await db.fetchval(SQL["ordered_before"], customer, partner)
    return found


async def released(context: RequestContext[object], customer: str, partner: str) -> PartnerReleased | None:
    """Return the event by which the customer released the partner; None where it has not."""
    return release_of(await context.state(ENGAGEMENT, engagement_key(customer, partner)))


async def _require_entitled(db: Queryable, actor: Actor) -> None:
    """Raise Problem 403 unless the caller may engage and release partners."""
    founder = is_founder(actor.account_id, actor.organisation_id)
    entitled = founder or await db.fetchval(SQL["manages"], actor.account_id)
    refused = may_not_engage(customer=actor.organisation_kind == "customer", entitled=entitled)
    if refused is not None:
        raise rejected(refused)


@COMMANDS.route("PUT", "/partners/{partner}", ENGAGEMENT)
async def engage_partner(context: RequestContext[EngagePartner]) -> Addressed[EngagePartner]:
    actor, partner = context.actor, context.asked.partner
    await _require_entitled(context.db, actor)
    command = replace(
        context.asked,
        customer=actor.organisation_id,
        engaged_by=actor.account_id,
        is_partner=await context.db.fetchval(SQL["is_partner"], partner),
    )
    return Addressed(engagement_key(actor.organisation_id, partner), command)


@COMMANDS.route("DELETE", "/partners/{partner}", ENGAGEMENT)
async def release_partner(context: RequestContext[ReleasePartner]) -> Addressed[ReleasePartner]:
    actor, partner = context.actor, context.asked.partner
    await _require_entitled(context.db, actor)
    command = replace(
        context.asked,
        customer=actor.organisation_id,
        released_by=actor.account_id,
        ordered_before=await ordered_before(context.db, actor.organisation_id, partner),
    )
    return Addressed(engagement_key(actor.organisation_id, partner), command)


class PartnerView(BaseModel):
    """A partner of the caller's organisation."""

    partner: str
    name: str
    status: Literal["engaged", "released"]
    since: datetime | None
    """The time at which it was engaged; null if its orders from before engagements existed count as that."""
    released_at: datetime | None
    subscriptions: int
    """The confirmed subscriptions that it ordered. It supports these, also once it is released."""


class CustomerView(BaseModel):
    """A customer of the caller's partner organisation."""

    customer: str
    name: str
    status: Literal["engaged", "released"]
    since: datetime | None
    """The time at which it engaged the partner; null if orders from before engagements existed count as that."""
    released_at: datetime | None
    csn_publishers: list[str]
    """The publishers that issued the customer a CSN of its own, which is valid."""
    subscriptions: int
    """The confirmed subscriptions that the partner ordered."""
    open_orders: int
    """The partner's orders that the publisher has not accepted."""
    next_ends: date | None
    """The last day of the running term that ends first."""
    time_zone: str | None
    """The zone of that day; null if no term runs."""
    seats_requests: int
    """The customer's open requests for seats."""


EngagementStatus: TypeAlias = Literal["engaged", "released"]

PARTNERS: Final = Listing(
    SQL["partners"],
    key="partner",
    sorts={
        "partner": By(),
        "name": By(),
        "status": By(),
        "since": By(datetime, "by_since"),
        "subscriptions": By(int),
    },
    order="partner",
)


@LISTS.get("/partners")
async def partners(
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(PARTNERS.page)],
    status: EngagementStatus | None = None,
    q: Search = "",
) -> ListOf[PartnerView]:
    """List the partners that the caller's organisation has engaged, or has released."""
    return await PARTNERS.show(db, page, _partner, actor.organisation_id, status, searched(q))


def _partner(row: Row) -> PartnerView:
    return PartnerView.model_validate(dict(row))


CUSTOMERS: Final = Listing(
    SQL["customers"],
    key="customer",
    sorts={
        "name": By(),
        "status": By(),
        "since": By(datetime, "by_since"),
        "subscriptions": By(int),
        "open_orders": By(int),
        "next_ends": By(date, "by_next_ends"),
        "seats_requests": By(int),
    },
    order="name",
)


@LISTS.get("/customers")
async def customers(
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(CUSTOMERS.page)],
    status: EngagementStatus | None = None,
    customer: Identifier | None = None,
    open_orders: Literal["true", "false"] | None = None,
    q: Search = "",
) -> ListOf[CustomerView]:
    """List the customers that have engaged the caller's organisation, or have released it."""
    partner_only(actor)
    has_orders = None if open_orders is None else open_orders == "true"
    where = (searched(q), status, customer, has_orders)
    return await CUSTOMERS.show(db, page, _customer, actor.organisation_id, *where)


def _customer(row: Row) -> CustomerView:
    return CustomerView.model_validate(dict(row))


# ── Instalments ────────────────────────────────────────────────────────────────────────────────────────


async def _clocks(request: Request) -> Clocks:
    clocks: Clocks = request.app.state.parts.clocks
    return clocks


class InstalmentView(BaseModel):
    subscription_id: str
    customer: str
    customer_name: str
    partner: str
    product_name: str
    term: int
    number: int
    due: date
    time_zone: str
    """The customer's zone, in which the days are counted."""
    is_due: bool
    """Whether that day has come for the customer."""
    falls: Falls
    """Whether that day is over, is the customer's today, or is still to come."""
    amount: Money


class Instalments(ListOf[InstalmentView]):
    due_from: date
    due_before: date


INSTALMENTS: Final = Listing(
    SQL["instalments"],
    rows=SQL["instalment_rows"],
    key="cursor",
    sorts={"due": By(date), "amount": By(int), "customer_name": By(), "product_name": By(), "subscription_id": By()},
    order="due",
)


@LISTS.get("/instalments")
async def instalments(
    actor: CurrentActor,
    db: Database,
    now: Now,
    clocks: Annotated[Clocks, Depends(_clocks)],
    page: Annotated[Page, Depends(INSTALMENTS.page)],
    customer: OptionalIdentifier = "",
    due_from: WrittenDay | None = None,
    due_before: WrittenDay | None = None,
    q: Search = "",
) -> Instalments:
    """List the instalments that fall due from one day until before another.

    They are those of the caller's subscriptions. A partner sees those of what it ordered, of one
    customer or of all; a customer its own. Without days they are those of the next 31 days, from the
    day on that it still is somewhere: an instalment is listed as long as it is due today for the customer.
    """
    first = due_from or days.day_of(now, LAST_ZONE)
    end = due_before or (due_from or now.date()) + DUE_AHEAD
    owner = (actor.organisation_id, actor.organisation_kind == "partner")
    found = await INSTALMENTS.fetch(db, page, *owner, customer or None, first, end, searched(q))
    items = [_instalment(row, clocks.time_of(row["customer"])) for row in found.rows]
    return Instalments(due_from=first, due_before=end, items=items, next=found.next)


def _instalment(row: Row, now: datetime) -> InstalmentView:
    standing = falls(row["due"], days.day_of(now, row["time_zone"]))
    return InstalmentView(
        subscription_id=row["subscription_id"],
        customer=row["customer"],
        customer_name=row["customer_name"],
        partner=row["partner"],
        product_name=row["product_name"],
        term=row["term"],
        number=row["number"],
        due=row["due"],
        time_zone=row["time_zone"],
        is_due=standing != "ahead",
        falls=standing,
        amount=Money(amount=row["amount"], currency=row["currency"]),
    )


# ── Requests for seats ─────────────────────────────────────────────────────────────────────────────────


@COMMANDS.route("POST", "/subscriptions/{subscription_id}/seats-requests", SUBSCRIPTION)
async def request_seats(context: RequestContext[RequestSeats], subscription_id: str) -> Addressed[RequestSeats]:
    fact = await party_to(context, subscription_id)
    manager = await context.db.fetchval(SQL["contract_manager"], fact.contract_id, context.actor.account_id)
    if context.actor.organisation_id != fact.customer or not manager:
        raise Problem(
            rule=rules.CONTRACT_MANAGER_ONLY,
            reason="Seats are asked for by the contract's Contract Manager.",
            remedy="Ask the Contract Manager. A partner changes the number of seats itself "
            "(PUT /subscriptions/{subscription_id}/seats).",
        )
    command = replace(
        context.asked,
        requested_by=context.actor.account_id,
        now=context.time_of(fact.customer),
        released=await released(context, fact.customer, fact.partner),
        policy=policy_of(Policy, fact.plan.publisher),
    )
    return Addressed(subscription_id, command)


@COMMANDS.route("POST", "/subscriptions/{subscription_id}/seats-requests/{request}/confirmation", SUBSCRIPTION)
async def confirm_seats_request(
    context: RequestContext[ConfirmSeatsRequest], subscription_id: str
) -> Addressed[ConfirmSeatsRequest]:
    fact = await own_order(context, subscription_id)
    command = replace(
        context.asked,
        confirmed_by=context.actor.account_id,
        now=context.time_of(fact.customer),
        standing=await context.state(STANDING, fact.partner),
        released=await released(context, fact.customer, fact.partner),
        policy=policy_of(Policy, fact.plan.publisher),
    )
    return Addressed(subscription_id, command)


@COMMANDS.route("POST", "/subscriptions/{subscription_id}/seats-requests/{request}/decline", SUBSCRIPTION)
async def decline_seats_request(
    context: RequestContext[DeclineSeatsRequest], subscription_id: str
) -> Addressed[DeclineSeatsRequest]:
    await own_order(context, subscription_id)
    return Addressed(subscription_id, replace(context.asked, declined_by=context.actor.account_id))


RequestStatus: TypeAlias = Literal["open", "replaced", "confirmed", "declined", "lapsed"]
"""What became of a request for seats: a later one replaced it, or it lapsed as its subscription ended."""


class SeatsRequestView(BaseModel):
    request: str
    subscription_id: str
    customer: str
    customer_name: str
    partner: str
    partner_name: str
    product_name: str
    seats: int
    """The number of all seats that there shall be."""
    seats_now: int
    requested_by: str
    requested_at: datetime
    status: RequestStatus
    reason: str
    """Why it was declined."""


SEATS_REQUESTS: Final = Listing(
    SQL["seats_requests"],
    rows=SQL["seats_request_rows"],
    key="request",
    sorts={
        "request": By(),
        "requested_at": By(datetime),
        "status": By(),
        "seats": By(int),
        "customer_name": By(),
        "product_name": By(),
    },
    order="-request",
)


@LISTS.get("/seats-requests")
async def seats_requests(
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(SEATS_REQUESTS.page)],
    status: RequestStatus | None = None,
    subscription_id: Identifier | None = None,
    customer: Identifier | None = None,
    q: Search = "",
) -> ListOf[SeatsRequestView]:
    """List the requests for seats that concern the caller's organisation, the newest first."""
    owner = (actor.organisation_id, actor.organisation_kind == "partner")
    where = (status, subscription_id, customer, searched(q))
    return await SEATS_REQUESTS.show(db, page, _seats_request, *owner, *where)


def _seats_request(row: Row) -> SeatsRequestView:
    return SeatsRequestView.model_validate(dict(row))
