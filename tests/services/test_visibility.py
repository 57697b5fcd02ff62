"""A publisher's people see and change what concerns that publisher; anything else is as if it did not exist."""

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from services.entitlements.__main__ import SERVICE as ENTITLEMENTS
from services.identity.__main__ import SERVICE as IDENTITY
from shared.events import ContractOpened
from shared.runtime.auth import Actor, TokenSigner
from shared.runtime.service import Service
from shared.runtime.visibility import listed, sees, sells, supports
from tests.services.entitled import Doors, confirmed
from tests.services.every_route import leaves
from tests.services.identity_bench import KEY, Bench
from tests.services.world import World

OWN = Actor(account_id="pat", organisation_id="autodesk-gmbh", organisation_kind="publisher", publisher="autodesk")
RIVAL = Actor(account_id="rob", organisation_id="rival-ltd", organisation_kind="publisher", publisher="rival")
NAMELESS = Actor(account_id="nora", organisation_id="nameless", organisation_kind="publisher")
OPERATOR = Actor(account_id="kim", organisation_id="tenure", organisation_kind="operator")
CUSTOMER = Actor(account_id="mina", organisation_id="org", organisation_kind="customer")
PARTNER = Actor(account_id="clerk", organisation_id="reseller", organisation_kind="partner", publisher="autodesk")


@pytest.mark.parametrize(
    ("actor", "seen"),
    [(OWN, True), (RIVAL, False), (NAMELESS, False), (OPERATOR, True), (CUSTOMER, True), (PARTNER, False)],
)
def test_a_contract_is_seen_by_its_customer_its_publisher_and_the_operator(actor: Actor, seen: bool) -> None:
    assert sees(actor, customer="org", publisher="autodesk") is seen


@pytest.mark.parametrize(
    ("actor", "may"),
    [(OWN, True), (RIVAL, False), (NAMELESS, False), (OPERATOR, True), (CUSTOMER, False), (PARTNER, False)],
)
def test_a_publisher_is_acted_for_by_its_people_and_the_operator(actor: Actor, may: bool) -> None:
    assert sells(actor, "autodesk") is may
    assert not sells(NAMELESS, ""), "who is of no publisher is not of one without a name"


def test_a_partner_supports_what_it_ordered_and_sees_no_contract() -> None:
    assert supports(PARTNER, "reseller")
    assert not supports(PARTNER, "other-reseller")
    named_alike = Actor(account_id="x", organisation_id="reseller", organisation_kind="customer")
    assert not supports(named_alike, "reseller"), "only a partner's people support"


def test_a_list_is_of_the_callers_own() -> None:
    assert listed(OWN) == (None, "autodesk")
    assert listed(CUSTOMER) == ("org", None)
    assert listed(PARTNER) == ("reseller", None)


# ── Every route that names a contract or a subscription ────────────────────────────────────────────────

BODIES: dict[str, dict[str, Any]] = {
    "AssignSeat": {"account_id": "ana"},
    "UnassignSeat": {},
    "TransferSeat": {"account_id": "ana", "to_account_id": "ben"},
    "GrantCredits": {"grant_id": "g1", "amount": 10},
    "ConsumeCredits": {"consumption_id": "x", "amount": 5},
    "RequestRole": {"role": "software_coordinator"},
    "ApproveRoleRequest": {},
    "DeclineRoleRequest": {"reason": "no"},
    "NameCoordinator": {},
    "RevokeRole": {},
    "HandOverContract": {"to": "ana"},
}
"""A body for each command: a new one needs its own here."""
ITEMS = {
    "UnassignSeat": {"account_id": "ana"},
    "NameCoordinator": {"account_id": "a"},
    "RevokeRole": {"account_id": "a"},
}


def named(service: Service) -> Iterator[tuple[str, str, Any]]:
    """Method, path and body of each route of the service that names a contract or a subscription."""
    for route in service.commands.routes:
        if re.search(r"\{(contract|subscription)_id\}", route.path):
            name = route.command.__name__
            item = ITEMS.get(name, BODIES[name])
            yield route.method, route.path, {"items": [item]} if route.bulk else BODIES[name] or None
    for route in leaves(service.queries.routes if service.queries else []):
        if re.search(r"\{(contract|subscription)_id\}", route.path):
            for method in route.methods - {"HEAD"}:
                yield method, route.path, None


def filled(path: str, contract: str, subscription: str) -> str:
    path = path.replace("{contract_id}", contract).replace("{subscription_id}", subscription)
    return re.sub(r"\{[a-z_]+\}", "ana", path)


def said(answer: Any) -> Any:
    """What is answered; of a bulk request, to its item."""
    return answer["items"][0]["answer"] if "items" in answer else answer


@pytest.mark.parametrize(("method", "path", "body"), list(named(ENTITLEMENTS)), ids=lambda value: str(value)[:60])
async def test_entitlements_answers_another_publishers_people_as_if_it_did_not_exist(
    doors: Doors, method: str, path: str, body: Any
) -> None:
    status = 200 if path.endswith("/bulk") else 404
    for who in ("other", "nameless", "stranger"):
        theirs = await doors.when(who, method, filled(path, "c", "s"), body).then_status(status)
        nothing = await doors.when(who, method, filled(path, "none", "none"), body).then_status(status)
        assert said(theirs)["status"] == 404
        assert said(theirs) == said(nothing), "nor is it told apart from what does not exist"


async def test_entitlements_lists_a_publishers_own_pools(world: World, doors: Doors) -> None:
    del world
    for who, pools in (("seller", ["s"]), ("operator", ["s"]), ("mina", ["s"]), ("other", []), ("nameless", [])):
        assert [
            each["subscription_id"] for each in (await doors.when(who, "GET", "/pools").then_ok())["items"]
        ] == pools, who
        of_contract = await doors.when(who, "GET", "/pools?contract_id=c").then_ok()
        assert [each["subscription_id"] for each in of_contract["items"]] == pools, who


async def test_a_partner_sees_the_pools_of_what_it_ordered_and_changes_nothing(world: World, doors: Doors) -> None:
    theirs = confirmed("t", "x", "reseller").model_copy(update={"contract_id": "d"})
    world.say("marketplace", "subscription-t", theirs)
    others = confirmed("u", "org", "other-reseller").model_copy(update={"contract_id": "e"})
    world.say("marketplace", "subscription-u", others)
    await world.settle(random.Random(3))

    async def shown(who: str, query: str = "") -> list[tuple[str, str]]:
        items = (await doors.when(who, "GET", f"/pools{query}").then_ok())["items"]
        return [(each["subscription_id"], each["customer"]) for each in items]

    assert await shown("clerk") == [("s", "org"), ("t", "x")]
    assert await shown("clerk", "?customer=org") == [("s", "org")]
    assert await shown("rival") == [("u", "org")]
    assert await shown("mina", "?customer=x") == []
    pool = await doors.when("clerk", "GET", "/pools/s").then_ok()
    assert (pool["seats"], pool["free"], pool["partner"]) == (2, 2, "reseller")
    await doors.when("rival", "GET", "/pools/s").then_refused("unknown")
    await doors.when("clerk", "GET", "/pools/u").then_refused("unknown")
    await doors.when("clerk", "POST", "/pools/s/seats", {"account_id": "ana"}).then_refused("unknown")
    await doors.when("clerk", "GET", "/contracts/c/credits").then_refused("unknown")


def token(actor: Actor) -> str:
    return TokenSigner(KEY).sign(actor, "token")


@pytest.mark.system
async def test_identity_answers_another_publishers_people_as_if_it_did_not_exist(bench: Bench) -> None:
    manager, _ = await bench.join("mina")
    await bench.purchase(manager)
    publisher = (await bench.contract()).opened.publisher
    own = Actor(account_id="pat", organisation_id="the-publisher", organisation_kind="publisher", publisher=publisher)
    for method, path, body in named(IDENTITY):
        for who in (RIVAL, NAMELESS, PARTNER):
            theirs = (await bench.when(token(who), method, filled(path, "c", "s"), body)).json()
            nothing = (await bench.when(token(who), method, filled(path, "none", "none"), body)).json()
            assert said(theirs)["status"] == 404, f"{method} {path}"
            assert said(theirs) == said(nothing)
    assert (await bench.when(token(own), "GET", "/contracts/c")).status_code == 200
    listed_by = {
        who: [each["contract_id"] for each in (await bench.when(token(who), "GET", "/contracts")).json()["items"]]
        for who in (own, RIVAL, NAMELESS, OPERATOR, PARTNER)
    }
    assert listed_by == {own: ["c"], RIVAL: [], NAMELESS: [], OPERATOR: ["c"], PARTNER: []}


async def test_each_publisher_lists_its_own_contracts(world: World, doors: Doors) -> None:
    theirs = ContractOpened(
        contract_id="d", customer="org", publisher="rival", programme="p", opened_by_subscription="t"
    )
    world.say("identity", "contract-d", theirs)
    await world.settle(random.Random(2))
    await doors.when("other", "GET", "/contracts/d/credits").then_ok()
    await doors.when("seller", "GET", "/contracts/d/credits").then_status(404)
    await doors.when("other", "POST", "/contracts/d/credits/grants", {"grant_id": "g1", "amount": 10}).then_ok()
    await doors.when("seller", "POST", "/contracts/d/credits/grants", {"grant_id": "g2", "amount": 10}).then_status(404)
