"""A user's own updates: what reaches their machines, and when."""

import asyncio

from starlette.responses import Response

from services.console.pages.updates.contracts import administered
from services.console.products import own_products
from services.console.shapes.distribution import Offers
from services.console.visits import Visit


async def my_updates(visit: Visit) -> Response:
    """List what is installed on the person's machines, now and later."""
    offers, contracts, products = await asyncio.gather(
        visit.see("distribution", "/me/updates", Offers, due="any", limit="200"),
        administered(visit),
        own_products(visit),
    )
    return visit.page("updates/mine.html", offers=offers.items, administers=bool(contracts), products=products)
