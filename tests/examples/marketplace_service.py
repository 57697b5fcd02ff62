"""marketplace with its timers, in memory, and a subscription: ordered, running, its auto-renew being turned off."""

from services.marketplace.domain.auto_renew import DisableAutoRenew
from services.marketplace.domain.order import Order
from services.marketplace.domain.subscription import SUBSCRIPTION
from services.marketplace.timers import TIMERS
from tests.examples.marketplace import NOON, PURCHASER
from tests.examples.subscription import CART, CONFIRM
from tests.spec import Service, given_service


def marketplace() -> Service:
    return given_service("marketplace", NOON, TIMERS)


async def ordered() -> Service:
    service = marketplace()
    await service.given(SUBSCRIPTION, "sub-1", Order(CART, 0, NOON))
    return service


async def running() -> Service:
    service = await ordered()
    await service.given(SUBSCRIPTION, "sub-1", CONFIRM)
    return service


async def asked() -> Service:
    service = await running()
    await service.given(SUBSCRIPTION, "sub-1", DisableAutoRenew(PURCHASER, NOON))
    return service
