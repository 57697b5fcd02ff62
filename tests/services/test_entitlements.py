"""entitlements whole: its consumers over a real database, in any order; its doors, through a pool's whole course."""

import random
from datetime import date
from typing import Any

import pytest

from services.entitlements.domain.seat_pool import SEAT_POOL, AssignSeat, OpenedSeatPool
from shared.eventlog.write.log import Meta
from shared.events import (
    AccountClosed,
    CsnIssued,
    CsnRevoked,
    SeatAssigned,
    SeatsAdded,
    SeatUnassigned,
    SubscriptionEnded,
)
from tests.contracts.golden import sample
from tests.examples.engine import new_id
from tests.services.entitled import (
    ENDS,
    NOON,
    Doors,
    confirmed,
    later,
    person,
    renewed,
)
from tests.services.world import World

pytestmark = pytest.mark.system


@pytest.mark.parametrize("seed", range(12))
async def test_pools_and_numbers_seats_and_closed_accounts_meet_in_any_order(world: World, seed: int) -> None:
    chance = random.Random(seed)
    csn: dict[str, Any] = {"publisher": "autodesk", "organisation_id": "org"}
    sold: dict[str, Any] = {"publisher": "autodesk", "organisation_id": "reseller"}
    more = sample(SeatsAdded).model_copy(update={"subscription_id": "s1", "seats": 3})
    world.say("identity", "account-ana", person("ana", "org"))
    world.say("identity", "account-ben", person("ben", "org"))

    async def assign(pool: str, account: str) -> None:
        await world.log.execute(
            SEAT_POOL, pool, AssignSeat(account, "mina", person(account, "org")), Meta(new_id(), "mina", NOON)
        )

    steps: list[list[Any]] = [  # each list in its order, the lists in any
        [
            ("marketplace", "subscription-s1", confirmed("s1", "org", "reseller")),
            ("marketplace", "subscription-s1", more),
        ],
        [("marketplace", "subscription-s2", confirmed("s2", "other", "reseller"))],
        [("marketplace", "subscription-s3", confirmed("s3", "org", "reseller", publisher="another"))],
        [
            ("marketplace", "partner-org", CsnIssued(csn="N1", **csn)),
            ("marketplace", "partner-org", CsnRevoked(csn="N1", **csn)),
            ("marketplace", "partner-org", CsnIssued(csn="N2", **csn)),
        ],
        [
            ("marketplace", "partner-reseller", CsnIssued(csn="R1", **sold)),
            ("marketplace", "partner-reseller", CsnRevoked(csn="R1", **sold)),
        ],
        [("identity", "account-ana", AccountClosed(account_id="ana", organisation_id="org", closed_by="ana"))],
        [("s1", "ana"), ("s1", "ben")],
    ]
    while any(steps):
        following = await world.next()
        if following and chance.random() < 0.8:
            await world.hear(*chance.choice(following))
            continue
        row = chance.choice([row for row in steps if row])
        if len(row[0]) == 2:
            pool = await world.log.state(SEAT_POOL, "s1")
            if not isinstance(pool, OpenedSeatPool):
                continue
            await assign(*row.pop(0))
        else:
            world.say(*row.pop(0))
    await world.settle(chance)

    s1, s2 = await world.log.state(SEAT_POOL, "s1"), await world.log.state(SEAT_POOL, "s2")
    s3 = await world.log.state(SEAT_POOL, "s3")
    assert isinstance(s1, OpenedSeatPool) and isinstance(s2, OpenedSeatPool) and isinstance(s3, OpenedSeatPool)
    assert s1.right is not None and s1.right.csn == "N2"
    assert (s2.right, s3.right) == (None, None)
    assert [held.account_id for held in s1.held.values()] == ["ben"], "ana's account is closed"
    rows = await world.pool.fetch("select subscription_id, seats, update_csn from pools order by 1")
    assert [tuple(row) for row in rows] == [("s1", 3, "N2"), ("s2", 2, None), ("s3", 2, None)]
    assert [row["account_id"] for row in await world.pool.fetch("select account_id from seats")] == ["ben"]


# ── Doors and queries──────────────────────────────────────────────────────────────────


async def test_a_pool_through_its_course(world: World, doors: Doors) -> None:
    chance = random.Random(2)
    bulk = {"items": [{"account_id": account} for account in ("ana", "nobody", "ben", "mina")]}
    answers = (await doors.when("mina", "POST", "/pools/s/seats/bulk", bulk).then_ok())["items"]
    assert [item["answer"].get("rule") for item in answers] == [None, "user-unknown", None, "seats-exhausted"]
    await world.settle(chance)
    pool = await doors.when("ana", "GET", "/pools/s").then_ok()
    assert (pool["phase"], pool["until"], pool["updates"], pool["free"]) == ("active", "2027-11-20", True, 0)

    world.say("marketplace", "subscription-s", renewed(date(2028, 11, 20)))
    await world.settle(chance)
    (mine,) = (await doors.when("ana", "GET", "/me/seats").then_ok())["items"]
    assert (mine["until"], mine["access"], mine["updates"]) == ("2028-11-20", True, True)
    assert (await doors.when("ben", "GET", "/me/seats").then_ok())["items"] == [], (
        "one seat fewer: who came last has none"
    )

    last = SubscriptionEnded(subscription_id="s", contract_id="c", customer="org", ended=date(2028, 11, 20))
    later(world, 732)  # 2028-11-22
    await world.settle(chance)
    world.say("marketplace", "subscription-s", last)
    await world.settle(chance)
    (mine,) = (await doors.when("ana", "GET", "/me/seats").then_ok())["items"]
    assert (mine["phase"], mine["until"], mine["access"], mine["updates"]) == ("expired", "2028-12-05", True, True)
    refused = await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ben"}).then_status(409)
    assert refused["rule"] == "term-ended" and len(refused["because"]) == 1

    later(world, 746)  # 2028-12-06
    await world.settle(chance)
    (mine,) = (await doors.when("ana", "GET", "/me/seats").then_ok())["items"]
    assert (mine["phase"], mine["until"], mine["access"], mine["updates"]) == ("suspended", "2029-01-04", False, False)

    later(world, 776)  # 2029-01-05
    await world.settle(chance)
    assert (await doors.when("ana", "GET", "/me/seats").then_ok())["items"] == []
    (pool,) = (await doors.when("ana", "GET", "/pools").then_ok())["items"]
    assert (pool["phase"], pool["until"], pool["assigned"]) == ("ended", None, 0)


async def test_many_seats_are_taken_back_at_once(world: World, doors: Doors) -> None:
    items = {"items": [{"account_id": "ana"}, {"account_id": "ben"}]}
    await doors.when("mina", "POST", "/pools/s/seats/bulk", items).then_ok()
    back = await doors.when("mina", "POST", "/pools/s/seats/unassign/bulk", items).then_ok()
    assert [item["answer"]["events"][0]["type"] for item in back["items"]] == ["SeatUnassigned"] * 2
    for_all = (await doors.when("ben", "POST", "/pools/s/seats/unassign/bulk", items).then_ok())["items"]
    assert {(item["status"], item["answer"]["rule"]) for item in for_all} == {(403, "role-missing")}


async def test_a_seat_moves_to_somebody_else_in_one_step(world: World, doors: Doors) -> None:
    path, move = "/pools/s/seats/transfer", {"account_id": "ana", "to_account_id": "ben"}
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
    await doors.when("ana", "POST", path, move).then_refused("role-missing")
    await doors.when("mina", "POST", path, move | {"to_account_id": "nobody"}).then_refused("user-unknown")
    await doors.when("mina", "POST", path, move).then(SeatUnassigned, SeatAssigned)
    await world.settle(random.Random(4))
    shown = await doors.when("mina", "GET", "/pools/s").then_ok()
    assert [(seat["seat"], seat["account_id"]) for seat in shown["holders"]] == [(1, "ben")]
    items = {
        "items": [move, {"account_id": "ben", "to_account_id": "ana"}, {"account_id": "ben", "to_account_id": "ben"}]
    }
    answers = (await doors.when("mina", "POST", f"{path}/bulk?dry_run=true", items).then_ok())["items"]
    assert [item["answer"].get("rule") for item in answers] == ["seat-not-held", None, "seat-not-held"]


async def test_users_are_named_by_address_and_no_address_is_stored(world: World, doors: Doors) -> None:
    path = "/pools/s/seats"
    await doors.when("mina", "POST", path, {"email": "Ana@X.example"}, key="ana").then(SeatAssigned)
    again = await doors.when("mina", "POST", path, {"account_id": "ana"}, key="ana").then_ok()
    assert again["repeated"] is True, "the same person by another name"
    await doors.when("mina", "POST", path, {"email": "ben@x.example"}, key="ana").then_refused("idempotency-key-reused")
    await doors.when("mina", "POST", path, {"email": "nobody@x.example"}).then_refused("user-unknown", because=[])
    await doors.when("mina", "POST", path, {}).then_refused("malformed")
    await doors.when("mina", "POST", path, {"email": "ana@x.example", "account_id": "ana"}).then_refused("malformed")
    move = {"email": "ana@x.example", "to_email": "ben@x.example"}
    await doors.when("mina", "POST", f"{path}/transfer", move).then(SeatUnassigned, SeatAssigned)
    nobodys = {"email": "nobody@x.example", "to_email": "ana@x.example"}
    await doors.when("mina", "POST", f"{path}/transfer", nobodys).then_refused("user-unknown")
    items = {"items": [{"email": each} for each in ("ben@x.example", "nobody@x.example", "ana@x.example")]}
    back = (await doors.when("mina", "POST", f"{path}/unassign/bulk", items).then_ok())["items"]
    assert [(item["answer"].get("rule"), len(item["answer"].get("events", ()))) for item in back] == [
        (None, 1),
        ("user-unknown", 0),
        (None, 0),
    ]
    stored = await world.pool.fetch(
        "select c::text as row from log.commands c union all select e::text from log.events e"
    )
    assert not any("x.example" in row["row"] for row in stored)


async def test_seats_are_assigned_from_a_csv_file_after_a_preview(world: World, doors: Doors) -> None:
    file = "email,account_id\r\nana@x.example,\r\nnot an address,\r\n,ben\r\n,\r\nnobody@x.example,\r\n,mina\r\n"
    outcomes = [(2, None), (3, "malformed"), (4, None), (6, "user-unknown"), (7, "seats-exhausted")]
    for query in ("?dry_run=true", ""):
        answer = await doors.when_file("mina", f"/pools/s/seats/bulk{query}", file).then_ok()
        assert [(item["line"], item["answer"].get("rule")) for item in answer["items"]] == outcomes
    await world.settle(random.Random(5))
    shown = await doors.when("mina", "GET", "/pools/s").then_ok()
    assert [seat["account_id"] for seat in shown["holders"]] == ["ana", "ben"]


async def test_while_identity_is_away_users_are_named_by_account(world: World, doors: Doors) -> None:
    doors.away = True
    await doors.when("mina", "POST", "/pools/s/seats", {"email": "ana@x.example"}).then_refused("unavailable")
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then(SeatAssigned)


async def test_a_ledger_explains_every_balance(world: World, doors: Doors) -> None:
    chance, path = random.Random(3), "/contracts/c/credits"
    one = {"grant_id": "g1", "amount": 10}
    await doors.when("mina", "POST", f"{path}/grants", one).then_refused("not-a-publisher")
    await doors.when("stranger", "POST", f"{path}/grants", one).then_status(404)
    await doors.when("seller", "POST", f"{path}/grants", one).then_ok()
    unknown = {"grant_id": "g2", "amount": 3, "account_id": "nobody"}
    await doors.when("seller", "POST", f"{path}/grants", unknown).then_refused("user-unknown")
    await doors.when("seller", "POST", f"{path}/grants", unknown | {"account_id": "ana"}).then_ok()

    spend = {"consumption_id": "x", "amount": 5, "purpose": "rendering"}
    await doors.when("ana", "POST", f"{path}/consumptions", spend).then_refused("seat-needed")
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
    await world.settle(chance)
    for_ana = spend | {"account_id": "ana"}
    await doors.when("ben", "POST", f"{path}/consumptions", for_ana).then_refused("credits-of-another")
    await doors.when("seller", "POST", f"{path}/consumptions", for_ana).then_ok()
    assert (await doors.when("ana", "POST", f"{path}/consumptions", spend).then_ok())["events"] == [], (
        "it was spent already"
    )
    refused = await doors.when(
        "ana", "POST", f"{path}/consumptions", spend | {"consumption_id": "y", "amount": 9}
    ).then_status(409)
    assert refused["rule"] == "credits-exhausted"
    await world.settle(chance)

    seen = await doors.when("ana", "GET", path).then_ok()
    assert (seen["balance"], seen["pool"], seen["individual"]) == (8, 8, {})
    assert [(e["kind"], e["grant_id"], e["amount"], e["balance"]) for e in seen["entries"]] == [
        ("granted", "g1", 10, 10),
        ("granted", "g2", 3, 13),
        ("consumed", "g2", -3, 10),
        ("consumed", "g1", -2, 8),
    ]
    assert [(lot["grant_id"], lot["remaining"], lot["expires_on"]) for lot in seen["lots"]] == [("g1", 8, "2027-11-20")]
    page = await doors.when("ana", "GET", f"{path}?limit=2").then_ok()
    rest = await doors.when("ana", "GET", f"{path}?limit=2&after={page['next']}").then_ok()
    assert [*page["entries"], *rest["entries"]] == seen["entries"] and rest["next"] is None
    await doors.when("stranger", "GET", path).then_status(404)


async def test_credits_expire_in_the_customers_time_or_with_the_contract(world: World, doors: Doors) -> None:
    chance, path = random.Random(4), "/contracts/c/credits"
    await doors.when("seller", "POST", f"{path}/grants", {"grant_id": "g1", "amount": 10}).then_ok()
    later(world, 100)
    await world.settle(chance)
    await doors.when("seller", "POST", f"{path}/grants", {"grant_id": "g2", "amount": 7}).then_ok()
    later(world, 365)
    await world.settle(chance)
    seen = await doors.when("ana", "GET", path).then_ok()
    assert (seen["balance"], seen["entries"][-1]["reference"]) == (7, "time")

    last = SubscriptionEnded(subscription_id="s", contract_id="c", customer="org", ended=ENDS)
    world.say("marketplace", "subscription-s", last)
    later(world, 381)
    await world.settle(chance)
    seen = await doors.when("ana", "GET", path).then_ok()
    assert (seen["balance"], seen["entries"][-1]["reference"]) == (0, "contract")
