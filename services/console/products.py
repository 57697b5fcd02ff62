"""Products: the names behind the short names that the services know products by."""

from services.console.doors import Refused, Unreachable
from services.console.shapes.entitlements import MySeats, Pools
from services.console.shapes.publishing import OfferedPlans
from services.console.visits import Visit

AT_ONCE = "200"
"""As many rows as a list has at most at a time."""


class Products(dict[str, str]):
    """The names of products by their short names.

    A product of which no name is known has its short name.
    """

    def __missing__(self, product: str) -> str:
        return product


async def products_of(visit: Visit, contract_id: str) -> Products:
    """Return the names of a contract's products, as its latest subscriptions have them."""
    asked = {"contract_id": contract_id, "sort": "-subscription_id", "limit": AT_ONCE}
    try:
        found = await visit.see("entitlements", "/pools", Pools, **asked)
    except (Refused, Unreachable):
        return Products()
    return Products((each.product, each.product_name) for each in reversed(found.items))


async def own_products(visit: Visit) -> Products:
    """Return the names of the products that the person has a seat of."""
    try:
        found = await visit.see("entitlements", "/me/seats", MySeats, limit=AT_ONCE)
    except (Refused, Unreachable):
        return Products()
    return Products((each.product, each.product_name) for each in found.items)


async def offered_products(visit: Visit) -> Products:
    """Return the names of the products of the publisher that the person works for."""
    try:
        found = await visit.see("marketplace", "/publisher/plans", OfferedPlans, limit=AT_ONCE)
    except (Refused, Unreachable):
        return Products()
    return Products((each.product, each.product_name) for each in found.items)
