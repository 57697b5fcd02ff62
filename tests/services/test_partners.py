"""Partners and their customers: who engages whom, what a partner sees, and requests for seats, over a real database."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.marketplace.domain.order import Order
from services.marketplace.domain.subscription import SUBSCRIPTION
from shared.eventlog.write.log import Meta
from shared.events import (
    AgreementStarted,
    CsnIssued,
    OrderDeclined,
    PeopleAdministratorRemoved,
    RoleAssigned,
    RoleRevoked,
)
from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY, NOON
from tests.examples.subscription import CART
from tests.services.market import ORDER, Market, a_market

pytestmark = pytest.mark.system


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made


def contract_manager(contract_id: str, account_id: str = "mina") -> RoleAssigned:
    return RoleAssigned(
        contract_id=contract_id,
        account_id=account_id,
        role="contract_manager",
        may_assign_seats=True,
        assigned_by="publisher",
    )


async def managed(market: Market) -> str:
    """A running subscription whose Contract Manager is mina, and its id."""
    subscription = await market.running()
    shown = await market.when("mina", "GET", f"/subscriptions/{subscription}").then_ok()
    await market.hears("identity", f"contract-{shown['contract_id']}", contract_manager(shown["contract_id"]))
    return subscription


async def rows(market: Market, who: str, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await market.when(who, "GET", path).then_ok())["items"]
    return items


# ── Who engages ────────────────────────────────────────────────────────────────────────────────────────


async def test_those_who_manage_people_and_contract_managers_engage_partners(market: Market) -> None:
    for who in ("ana", "clerk"):
        for method in ("PUT", "DELETE"):
            await market.when(who, method, "/partners/other-reseller").then_refused("may-not-engage")
    removed = PeopleAdministratorRemoved(account_id="mina", organisation_id="org", removed_by="founder")
    await market.hears("identity", "account-mina", removed)
    await market.when("mina", "PUT", "/partners/other-reseller").then_refused("may-not-engage")
    await market.hears("identity", "contract-c", contract_manager("c"))
    await market.when("mina", "PUT", "/partners/other-reseller").then_ok()
    await market.when("mina", "DELETE", "/partners/other-reseller").then_ok()
    gone = RoleRevoked(contract_id="c", account_id="mina", role="contract_manager", revoked_by="x")
    await market.hears("identity", "contract-c", gone)
    await market.when("mina", "PUT", "/partners/other-reseller").then_refused("may-not-engage")


async def test_only_a_partner_can_be_engaged(market: Market) -> None:
    for nobody in ("nobody", "org"):
        await market.when("mina", "PUT", f"/partners/{nobody}").then_refused("partner-unknown")
        await market.when("mina", "DELETE", f"/partners/{nobody}").then_refused("partner-unknown")
    await market.when("mina", "PUT", "/partners/no%20such").then_refused("malformed")


async def test_an_organisations_first_account_engages_partners(market: Market) -> None:
    await market.when("founder", "PUT", "/partners/reseller").then_ok()
    (partner,) = await rows(market, "founder", "/partners")
    assert (partner["partner"], partner["name"], partner["status"]) == ("reseller", "reseller Ltd", "engaged")


# ── What it opens ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_checkout_is_refused_until_the_customer_engages_the_partner(market: Market) -> None:
    await market.when("mina", "DELETE", "/partners/reseller").then_ok()
    cart = await market.cart((AUTOCAD.product_id, 1))
    release = market.world.of("engagement-org/reseller", "PartnerReleased")
    for method, path in (
        ("GET", f"/carts/{cart}?customer=org&purchaser=mina"),
        ("POST", f"/carts/{cart}/checkout?dry_run=true"),
        ("POST", f"/carts/{cart}/checkout"),
    ):
        body = ORDER if method == "POST" else None
        refusal = await market.when("clerk", method, path, body).then_refused("partner-not-engaged")
        assert refusal["because"] == [release]
    await market.when("mina", "PUT", "/partners/reseller").then_ok()
    await market.when("clerk", "POST", f"/carts/{cart}/checkout", ORDER).then_ok()


async def test_an_order_from_before_engagements_counts_as_one(market: Market) -> None:
    cart = (await market.when("rival", "POST", "/carts").then_ok())["events"][0]["data"]["cart_id"]
    line = {"product_id": AUTOCAD.product_id, "seats": 1}
    await market.when("rival", "POST", f"/carts/{cart}/lines", line).then_ok()
    checkout = f"/carts/{cart}/checkout?dry_run=true"
    await market.when("rival", "POST", checkout, ORDER).then_refused("partner-not-engaged")
    before = Order(CART.model_copy(update={"customer": "org", "partner": "other-reseller"}), 0, NOON)
    await market.world.log.execute(SUBSCRIPTION, "sub-1", before, Meta("before", "rival", NOON))
    await market.settle()
    await market.when("rival", "POST", checkout, ORDER).then_ok()
    (customer,) = await rows(market, "rival", "/customers")
    assert (customer["customer"], customer["status"], customer["since"]) == ("org", "engaged", None)
    await market.when("mina", "DELETE", "/partners/other-reseller").then_ok()
    await market.when("rival", "POST", checkout, ORDER).then_refused("partner-not-engaged")
    (customer,) = await rows(market, "rival", "/customers")
    assert (customer["status"], customer["since"]) == ("released", None)


async def test_a_released_partner_supports_what_runs_and_changes_nothing(market: Market) -> None:
    subscription, failed = await managed(market), await market.ordered(AUTOCAD.product_id)
    await market.publisher(OrderDeclined(subscription_id=failed, reason="no"))
    await market.when("mina", "DELETE", "/partners/reseller").then_ok()
    path = f"/subscriptions/{subscription}"
    for method, door, body in (
        ("PUT", f"{path}/seats", {"seats": 4}),
        ("PUT", f"{path}/seats", {"seats": 2}),
        ("POST", f"{path}/disable-auto-renew", {}),
        ("GET", f"{path}/cancel-preview", None),
        ("POST", f"/subscriptions/{failed}/resubmit", {}),
    ):
        await market.when("clerk", method, door, body).then_refused("partner-not-engaged")
    await market.when("mina", "POST", f"{path}/seats-requests", {"seats": 4}).then_refused("partner-not-engaged")
    support = await market.when("mina", "GET", f"{path}/support").then_ok()
    assert support["supported_by"] == "reseller Ltd", "what it ordered is still its to support"
    assert len(await rows(market, "clerk", "/subscriptions")) == 2
    contract = (await market.when("mina", "GET", path).then_ok())["contract_id"]
    started = AgreementStarted(contract_id=contract, subscription_id=subscription, kind="desktop", product="autocad")
    await market.hears("identity", f"contract-{contract}", started)
    await market.when("mina", "GET", f"{path}/cancel-preview").then_ok()
    await market.when("mina", "POST", f"{path}/disable-auto-renew", {}).then_ok()


# ── What a partner sees ────────────────────────────────────────────────────────────────────────────────


async def test_a_partner_sees_its_customers_and_a_customer_its_partners(market: Market) -> None:
    await market.when("mina", "GET", "/customers").then_refused("partner-only")
    assert await rows(market, "rival", "/customers") == await rows(market, "stranger", "/partners") == []
    subscription = await managed(market)
    await market.ordered(AUTOCAD.product_id)
    await market.publisher(CsnIssued(csn="5100012345", organisation_id="org", publisher="autodesk"))
    await market.when("mina", "POST", f"/subscriptions/{subscription}/seats-requests", {"seats": 9}).then_ok()
    (customer,) = await rows(market, "clerk", "/customers")
    assert customer | {"since": ""} == {
        "customer": "org",
        "name": "org Ltd",
        "status": "engaged",
        "since": "",
        "released_at": None,
        "csn_publishers": ["autodesk"],
        "subscriptions": 1,
        "open_orders": 1,
        "seats_requests": 1,
        "next_ends": "2027-11-22",
        "time_zone": "Europe/Berlin",
    }
    assert await rows(market, "clerk", "/customers?q=ORG&status=engaged&sort=next_ends") == [customer]
    assert await rows(market, "clerk", "/customers?customer=org") == [customer]
    for nobody in ("q=rival", "status=released", "customer=other"):
        assert await rows(market, "clerk", f"/customers?{nobody}") == []
    (partner,) = await rows(market, "mina", "/partners")
    assert (partner["partner"], partner["subscriptions"], partner["since"]) == ("reseller", 1, customer["since"])
    await market.when("mina", "PUT", "/partners/other-reseller").then_ok()
    page = await market.when("mina", "GET", "/partners?limit=1").then_ok()
    rest = await rows(market, "mina", f"/partners?limit=1&after={page['next']}")
    assert [each["partner"] for each in (*page["items"], *rest)] == ["other-reseller", "reseller"]


async def test_partners_are_found_by_name_and_standing(market: Market) -> None:
    await market.when("mina", "PUT", "/partners/other-reseller").then_ok()
    await market.when("mina", "DELETE", "/partners/other-reseller").then_ok()

    async def listed(query: str) -> list[str]:
        return [each["partner"] for each in await rows(market, "mina", f"/partners?{query}")]

    assert await listed("status=engaged") == await listed("q=RESELLER%20ltd&status=engaged") == ["reseller"]
    assert await listed("status=released") == await listed("q=other") == ["other-reseller"]
    assert await listed("sort=-name") == ["reseller", "other-reseller"]
    assert await listed("q=nobody") == []


async def test_instalments_are_found_by_product_and_name(market: Market) -> None:
    subscription = await market.running(AUTOCAD_MONTHLY.product_id)
    for q in ("autocad", "ORG%20ltd", subscription):
        assert len(await rows(market, "clerk", f"/instalments?q={q}")) == 2, q
    assert await rows(market, "clerk", "/instalments?q=nobody") == []
    latest = await rows(market, "mina", "/instalments?sort=-due")
    assert [each["due"] for each in latest] == ["2026-12-23", "2026-11-23"]


async def test_instalments_that_fall_due_are_listed_by_day(market: Market) -> None:
    subscription = await market.running(AUTOCAD_MONTHLY.product_id)
    for who in ("clerk", "mina"):
        due = await rows(market, who, "/instalments")
        assert [(each["due"], each["number"], each["is_due"]) for each in due] == [
            ("2026-11-23", 1, True),
            ("2026-12-23", 2, False),
        ]
        assert {(each["subscription_id"], each["customer_name"]) for each in due} == {(subscription, "org Ltd")}
    assert await rows(market, "rival", "/instalments") == await rows(market, "clerk", "/instalments?customer=x") == []
    year = "/instalments?customer=org&due_from=2026-11-23&due_before=2027-11-23&limit=5"
    page = await market.when("clerk", "GET", year).then_ok()
    shown = page["items"]
    while page["next"]:
        page = await market.when("clerk", "GET", f"{year}&after={page['next']}").then_ok()
        shown += page["items"]
    assert [each["number"] for each in shown] == list(range(1, 13))
    assert sum(each["amount"]["amount"] for each in shown) == 720_003
    await market.clock(datetime(2027, 1, 1, 12, tzinfo=UTC))
    due = await rows(market, "clerk", year)
    assert [each["is_due"] for each in due] == [True, True, False, False, False], "by the customer's clock"
    await market.when("clerk", "GET", "/instalments?due_from=soon").then_refused("malformed")


# ── Requests for seats ─────────────────────────────────────────────────────────────────────────────────


async def test_the_contract_manager_asks_and_the_partner_confirms_in_one_step(market: Market) -> None:
    subscription = await managed(market)
    path = f"/subscriptions/{subscription}/seats-requests"
    for who in ("ana", "clerk"):
        await market.when(who, "POST", path, {"seats": 5}).then_refused("contract-manager-only")
    for who in ("stranger", "rival"):
        await market.when(who, "POST", path, {"seats": 5}).then_refused("unknown")
    request = (await market.when("mina", "POST", path, {"seats": 5}).then_ok())["events"][0]["id"]
    (waiting,) = await rows(market, "clerk", "/seats-requests?status=open")
    assert (waiting["request"], waiting["seats_now"], waiting["seats"]) == (request, 3, 5)
    assert (waiting["customer_name"], waiting["partner_name"]) == ("org Ltd", "reseller Ltd")
    assert await rows(market, "rival", "/seats-requests") == await rows(market, "stranger", "/seats-requests") == []
    confirmation = f"{path}/{request}/confirmation"
    await market.when("mina", "POST", confirmation, {}).then_refused("partner-only")
    await market.when("rival", "POST", confirmation, {}).then_refused("unknown")
    would = await market.when("clerk", "POST", f"{confirmation}?dry_run=true", {}).then_ok()
    done = await market.when("clerk", "POST", confirmation, {}).then_ok()
    kinds = [event["type"] for event in done["events"]]
    assert kinds == [event["type"] for event in would["events"]] == ["SeatsAdded", "SeatsRequestConfirmed"]
    shown = await market.when("mina", "GET", f"/subscriptions/{subscription}").then_ok()
    assert (shown["seats"], len(shown["instalments"])) == (5, 13)
    (answered,) = await rows(market, "mina", f"/seats-requests?subscription_id={subscription}")
    assert (answered["status"], answered["seats_now"]) == ("confirmed", 5)
    assert await rows(market, "clerk", "/seats-requests?status=open") == []
    assert await rows(market, "clerk", "/seats-requests?q=autocad&customer=org") == [answered]
    assert await rows(market, "clerk", "/seats-requests?q=nothing") == []


async def test_the_partner_declines_with_a_reason_that_the_customer_sees(market: Market) -> None:
    subscription = await managed(market)
    path = f"/subscriptions/{subscription}/seats-requests"
    first = (await market.when("mina", "POST", path, {"seats": 5}).then_ok())["events"][0]["id"]
    second = (await market.when("mina", "POST", path, {"seats": 6}).then_ok())["events"][0]["id"]
    reason = {"reason": "over the budget"}
    await market.when("clerk", "POST", f"{path}/{first}/decline", reason).then_refused("no-seats-request")
    await market.when("clerk", "POST", f"{path}/{second}/decline", reason).then_ok()
    await market.when("clerk", "POST", f"{path}/{second}/confirmation", {}).then_refused("no-seats-request")
    answers = [
        (each["request"], each["status"], each["reason"]) for each in await rows(market, "mina", "/seats-requests")
    ]
    assert answers == [(second, "declined", "over the budget"), (first, "replaced", "")]
    await market.when("mina", "GET", "/seats-requests?status=gone").then_refused("malformed")
