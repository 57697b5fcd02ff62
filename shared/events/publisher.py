"""What only the publisher's own systems say, on the inbound topic. Their other facts use the types of the service
that records them: `PlanListed`, `PlanWithdrawn`, `CsnIssued`, `CsnRevoked`, `UpdatePublished`, `UpdateWithdrawn`."""

from typing import TypeAlias

from shared.events.base import Event
from shared.events.distribution import UpdatePublished, UpdateWithdrawn
from shared.events.fields import CreditAmount, ForeignIdentifier, Identifier, Name, OptionalIdentifier, Text
from shared.events.marketplace import CsnIssued, CsnRevoked, PlanListed, PlanPriceAnnounced, PlanWithdrawn


class OrderConfirmed(Event):
    """The publisher accepts an order and names it in its own books."""

    subscription_id: Identifier
    reference: Name
    order: OptionalIdentifier = ""
    """The id of the `SubscriptionOrdered` that is answered, where the publisher's system says so."""


class OrderDeclined(Event):
    """The publisher turns an order down."""

    subscription_id: Identifier
    reason: Text
    order: OptionalIdentifier = ""


class CreditsPurchased(Event):
    """The publisher sold a contract cloud credits: for one of its users, or (with no account) for all of them."""

    contract_id: Identifier
    grant_id: ForeignIdentifier
    amount: CreditAmount
    account_id: Identifier | None = None


PublisherEvent: TypeAlias = (
    OrderConfirmed
    | OrderDeclined
    | CreditsPurchased
    | PlanListed
    | PlanPriceAnnounced
    | PlanWithdrawn
    | CsnIssued
    | CsnRevoked
    | UpdatePublished
    | UpdateWithdrawn
)
"""Every event that a publisher's system may send, on the gateway's topic or its own."""
