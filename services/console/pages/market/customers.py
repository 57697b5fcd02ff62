"""A partner's customers, one customer, and the customers' requests for seats."""

import asyncio

from starlette.responses import Response

from services.console.pages.market.showing import if_shown, names_of, render
from services.console.shapes.entitlements import Pools
from services.console.shapes.sales import (
    Customers,
    DueInstalments,
    SeatsRequests,
    Subscriptions,
)
from services.console.visits import Visit


async def customers(visit: Visit) -> Response:
    """List the customers that have engaged one's own organisation, or have released it."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/customers", "customers", "status")
    found = await visit.see_list("marketplace", "/customers", Customers, "status")
    return render(visit, "customers.html", customers=found)


async def customer(visit: Visit) -> Response:
    """Show a customer: its standing, subscriptions, pools, instalments and requests."""
    who = visit.id("customer")
    found, subscriptions, pools, instalments, requests = await asyncio.gather(
        visit.see("marketplace", "/customers", Customers, customer=who),
        if_shown(visit.see("marketplace", "/subscriptions", Subscriptions, customer=who, sort="ends", limit="100")),
        if_shown(visit.see("entitlements", "/pools", Pools, customer=who, limit="100")),
        if_shown(visit.see("marketplace", "/instalments", DueInstalments, customer=who)),
        if_shown(visit.see("marketplace", "/seats-requests", SeatsRequests, customer=who, status="open")),
    )
    if not found.items:
        return visit.page("not-found.html", 404)
    bought = subscriptions.items if subscriptions else []
    names = await names_of(visit, {each.purchaser for each in bought})
    return render(
        visit,
        "customer.html",
        customer=found.items[0],
        subscriptions=bought,
        pools=pools.items if pools else None,
        instalments=instalments,
        requests=requests.items if requests else [],
        purchasers=sorted(set(names.values())),
    )


async def requests(visit: Visit) -> Response:
    """List the customers' requests for seats."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/seats-requests", "requests", "status")
    found = await visit.see_list("marketplace", "/seats-requests", SeatsRequests, "status")
    names = await names_of(visit, {each.requested_by for each in found.items})
    return render(visit, "requests.html", requests=found, names=names)
