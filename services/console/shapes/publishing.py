"""The answers of the routes for a publisher's people, of marketplace and distribution."""

from datetime import date, datetime

from pydantic import BaseModel


class Amount(BaseModel):
    """An amount in a currency's minor units."""

    amount: int
    currency: str


class PlanPrice(BaseModel):
    """The price of a seat from a day on."""

    valid_from: date | None
    price: Amount


class OfferedPlan(BaseModel):
    """A plan of the publisher's."""

    product_id: str
    product: str
    product_name: str
    period: str
    support: str
    billing: str
    category: str
    commitment_months: int
    price: Amount
    listed: bool
    prices: list[PlanPrice]


class OfferedPlans(BaseModel):
    """A page of the publisher's plans. Of marketplace's `GET /publisher/plans`."""

    items: list[OfferedPlan]
    next: str | None = None


class IssuedCsn(BaseModel):
    """A CSN that the publisher has issued."""

    csn: str
    organisation_id: str
    organisation_name: str
    valid: bool
    reason: str
    said_at: datetime | None


class IssuedCsns(BaseModel):
    """A page of the publisher's CSNs. Of marketplace's `GET /publisher/csns`."""

    items: list[IssuedCsn]
    next: str | None = None


class PartnerNamed(BaseModel):
    """A partner organisation."""

    organisation_id: str
    organisation_name: str


class PartnersNamed(BaseModel):
    """Partners by their names. Of marketplace's `GET /publisher/partners`."""

    items: list[PartnerNamed]
    next: str | None = None


class PublishersOrder(BaseModel):
    """An order for a plan of the publisher's."""

    subscription_id: str
    status: str
    product_id: str
    product_name: str
    partner_name: str
    customer_name: str
    seats: int
    total: Amount
    starts: date
    csn: str | None
    order: str
    failure_reason: str | None
    publisher_reference: str | None


class PublishersOrders(BaseModel):
    """A page of the orders for the publisher. Of marketplace's `GET /publisher/orders`."""

    items: list[PublishersOrder]
    next: str | None = None


class PublishedUpdate(BaseModel):
    """An update that the publisher has published."""

    update_id: str
    product: str
    kind: str
    title: str
    version: str
    platform: str
    severity: str
    size_bytes: int
    published_at: datetime
    withdrawn: str | None


class PublishedUpdates(BaseModel):
    """A page of the publisher's updates. Of distribution's `GET /publisher/updates`."""

    items: list[PublishedUpdate]
    next: str | None = None
