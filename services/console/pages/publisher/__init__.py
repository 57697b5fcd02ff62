"""What a publisher's people do: plans and prices, orders to answer, CSNs, and updates."""

from typing import Final

from services.console.areas import Area, Kind, Link, PageAt, Watch
from services.console.pages.publisher import credits, csns, orders, plans, updates
from services.console.texts import marked

PUBLISHERS: Final[frozenset[Kind]] = frozenset({"publisher"})

AREA: Final = Area(
    name="publisher",
    pages=(
        PageAt(path="/publisher/plans", show=plans.plans),
        PageAt(path="/publisher/plans/new", show=plans.new, act=plans.list_plan),
        PageAt(path="/publisher/plans/{product_id}", show=plans.plan, act=plans.change),
        PageAt(path="/publisher/orders", show=orders.orders),
        PageAt(path="/publisher/orders/{subscription_id}", show=orders.order, act=orders.answer),
        PageAt(path="/publisher/csns", show=csns.csns, act=csns.change),
        PageAt(path="/publisher/credits", show=credits.contracts),
        PageAt(path="/publisher/credits/{contract_id}", show=credits.grants, act=credits.grant),
        PageAt(path="/publisher/credits/{contract_id}/file", show=credits.file_page, act=credits.grant_file),
        PageAt(path="/publisher/updates", show=updates.updates),
        PageAt(path="/publisher/updates/new", show=updates.new, act=updates.publish),
        PageAt(path="/publisher/updates/{update_id}", show=updates.update, act=updates.withdraw),
    ),
    links=(
        Link(path="/publisher/plans", text=marked("Catalogue"), kinds=PUBLISHERS),
        Link(path="/publisher/orders", text=marked("Orders"), kinds=PUBLISHERS),
        Link(path="/publisher/csns", text=marked("CSNs"), kinds=PUBLISHERS),
        Link(path="/publisher/credits", text=marked("Credits"), kinds=PUBLISHERS),
        Link(path="/publisher/updates", text=marked("Updates"), kinds=PUBLISHERS),
    ),
    watches=(Watch(find=orders.waiting, kinds=PUBLISHERS),),
)
