"""What entitlements' doors and reactions refuse, and by which facts; when a purchase begins; whose figures count."""

import random
from datetime import date, timedelta
from pathlib import Path

import pytest

from services.entitlements import reactions
from services.entitlements.domain.credits import CREDITS, GrantCredits
from services.entitlements.domain.policy import Policy
from services.entitlements.lookups import PostgresLookups
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.write.log import Meta, Refused
from shared.events import (
    AccountClosed,
    AgreementEnded,
    CreditsPurchased,
    RoleAssigned,
    SeatAssigned,
    SeatUnassigned,
    SubscriptionEnded,
)
from shared.events.envelope import Envelope
from shared.runtime.policies import BY_KIND, Policies, policies_of
from tests.examples.engine import new_id
from tests.services.entitled import ENDS, NOON, Doors, confirmed, later, open_doors, person
from tests.services.world import World

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("sold", "source", "rule"),
    [
        ({}, "urn:publisher:autodesk", ""),
        ({"account_id": "ana"}, "urn:publisher:autodesk", ""),
        ({}, "urn:publisher:other", "contract-unknown"),
        ({"account_id": "stranger"}, "urn:publisher:autodesk", "user-unknown"),
        ({"account_id": "nobody"}, "urn:publisher:autodesk", "user-unknown"),
    ],
)
async def test_the_publishers_system_sells_credits_to_its_own_contracts_and_their_users(
    world: World, doors: Doors, sold: dict[str, str], source: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "LOOKS", 1)
    world.say("identity", "account-stranger", person("stranger", "x"))
    await world.settle(random.Random(5))
    answer = await purchased(world, CreditsPurchased(contract_id="c", grant_id="g", amount=5, **sold), source)
    assert answer == rule


async def purchased(world: World, sold: CreditsPurchased, source: str = "urn:publisher:autodesk") -> str:
    """The rule that the publisher's word is refused by, "" where it is not."""
    reach = ReactionContext(lookups=PostgresLookups(world.pool), log=world.log, now=NOON, clocks=world.clocks)
    (do,) = await reactions.REACTIONS.react(sold, Envelope("e", source, sold.type(), "", NOON), reach)
    answer = await world.log.execute(do.stream, do.key, do.command, Meta(new_id(), source, NOON))
    return answer.rule if isinstance(answer, Refused) else ""


async def test_after_the_contracts_end_nobody_grants_credits(world: World, doors: Doors) -> None:
    chance, path = random.Random(6), "/contracts/c/credits"
    last = SubscriptionEnded(subscription_id="s", contract_id="c", customer="org", ended=ENDS)
    world.say("marketplace", "subscription-s", last)
    later(world, 365 + 14)  # the last day on which seats can be used
    await world.settle(chance)
    await doors.when("seller", "POST", f"{path}/grants", {"grant_id": "g1", "amount": 10}).then_ok()
    later(world, 365 + 15)
    await world.settle(chance)
    refused = await doors.when("seller", "POST", f"{path}/grants", {"grant_id": "g2", "amount": 10}).then_status(409)
    suspended = world.of("pool-s", "SeatPoolSuspended")
    assert (refused["rule"], refused["because"]) == ("contract-ended", [suspended])
    assert await purchased(world, CreditsPurchased(contract_id="c", grant_id="g3", amount=5)) == "contract-ended"

    in_that_moment = GrantCredits(
        contract_id="c", grant_id="g4", amount=7, customer="org", granted_by="seller", now=NOON
    )
    await world.log.execute(CREDITS, "c", in_that_moment, Meta(new_id(), "seller", NOON))
    await world.settle(chance)
    seen = await doors.when("ana", "GET", path).then_ok()
    assert (seen["balance"], seen["entries"][-1]["reference"]) == (0, "contract")


async def test_credits_are_granted_by_the_contracts_publisher_and_the_operator(world: World, doors: Doors) -> None:
    path, one = "/contracts/c/credits", {"grant_id": "g1", "amount": 10}
    for_ana = {"consumption_id": "x", "amount": 5, "account_id": "ana"}
    for what, body in (("grants", one), ("consumptions", for_ana)):
        await doors.when("other", "POST", f"{path}/{what}", body).then_refused("unknown")
    await doors.when("operator", "POST", f"{path}/grants", one).then_ok()
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
    await doors.when("operator", "POST", f"{path}/consumptions", for_ana).then_ok()


async def test_many_grants_at_once_are_answered_one_by_one(world: World, doors: Doors) -> None:
    path, key = "/contracts/c/credits/grants/bulk", new_id()
    items = [
        {"grant_id": "g1", "amount": 10},
        {"grant_id": "g2", "amount": 3, "account_id": "nobody"},
        {"grant_id": "g1", "amount": 11},
        {"grant_id": "g3", "amount": 4, "account_id": "ana"},
    ]
    rules = [None, "user-unknown", "grant-id-reused", None]
    would = await doors.when("seller", "POST", f"{path}?dry_run=true", {"items": items}).then_ok()
    first = await doors.when("seller", "POST", path, {"items": items}, key=key).then_ok()
    again = await doors.when("seller", "POST", path, {"items": items}, key=key).then_ok()
    for answers in (would, first, again):
        assert ([item["answer"].get("rule") for item in answers["items"]], answers["accepted"]) == (rules, 2)
    assert [item["answer"].get("repeated") for item in again["items"]] == [True, None, None, True]
    assert [item["answer"] for item in again["items"][1:3]] == [item["answer"] for item in first["items"][1:3]]
    assert first["items"][2]["answer"]["because"] == [first["items"][0]["answer"]["events"][0]["id"]]
    other = (await doors.when("other", "POST", path, {"items": items}).then_ok())["items"]
    assert {(item["status"], item["answer"]["rule"]) for item in other} == {(404, "unknown")}
    await world.settle(random.Random(7))
    assert (await doors.when("ana", "GET", "/contracts/c/credits").then_ok())["individual"] == {"ana": 4}


# ── Refusals ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_refusal_about_a_user_is_kept_with_its_evidence(world: World, doors: Doors) -> None:
    chance, path, zoe = random.Random(8), "/pools/s/seats", {"account_id": "zoe"}
    early = await doors.when("mina", "POST", path, zoe, key="early").then_refused("user-unknown", because=[])
    world.say("identity", "account-zoe", person("zoe", "org"))
    world.say("identity", "account-xenia", person("xenia", "x"))
    await world.settle(chance)
    assert await doors.when("mina", "POST", path, zoe, key="early").then_status(409) == early, "the first answer"
    await doors.when("mina", "POST", path, zoe).then_ok()
    world.say("identity", "account-zoe", AccountClosed(account_id="zoe", organisation_id="org", closed_by="zoe"))
    await world.settle(chance)
    await doors.when("mina", "POST", path, zoe).then_refused(
        "user-unknown", because=[world.said["account-zoe"][-1][0].id]
    )
    await doors.when("mina", "POST", path, {"account_id": "xenia"}).then_refused(
        "user-unknown", because=[]
    )  # of another organisation
    await doors.when("mina", "POST", path, {"account_id": "a\0"}).then_refused("malformed")


async def test_a_refusal_for_want_of_a_seat_is_kept_with_its_evidence(world: World, doors: Doors) -> None:
    path, spend = "/contracts/c/credits/consumptions", {"consumption_id": "x", "amount": 5}
    await doors.when("seller", "POST", "/contracts/c/credits/grants", {"grant_id": "g", "amount": 10}).then_ok()
    early = await doors.when("ana", "POST", path, spend, key="early").then_refused(
        "seat-needed", because=[world.of("pool-s", "SeatPoolOpened")]
    )
    await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
    assert await doors.when("ana", "POST", path, spend, key="early").then_status(409) == early, "the first answer"
    await doors.when("ana", "POST", path, spend).then_ok()  # though no read model knows the seat yet
    await doors.when("seller", "POST", path, spend | {"consumption_id": "y", "account_id": "a\0"}).then_refused(
        "malformed"
    )


async def test_seats_are_assigned_by_those_who_may_whatever_the_agreement(world: World, doors: Doors) -> None:
    role = {"contract_id": "c", "account_id": "ben", "role": "software_coordinator", "assigned_by": "mina"}
    world.say("identity", "contract-c", RoleAssigned.model_validate(role | {"may_assign_seats": False}))
    await world.settle(random.Random(9))
    path, seat = "/pools/s/seats", {"account_id": "ana"}
    await doors.when("ana", "POST", path, seat).then_refused("role-missing")
    await doors.when("ben", "POST", path, seat).then_refused("seat-right-missing")
    world.say("identity", "contract-c", RoleAssigned.model_validate(role | {"may_assign_seats": True}))
    world.say("identity", "contract-c", AgreementEnded(contract_id="c", subscription_id="s"))
    await world.settle(random.Random(9))
    await doors.when("ben", "POST", path, seat).then(SeatAssigned)
    await doors.when("mina", "DELETE", f"{path}/ana").then(SeatUnassigned)


async def test_seats_of_a_plan_whose_agreement_opens_nothing_are_assigned(world: World) -> None:
    fusion = confirmed("s", "org", "reseller", product="fusion", product_name="Fusion", agreement="other")
    async with open_doors(world, fusion, agreement="other") as doors:
        await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then(SeatAssigned)
        await doors.when("mina", "DELETE", "/pools/s/seats/ana").then(SeatUnassigned)


# ── Before the term ────────────────────────────────────────────────────────────────────────────────────


async def test_seats_are_assigned_before_the_term_and_used_from_its_first_day(world: World) -> None:
    chance, first = random.Random(10), NOON.date() + timedelta(days=31)
    ahead = confirmed("s", "org", "reseller").model_copy(update={"starts": first})
    spend = {"consumption_id": "x", "amount": 5}
    async with open_doors(world, ahead) as doors:
        await doors.when("seller", "POST", "/contracts/c/credits/grants", {"grant_id": "g", "amount": 10}).then_ok()
        await doors.when("mina", "POST", "/pools/s/seats", {"account_id": "ana"}).then_ok()
        for days, phase, until, may in ((30, "upcoming", date(2026, 12, 21), False), (31, "active", ENDS, True)):
            later(world, days)
            await world.settle(chance)
            (mine,) = (await doors.when("ana", "GET", "/me/seats").then_ok())["items"]
            (listed,) = (await doors.when("ana", "GET", "/pools").then_ok())["items"]
            for shown in (mine, listed, await doors.when("seller", "GET", "/pools/s").then_ok()):
                assert (shown["phase"], shown["until"], shown["starts"]) == (phase, f"{until}", "2026-12-22")
            assert (mine["access"], mine["updates"], listed["updates"]) == (may, may, True)
            answer = await doors.when("ana", "POST", "/contracts/c/credits/consumptions", spend).then_status(
                200 if may else 409
            )
            if not may:
                opened = world.of("pool-s", "SeatPoolOpened")
                assert (answer["rule"], answer["because"]) == ("seat-needed", [opened])


# ── A publisher's own figures ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("publisher", ["autodesk", "acme"])
async def test_a_file_has_a_publishers_own_figures(
    world: World, publisher: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "entitlements.toml").write_text(
        "[publisher.autodesk]\nexpired_days = 3\nsuspended_days = 4\ncredit_months = 1\n"
    )
    monkeypatch.setenv("TENURE_POLICIES", str(tmp_path))
    monkeypatch.setitem(BY_KIND, Policy, Policies("entitlements", Policy, policies_of(Policy).file))
    chance, own = random.Random(11), publisher == "autodesk"
    async with open_doors(world, confirmed("s", "org", "reseller", publisher=publisher), publisher) as doors:
        await doors.when("operator", "POST", "/contracts/c/credits/grants", {"grant_id": "g", "amount": 1}).then_ok()
        sold = CreditsPurchased(contract_id="c", grant_id="h", amount=1)
        assert await purchased(world, sold, f"urn:publisher:{publisher}") == ""
        await world.settle(chance)
        seen = await doors.when("ana", "GET", "/contracts/c/credits").then_ok()
        assert {lot["expires_on"] for lot in seen["lots"]} == {"2026-12-20" if own else "2027-11-20"}
        last = SubscriptionEnded(subscription_id="s", contract_id="c", customer="org", ended=ENDS)
        later(world, 365)
        await world.settle(chance)
        world.say("marketplace", "subscription-s", last)
        await world.settle(chance)
        expired = await doors.when("ana", "GET", "/pools/s").then_ok()
        later(world, 365 + (4 if own else 16))
        await world.settle(chance)
        suspended = await doors.when("ana", "GET", "/pools/s").then_ok()
    assert (expired["phase"], expired["until"]) == ("expired", "2027-11-23" if own else "2027-12-05")
    assert (suspended["phase"], suspended["until"]) == ("suspended", "2027-11-27" if own else "2028-01-04")
