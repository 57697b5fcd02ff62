"""marketplace's lists: the catalogue, carts, orders and subscriptions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Depends, Request

from services.marketplace.domain.plan import read_product_id
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import ALWAYS_OPEN, STANDING, specialised_open_for
from services.marketplace.partners import partner_only
from services.marketplace.views import (
    AutoRenewState,
    CartStatus,
    CartSummary,
    PlanView,
    RenewalMonth,
    Renewals,
    SubscriptionStatus,
    SubscriptionView,
    plan_view,
    subscription_view,
)
from shared.eventlog.decision import Rejected
from shared.eventlog.deliver.clocks import Clocks
from shared.events import Money, Plan
from shared.events.fields import Address, Identifier, OptionalCode, OptionalPublisher
from shared.events.marketplace import Billing, Category, Period, Support
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database, Now
from shared.runtime.lists import By, Found, Listing, ListOf, Page, Search, searched
from shared.runtime.people import person_of_list
from shared.runtime.policies import policy_of
from shared.runtime.problems import rejected
from shared.runtime.written import WrittenDay
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

LISTS: Final = APIRouter(route_class=ListRoute)

RENEWALS_AHEAD: Final = timedelta(days=366)
"""The days whose renewals are summed up if no other are asked for."""


async def _clocks(request: Request) -> Clocks:
    clocks: Clocks = request.app.state.parts.clocks
    return clocks


AllClocks: TypeAlias = Annotated[Clocks, Depends(_clocks)]
"""The clocks of all organisations. A subscription is shown in its customer's time, in which commands are decided."""

# ── The catalogue ──────────────────────────────────────────────────────────────────────────────────────

CATALOGUE: Final = Listing(
    SQL["catalogue"],
    key="cursor",
    sorts={
        "product_id": By(),
        "publisher": By(),
        "product": By(),
        "product_name": By(),
        "price": By(int),
    },
    order="product_id",
)


@LISTS.get("/catalogue")
async def catalogue(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    page: Annotated[Page, Depends(CATALOGUE.page)],
    product: OptionalCode = "",
    period: Period | None = None,
    support: Support | None = None,
    billing: Billing | None = None,
    category: Category | None = None,
    product_id: OptionalCode = "",
    publisher: OptionalPublisher = "",
    q: Search = "",
) -> ListOf[PlanView]:
    """List the plans that the caller's standing permits, in the order of their product IDs."""
    stored = stored_product_id(product_id) if product_id else None
    standing = await log.state(STANDING, actor.organisation_id)
    opened = (list(ALWAYS_OPEN), list(specialised_open_for(standing)))
    where = (product or None, period, support, billing, category, stored, publisher or None)
    text = (searched(q), searched(q.replace("-", "")))
    return await CATALOGUE.show(db, page, _plan_view, *opened, *where, *text)


def _plan_view(row: Row) -> PlanView:
    plan = Plan.from_row(row["plan"])
    return plan_view(plan, policy_of(Policy, plan.publisher))


# ── Carts ──────────────────────────────────────────────────────────────────────────────────────────────

CARTS: Final = Listing(
    SQL["carts"],
    rows=SQL["cart_rows"],
    key="cart_id",
    sorts={"cart_id": By(), "opened_at": By(datetime), "changed_at": By(datetime)},
    order="-changed_at",
)


@LISTS.get("/carts")
async def carts(
    actor: CurrentActor,
    db: Database,
    request: Request,
    page: Annotated[Page, Depends(CARTS.page)],
    status: CartStatus | None = None,
    opened_by: Identifier | None = None,
    opened_by_email: Address | None = None,
    q: Search = "",
) -> ListOf[CartSummary]:
    """List the partner's carts, the latest changed ones first.

    They are open, or were checked out or discarded.
    """
    partner_only(actor)
    person = await person_of_list(request, opened_by, opened_by_email, of="opened_by")
    where = (status, person, searched(q), searched(q.replace("-", "")))
    return await CARTS.show(db, page, _cart_summary, actor.organisation_id, *where)


def _cart_summary(row: Row) -> CartSummary:
    total = None if row["currency"] is None else Money(amount=row["amount"], currency=row["currency"])
    return CartSummary.model_validate(dict(row) | {"total": total})


# ── Orders and subscriptions ───────────────────────────────────────────────────────────────────────────

SUBSCRIPTIONS: Final = Listing(
    SQL["subscriptions"],
    rows=SQL["subscription_rows"],
    key="subscription_id",
    sorts={
        "subscription_id": By(),
        "status": By(),
        "customer": By(),
        "product_name": By(),
        "seats": By(int),
        "starts": By(date),
        "ends": By(date, "by_ends"),
    },
    order="-subscription_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFilters:
    """The filters of lists of subscriptions."""

    q: Search = ""
    status: SubscriptionStatus | None = None
    customer: Identifier | None = None
    partner: Identifier | None = None
    contract_id: Identifier | None = None
    publisher: OptionalPublisher = ""
    product_id: OptionalCode = ""
    auto_renew: AutoRenewState | None = None
    ends_from: WrittenDay | None = None
    """The first of the days that the running term ends on."""
    ends_before: WrittenDay | None = None

    def arguments(self, subscription_id: str | None = None) -> tuple[str | date | None, ...]:
        """Return the values of the statement's parameters from `$8` on."""
        product_id = stored_product_id(self.product_id) if self.product_id else None
        of_whom = (self.status, self.customer, self.partner, self.contract_id, self.publisher or None)
        text = (searched(self.q), searched(self.q.replace("-", "")))
        return (*of_whom, product_id, self.auto_renew, *text, self.ends_from, self.ends_before, subscription_id)


@LISTS.get("/orders")
async def orders(
    actor: CurrentActor,
    db: Database,
    clocks: AllClocks,
    page: Annotated[Page, Depends(SUBSCRIPTIONS.page)],
    filters: Annotated[SubscriptionFilters, Depends()],
) -> ListOf[SubscriptionView]:
    """List the partner's orders, the newest first; each becomes one subscription.

    Those of status `failed` were declined, for their `failure_reason`; they can be sent again or abandoned.
    """
    partner_only(actor)
    return await _listed(
        db, clocks, await SUBSCRIPTIONS.fetch(db, page, actor.organisation_id, True, *filters.arguments())
    )


@LISTS.get("/subscriptions")
async def subscriptions(
    actor: CurrentActor,
    db: Database,
    clocks: AllClocks,
    page: Annotated[Page, Depends(SUBSCRIPTIONS.page)],
    filters: Annotated[SubscriptionFilters, Depends()],
) -> ListOf[SubscriptionView]:
    """List what the caller's organisation bought, or ordered as a partner, the newest first."""
    as_partner = actor.organisation_kind == "partner"
    return await _listed(
        db, clocks, await SUBSCRIPTIONS.fetch(db, page, actor.organisation_id, as_partner, *filters.arguments())
    )


@LISTS.get("/renewals")
async def renewals(
    actor: CurrentActor,
    db: Database,
    now: Now,
    ends_from: WrittenDay | None = None,
    ends_before: WrittenDay | None = None,
) -> Renewals:
    """Sum up the terms of the caller's subscriptions by the month that they end in.

    Without days they are those that end within a year. Their subscriptions are listed by `GET /subscriptions` with
    `status=confirmed` and the same days.
    """
    first = ends_from or now.date()
    end = ends_before or first + RENEWALS_AHEAD
    rows = await db.fetch(SQL["renewals"], actor.organisation_id, first, end)
    return Renewals(ends_from=first, ends_before=end, months=[_month(row) for row in rows])


def _month(row: Row) -> RenewalMonth:
    return RenewalMonth(
        month=row["month"],
        renewing=row["renewing"],
        ending=row["ending"],
        seats=row["seats"],
        amount=Money(amount=row["amount"], currency=row["currency"]),
    )


async def _listed(db: Queryable, clocks: Clocks, found: Found) -> ListOf[SubscriptionView]:
    return ListOf(items=await subscription_views(db, found.rows, clocks), next=found.next)


def stored_product_id(written: str) -> str:
    """Return a product ID without hyphens. Raises Problem 422 if it is not a product ID."""
    stored = read_product_id(written)
    if isinstance(stored, Rejected):
        raise rejected(stored)
    return stored


async def subscription_views(db: Queryable, rows: Sequence[Row], clocks: Clocks) -> list[SubscriptionView]:
    """Return the views of rows of `subscriptions`, in each customer's time."""
    parts = await db.fetch(SQL["instalments"], [row["subscription_id"] for row in rows])
    parties = {row[party] for row in rows for party in ("customer", "partner")}
    named = await db.fetch(SQL["organisation_names"], list(parties))
    names = {row["organisation_id"]: row["name"] for row in named}
    by_subscription: dict[str, list[Row]] = {}
    for part in parts:
        by_subscription.setdefault(part["subscription_id"], []).append(part)
    return [
        subscription_view(
            row, by_subscription.get(row["subscription_id"], []), names, _policy(row), clocks.time_of(row["customer"])
        )
        for row in rows
    ]


def _policy(row: Row) -> Policy:
    return policy_of(Policy, Plan.from_row(row["plan"]).publisher)
