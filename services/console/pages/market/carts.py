"""The open carts of a partner's people: going on with one, and discarding one."""

from starlette.responses import Response

from services.console.deeds import Deed, carry_out
from services.console.doors import path
from services.console.pages.market.cart import CART, forget
from services.console.pages.market.showing import names_of, render
from services.console.shapes.sales import Carts
from services.console.texts import marked
from services.console.visits import Visit


async def carts(visit: Visit) -> Response:
    """List the partner's open carts, the latest changed ones first."""
    asked = {**visit.listed(), "status": "open"}
    if visit.wants_csv:
        return await visit.export_as("marketplace", "/carts", "carts", asked)
    found = await visit.see("marketplace", "/carts", Carts, **asked)
    names = await names_of(visit, {each.opened_by for each in found.items})
    return render(visit, "carts.html", carts=found, names=names, own=visit.kept(CART))


async def discard(visit: Visit) -> Response:
    """Discard a cart, once the person has confirmed it."""
    gettext, cart_id = visit.texts.gettext, visit.form["cart_id"]
    deed = Deed(
        service="marketplace",
        method="DELETE",
        path=path("/carts/{cart_id}", cart_id=cart_id),
        question=gettext(marked("Discard this cart?")),
        button=gettext(marked("Discard it")),
        says=lambda _: [
            gettext(marked("Its lines can't be ordered afterwards. To buy the plans, start another cart."))
        ],
        grave=True,
        then="/carts",
        notice="discarded",
    )
    response = await carry_out(visit, deed, carts)
    if response.headers.get("location") and cart_id == visit.kept(CART):
        forget(visit)
    return response
