"""Products: the names behind the short names that the services know products by."""

from collections.abc import Iterable

from services.console.doors import Refused, Unreachable, part_of_page
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


def _named(pairs: Iterable[tuple[str, str]]) -> Products:
    """Return the names of products by their short names.

    Plans of one product may have several, such as "AutoCAD LT" and "AutoCAD LT (renewal)": it has the shortest.
    """
    found = Products()
    for product, name in pairs:
        found[product] = min(found.get(product, name), name, key=len)
    return found


async def products_of(visit: Visit, contract_id: str) -> Products:
    """Return the names of a contract's products, as its latest subscriptions have them."""
    asked = {"contract_id": contract_id, "sort": "-subscription_id", "limit": AT_ONCE}
    try:
        async with part_of_page():
            found = await visit.see("entitlements", "/pools", Pools, **asked)
    except (Refused, Unreachable):
        return Products()
    return _named((each.product, each.product_name) for each in found.items)


async def own_products(visit: Visit) -> Products:
    """Return the names of the products that the person has a seat of."""
    try:
        async with part_of_page():
            found = await visit.see("entitlements", "/me/seats", MySeats, limit=AT_ONCE)
    except (Refused, Unreachable):
        return Products()
    return _named((each.product, each.product_name) for each in found.items)


async def offered_products(visit: Visit) -> Products:
    """Return the names of the products of the publisher that the person works for."""
    try:
        async with part_of_page():
            found = await visit.see("marketplace", "/publisher/plans", OfferedPlans, limit=AT_ONCE)
    except (Refused, Unreachable):
        return Products()
    return _named((each.product, each.product_name) for each in found.items)
