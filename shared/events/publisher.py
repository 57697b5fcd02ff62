"""The events that only publishers' systems send, on inbound topics.

Their other facts have the types of the service that records them: `PlanListed`, `PlanPriceAnnounced`, `PlanWithdrawn`,
`CsnIssued`, `CsnRevoked`, `UpdatePublished`, `UpdateWithdrawn`.
"""

from typing import TypeAlias

from shared.events.base import Event
from shared.events.distribution import UpdatePublished, UpdateWithdrawn
from shared.events.fields import CreditAmount, ForeignIdentifier, Identifier, Name, OptionalIdentifier, Text
from shared.events.marketplace import CsnIssued, CsnRevoked, PlanListed, PlanPriceAnnounced, PlanWithdrawn


class OrderConfirmed(Event):
    """The publisher accepted an order."""

    subscription_id: Identifier
    reference: Name
    """The publisher's own name of the order."""
    order: OptionalIdentifier = ""
    """The id of the `SubscriptionOrdered` event that is answered, where the publisher's system names it."""


class OrderDeclined(Event):
    """The publisher declined an order."""

    subscription_id: Identifier
    reason: Text
    order: OptionalIdentifier = ""


class CreditsPurchased(Event):
    """The publisher sold cloud credits to a contract, for one user or, with no account, for all."""

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
"""Every event type that a publisher's system may send, on the gateway's topic or its own."""
