"""Refusals, looked up afterwards: by who was refused and by the operator, and by nobody else."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest

from services.identity.domain.contract import CONTRACT, RevokeRole
from shared.eventlog.write.log import Meta, Refused, utc_now
from shared.runtime import refusals
from shared.runtime.auth import Actor, TokenSigner
from tests.services.identity_bench import KEY, OPERATOR, Bench

pytestmark = pytest.mark.system


async def asked_in_vain(bench: Bench, token: str, path: str, **headers: str) -> Any:
    """Ask a Contract Manager's approval of somebody who has not asked for a role."""
    answer = await bench.when(token, "POST", path, {}, **headers)
    assert answer.status_code in (403, 409), answer.text
    return answer.json()


async def test_a_refusal_is_found_again_with_its_reason_and_its_evidence(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    path = f"/contracts/c/role-requests/{mina}/approval"
    problem = await asked_in_vain(bench, token, path, **{"Idempotency-Key": "a/b? #%"})
    assert (problem["rule"], problem["because"]) == ("role-missing", [(await bench.manager()).ref])
    found = await bench.when(token, "GET", f"/refusals/{quote(problem['command_id'], safe='')}").then_ok()
    assert (found["rule"], found["reason"], found["remedy"]) == ("role-missing", problem["detail"], problem["remedy"])
    assert (found["status"], found["because"], found["account_id"]) == (403, problem["because"], mina)
    assert (found["command"], found["stream"], found["request"]) == ("ApproveRoleRequest", "contract-c", None)
    assert problem["command_id"] == f"{mina}:a/b? #%"


async def test_others_are_not_told_whether_there_is_a_refusal(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    problem = await asked_in_vain(bench, token, f"/contracts/c/role-requests/{mina}/approval")
    path = f"/refusals/{problem['command_id']}"
    theirs = await bench.when(manager, "GET", path).then_refused("unknown")
    none = await bench.when(manager, "GET", f"/refusals/{mina}:invented").then_refused("unknown")
    assert theirs == none, "nor is the manager of the same contract"
    await bench.when(manager, "GET", f"/refusals?account_id={mina}").then_refused("unknown")
    assert (await bench.when(manager, "GET", "/refusals").then_ok())["items"] == []
    assert (await bench.when(OPERATOR, "GET", path).then_ok())["account_id"] == mina


async def test_the_newest_come_first_and_pages_follow_each_other(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    await bench.purchase(oskar)
    asked = [
        (await asked_in_vain(bench, manager, f"/contracts/c/role-requests/nobody-{number}/approval"))["command_id"]
        for number in range(5)
    ]
    seen, after = [], ""
    while True:
        page = await bench.when(manager, "GET", f"/refusals?limit=2{after}").then_ok()
        seen += [item["command_id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"
    assert seen == asked[::-1]
    of_one = await bench.when(OPERATOR, "GET", f"/refusals?account_id={oskar}").then_ok()
    assert [item["command_id"] for item in of_one["items"]] == seen
    oldest_first = await bench.when(manager, "GET", "/refusals?sort=refused_at").then_ok()
    assert [item["command_id"] for item in oldest_first["items"]] == asked
    assert len((await bench.when(manager, "GET", "/refusals?rule=no-request").then_ok())["items"]) == 5
    for nothing in ("rule=operator-only", "q=nothing%20of%20the%20kind"):
        assert (await bench.when(manager, "GET", f"/refusals?{nothing}").then_ok())["items"] == []
    for cursor in ("x", "1", "1.", "99999999999999999999.a"):
        await bench.when(manager, "GET", f"/refusals?after={cursor}").then_refused("malformed")


async def test_what_a_route_refuses_is_kept_and_can_be_sent_again(bench: Bench) -> None:
    _, manager = await bench.join("oskar")
    mina, _ = await bench.invited(manager, "mina")
    problem = (await bench.when(manager, "DELETE", f"/accounts/{mina}", **{"Idempotency-Key": "one"})).json()
    assert (problem["status"], problem["rule"]) == (403, "operator-only")
    found = await bench.when(manager, "GET", f"/refusals/{problem['command_id']}").then_ok()
    assert (found["request"], found["stream"]) == (f"DELETE /accounts/{mina}", None)
    again = (await bench.when(manager, "DELETE", f"/accounts/{mina}", **{"Idempotency-Key": "one"})).json()
    assert again == problem
    listed = (await bench.when(manager, "GET", "/refusals").then_ok())["items"]
    assert len(listed) == 1 and listed[0]["refused_at"] > found["refused_at"], "the latest of the same command"


async def test_a_routes_refusal_is_deleted_once_it_has_been_kept_long_enough(bench: Bench) -> None:
    """Those of deciders are answers to a command's id and stay with it."""
    oskar, manager = await bench.join("oskar")
    mina, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    decided = await asked_in_vain(bench, token, f"/contracts/c/role-requests/{mina}/approval")
    for number in range(3):
        await bench.when(manager, "DELETE", f"/accounts/{mina}", **{"Idempotency-Key": str(number)}).then_refused(
            "operator-only"
        )
    newest = await bench.when(manager, "GET", "/refusals?limit=1").then_ok()
    at = datetime.fromisoformat(newest["items"][0]["refused_at"])
    assert await refusals.prune(bench.pool, at + refusals.KEPT_FOR) == 2, "the newest is not older than that"
    assert (await bench.when(manager, "GET", "/refusals").then_ok())["items"] == newest["items"]
    assert await refusals.prune(bench.pool, at + 2 * refusals.KEPT_FOR, at_once=1) == 1
    listed = (await bench.when(OPERATOR, "GET", "/refusals").then_ok())["items"]
    assert [each["command_id"] for each in listed] == [decided["command_id"]]


async def test_a_dry_run_and_a_malformed_request_leave_no_refusal(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    await bench.purchase(oskar)
    path = "/contracts/c/role-requests/nobody/approval"
    considered = await bench.when(manager, "POST", f"{path}?dry_run=true", {}).then_refused("no-request")
    assert "command_id" not in considered
    await bench.when(manager, "POST", path, {"reason": 1}).then_refused("malformed")
    await bench.when(manager, "POST", "/contracts/d/role-requests/nobody/approval", {}).then_refused("unknown")
    assert (await bench.when(OPERATOR, "GET", "/refusals").then_ok())["items"] == []


async def test_each_item_of_a_bulk_request_has_its_own(bench: Bench) -> None:
    oskar, manager = await bench.join("oskar")
    _, token = await bench.invited(manager, "mina")
    await bench.purchase(oskar)
    items = {"items": [{"account_id": "ben"}, {"account_id": "lee"}]}
    answer = await bench.when(token, "POST", "/contracts/c/coordinators/revoke/bulk", items).then_ok()
    asked = [item["answer"]["command_id"] for item in answer["items"]]
    listed = (await bench.when(token, "GET", "/refusals").then_ok())["items"]
    assert sorted(item["command_id"] for item in listed) == sorted(asked)


async def test_a_reactions_refusal_is_the_operators(bench: Bench) -> None:
    await bench.join("oskar")
    meta = Meta("identity.reactions:urn:tenure:marketplace#e:contract-c:0", "mina", utc_now(), derived=True)
    answer = await bench.log.execute(CONTRACT, "unopened", RevokeRole("mina", "mina"), meta)
    assert isinstance(answer, Refused)
    (found,) = (await bench.when(OPERATOR, "GET", "/refusals").then_ok())["items"]
    assert (found["account_id"], found["rule"]) == (None, "contract-unknown")
    mina = TokenSigner(KEY).sign(Actor(account_id="mina", organisation_id="o", organisation_kind="customer"), "token")
    assert (await bench.when(mina, "GET", "/refusals").then_ok())["items"] == []
