"""marketplace whole, but for HTTP's and Kafka's wires: its doors, queries and timers over a real database."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.marketplace.domain.policy import Policy
from shared.events import (
    CsnRevoked,
    HeldSeat,
    Money,
    OrderConfirmed,
    OrderDeclined,
    PlanPriceAnnounced,
    RoleAssigned,
    SeatAssigned,
    SeatPoolCleared,
    SeatPoolHeld,
    SeatUnassigned,
)
from shared.runtime.policies import BY_KIND, Policies, policies_of
from tests.examples.marketplace import AUTOCAD, AUTOCAD_MONTHLY, LT, VAULT
from tests.services.market import Market, csn, euros

pytestmark = pytest.mark.system

ENDS = date(2027, 11, 22)


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_declined_order_is_corrected_and_sent_again(market: Market) -> None:
    subscription = await market.ordered()
    path = f"/subscriptions/{subscription}"
    again = {"starts": "2026-12-01", "seats": 4}
    await market.when("clerk", "POST", f"{path}/resubmit", again).then_refused("order-awaited")
    await market.publisher(OrderDeclined(subscription_id=subscription, reason="too few seats"))
    failed = await market.when("mina", "GET", path).then_ok()
    assert (failed["status"], failed["failure_reason"]) == ("failed", "too few seats")
    await market.when("mina", "POST", f"{path}/resubmit", again).then_refused("partner-only")
    await market.when("rival", "POST", f"{path}/resubmit", again).then_refused("unknown")
    await market.when("clerk", "POST", f"{path}/resubmit", {"seats": 1000}).then_refused("seats-out-of-range")
    sent = await market.when("clerk", "POST", f"{path}/resubmit", again).then_ok()
    (waiting,) = (await market.when("clerk", "GET", "/orders").then_ok())["items"]
    assert (waiting["status"], waiting["seats"], waiting["failure_reason"]) == ("awaiting", 4, None)
    assert waiting["total"] == euros(4 * 240_001)

    order = sent["events"][0]["id"]
    await market.publisher(OrderConfirmed(subscription_id=subscription, reference="A-2", order=order))
    shown = await market.when("mina", "GET", path).then_ok()
    assert (shown["status"], shown["publisher_reference"]) == ("confirmed", "A-2")
    assert (shown["term"]["starts"], shown["term"]["ends"]) == ("2026-12-01", "2027-11-30")
    await market.when("clerk", "POST", f"{path}/resubmit", {}).then_refused("already-confirmed")
    refund = await market.when("mina", "POST", f"{path}/refund", {"reason": "changed our minds"}).then_refused(
        "no-refunds"
    )
    assert len(refund["because"]) == 1


async def test_a_declined_order_is_abandoned(market: Market) -> None:
    subscription, other = await market.ordered(), await market.ordered(AUTOCAD.product_id)
    path = f"/subscriptions/{subscription}"
    await market.when("clerk", "POST", f"{path}/abandon", {}).then_refused("order-awaited")
    for each in (subscription, other):
        await market.publisher(OrderDeclined(subscription_id=each, reason="no credit"))
    await market.when("mina", "POST", f"{path}/abandon", {}).then_refused("partner-only")
    await market.when("rival", "POST", f"{path}/abandon", {}).then_refused("unknown")
    failed = (await market.when("clerk", "GET", "/orders?status=failed").then_ok())["items"]
    assert {(each["subscription_id"], each["failure_reason"]) for each in failed} == {
        (subscription, "no credit"),
        (other, "no credit"),
    }

    why = {"reason": "The customer buys elsewhere."}
    (event,) = (await market.when("clerk", "POST", f"{path}/abandon", why).then_ok())["events"]
    assert (event["type"], event["data"]["abandoned_by"]) == ("SubscriptionOrderAbandoned", "clerk")
    shown = await market.when("mina", "GET", path).then_ok()
    assert (shown["status"], shown["failure_reason"]) == ("abandoned", "no credit")
    assert (shown["abandoned"]["reason"], shown["abandoned"]["abandoned_by"]) == (why["reason"], "clerk")
    for status, listed in (("failed", other), ("abandoned", subscription)):
        items = (await market.when("clerk", "GET", f"/orders?status={status}").then_ok())["items"]
        assert [each["subscription_id"] for each in items] == [listed]
    assert (await market.when("rival", "GET", "/orders?status=failed").then_ok())["items"] == []
    await market.when("clerk", "POST", f"{path}/resubmit", {}).then_refused("order-abandoned")
    early = await market.when("clerk", "GET", f"{path}/cancel-preview").then_refused("order-abandoned")
    assert early["because"] == [event["id"]]


async def test_many_declined_orders_are_sent_again_or_abandoned_in_one_request(market: Market) -> None:
    one, other, third = [await market.ordered(plan.product_id) for plan in (AUTOCAD_MONTHLY, AUTOCAD, LT)]
    for each in (one, other):
        await market.publisher(OrderDeclined(subscription_id=each, reason="no credit"))
    items: list[dict[str, Any]] = [{"subscription_id": each} for each in (other, third, "no-such", one)]
    items[3] |= {"starts": "2026-12-01", "seats": 4}
    path = "/subscriptions/resubmit/bulk"
    for query in ("?dry_run=true", ""):
        done = await market.when("clerk", "POST", path + query, {"items": items}).then_ok()
        assert [item["status"] for item in done["items"]] == [200, 200, 404, 200]
        assert [len(item["answer"]["events"]) for item in done["items"] if item["status"] == 200] == [1, 0, 1]
    orders = (await market.when("clerk", "GET", "/orders").then_ok())["items"]
    shown = {each["subscription_id"]: (each["status"], each["seats"]) for each in orders}
    assert (shown[one], shown[other]) == (("awaiting", 4), ("awaiting", 3))
    theirs = (await market.when("rival", "POST", path, {"items": items}).then_ok())["items"]
    assert {item["status"] for item in theirs} == {404}
    await market.publisher(OrderDeclined(subscription_id=one, reason="still none"))
    given_up = {"items": [{"subscription_id": one, "reason": "no credit"}, {"subscription_id": third}]}
    done = await market.when("clerk", "POST", "/subscriptions/abandon/bulk", given_up).then_ok()
    assert [item["status"] for item in done["items"]] == [200, 409]
    assert (await market.when("clerk", "GET", f"/subscriptions/{one}").then_ok())["abandoned"]["reason"] == "no credit"


async def test_a_subscription_is_its_customers_and_its_partners(market: Market) -> None:
    subscription = await market.ordered()
    path = f"/subscriptions/{subscription}"
    doors: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "/support", None),
        ("GET", "/cancel-preview", None),
        ("POST", "/disable-auto-renew", {}),
        ("PUT", "/seats", {"seats": 4}),
        ("POST", "/refund", {}),
        ("POST", "/resubmit", {}),
        ("POST", "/abandon", {}),
    ]
    for method, door, body in doors:
        await market.when("rival", method, path + door, body).then_refused("unknown")
        await market.when("clerk", method, f"/subscriptions/no%00such{door}", body).then_refused("malformed")
    for door in ("/seats", "/resubmit", "/abandon"):
        method, body = ("PUT", {"seats": 4}) if door == "/seats" else ("POST", {})
        await market.when("mina", method, path + door, body).then_refused("partner-only")
    for method, door, body in doors[:3] + doors[5:6]:
        await market.when("stranger", method, path + door, body).then_refused("unknown")
    assert (await market.when("stranger", "GET", "/subscriptions").then_ok())["items"] == []
    for method, door, body in doors[2:5]:
        early = await market.when("clerk", method, path + door, body).then_refused("not-confirmed")
        assert early["because"] == [market.world.of(f"subscription-{subscription}", "SubscriptionOrdered")]

    theirs, mine = [await market.when(who, "GET", f"{path}/support").then_ok() for who in ("mina", "clerk")]
    assert (theirs["supported_by"], theirs["customer"]) == ("reseller Ltd", "org Ltd")
    assert theirs["answer"].startswith("reseller Ltd owes you support.")
    assert mine["answer"].startswith("You owe org Ltd support;") and "autodesk" in mine["partner_supported_by"]


async def test_lists_come_in_pages_the_newest_first(market: Market) -> None:
    made = [await market.ordered(AUTOCAD.product_id) for _ in range(3)]
    for who, path in (("clerk", "/orders"), ("mina", "/subscriptions")):
        page = await market.when(who, "GET", f"{path}?limit=2").then_ok()
        rest = await market.when(who, "GET", f"{path}?limit=2&after={page['next']}").then_ok()
        shown = [item["subscription_id"] for item in (*page["items"], *rest["items"])]
        assert shown == sorted(made, reverse=True) and rest["next"] is None


async def test_a_partner_that_lost_its_csn_adds_no_seats_of_a_specialised_plan(market: Market) -> None:
    await market.publisher(csn())
    subscription = await market.running(VAULT.product_id)
    path = f"/subscriptions/{subscription}/seats"
    await market.when("clerk", "PUT", path, {"seats": 4}).then_ok()
    await market.publisher(csn(CsnRevoked))
    (number,) = (await market.when("clerk", "GET", "/standing").then_ok())["csns"]
    lost = await market.when("clerk", "PUT", path, {"seats": 5}).then_refused("specialised-needs-csn")
    assert lost["because"] == [number["event_id"]]
    (fewer,) = (await market.when("clerk", "PUT", path, {"seats": 2}).then_ok())["events"]
    assert fewer["type"] == "SeatDecreaseScheduled"
    await market.clock(datetime(2027, 11, 23, 12, tzinfo=UTC))
    shown = await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok()
    assert (shown["term"]["number"], shown["seats"]) == (2, 2), "it renews without a number"


# ── Auto-renew ─────────────────────────────────────────────────────────────────────────────────────────

SHARE = 60_001  # of twelve; the odd units go to the first three
"""An instalment of three seats' price, 720_003."""


async def test_the_preview_in_time_names_the_deadline_the_seats_and_what_is_owed(market: Market) -> None:
    subscription = await market.running()
    seat: dict[str, Any] = {"subscription_id": subscription, "contract_id": "c", "seat": 2, "account_id": "ana"}
    await market.pool(subscription, SeatAssigned(**seat, assigned_by="mina"))
    preview = await market.preview(subscription, "mina")
    assert (preview["possible_now"], preview["in_time"], preview["would_end"]) == (False, True, "2027-11-22")
    assert preview["last_permitted_day"] == "2027-11-15"
    assert (preview["still_owed"], preview["next_term"]) == (euros(720_003 - SHARE), None)
    ((number, account),) = [(each["seat"], each["account_id"]) for each in preview["seats_to_unassign"]]
    assert (number, account) == (2, "ana")

    question = await market.asked(subscription)
    asked = await market.preview(subscription)
    assert (asked["possible_now"], asked["would_end"]) == (False, "2027-11-22"), "it is asked already"
    because = preview["seats_to_unassign"][0]["because"]
    held = HeldSeat(seat=2, account_id="ana", because=because)
    await market.pool(subscription, SeatPoolHeld(subscription_id=subscription, request=question, held=(held,)))
    shown = (await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok())["auto_renew"]
    assert (shown["state"], shown["refused"]["rule"]) == ("on", "seats-assigned")

    gone = SeatUnassigned(**seat, unassigned_by="mina")
    await market.pool(subscription, gone)
    preview = await market.preview(subscription)
    assert (preview["possible_now"], preview["seats_to_unassign"]) == (True, [])
    cleared = SeatPoolCleared(subscription_id=subscription, request=await market.asked(subscription))
    await market.pool(subscription, cleared)
    off = await market.preview(subscription)
    assert (off["possible_now"], off["would_end"], off["next_term"]) == (False, "2027-11-22", None)
    assert off["still_owed"] == euros(720_003 - SHARE), "the charges run on"
    assert (await market.when("clerk", "POST", f"/subscriptions/{subscription}/disable-auto-renew", {}).then_ok())[
        "events"
    ] == []


async def test_what_is_owed_follows_the_customers_clock_for_its_partner_too(market: Market) -> None:
    subscription = await market.running()
    for moved, shares in ((datetime(2027, 2, 22, 12, tzinfo=UTC), 3), (datetime(2027, 2, 23, 12, tzinfo=UTC), 4)):
        await market.clock(moved)
        paid = min(shares, 3) * SHARE + max(shares - 3, 0) * (SHARE - 1)
        for who in ("mina", "clerk"):
            (shown,) = (await market.when(who, "GET", "/subscriptions").then_ok())["items"]
            preview = await market.preview(subscription, who)
            assert shown["still_owed"] == preview["still_owed"] == euros(720_003 - paid)
            assert shown["auto_renew"]["in_time"] is preview["in_time"] is True
    await market.clock(datetime(2027, 11, 15, 22, 59, tzinfo=UTC))
    assert (await market.preview(subscription))["in_time"] is True, "the last permitted day, until midnight in Berlin"
    await market.clock(datetime(2027, 11, 15, 23, 0, tzinfo=UTC))
    assert (await market.preview(subscription))["in_time"] is False


async def test_a_late_request_owes_the_next_term_as_the_preview_said(market: Market) -> None:
    subscription = await market.running()
    price = PlanPriceAnnounced(
        product_id=AUTOCAD_MONTHLY.product_id,
        publisher="autodesk",
        valid_from=date(2027, 11, 23),
        price=Money(amount=250_000, currency="EUR"),
    )
    await market.publisher(price)
    plan = await market.when("clerk", "GET", f"/catalogue/{AUTOCAD_MONTHLY.product_id}").then_ok()
    assert [each["valid_from"] for each in plan["prices"]] == [None, "2027-11-23"]
    assert (plan["prices"][0]["price"], plan["prices"][1]["price"]) == (plan["price"], euros(250_000))
    await market.when("clerk", "PUT", f"/subscriptions/{subscription}/seats", {"seats": 2}).then_ok()
    await market.clock(datetime(2027, 11, 20, 12, tzinfo=UTC))
    late = await market.preview(subscription)
    assert (late["possible_now"], late["in_time"], late["would_end"]) == (True, False, "2028-11-22")
    assert late["next_term"] == late["still_owed"] == euros(2 * 250_000), "the running term is paid by now"
    question = await market.asked(subscription)
    assert (await market.preview(subscription)) == late | {"possible_now": False}
    await market.pool(subscription, SeatPoolCleared(subscription_id=subscription, request=question))
    assert (await market.preview(subscription)) == late | {"possible_now": False}

    await market.clock(datetime(2027, 11, 23, 12, tzinfo=UTC))
    shown = await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok()
    assert (shown["term"]["number"], shown["total"], shown["seats"]) == (2, late["next_term"], 2)
    preview = await market.preview(subscription)
    assert (preview["would_end"], preview["next_term"]) == ("2028-11-22", None)
    assert 0 < preview["still_owed"]["amount"] < 500_000
    await market.clock(datetime(2028, 11, 23, 12, tzinfo=UTC))
    shown = await market.when("clerk", "GET", f"/subscriptions/{subscription}").then_ok()
    assert (shown["status"], shown["still_owed"]) == ("ended", euros(0))


async def test_what_was_asked_in_time_stays_so_after_the_deadline(market: Market) -> None:
    subscription = await market.running()
    await market.asked(subscription)
    await market.clock(datetime(2027, 11, 20, 12, tzinfo=UTC))
    preview = await market.preview(subscription)
    assert (preview["in_time"], preview["would_end"], preview["next_term"]) == (False, "2027-11-22", None)


async def test_where_late_requests_are_refused_the_preview_says_so(
    market: Market, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "marketplace.toml").write_text('publisher.autodesk = {late_disable_auto_renew = "refuse"}\n')
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    monkeypatch.setitem(BY_KIND, Policy, Policies("marketplace", Policy, policies_of(Policy).file))
    subscription = await market.running()
    assert (await market.preview(subscription))["possible_now"] is True
    await market.clock(datetime(2027, 11, 20, 12, tzinfo=UTC))
    preview = await market.preview(subscription)
    assert (preview["possible_now"], preview["would_end"], preview["next_term"]) == (False, None, None)
    assert "deadline has passed" in preview["note"]
    path = f"/subscriptions/{subscription}/disable-auto-renew"
    refused = await market.when("clerk", "POST", path, {}).then_refused("auto-renew-cutoff-passed")
    assert len(refused["because"]) == 1
    await market.clock(datetime(2027, 11, 23, 12, tzinfo=UTC))
    preview = await market.preview(subscription)
    assert (preview["possible_now"], preview["would_end"]) == (True, "2028-11-22"), "the next term's deadline is ahead"


async def test_of_the_customer_only_the_contract_manager_turns_it_off_whatever_the_agreement(market: Market) -> None:
    subscription = await market.running()
    path = f"/subscriptions/{subscription}/disable-auto-renew"
    contract = (await market.when("mina", "GET", f"/subscriptions/{subscription}").then_ok())["contract_id"]

    def role(account: str, name: str) -> RoleAssigned:
        what = {"contract_id": contract, "account_id": account, "role": name}
        return RoleAssigned.model_validate(what | {"may_assign_seats": True, "assigned_by": "x"})

    await market.when("mina", "POST", path, {}).then_refused("role-missing")
    await market.hears("identity", "contract-c", role("mina", "contract_manager"), role("ana", "software_coordinator"))
    not_hers = await market.when("ana", "POST", path, {}).then_refused("contract-manager-only")
    assert len(not_hers["because"]) == 1
    (asked,) = (await market.when("mina", "POST", path, {}).then_ok())["events"]
    assert (asked["type"], asked["data"]["requested_by"]) == ("AutoRenewDisableRequested", "mina")


async def test_many_are_turned_off_in_one_request(market: Market) -> None:
    one, other = await market.running(), await market.running(AUTOCAD.product_id)
    waiting = await market.ordered(LT.product_id)
    items = {"items": [{"subscription_id": each} for each in (one, "no-such", waiting, other)]}
    path = "/subscriptions/disable-auto-renew/bulk"
    dry = await market.when("clerk", "POST", f"{path}?dry_run=true", items).then_ok()
    done = await market.when("clerk", "POST", path, items).then_ok()
    for answer in (dry, done):
        assert [item["status"] for item in answer["items"]] == [200, 404, 409, 200]
    shown = (await market.when("clerk", "GET", "/orders").then_ok())["items"]
    states = {each["subscription_id"]: each["auto_renew"] and each["auto_renew"]["state"] for each in shown}
    assert states == {one: "asked", other: "asked", waiting: None}
    theirs = (await market.when("rival", "POST", path, items).then_ok())["items"]
    assert {item["status"] for item in theirs} == {404}
    await market.when("clerk", "POST", path, {"items": [{}]}).then_refused("malformed")


async def test_renewals_ahead_are_summed_up_by_month_and_listed_by_their_last_day(market: Market) -> None:
    subscription = await market.running(AUTOCAD_MONTHLY.product_id)
    for who in ("clerk", "mina"):
        (month,) = (await market.when(who, "GET", "/renewals").then_ok())["months"]
        assert (month["month"], month["renewing"], month["ending"], month["seats"]) == ("2027-11-01", 1, 0, 3)
        assert month["amount"] == {"amount": 720_003, "currency": "EUR"}
    for which, found in (("ends_from=2027-11-22", 1), ("ends_from=2027-11-23", 0), ("ends_before=2027-11-22", 0)):
        path = f"/subscriptions?status=confirmed&{which}"
        items = (await market.when("clerk", "GET", path).then_ok())["items"]
        assert [each["customer_name"] for each in items] == ["org Ltd"] * found
        assert [each["partner_name"] for each in items] == ["reseller Ltd"] * found
    assert (await market.when("rival", "GET", "/renewals").then_ok())["months"] == []
    question = await market.asked(subscription)
    await market.pool(subscription, SeatPoolCleared(request=question, subscription_id=subscription))
    (month,) = (await market.when("clerk", "GET", "/renewals").then_ok())["months"]
    assert (month["renewing"], month["ending"], month["seats"], month["amount"]["amount"]) == (0, 1, 0, 0)
    assert (await market.when("clerk", "GET", "/renewals?ends_before=2027-11-01").then_ok())["months"] == []


async def test_reminders_and_the_renewal_come_in_the_customers_time(market: Market) -> None:
    subscription = await market.running(AUTOCAD.product_id)
    for days, reminded in ((91, []), (90, [90]), (31, [90, 60]), (0, [90, 60, 30])):
        day = ENDS - timedelta(days=days)
        await market.clock(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
        shown = await market.when("mina", "GET", f"/subscriptions/{subscription}").then_ok()
        assert (shown["auto_renew"]["reminded"], shown["term"]["number"]) == (reminded, 1)
    await market.clock(datetime(2027, 11, 22, 23, 0, tzinfo=UTC))  # midnight in Berlin
    shown = await market.when("mina", "GET", f"/subscriptions/{subscription}").then_ok()
    assert (shown["term"]["number"], shown["auto_renew"]["reminded"]) == (2, [])
