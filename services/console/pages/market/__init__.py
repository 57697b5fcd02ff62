"""The marketplace: what people of a partner do."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt, Watch
from services.console.pages.market import cart, carts, catalogue, customers, orders, renewals, watches, wizard
from services.console.texts import marked

PARTNERS: Final[frozenset[Kind]] = frozenset({"partner"})

AREA: Final = Area(
    name="market",
    pages=(
        PageAt(path="/customers", show=customers.customers),
        PageAt(path="/customers/{customer}", show=customers.customer),
        PageAt(path="/requests-for-seats", show=customers.requests),
        PageAt(path="/catalogue", show=catalogue.catalogue),
        PageAt(path="/catalogue/{product_id}", show=catalogue.plan, act=catalogue.add_plan),
        PageAt(path="/product-id", show=catalogue.product_id, act=catalogue.add_by_product_id),
        PageAt(path="/wizard", show=wizard.wizard, act=wizard.add_from_wizard),
        PageAt(path="/cart", show=cart.cart, act=cart.change_cart),
        PageAt(path="/cart/customer", show=cart.choose_customer),
        PageAt(path="/carts", show=carts.carts, act=carts.discard),
        PageAt(path="/carts/{cart_id}", show=cart.ordered),
        PageAt(path="/orders", show=orders.orders, act=orders.change_several),
        PageAt(path="/orders/{subscription_id}", show=orders.order, act=orders.change_order),
        PageAt(path="/renewals", show=renewals.renewals, act=renewals.turn_off),
    ),
    links=(
        Link(path="/customers", text=marked("Customers"), kinds=PARTNERS),
        Link(path="/catalogue", text=marked("Catalogue"), kinds=PARTNERS),
        Link(path="/cart", text=marked("Cart"), kinds=PARTNERS),
        Link(path="/orders", text=marked("Orders"), kinds=PARTNERS),
        Link(path="/renewals", text=marked("Renewals"), kinds=PARTNERS),
    ),
    watches=(
        Watch(find=watches.declined_orders, kinds=PARTNERS),
        Watch(find=watches.seats_asked_for, kinds=PARTNERS),
        Watch(find=watches.open_carts, kinds=PARTNERS),
        Watch(find=watches.first_customer, kinds=PARTNERS),
    ),
)
"""The pages, a module a subject."""
