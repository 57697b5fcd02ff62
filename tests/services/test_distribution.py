"""From a published update to the machines of a contract's users, over real tables: folds, doors and queries."""

from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.distribution.__main__ import SERVICE
from services.distribution.domain.policy import Policy
from services.distribution.domain.update import UPDATE as UPDATE_STREAM
from services.distribution.domain.update import WithdrawUpdate
from shared.eventlog.write.log import Meta
from shared.events import (
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolRenewed,
    SeatUnassigned,
    UpdateWithdrawn,
)
from shared.runtime.policies import BY_KIND, Policies
from tests.examples.distribution import DAY, MONDAY, NOON, OPENED, UPDATE
from tests.services.fleet import APPROVAL, IDS, POOL, Bench, a_fleet, seated

pytestmark = pytest.mark.system


@pytest.fixture
async def bench(databases: Callable[[str], str]) -> AsyncIterator[Bench]:
    async with a_fleet(databases) as made:
        yield made


UNDECIDED = {"TargetAdded", "PhaseReportsDue"}
"""The events of a rollout that follow from facts."""


async def test_an_update_goes_to_a_group_phase_by_phase(bench: Bench) -> None:
    group = (await bench.when("POST", "/contracts/c/groups", name="pilots").then_ok())["events"][0]["data"]["group_id"]
    await bench.when("POST", f"/contracts/c/groups/{group}/users", account_id="ana").then_ok()
    groups = (await bench.when("GET", "/contracts/c/groups").then_ok())["items"]
    assert [(each["name"], each["members"]) for each in groups] == [("default", []), ("pilots", ["ana"])]
    for member, expected in {"ana": ["pilots"], "ben": ["default"], "nobody": []}.items():
        found = await bench.when("GET", f"/contracts/c/groups?member_email={member}@x.example").then_ok()
        assert [each["name"] for each in found["items"]] == expected, member
    await bench.hears(seated("eve"), SeatUnassigned(**IDS, seat=1, account_id="eve", unassigned_by="mina"))
    eve = bench.when("POST", f"/contracts/c/groups/{group}/users", account_id="eve")
    assert "seat_unassigned" in bench.said(*(await eve.then_refused("user-not-managed"))["because"])
    phases = [{"groups": [g], "success_percent": 100, "error_percent": 100} for g in (group, "default")]
    await bench.when("POST", APPROVAL, groups=[group, "default"], phases=phases).then_ok()
    assert (await bench.offers("ana"), await bench.offers("ben")) == (["c-1"], [])
    report = {"rollout_id": "c-1", "version": "2027.1", "machine": "pc", "succeeded": True}
    await bench.when("POST", "/me/installs", "ben", **report).then_refused("phase-not-started")
    await bench.when("POST", "/me/installs", "eve", **report).then_refused("not-a-target")
    await bench.when("POST", "/me/installs", "ana", **report).then_ok()
    assert (await bench.offers("ana"), await bench.offers("ben")) == ([], ["c-1"])
    await bench.when("POST", "/me/installs", "ben", **report | {"succeeded": False, "error": "disk full"}).then_ok()
    (summary,) = (await bench.when("GET", "/contracts/c/rollouts").then_ok())["items"]
    counts = {name: summary[name] for name in ("status", "phase", "targets", "succeeded", "failed")}
    assert counts == {"status": "paused", "phase": 2, "targets": 2, "succeeded": 1, "failed": 1}
    assert await bench.offers("ben") == []
    await bench.when("POST", "/contracts/c/rollouts/c-1/resume").then_ok()
    await bench.when("POST", "/me/installs", "ben", **report).then_ok()
    shown = await bench.when("GET", "/contracts/c/rollouts/c-1").then_ok()
    assert shown["status"] == "completed" and [user["succeeded"] for user in shown["users"]] == [1, 1]
    assert [each["type"] for each in shown["history"]][-3:] == ["InstallSucceeded", "PhasePassed", "RolloutCompleted"]
    assert (await bench.when("GET", "/contracts/c/decisions").then_ok())["items"][0]["decision"] == "approved"
    history = (await bench.when("GET", "/contracts/c/rollouts/c-1/history").then_ok())["items"]
    assert [each["event_id"] for each in history] == [each["event_id"] for each in shown["history"]]
    of_group = (await bench.when("GET", f"/contracts/c/groups/{group}/history").then_ok())["items"]
    assert [each["type"] for each in of_group] == ["GroupCreated", "UserPutInGroup", "UpdateApproved"]
    await bench.when("GET", "/contracts/c/groups/none/history").then_refused("unknown")
    await bench.when("GET", "/contracts/c/rollouts/c-9/history").then_refused("unknown")


async def test_every_decision_names_its_actor_and_no_report_decides(bench: Bench) -> None:
    """Neither the user whose report reached a threshold, nor the timer at which a policy acted."""
    await bench.when("PUT", "/contracts/c/groups/default/policy", cadence="weekly").then_ok()
    await bench.time(MONDAY)
    report = {"rollout_id": "c-1", "version": "2027.1", "machine": "pc", "succeeded": True}
    await bench.when("POST", "/me/installs", "ana", **report | {"succeeded": False, "error": "disk full"}).then_ok()
    await bench.when("POST", "/contracts/c/rollouts/c-1/resume").then_ok()
    for user in ("ana", "ben"):
        await bench.when("POST", "/me/installs", user, **report).then_ok()
    await bench.when("POST", "/contracts/c/rollouts/c-1/stop", reason="wrong version").then_ok()
    shown = await bench.when("GET", "/contracts/c/rollouts/c-1").then_ok()
    decided = [(each["type"], each["actor"]) for each in shown["history"] if each["type"] not in UNDECIDED]
    assert decided == [
        ("RolloutStarted", "policy:weekly"),
        ("PhaseStarted", "policy:weekly"),
        ("InstallFailed", "ana"),
        ("RolloutPaused", "policy:thresholds"),
        ("RolloutResumed", "mina"),
        ("InstallSucceeded", "ana"),
        ("InstallSucceeded", "ben"),
        ("PhasePassed", "policy:thresholds"),
        ("RolloutCompleted", "policy:thresholds"),
        ("RolloutStopped", "mina"),
    ]
    (approved,) = (each for each in bench.store.events if each.envelope.type == "UpdateApproved")
    assert approved.envelope.actor == "policy:weekly"


async def test_text_that_no_table_holds_parks_nothing(bench: Bench) -> None:
    """The contract's fleet and the rollout go on, and what is decided afterwards shows."""
    await bench.when("POST", APPROVAL, groups=["default"]).then_ok()
    report = {"rollout_id": "c-1", "version": "2027.1", "machine": "pc", "succeeded": False, "error": "disk full"}
    various = "".join(map(chr, range(0x4E00, 0x4E00 + 2000)))
    for hostile in ({"machine": "pc\0"}, {"machine": various}, {"error": "a\0"}, {"machine": "pc\u202e"}):
        malformed = bench.when("POST", "/me/installs", "ana", **report | hostile)
        answer = await malformed.then_refused("malformed")
        assert answer["fields"][0]["field"] == next(iter(hostile))
    for name in ("g\0", "g\u200b", " ", "g\n"):
        answer = await bench.when("POST", "/contracts/c/groups", name=name).then_refused("malformed")
        assert answer["fields"][0]["field"] == "name"
    await bench.when("POST", "/me/installs", "ana", **report | {"machine": various[:200]}).then_ok()
    await bench.when("POST", "/contracts/c/groups", name="\u96fb\u8166").then_ok()
    shown = await bench.when("GET", "/contracts/c/rollouts/c-1").then_ok()
    assert sum(user["failed"] for user in shown["users"]) == 1
    assert "\u96fb\u8166" in [
        each["name"] for each in (await bench.when("GET", "/contracts/c/groups").then_ok())["items"]
    ]
    await bench.when("GET", "/contracts/c%00/groups").then_status(422)
    await bench.when("GET", "/me/updates?machine=a%00").then_status(422)


async def test_targets_come_and_go_with_seats_terms_and_withdrawals(bench: Bench) -> None:
    await bench.when("POST", APPROVAL, groups=["default"]).then_ok()
    await bench.hears(SeatUnassigned(**IDS, seat=1, account_id="ana", unassigned_by="mina"), seated("chiyo"))
    assert [await bench.offers(who) for who in ("ana", "ben", "chiyo")] == [[], ["c-1"], ["c-1"]]
    await bench.hears(SeatPoolExpired(**IDS, **POOL, access_until=NOON.date()))
    assert await bench.offers("ben") == []
    users = (await bench.when("GET", "/contracts/c/rollouts/c-1").then_ok())["users"]
    assert {user["account_id"]: bool(user["removed"]) for user in users} == dict.fromkeys(("ana", "ben", "chiyo"), True)
    await bench.hears(SeatPoolRenewed(**IDS, seats=9, ends=date(2028, 11, 20)))
    assert await bench.offers("ben") == ["c-1"]
    gone = UpdateWithdrawn(update_id="u", publisher="autodesk", reason="it breaks printing")
    await bench.log.execute(UPDATE_STREAM, "autodesk-u", WithdrawUpdate(gone, "autodesk"), Meta("w", "", NOON))
    await bench.settle()
    assert await bench.offers("ben") == []
    shown = await bench.when("GET", "/contracts/c/rollouts/c-1").then_ok()
    assert shown["status"] == "stopped" and "it breaks printing" in shown["reason"]
    await bench.when("POST", APPROVAL, groups=["default"]).then_refused("update-withdrawn")


async def test_a_policy_starts_a_rollout_by_itself_within_its_window(bench: Bench) -> None:
    window = {"weekday": "monday", "starts": "22:00", "minutes": 240, "time_zone": "Europe/Berlin"}
    await bench.when("PUT", "/contracts/c/groups/default/policy", cadence="weekly", windows=[window]).then_ok()
    await bench.time(MONDAY - timedelta(seconds=1))
    assert (await bench.when("GET", "/contracts/c/rollouts").then_ok())["items"] == []
    await bench.time(MONDAY)
    (summary,) = (await bench.when("GET", "/contracts/c/rollouts").then_ok())["items"]
    assert (summary["started_by"], summary["targets"]) == ("policy:weekly", 2)
    assert (summary["product"], summary["title"]) == (UPDATE.product, UPDATE.title)
    found = await bench.when("GET", f"/contracts/c/rollouts?q={UPDATE.title}&sort=title").then_ok()
    assert found["items"] == [summary]
    assert await bench.offers("ana") == []
    (later,) = (await bench.when("GET", "/me/updates?due=any", "ana").then_ok())["items"]
    assert (later["waits_for"], later["opens_at"]) == ("window", "2026-11-30T21:00:00Z")
    bench.now = MONDAY + timedelta(hours=21)
    assert await bench.offers("ana") == ["c-1"]
    (policy,) = (await bench.when("GET", "/contracts/c/policies").then_ok())["items"]
    assert (policy["period"], policy["days"], policy["windows"]) == ("week", 4, [window])
    assert (policy["critical_period"], policy["critical_days"]) == ("week", 2)


async def test_a_publishers_own_figures_hold_at_every_door(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "policies.toml"
    days = '{ period = "month", days = 9, critical_period = "quarter", critical_days = 1 }'
    file.write_text(
        f"publisher.autodesk = {{ success_percent = 80, error_percent = 5, "
        f"cadences = {{ weekly = {days}, monthly = {days}, quarterly = {days} }} }}"
    )
    monkeypatch.setitem(BY_KIND, Policy, Policies("distribution", Policy, file))
    door = "/contracts/c/groups/default/policy"
    (set_, due) = (await bench.when("PUT", door, cadence="weekly").then_ok())["events"]
    names = ("period", "days", "critical_period", "critical_days", "success_percent", "error_percent")
    assert [set_["data"][name] for name in names] == ["month", 9, "quarter", 1, 80, 5]
    assert due["data"]["due"] == "2026-12-01T00:00:00Z"
    schedule, starts = "/contracts/c/updates/autodesk/u/schedule", "2026-11-22T13:00:00Z"
    for path, body in ((schedule, {"starts_at": starts}), (APPROVAL, {})):
        decided = (await bench.when("POST", path, groups=["default"], **body).then_ok())["events"][0]["data"]
        assert [(p["success_percent"], p["error_percent"]) for p in decided["phases"]] == [(80, 5)], path
    monkeypatch.undo()
    (set_, *_) = (await bench.when("PUT", door, cadence="weekly").then_ok())["events"]
    assert [set_["data"][name] for name in names] == ["week", 4, "week", 2, 90, 10], (
        "setting it anew takes today's figures"
    )


async def test_an_update_for_a_product_whose_seats_have_ended_is_nobodys_to_decide(bench: Bench) -> None:
    await bench.when("PUT", "/contracts/c/groups/default/policy", cadence="weekly").then_ok()
    await bench.hears(SeatPoolExpired(**IDS, **POOL, access_until=NOON.date()), SeatPoolEnded(**IDS, **POOL))
    await bench.time(NOON + 9 * DAY)
    assert (await bench.when("GET", "/contracts/c/rollouts").then_ok())["items"] == [], "nor the policy's"
    refused = await bench.when("POST", APPROVAL, groups=["default"]).then_refused("product-not-owned")
    assert "pool_ended" in bench.said(*refused["because"])
    await bench.hears(OPENED.model_copy(update={"subscription_id": "t"}))
    await bench.time(NOON + 9 * DAY)
    (summary,) = (await bench.when("GET", "/contracts/c/rollouts").then_ok())["items"]
    assert (summary["started_by"], summary["status"]) == ("policy:weekly", "running"), "bought again: due since long"


async def test_a_schedule_starts_and_a_hold_ends_a_rollout(bench: Bench) -> None:
    schedule = "/contracts/c/updates/autodesk/u/schedule"
    zoneless = bench.when("POST", schedule, groups=["default"], starts_at="2026-11-22T13:00:00")
    await zoneless.then_refused("malformed")
    await bench.when("POST", schedule, groups=["default"], starts_at="2026-11-22T13:00:00+01:00").then_ok()
    await bench.time(NOON + DAY)
    assert await bench.offers("ana") == ["c-1"]
    await bench.when("POST", "/contracts/c/updates/autodesk/u/hold", groups=["default"], reason="exams").then_ok()
    assert await bench.offers("ana") == []
    assert (await bench.when("GET", "/contracts/c/rollouts/c-1").then_ok())["status"] == "stopped"
    await bench.when("POST", APPROVAL, groups=["default"]).then_ok()
    assert await bench.offers("ana") == ["c-2"]
    await bench.when("POST", "/contracts/c/rollouts/c-2/pause", reason="lunch").then_ok()
    assert await bench.offers("ana") == []
    await bench.when("POST", "/contracts/c/rollouts/c-2/stop", reason="wrong version").then_ok()
    await bench.when("POST", APPROVAL, groups=["default"]).then_ok()
    assert await bench.offers("ana") == ["c-3"]


async def test_only_administrators_of_the_contract_decide_and_look(bench: Bench) -> None:
    await bench.when("POST", APPROVAL, groups=["default"]).then_ok()
    for path in ("groups", "policies", "decisions", "rollouts", "rollouts/c-1", "updates"):
        await bench.when("GET", f"/contracts/c/{path}", "ana").then_refused("role-missing")
    for route in SERVICE.commands.routes:
        if route.path == "/me/installs" or route.path.startswith("/publisher/"):
            continue
        path = route.path.format(
            contract_id="c", group_id="default", account_id="ana", publisher="autodesk", update_id="u", rollout_id="c-1"
        )
        fills = {
            "name": "x",
            "account_id": "ana",
            "cadence": "off",
            "groups": ["default"],
            "reason": "x",
            "starts_at": "2027-01-01T00:00:00Z",
            "phase": 1,
        }
        body: dict[str, Any] = {name: value for name, value in fills.items() if name in route.form.model_fields}
        if route.bulk:
            body = {"items": [{"account_id": "ana"}]}
        answer = (await bench.when(route.method, path, "ana", **body)).json()
        refusal = answer["items"][0]["answer"] if route.bulk else answer
        assert refusal["rule"] == "role-missing", path
    await bench.when("POST", "/contracts/c/rollouts/other-1/stop", reason="x").then_status(404)


async def test_extensions_are_for_subscribers_only(bench: Bench) -> None:
    extension = UPDATE.model_copy(update={"update_id": "x", "kind": "extension"})
    await bench.publishes(extension)

    async def listed() -> list[str]:
        return [item["update_id"] for item in (await bench.when("GET", "/contracts/c/updates").then_ok())["items"]]

    approval = "/contracts/c/updates/autodesk/x/approval"
    assert await listed() == ["u", "x"]
    await bench.when("POST", f"{approval}?dry_run=true", groups=["default"]).then_status(200)
    await bench.hears(SeatPoolExpired(**IDS, **POOL, access_until=NOON.date()))
    assert await listed() == ["u"]
    refused = await bench.when("POST", approval, groups=["default"]).then_refused("term-not-active")
    assert "term_over" in bench.said(*refused["because"])
    await bench.hears(SeatPoolEnded(**IDS, **POOL))
    assert await listed() == []


async def test_a_new_hire_is_offered_the_newest_version_and_the_one_before_after_its_withdrawal(bench: Bench) -> None:
    await bench.when("PUT", "/contracts/c/groups/default/policy", cadence="weekly").then_ok()
    for number in range(2, 31):
        await bench.publishes(UPDATE.model_copy(update={"update_id": f"u-{number}", "version": f"2027.{number}"}))
        if number == 15:
            await bench.time(MONDAY + timedelta(hours=1))
    await bench.time(MONDAY + 7 * DAY)
    before = len(bench.store.events)
    await bench.hears(seated("chiyo"))
    assert len(bench.store.events) == before + 2, "the seat, and one target"
    (offer,) = (await bench.when("GET", "/me/updates?machine=pc", "chiyo").then_ok())["items"]
    assert offer["version"] == "2027.30"

    async def listed() -> list[str]:
        return [item["version"] for item in (await bench.when("GET", "/contracts/c/updates").then_ok())["items"]]

    assert await listed() == ["2027.30"]
    newest = (await bench.when("GET", "/contracts/c/updates").then_ok())["items"][0]["supersedes"]
    assert newest[:2] == ["2027.29", "2027.28"] and len(newest) == 20
    await bench.when("GET", "/contracts/c/updates/autodesk/u-29").then_status(404)
    older = bench.when("POST", "/contracts/c/updates/autodesk/u-29/approval", groups=["default"])
    assert '"update_id":"u-30"' in bench.said(*(await older.then_refused("update-superseded"))["because"])
    (first, last) = (await bench.when("GET", "/contracts/c/rollouts").then_ok())["items"]
    assert (first["update_id"], first["status"], last["status"]) == ("u-15", "stopped", "running")
    assert "2027.16" in first["reason"]
    bench.now += timedelta(hours=1)
    gone = UpdateWithdrawn(update_id="u-30", publisher="autodesk", reason="it breaks printing")
    await bench.log.execute(UPDATE_STREAM, "autodesk-u-30", WithdrawUpdate(gone, "autodesk"), Meta("w", "", NOON))
    await bench.settle()
    assert (await listed(), await bench.offers("chiyo")) == (["2027.29"], [])
    await bench.when("GET", "/contracts/c/updates/autodesk/u-29").then_ok()
    await bench.time(MONDAY + 14 * DAY)
    (offer,) = (await bench.when("GET", "/me/updates?machine=pc", "chiyo").then_ok())["items"]
    assert offer["version"] == "2027.29", "the policy decides about it anew"


async def test_lists_of_a_contract_are_filtered_searched_and_sorted(bench: Bench) -> None:
    for name in ("pilots", "admins"):
        await bench.when("POST", "/contracts/c/groups", name=name).then_ok()
    await bench.when("POST", APPROVAL, groups=["default"]).then_ok()
    for query, names in {"": ["default", "admins", "pilots"], "q=PIL": ["pilots"], "member=ana": ["default"]}.items():
        found = (await bench.when("GET", f"/contracts/c/groups?{query}").then_ok())["items"]
        assert [each["name"] for each in found] == names, query
    (shown,) = (await bench.when("GET", "/contracts/c/updates").then_ok())["items"]
    assert (shown["approved"], shown["held"], shown["scheduled"], shown["supersedes"]) == (["default"], [], [], [])
    for query, number in {
        "updates?decision=approved": 1,
        "updates?decision=none": 0,
        "updates?decision=held": 0,
        "rollouts?status=running": 1,
        "rollouts?status=stopped": 0,
        "rollouts?group_id=default&sort=-targets": 1,
        "decisions?decision=approved&sort=starts_at": 1,
        "decisions?group_id=none": 0,
        f"updates?q={UPDATE.title[:4]}": 1,
        "updates?severity=critical&kind=extension": 0,
        "policies?sort=-name": 3,
    }.items():
        assert len((await bench.when("GET", f"/contracts/c/{query}").then_ok())["items"]) == number, query
    csv = await bench.when("GET", "/contracts/c/rollouts?format=csv")
    assert csv.text.startswith("rollout_id,publisher,update_id,version,groups,phases,status")


async def test_a_stuck_phase_pauses_and_the_administrator_goes_on(bench: Bench) -> None:
    group = (await bench.when("POST", "/contracts/c/groups", name="pilots").then_ok())["events"][0]["data"]["group_id"]
    await bench.when("POST", f"/contracts/c/groups/{group}/users", account_id="ana").then_ok()
    phases = [{"groups": [g], "success_percent": 100, "error_percent": 100} for g in (group, "default")]
    await bench.when("POST", APPROVAL, groups=[group, "default"], phases=phases).then_ok()
    rollout = "/contracts/c/rollouts/c-1"
    await bench.time(NOON + 14 * DAY)
    shown = await bench.when("GET", rollout).then_ok()
    assert (shown["status"], shown["history"][-1]["actor"]) == ("paused", "policy:silence")
    assert "nobody has reported for 14 days" in shown["reason"]
    await bench.when("POST", f"{rollout}/resume").then_ok()
    report = {"rollout_id": "c-1", "version": "2027.1", "machine": "pc", "succeeded": False, "error": "no disk"}
    await bench.when("POST", "/me/installs", "ana", **report).then_ok()
    assert await bench.offers("ana") == [], "it pauses"
    later = {who: (await bench.when("GET", "/me/updates?due=any", who).then_ok())["items"] for who in ("ana", "ben")}
    assert {who: (offer["waits_for"], offer["failed_on"]) for who, (offer,) in later.items()} == {
        "ana": ("resumption", ["pc"]),
        "ben": ("phase", []),
    }
    assert (await bench.when("GET", rollout).then_ok())["progress"] == [
        {"targets": 1, "succeeded": 0, "failed": 1},
        {"targets": 1, "succeeded": 0, "failed": 0},
    ]
    retried = (await bench.when("POST", f"{rollout}/retry").then_ok())["events"]
    assert [event["type"] for event in retried] == ["FailuresRetried", "RolloutResumed", "PhaseReportsDue"]
    assert (await bench.offers("ana"), await bench.offers("ben")) == (["c-1"], [])
    await bench.when("POST", f"{rollout}/retry").then_refused("nothing-failed")
    await bench.when("POST", "/me/installs", "ana", **report).then_ok()
    await bench.when("POST", f"{rollout}/exclusions", account_id="ana", machine="pc", reason="scrapped").then_ok()
    await bench.when("POST", f"{rollout}/exclusions", account_id="ana", machine="tv", reason="x").then_refused(
        "target-unknown"
    )
    await bench.when("POST", f"{rollout}/resume").then_ok()
    (ana, _ben) = (await bench.when("GET", rollout).then_ok())["users"]
    assert [(m["machine"], m["succeeded"], m["error"], m["excluded"]) for m in ana["machines"]] == [
        ("pc", False, "no disk", "scrapped")
    ]
    assert [offer["rollout_id"] for offer in await bench.installs("ana", "new")] == ["c-1"]
    assert await bench.offers("ana") == [], "the machine that is scrapped"
    await bench.when("POST", f"{rollout}/exclusions", account_id="ana", reason="on leave").then_ok()
    assert await bench.installs("ana", "new") == []
    shown = await bench.when("GET", rollout).then_ok()
    assert (shown["status"], shown["targets"], shown["phase"]) == ("paused", 1, 1)
    assert "Phase 1 has no users any more" in shown["reason"] and shown["users"][0]["excluded"] == "on leave"
    await bench.when("POST", f"{rollout}/move-on", phase=2, reason="x").then_refused("phase-not-present")
    await bench.when("POST", f"{rollout}/move-on", phase=1, reason="nobody is left").then_ok()
    assert await bench.offers("ben") == ["c-1"]


async def test_users_are_put_into_groups_by_their_addresses(bench: Bench) -> None:
    group = (await bench.when("POST", "/contracts/c/groups", name="pilots").then_ok())["events"][0]["data"]["group_id"]
    users = f"/contracts/c/groups/{group}/users"
    await bench.when("POST", users, email="ana@x.example").then_ok()
    await bench.when("POST", users, email="nobody@x.example").then_refused("user-not-managed")
    items = [{"email": "ben@x.example"}, {"account_id": "stranger"}]
    bulk = await bench.when("POST", f"{users}/bulk", items=items).then_ok()
    assert [item["status"] for item in bulk["items"]] == [200, 409]
    (found,) = (await bench.when("GET", "/contracts/c/groups?q=pilots").then_ok())["items"]
    assert found["members"] == ["ana", "ben"]


async def test_a_publishers_people_publish_and_withdraw_their_own_updates(bench: Bench) -> None:
    fields = ("product", "kind", "title", "platform", "severity", "sha256", "size_bytes", "location")
    update = {name: getattr(UPDATE, name) for name in fields} | {"update_id": "u-2", "version": "2027.2"}
    await bench.when("POST", "/publisher/updates", **update).then_refused("publisher-only")
    await bench.when("POST", "/publisher/updates", "paula", **update).then_ok()
    assert (await bench.when("POST", "/publisher/updates", "paula", **update).then_ok())["events"] == []
    (shown,) = (await bench.when("GET", "/contracts/c/updates").then_ok())["items"]
    assert (shown["update_id"], shown["supersedes"]) == ("u-2", ["2027.1"])
    withdrawal = "/publisher/updates/u-2/withdrawal"
    await bench.when("POST", withdrawal, "otto", reason="no").then_status(404)
    await bench.when("POST", withdrawal, "paula", reason="it breaks printing").then_ok()
    (shown,) = (await bench.when("GET", "/contracts/c/updates").then_ok())["items"]
    assert shown["update_id"] == "u"
    (mine,) = (await bench.when("GET", "/publisher/updates?status=withdrawn", "paula").then_ok())["items"]
    assert (mine["update_id"], mine["withdrawn"]) == ("u-2", "it breaks printing")
    assert (await bench.when("GET", "/publisher/updates", "otto").then_ok())["items"] == []


async def test_an_update_has_the_version_that_a_decision_about_it_can_be_for(bench: Bench) -> None:
    await bench.publishes(UPDATE.model_copy(update={"update_id": "u"}))
    bench.parts.own_projections = ["distribution.fleets"]
    await bench.pool.execute(
        "insert into engine.seen (consumer, stream, version) values ('distribution.fleets', 'fleet-c', 3)"
    )
    answer = await bench.when("GET", "/contracts/c/updates/autodesk/u")
    assert (answer.status_code, answer.headers["ETag"].partition(";")[0]) == (200, '"fleet-c@3')
