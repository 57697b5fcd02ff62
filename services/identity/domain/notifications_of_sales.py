"""The notifications of orders, subscriptions and partners."""

from typing import Final

from services.identity.domain.notification_rows import Notification, tell
from shared.events import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    CsnIssued,
    CsnRevoked,
    PartnerEngaged,
    PartnerReleased,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatPoolExpired,
    SeatPoolSuspended,
    SeatsAdded,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
)

ROWS: Final[tuple[Notification, ...]] = (
    # Orders
    tell(
        SubscriptionConfirmed,
        "order-confirmed",
        "orderer",
        "purchaser",
        title="{product}: the order is confirmed",
        text="The publisher has confirmed {seats:number} × {product} from {starts:date} to {ends:date}, for "
        "{total:money}. Auto-renew is on; it can be turned off until {last_day:date}.",
        facts=lambda e: {
            "product": e.plan.product_name,
            "seats": e.seats,
            "starts": e.starts,
            "ends": e.ends,
            "total": e.total,
            "last_day": e.cancel_by.last_day,
        },
        own=True,
    ),
    tell(
        SubscriptionOrderFailed,
        "order-declined",
        "orderer",
        title="{product}: the publisher has declined the order",
        text="The publisher has declined the order for {customer:organisation}.\n\n{reason:quoted}\n\nCorrect it and "
        "send it again, or give it up.",
        facts=lambda e: {"reason": e.reason},
        own=True,
    ),
    tell(
        SubscriptionOrderAbandoned,
        "order-declined",
        "orderer",
        "purchaser",
        title="{product}: the order was given up",
        text="The order that the publisher had declined was given up, and will not be sent again.\n\n{reason:quoted}",
        facts=lambda e: {"reason": e.reason},
    ),
    # Running subscriptions
    tell(
        RenewalReminded,
        "renewal-reminder",
        "administrators",
        "orderer",
        title="{product} renews after {ends:date}",
        text="The term of {product} ends on {ends:date} and then renews by itself. Auto-renew can be turned off "
        "until the end of {last_day:date} ({zone:zone}); on your clock that is {deadline:instant}. No seat may be "
        "assigned then.",
        facts=lambda e: {
            "ends": e.ends,
            "last_day": e.cancel_by.last_day,
            "zone": e.cancel_by.time_zone,
            "deadline": e.cancel_by.deadline,
        },
        own=True,
    ),
    tell(
        SubscriptionRenewed,
        "renewed",
        "administrators",
        "orderer",
        title="{product} was renewed",
        text="The next term of {product} is from {starts:date} to {ends:date}: {seats:number} seats for {total:money}. "
        "Auto-renew can be turned off until {last_day:date}.",
        facts=lambda e: {
            "product": e.plan.product_name,
            "seats": e.seats,
            "starts": e.starts,
            "ends": e.ends,
            "total": e.total,
            "last_day": e.cancel_by.last_day,
        },
        own=True,
    ),
    tell(
        AutoRenewDisabled,
        "auto-renew",
        "administrators",
        "orderer",
        title="{product}: auto-renew is off",
        text="Auto-renew of {product} was turned off for good. The subscription and its charges end on {ends:date}; "
        "until then seats can be assigned and used.",
        facts=lambda e: {"ends": e.ends},
        own=True,
    ),
    tell(
        AutoRenewDisableRefused,
        "auto-renew",
        "administrators",
        title="{product}: auto-renew stays on",
        text="Auto-renew of {product} could not be turned off, because seats are assigned: {held:number}. Un-assign "
        "them and ask again.",
        facts=lambda e: {"held": len(e.held)},
        own=True,
    ),
    tell(
        SubscriptionEnded,
        "subscription-over",
        "administrators",
        "orderer",
        title="{product}: the subscription has ended",
        text="The last term of {product} ended on {ended:date}.",
        facts=lambda e: {"ended": e.ended},
        own=True,
    ),
    tell(
        SeatPoolExpired,
        "subscription-over",
        "administrators",
        title="{product}: seats can be used until {until:date}",
        text="The last term of {product} is over. Its seats can still be used until {until:date}, that day included.",
        facts=lambda e: {"until": e.access_until},
        own=True,
    ),
    tell(
        SeatPoolSuspended,
        "subscription-over",
        "administrators",
        title="{product}: seats can't be used any more",
        text="The seats of {product} can't be used any more. They are kept for their users until {until:date}.",
        facts=lambda e: {"until": e.kept_until},
        own=True,
    ),
    tell(
        SeatsAdded,
        "seats-changed",
        "administrators",
        title="{product}: {added:number} more seats",
        text="{product} has {seats:number} seats now, {added:number} more than before. They cost {amount:money} up "
        "to the end of the term, due on {due:date}.",
        facts=lambda e: {
            "added": e.added,
            "seats": e.seats,
            "amount": e.instalment.amount,
            "due": e.instalment.due,
        },
    ),
    tell(
        SeatDecreaseScheduled,
        "seats-changed",
        "administrators",
        title="{product}: {seats:number} seats from the next term on",
        text="From {starts:date} on, {product} will have {seats:number} seats. Un-assign seats above that number "
        "before.",
        facts=lambda e: {"seats": e.seats, "starts": e.takes_effect},
    ),
    tell(
        SeatsRequested,
        "seats-requested",
        "orderer",
        title="{customer:organisation} asks for seats of {product}",
        text="{customer:organisation} asks you to raise the seats of {product} to {seats:number}. You confirm or "
        "decline it.",
        facts=lambda e: {"seats": e.seats, "customer": e.customer},
    ),
    tell(
        SeatsRequestDeclined,
        "seats-changed",
        "administrators",
        title="{product}: the partner has declined more seats",
        text="{partner:organisation} has declined your request for seats of {product}.\n\n{reason:quoted}",
        facts=lambda e: {"reason": e.reason, "partner": e.partner},
    ),
    # Partners and CSNs
    tell(
        PartnerEngaged,
        "partner-engagement",
        "managers-of-people",
        title="{customer:organisation} has engaged you",
        text="{customer:organisation} has accepted your organisation as its partner. You can order for it now.",
        facts=lambda e: {"customer": e.customer},
        organisation=lambda e: e.partner,
    ),
    tell(
        PartnerReleased,
        "partner-engagement",
        "managers-of-people",
        title="{customer:organisation} has released you",
        text="{customer:organisation} has released your organisation as its partner. You order nothing more for it; "
        "what you ordered goes on, and you support it.",
        facts=lambda e: {"customer": e.customer},
        organisation=lambda e: e.partner,
    ),
    tell(
        CsnIssued,
        "csn",
        "managers-of-people",
        title="CSN {csn} was issued to you",
        text="{publisher} has issued the CSN {csn} to your organisation. It opens specialised products and updates.",
        facts=lambda e: {"csn": e.csn, "publisher": e.publisher},
        organisation=lambda e: e.organisation_id,
    ),
    tell(
        CsnRevoked,
        "csn",
        "managers-of-people",
        title="CSN {csn} was revoked",
        text="{publisher} has revoked the CSN {csn} of your organisation. Specialised products and updates need "
        "another valid one.\n\n{reason:quoted}",
        facts=lambda e: {"csn": e.csn, "publisher": e.publisher, "reason": e.reason},
        organisation=lambda e: e.organisation_id,
    ),
)
