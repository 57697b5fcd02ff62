"""identity whole: who holds which role on a contract, and when its agreements open what."""

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from services.identity.domain import account, contract, contract_state
from services.identity.domain.account import ACCOUNT, CloseAccount
from services.identity.domain.contract import CONTRACT, ApproveRoleRequest, HandOverContract, NameCoordinator
from services.identity.persons import Persons
from services.identity.projections import involve
from shared.days import begins
from shared.eventlog.write.log import Accepted, Log, Meta, Refused, utc_now
from shared.events import SubscriptionEnded, SubscriptionRenewed
from shared.events.registry import MARKETPLACE
from shared.runtime.auth import Actor, TokenSigner
from tests.examples.engine import NOON, new_id
from tests.services.identity_bench import KEY, Bench

pytestmark = pytest.mark.system


async def test_a_contract_manager_hands_over_before_closing(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    refused = (await bench.when(manager, "DELETE", "/me")).json()
    assert (refused["rule"], "c" in refused["detail"]) == ("still-contract-manager", True)
    assert refused["because"] == [(await bench.manager()).ref]
    assert (await bench.when(manager, "POST", "/contracts/c/handover", {"to": mina})).status_code == 200
    kept = (await bench.when(token, "DELETE", "/me")).json()
    assert kept["rule"] == "still-contract-manager", "the heir, at once, before any table is folded"
    manager = await bench.again("oskar")
    assert (await bench.when(manager, "DELETE", "/me")).status_code == 200
    await bench.settle()
    assert (await bench.manager()).account_id == mina
    heirless = (await bench.when(token, "POST", "/contracts/c/handover", {"to": oskar})).json()
    assert heirless["rule"] == "not-of-customer", "nobody hands over to an account that is closed"


async def test_a_coordinator_who_leaves_loses_the_role_everywhere(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    path = f"/contracts/c/coordinators/{mina}"
    for right in (False, True, False):
        named = await bench.when(manager, "PUT", path, {"may_assign_seats": right})
        assert named.json()["events"][0]["data"]["may_assign_seats"] is right
    assert (await bench.when(manager, "GET", "/contracts/c")).json()["coordinating"] == [mina]
    assert (await bench.when(token, "GET", "/contracts/c/access")).json()["open"] is True
    assert (await bench.when(token, "DELETE", "/me")).status_code == 200
    await bench.settle()
    assert (await bench.contract()).coordinators == {}
    assert (await bench.when(manager, "GET", "/contracts/c")).json()["coordinating"] == [oskar]
    refused = (await bench.when(manager, "PUT", path, {"may_assign_seats": True})).json()
    assert refused["rule"] == "not-of-customer"


async def test_a_handover_and_a_closing_in_the_same_instant_leave_one_manager_who_is_there(bench: Bench) -> None:
    """The doors have asked before either is committed; the reactions come in either order."""
    for first in ("closing", "handover"):
        oskar, _ = await bench.join(f"oskar.{first}")
        state = await bench.log.state(ACCOUNT, oskar)
        assert isinstance(state, account.OpenedAccount)
        mina, _ = await bench.join(f"mina.{first}")
        org = state.opened.organisation_id
        key = f"c-{first}"
        record = contract.RecordSubscription(
            contract_id=key,
            customer=org,
            publisher="autodesk",
            programme="p",
            subscription_id="s",
            purchaser=oskar,
            agreement="desktop",
            product="autocad",
        )
        await involve(bench.pool, mina, key)
        await bench.log.execute(CONTRACT, key, record, Meta(new_id(), oskar, NOON))
        steps: list[Any] = [
            (ACCOUNT, mina, CloseAccount(mina, ())),
            (CONTRACT, key, HandOverContract(mina, oskar, org)),
            (CONTRACT, key, NameCoordinator(mina, org, mina)),
        ]
        for stream, owner, command in steps if first == "closing" else [steps[1], steps[2], steps[0]]:
            await bench.log.execute(stream, owner, command, Meta(new_id(), oskar, NOON))
            if stream is ACCOUNT:
                await bench.settle([bench.consumers[1]])
        await bench.settle()
        found = await bench.log.state(CONTRACT, key)
        assert isinstance(found, contract_state.OpenedContract) and found.manager is not None
        assert found.manager.account_id == oskar and found.coordinators == {}, first


async def test_where_nobody_is_left_the_operator_hands_the_contract_over(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    ana, _ = await bench.invited(manager, "ana")
    operator = TokenSigner(KEY).sign(
        Actor(account_id="operator", organisation_id="tenure", organisation_kind="operator"), "token"
    )
    await bench.purchase(oskar)
    await bench.log.execute(ACCOUNT, oskar, CloseAccount("operator", ()), Meta(new_id(), "operator", NOON))
    await bench.settle()
    assert (await bench.manager()).account_id == oskar, "never none"
    assert (await bench.when(operator, "POST", "/contracts/c/handover", {"to": ana})).status_code == 200
    assert (await bench.manager()).account_id == ana


async def test_the_agreement_ends_with_the_subscription_and_not_with_a_renewal(bench: Bench) -> None:
    oskar, token = await bench.join("oskar")
    await bench.purchase(oskar, SubscriptionRenewed)
    assert (await bench.when(token, "GET", "/contracts/c/access")).json()["open"] is True
    bench.inbound.clear()
    await bench.pool.execute("delete from engine.checkpoints where topic = $1", MARKETPLACE)
    await bench.pool.execute("delete from engine.seen where stream = 'subscription-s'")
    await bench.pool.execute("delete from engine.hashes where stream = 'subscription-s'")
    await bench.purchase(oskar, SubscriptionEnded)
    shut = (await bench.when(token, "GET", "/contracts/c/access")).json()
    assert (shut["open"], shut["missing"]) == (False, "agreement-missing")
    assert len(shut["because"]) == 2, "the role that is held, and the agreement's end"
    _, stranger = await bench.invited(token, "mina")
    assert (await bench.when(stranger, "GET", "/contracts/c/access")).json()["missing"] == "role-missing"


async def test_a_request_for_a_role_is_declined_and_the_person_reads_so(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    path = f"/contracts/c/role-requests/{mina}"
    nothing = (await bench.when(manager, "POST", f"{path}/approval")).json()
    assert nothing["rule"] == "no-request"
    await bench.when(token, "POST", "/contracts/c/role-requests", {"message": "please"})
    refused = await bench.when(token, "POST", f"{path}/decline", {"reason": "myself"})
    assert (refused.status_code, refused.json()["rule"]) == (403, "role-missing")
    assert refused.json()["because"] == [(await bench.manager()).ref]
    declined = (await bench.when(manager, "POST", f"{path}/decline", {"reason": "not yet"})).json()
    assert [event["type"] for event in declined["events"]] == ["RoleRequestDeclined"]
    assert declined["events"][0]["data"]["reason"] == "not yet"
    assert (await bench.when(token, "GET", "/contracts/c")).json()["requests"] == []
    assert (await bench.when(token, "GET", "/contracts/c/access")).json()["missing"] == "role-missing"


async def test_who_asks_to_manage_takes_over_by_the_managers_approval(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    ana, other = await bench.invited(manager, "ana")
    await bench.purchase(oskar)
    for who in (token, other):
        asked = await bench.when(who, "POST", "/contracts/c/role-requests", {"role": "contract_manager"})
        assert asked.json()["events"][0]["data"]["role"] == "contract_manager"
    both = (await bench.when(token, "POST", "/contracts/c/role-requests", {"role": "software_coordinator"})).json()
    assert both["rule"] == "request-waiting" and len(both["because"]) == 1
    await bench.log.execute(ACCOUNT, ana, CloseAccount(ana, ()), Meta(new_id(), ana, NOON))
    gone = (await bench.when(manager, "POST", f"/contracts/c/role-requests/{ana}/approval")).json()
    assert gone["rule"] == "not-of-customer"
    approval = f"/contracts/c/role-requests/{mina}/approval"
    considered = (await bench.when(manager, "POST", f"{approval}?dry_run=true")).json()
    taken = (await bench.when(manager, "POST", approval)).json()
    assert [event["type"] for event in taken["events"]] == ["RoleRevoked", "RoleAssigned"]
    assert [event["data"] for event in considered["events"]] == [event["data"] for event in taken["events"]]
    assert (await bench.when(manager, "POST", approval)).status_code == 401, "who loses the role signs in again"
    manager = await bench.again("oskar")
    assert (await bench.when(manager, "POST", approval)).json()["events"] == [], "it was approved before"
    await bench.settle()
    roles = (await bench.when(token, "GET", "/contracts/c")).json()["roles"]
    assert [(role["account_id"], role["role"]) for role in roles] == [(mina, "contract_manager")]
    shut = (await bench.when(manager, "GET", "/contracts/c/access")).json()
    assert (shut["missing"], shut["because"]) == ("role-missing", [taken["events"][0]["id"]])


async def test_two_handovers_at_once_leave_one_manager_and_refuse_the_other(bench: Bench) -> None:
    """Two processes decide on the same state; the store takes one."""
    oskar, _ = await bench.join("oskar")
    await bench.join("mina")
    found = await bench.log.state(ACCOUNT, oskar)
    assert isinstance(found, account.OpenedAccount)
    org = found.opened.organisation_id
    logs = [Log(bench.store, "identity", sealer=Persons(bench.pool)) for _ in range(2)]
    for n in range(5):
        key = f"c-{n}"
        record = contract.RecordSubscription(
            contract_id=key,
            customer=org,
            publisher="autodesk",
            programme="p",
            subscription_id="s",
            purchaser=oskar,
            agreement="desktop",
            product="autocad",
        )
        await bench.log.execute(CONTRACT, key, record, Meta(new_id(), oskar, NOON))
        asks = contract.RequestRole("ana", org, contract_state.MANAGER)
        await bench.log.execute(CONTRACT, key, asks, Meta(new_id(), "ana", NOON))
        for log in logs:
            await log.state(CONTRACT, key)
        commands: list[Any] = [
            HandOverContract("mina", oskar, org),
            ApproveRoleRequest("ana", oskar, False, org) if n % 2 else HandOverContract("ana", oskar, org),
        ]
        meta = [Meta(new_id(), oskar, NOON) for _ in logs]
        answers = await asyncio.gather(
            *(
                log.execute(CONTRACT, key, *each)
                for log, each in zip(logs, zip(commands, meta, strict=True), strict=True)
            )
        )
        (won,), (lost,) = ([a for a in answers if isinstance(a, kind)] for kind in (Accepted, Refused))
        assert isinstance(won, Accepted) and isinstance(lost, Refused)
        assert [event.event.type() for event in won.events] == ["RoleRevoked", "RoleAssigned"]
        state = await bench.log.state(CONTRACT, key)
        assert isinstance(state, contract_state.OpenedContract) and state.manager is not None
        assert state.manager.ref == won.events[1].id and state.coordinators == {}
        assert lost.rule == "role-missing" and lost.because == (won.events[1].id, won.events[0].id)


async def test_coordinators_are_named_and_their_roles_taken_in_bulk(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    people = [(await bench.invited(manager, name))[0] for name in ("mina", "ana")]
    await bench.purchase(oskar)
    named = {
        "items": [
            {"account_id": people[0], "may_assign_seats": True},
            {"account_id": "nobody"},
            {"account_id": people[1]},
        ]
    }
    path, key = "/contracts/c/coordinators", {"Idempotency-Key": "all"}
    considered = (await bench.when(manager, "POST", f"{path}/bulk?dry_run=true", named)).json()
    assert considered["accepted"] == 2 and (await bench.contract()).coordinators == {}
    answer = (await bench.when(manager, "POST", f"{path}/bulk", named, **key)).json()
    assert [item["answer"].get("rule") for item in answer["items"]] == [None, "not-of-customer", None]
    again = (await bench.when(manager, "POST", f"{path}/bulk", named, **key)).json()
    assert [item["answer"].get("repeated") for item in again["items"]] == [True, None, True]
    held = (await bench.contract()).coordinators
    assert {a: role.may_assign_seats for a, role in held.items()} == {people[0]: True, people[1]: False}
    taken = {"items": [{"account_id": account} for account in people]}
    answer = (await bench.when(manager, "POST", f"{path}/revoke/bulk", taken)).json()
    assert answer["accepted"] == 2 and (await bench.contract()).coordinators == {}
    await bench.settle()


async def test_an_agreement_of_a_later_term_starts_on_its_first_day_in_the_customers_time(bench: Bench) -> None:
    sandbox = {"organisation": {"name": "Trial", "kind": "customer", "sandbox": True}}
    oskar, token = await bench.join("oskar", **sandbox)
    mina, _ = await bench.invited(token, "mina")
    first_day = utc_now().date() + timedelta(days=20)
    await bench.purchase(oskar, starts=first_day)
    scheduled = (await bench.contract()).scheduled["s"]
    shut = (await bench.when(token, "GET", "/contracts/c/access")).json()
    assert (shut["missing"], shut["because"]) == (
        "agreement-missing",
        [(await bench.manager()).ref, scheduled.ref],
    )
    (shown,) = (await bench.when(token, "GET", "/contracts/c")).json()["agreements"]
    assert (shown["subscription_id"], shown["starts"], shown["time_zone"]) == (
        "s",
        first_day.isoformat(),
        scheduled.time_zone,
    )
    assert (await bench.when(token, "PUT", f"/contracts/c/coordinators/{mina}")).status_code == 200, (
        "roles are not late"
    )
    await bench.settle()
    assert await bench.timers.fire() == 0, "not in real time"

    midnight = begins(first_day, scheduled.time_zone)
    for early in (timedelta(hours=1), timedelta(0)):
        moved = await bench.when(token, "POST", "/clock", {"to": (midnight - early).isoformat()})
        assert moved.status_code == 200
        await bench.settle()
        await bench.clocks.refresh(bench.pool)
        assert await bench.timers.fire() == (0 if early else 1)
    opened = (await bench.when(token, "GET", "/contracts/c/access")).json()
    assert opened["open"] is True and opened["because"][1] == (await bench.contract()).agreements["s"].ref
    await bench.settle()
    assert await bench.timers.fire() == 0
    assert not await bench.pool.fetch("select * from engine.timers")
    assert (await bench.when(token, "GET", "/contracts/c")).json()["agreements"][0]["starts"] is None


async def test_a_term_that_begins_today_for_a_sandbox_ahead_of_us_starts_at_once(bench: Bench) -> None:
    sandbox = {"organisation": {"name": "Trial", "kind": "customer", "sandbox": True}}
    oskar, token = await bench.join("oskar", **sandbox)
    first_day = utc_now().date() + timedelta(days=100)
    await bench.when(token, "POST", "/clock", {"to": datetime.combine(first_day, time(9), UTC).isoformat()})
    await bench.settle()
    await bench.clocks.refresh(bench.pool)
    await bench.purchase(oskar, starts=first_day)
    assert set((await bench.contract()).agreements) == {"s"}
    assert not await bench.pool.fetch("select * from engine.timers")


async def test_a_subscription_that_ended_before_its_first_day_leaves_no_timer(bench: Bench) -> None:
    oskar, token = await bench.join("oskar")
    await bench.purchase(oskar, SubscriptionEnded, starts=utc_now().date() + timedelta(days=5))
    assert not (await bench.contract()).scheduled and set((await bench.contract()).ended) == {"s"}
    assert not await bench.pool.fetch("select * from engine.timers")
    assert (await bench.when(token, "GET", "/contracts/c/access")).json()["missing"] == "agreement-missing"
