"""entitlements' lists: what they find, in which order, and as which file."""

import csv
import io
import random
from typing import Any

import pytest

from tests.services.entitled import Doors, confirmed
from tests.services.world import World

pytestmark = pytest.mark.system


async def items(doors: Doors, who: str, path: str) -> list[Any]:
    page: dict[str, list[Any]] = await doors.when(who, "GET", path).then_ok()
    return page["items"]


async def test_pools_are_found_by_phase_product_and_free_seats(world: World, doors: Doors) -> None:
    other = confirmed("t", "org", "reseller", seats=1, product="revit", product_name="Revit")
    world.say("marketplace", "subscription-t", other)
    await world.settle(random.Random(1))
    await doors.when("mina", "POST", "/pools/t/seats", {"account_id": "ana"}).then_ok()
    await world.settle(random.Random(1))
    by = {
        "": ["s", "t"],
        "sort=-product": ["t", "s"],
        "sort=free": ["t", "s"],
        "free=true": ["s"],
        "free=false": ["t"],
        "phase=active": ["s", "t"],
        "phase=upcoming": [],
        "product=revit": ["t"],
        "q=REV": ["t"],
        "q=nothing": [],
        "contract_id=none": [],
    }
    for query, expected in by.items():
        found = await items(doors, "mina", f"/pools?{query}")
        assert [pool["subscription_id"] for pool in found] == expected, query
    rows = csv.DictReader(io.StringIO((await doors.when("mina", "GET", "/pools?format=csv")).text, newline=""))
    assert [(row["subscription_id"], row["assigned"], row["free"]) for row in rows] == [
        ("s", "0", "2"),
        ("t", "1", "0"),
    ]


async def test_seats_are_listed_for_those_who_see_the_pool(world: World, doors: Doors) -> None:
    for account in ("ana", "ben"):
        await doors.when("mina", "POST", "/pools/s/seats", {"account_id": account}).then_ok()
    await world.settle(random.Random(1))
    for query, expected in {
        "": ["ana", "ben"],
        "sort=-seat": ["ben", "ana"],
        "account_id=ben": ["ben"],
        "email=BEN@x.example": ["ben"],
        "email=eve@x.example": [],
    }.items():
        seats = await items(doors, "mina", f"/pools/s/seats?{query}")
        assert [seat["account_id"] for seat in seats] == expected, query
    await doors.when("stranger", "GET", "/pools/s/seats").then_status(404)
    await doors.when("mina", "GET", "/pools/s/seats?account_id=ben&email=ben@x.example").then_refused("malformed")
    mine = await items(doors, "ana", "/me/seats?phase=active&sort=-ends")
    assert [seat["subscription_id"] for seat in mine] == ["s"]


async def test_the_ledger_is_a_list_with_the_balance_after_each_entry(world: World, doors: Doors) -> None:
    path = "/contracts/c/credits"
    for grant, amount in (("g1", 10), ("g2", 3)):
        await doors.when("seller", "POST", f"{path}/grants", {"grant_id": grant, "amount": amount}).then_ok()
    spent = {"consumption_id": "x", "amount": 5, "purpose": "rendering", "account_id": "ana"}
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
    await world.settle(random.Random(1))
    await doors.when("seller", "POST", f"{path}/consumptions", spent).then_ok()
    await world.settle(random.Random(1))
    for query, expected in {
        "": [(10, 10), (3, 13), (-5, 8)],
        "sort=-entry": [(-5, 8), (3, 13), (10, 10)],
        "kind=consumed": [(-5, 8)],
        "q=RENDER": [(-5, 8)],
        "grant_id=g2": [(3, 13)],
        "email=ana@x.example": [(-5, 8)],
        "email=ben@x.example": [],
        "sort=amount&limit=1": [(-5, 8)],
    }.items():
        entries = await items(doors, "mina", f"{path}/entries?{query}")
        assert [(entry["amount"], entry["balance"]) for entry in entries] == expected, query
    await doors.when("stranger", "GET", f"{path}/entries").then_status(404)
