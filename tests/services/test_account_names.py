"""The names behind account ids: for colleagues, and for those whose work is with these people."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.events import PartnerEngaged
from shared.runtime.auth import Actor, TokenSigner
from tests.services.identity_bench import KEY, OPERATOR, Bench

pytestmark = pytest.mark.system

NAMES = "/accounts/names"
PARTNER: Mapping[str, Any] = {"organisation": {"name": "Reseller", "kind": "partner"}}
NOBODY = "00000000-0000-4000-8000-000000000000"


async def named(bench: Bench, token: str, *accounts: str) -> list[tuple[str, str | None]]:
    """The names and addresses that are answered for these accounts."""
    answer = await bench.when(token, "POST", NAMES, {"account_ids": list(accounts)}).then_ok()
    return sorted((item["name"], item["email"]) for item in answer["items"])


async def organisation(bench: Bench, token: str) -> str:
    found: str = (await bench.when(token, "GET", "/me").then_ok())["organisation_id"]
    return found


async def test_colleagues_have_names_and_for_those_who_manage_people_addresses(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, member = await bench.invited(founder, "mina")
    await bench.purchase(oskar)
    with_addresses: list[tuple[str, str | None]] = [
        ("mina Okafor", "mina@x.example"),
        ("oskar Okafor", "oskar@x.example"),
    ]
    assert await named(bench, founder, oskar, mina) == with_addresses
    assert await named(bench, member, oskar, mina, oskar) == [("mina Okafor", None), ("oskar Okafor", None)]
    await bench.when(founder, "PUT", f"/contracts/c/coordinators/{mina}", {}).then_ok()
    await bench.settle()
    assert await named(bench, member, oskar, mina) == with_addresses, "who holds a role works with people"


async def test_their_organisations_are_named_where_that_is_asked_for(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    clerk, _ = await bench.join("clerk", **PARTNER)
    await bench.settle()
    asked = {"account_ids": [oskar, clerk], "organisations": True}
    answer = await bench.when(OPERATOR, "POST", NAMES, asked).then_ok()
    named = {item["account_id"]: item["organisation_name"] for item in answer["items"]}
    assert named[clerk] == "Reseller" and len(named) == 2
    own = (await bench.when(founder, "POST", NAMES, asked).then_ok())["items"]
    assert [(each["account_id"], each["organisation_name"]) for each in own] == [(oskar, named[oskar])]
    (plain,) = (await bench.when(founder, "POST", NAMES, {"account_ids": [oskar]}).then_ok())["items"]
    assert plain["organisation_name"] is None


async def test_who_may_not_be_known_is_left_out_as_nobody_is(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    strange, stranger = await bench.join("strange")
    clerk, partner = await bench.join("clerk", **PARTNER)
    mina, token = await bench.invited(founder, "mina")
    await bench.when(token, "DELETE", "/me").then_ok()
    await bench.settle()
    assert await named(bench, founder, strange, clerk, mina, NOBODY, "marketplace") == []
    assert await named(bench, stranger, oskar, strange) == [("strange Okafor", "strange@x.example")]
    assert await named(bench, partner, oskar) == []


async def test_partners_and_the_customers_that_have_engaged_them_know_each_other_by_name(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    clerk, partner = await bench.join("clerk", **PARTNER)
    other, _ = await bench.join("other", **PARTNER)
    customer = await organisation(bench, founder)
    engaged = PartnerEngaged(customer=customer, partner=await organisation(bench, partner), engaged_by=oskar)
    await bench.hears("engagement", engaged, customer)
    assert await named(bench, partner, oskar, other) == [("oskar Okafor", None)]
    assert await named(bench, founder, clerk, other) == [("clerk Okafor", None)]
    assert (await bench.when(founder, "GET", f"/accounts/{clerk}").then_ok())["name"] == "clerk Okafor"
    await bench.when(founder, "GET", f"/accounts/{other}").then_refused("unknown")


async def test_a_publisher_knows_those_with_roles_on_its_contracts_and_the_operator_everybody(bench: Bench) -> None:
    oskar, founder = await bench.join("oskar")
    mina, _ = await bench.invited(founder, "mina")
    await bench.purchase(oskar)
    contract = (await bench.when(founder, "GET", "/contracts/c").then_ok())["publisher"]
    for publisher, known in ((contract, [("oskar Okafor", None)]), ("another", []), ("", [])):
        actor = Actor(account_id="p", organisation_id="p", organisation_kind="publisher", publisher=publisher)
        assert await named(bench, TokenSigner(KEY).sign(actor, "p"), oskar, mina) == known
    assert await named(bench, OPERATOR, oskar, mina) == [("mina Okafor", None), ("oskar Okafor", None)]


async def test_names_are_asked_for_by_people_and_for_so_many_at_once(bench: Bench) -> None:
    _, session = await bench.join("oskar")
    await bench.when("", "POST", NAMES, {"account_ids": [NOBODY]}).then_refused("not-signed-in")
    for accounts in ([], [NOBODY] * 201):
        await bench.when(session, "POST", NAMES, {"account_ids": accounts}).then_refused("malformed")
