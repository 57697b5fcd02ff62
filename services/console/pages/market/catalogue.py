"""The catalogue, one plan, and an order by product ID."""

import asyncio
from http import HTTPStatus

from starlette.responses import Response

from services.console.doors import Refused, path
from services.console.pages.market.cart import put_into_cart
from services.console.pages.market.showing import given, if_shown, render
from services.console.shapes.sales import Plans, PricedPlan, Standing
from services.console.visits import Visit

FILTERS = ("period", "support", "billing", "category")


async def catalogue(visit: Visit) -> Response:
    """List the plans that one's own standing opens."""
    if visit.wants_csv:
        return await visit.export("marketplace", "/catalogue", "catalogue", *FILTERS)
    plans, standing = await asyncio.gather(
        visit.see_list("marketplace", "/catalogue", Plans, *FILTERS),
        if_shown(visit.see("marketplace", "/standing", Standing)),
    )
    return render(visit, "catalogue.html", plans=plans, standing=standing)


async def plan(visit: Visit) -> Response:
    """Show a plan of the catalogue."""
    publisher = given(visit, "publisher")
    query = {"publisher": publisher} if publisher else {}
    at = path("/catalogue/{product_id}", query, product_id=visit.id("product_id"))
    found = await visit.ask("marketplace", "GET", at, PricedPlan)
    return render(visit, "plan.html", plan=found)


async def add_plan(visit: Visit) -> Response:
    """Put the plan into the cart."""
    visit.form.values["product_id"] = visit.id("product_id")
    return await put_into_cart(visit, plan)


async def product_id(visit: Visit) -> Response:
    """Recognise a product ID: the plan that it names, or why it names none."""
    written, publisher = given(visit, "product_id"), given(visit, "publisher")
    visit.form.values |= {"product_id": written, "publisher": publisher}
    found, several = None, Plans(items=[], next=None)
    if written:
        query = {"publisher": publisher} if publisher else {}
        try:
            at = path("/catalogue/{product_id}", query, product_id=written)
            found = await visit.ask("marketplace", "GET", at, PricedPlan)
        except Refused as refused:
            visit.form.refuse(refused, visit.texts)
            if refused.problem.status == HTTPStatus.CONFLICT:  # several publishers use it
                several = await visit.see("marketplace", "/catalogue", Plans, product_id=written)
    return render(visit, "product-id.html", plan=found, several=several.items)


async def add_by_product_id(visit: Visit) -> Response:
    """Put the recognised plan into the cart."""
    return await put_into_cart(visit, product_id)
