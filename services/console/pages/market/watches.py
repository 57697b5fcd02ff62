"""What waits for a partner's people: declined orders, requests for seats, open carts."""

from collections.abc import Sequence

from services.console.areas import Attention
from services.console.doors import path
from services.console.shapes.sales import Carts, Customers, SeatsRequests, Subscriptions
from services.console.visits import Visit


async def declined_orders(visit: Visit) -> Sequence[Attention]:
    """Say how many orders the publisher has declined."""
    found = await visit.see("marketplace", "/orders", Subscriptions, status="failed", limit="100")
    count, texts = len(found.items), visit.texts
    if not count:
        return ()
    text = texts.ngettext(
        "The publisher declined %(num)d order: correct it, or give it up.",
        "The publisher declined %(num)d orders: correct them, or give them up.",
        count,
    )
    at = path("/orders/{id}", id=found.items[0].subscription_id) if count == 1 else "/orders?status=failed"
    return [Attention(text=text % {"num": count}, path=at, urgent=True)]


async def open_carts(visit: Visit) -> Sequence[Attention]:
    """Say which carts are open, so that they are found in another browser, too."""
    found = await visit.see("marketplace", "/carts", Carts, status="open", limit="100")
    count, texts = len(found.items), visit.texts
    if not count:
        return ()
    if count == 1:
        cart = found.items[0]
        text = texts.gettext("A cart is open: %(products)s.") % {"products": ", ".join(cart.products)}
        if not cart.products:
            text = texts.gettext("A cart is open, with nothing in it.")
        return [Attention(text=text, path=path("/carts/{id}", id=cart.cart_id))]
    text = texts.ngettext("%(num)d cart is open.", "%(num)d carts are open.", count)
    return [Attention(text=text % {"num": count}, path="/carts")]


async def seats_asked_for(visit: Visit) -> Sequence[Attention]:
    """Say how many requests for seats the customers' people wait for."""
    found = await visit.see("marketplace", "/seats-requests", SeatsRequests, status="open", limit="100")
    count, texts = len(found.items), visit.texts
    if not count:
        return ()
    text = texts.ngettext("A customer asks for seats.", "Customers ask for seats: %(num)d requests.", count)
    at = path("/orders/{id}", id=found.items[0].subscription_id) if count == 1 else "/requests-for-seats?status=open"
    return [Attention(text=text % {"num": count}, path=at, urgent=True)]


async def first_customer(visit: Visit) -> Sequence[Attention]:
    """Say what to do first while no customer has engaged the partner."""
    found = await visit.see("marketplace", "/customers", Customers, limit="1")
    text = visit.texts.gettext("No customer has engaged you yet. Give yours your partner number.")
    return () if found.items else [Attention(text=text, path="/customers")]
