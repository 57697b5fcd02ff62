"""Updates: decisions and policies in words before they are taken, and a rollout's progress, live."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.console.pages.updates.words import length
from services.console.texts import texts_for
from tests.console.fakes import CHANGED, Browser, Services, hidden, outcome, problem, words
from tests.console.samples.updates import ANSWERS, CONTRACT, ONE_ROLLOUT, event, many, one
from tests.console.samples.updates import ROLLOUT as ROLLOUT_SHOWN
from tests.console.samples.updates import UPDATE as UPDATE_SHOWN

UPDATE = "/updates/c/of/autodesk/ACD-2027.2"
ROLLOUT = "/updates/c/rollouts/c-1"
PHASES = [{"share": 0, "groups": ["g"], "success_percent": 90, "error_percent": 10}]


@pytest.fixture
def services() -> Services:
    return Services(dict(ANSWERS))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def test_the_only_contract_is_shown_at_once_and_without_one_ones_own_updates(
    browser: Browser, services: Services
) -> None:
    services.answers["GET /contracts"] = many(CONTRACT)
    assert (await browser.get("/updates")).headers["location"] == "/updates/c"
    services.answers["GET /contracts/c/access"] = one({"open": False, "because": []})
    assert (await browser.get("/updates")).headers["location"] == "/updates/mine"


async def test_an_update_says_what_was_decided_for_each_group_and_by_whom(browser: Browser) -> None:
    said = words((await browser.get(UPDATE)).text)
    assert "Everybody else Approved The weekly policy" in said and "Pilots Undecided" in said
    assert "Replaces 2027.1" in said and "412 MB" in said and "1 failed 1 open" in said


@pytest.mark.parametrize("page", ["/updates/c", UPDATE, "/updates/c/rollouts", ROLLOUT, "/updates/mine"])
async def test_a_product_has_its_name_where_it_is_known(browser: Browser, services: Services, page: str) -> None:
    assert "AutoCAD with toolsets" in words((await browser.get(page)).text)
    services.answers |= {"GET /pools": problem(503, "unavailable"), "GET /me/seats": problem(403, "no-access")}
    answer = await browser.get(page)
    assert answer.status_code == 200 and "autocad" in words(answer.text)


async def test_a_rollout_is_called_by_the_title_of_its_update(browser: Browser, services: Services) -> None:
    assert "Rollout of AutoCAD 2027.2" in words((await browser.get(ROLLOUT)).text)
    services.answers["GET /contracts/c/rollouts"] = many({**ROLLOUT_SHOWN, "status": "paused"})
    services.answers["GET /contracts"] = many(CONTRACT)
    assert "The rollout of AutoCAD 2027.2 is paused." in words((await browser.get("/")).text)


@pytest.mark.parametrize(("severity", "more"), [("important", 0), ("critical", 2), ("normal", 2), ("normal", 0)])
async def test_home_leads_to_the_updates_that_nobody_has_decided(
    browser: Browser, services: Services, severity: str, more: int
) -> None:
    others = [{**UPDATE_SHOWN, "severity": "normal", "update_id": f"n-{number}"} for number in range(more)]
    services.answers["GET /contracts"] = many(CONTRACT)
    services.answers["GET /contracts/c/updates"] = many({**UPDATE_SHOWN, "severity": severity}, *others)
    text = (await browser.get("/")).text
    assert services.of("GET", "/contracts/c/updates")[0].url.params["decision"] == "none"
    by_name = f'<a href="{UPDATE}">Nothing is decided about AutoCAD 2027.2 yet: approve, schedule or hold it.</a>'
    assert (by_name in text) is (severity != "normal")
    by_number = [line for line in text.splitlines() if "undecided" in line]
    assert bool(by_number) is (severity == "normal" or more > 0)
    assert all('<a href="/updates/c?decision=none">' in line for line in by_number)


async def test_an_approval_in_phases_is_confirmed_in_words(browser: Browser, services: Services) -> None:
    approved = ("UpdateApproved", {"phases": PHASES})
    services.answers["POST /contracts/c/updates/autodesk/ACD-2027.2/approval"] = outcome(approved)
    fields = {"course": "phases", "who_1": "g", "success_1": "90", "error_1": "10 %", "groups[]": "g"}
    asked = await browser.send(f"{UPDATE}/approve", "", **fields)
    said = words(asked.text)
    assert "Approve AutoCAD 2027.2 for: Pilots?" in said
    assert "Phase 1: Pilots. Passed when 90% have it; pauses when it failed for 10%." in said
    (body,) = services.bodies("POST", "/contracts/c/updates/autodesk/ACD-2027.2/approval")
    assert body == {"groups": ["g"], "phases": [{"groups": ["g"], "success_percent": 90, "error_percent": 10}]}
    done = await browser.post(f"{UPDATE}/approve", None, **{**hidden(asked.text), **fields})
    assert done.headers["location"] == f"{UPDATE}?notice=update-approved"


async def test_a_schedule_is_a_time_in_the_persons_zone(browser: Browser, services: Services) -> None:
    scheduled = ("UpdateScheduled", {"phases": PHASES, "starts_at": "2026-12-01T21:00:00Z"})
    services.answers["POST /contracts/c/updates/autodesk/ACD-2027.2/schedule"] = outcome(scheduled)
    fields = {"when": "later", "starts_at": "2026-12-01T22:00", "groups[]": "default"}
    said = words((await browser.send(f"{UPDATE}/approve", "", **fields)).text)
    (body,) = services.bodies("POST", "/contracts/c/updates/autodesk/ACD-2027.2/schedule")
    assert body == {"groups": ["default"], "starts_at": "2026-12-01T21:00:00+00:00"}
    assert "The rollout begins by itself: 1 Dec 2026, 22:00 CET." in said


async def test_what_is_missing_is_said_beside_its_field(browser: Browser, services: Services) -> None:
    fields = {"when": "later", "starts_at": "x", "course": "phases", "who_1": "share", "share_1": "much"}
    answer = await browser.post(f"{UPDATE}/approve", None, **hidden((await browser.get("/profile")).text), **fields)
    said = words(answer.text)
    assert answer.status_code == 422
    for sentence in ("Choose at least one group.", "Choose a day and a time.", "Write a whole number from 1 to 100."):
        assert sentence in said
    assert not [each for each in services.asked if each.method == "POST" and "contracts" in each.url.path]


async def test_a_refused_approval_is_said_where_it_was_asked(browser: Browser, services: Services) -> None:
    services.answers["POST /contracts/c/updates/autodesk/ACD-2027.2/approval"] = problem(422, "phases-malformed")
    answer = await browser.send(f"{UPDATE}/approve", "", **{"groups[]": "g"})
    assert "each of the chosen groups has exactly one phase" in words(answer.text)


async def test_a_policy_is_read_in_words(browser: Browser) -> None:
    said = words((await browser.get("/updates/c/policies")).text)
    assert "Each Monday, those that are at least 4 days old are approved." in said
    assert "Saturday from 22:00 for 4 hours 30 minutes (Europe/Berlin)." in said
    assert "Nothing is approved by itself" in said and "Approved updates are installed at any time." in said


def test_a_length_is_in_the_units_that_fit() -> None:
    assert [length(each, texts_for("en")) for each in (1, 60, 1440)] == ["1 minute", "1 hour", "24 hours"]
    assert length(90, texts_for("de")) == "1 Stunde 30 Minuten"


async def test_a_policy_has_several_windows(browser: Browser, services: Services) -> None:
    services.answers["PUT /contracts/c/groups/g/policy"] = outcome()
    window = {"weekday_2": "sunday", "starts_2": "01:00", "minutes_2": "30", "time_zone_2": "UTC"}
    await browser.send("/updates/c/groups/g/policy", "", cadence="monthly", **window)
    (body,) = services.bodies("PUT", "/contracts/c/groups/g/policy")
    assert body == {
        "cadence": "monthly",
        "windows": [{"weekday": "sunday", "starts": "01:00", "minutes": 30, "time_zone": "UTC"}],
    }
    wrong = await browser.send("/updates/c/groups/g/policy", "", cadence="monthly", weekday_3="sunday", minutes_3="x")
    assert "Write how many minutes it lasts" in words(wrong.text)


async def test_a_file_of_addresses_needs_no_heading(browser: Browser, services: Services) -> None:
    services.answers["POST /contracts/c/groups/g/users/bulk"] = one(
        {"items": [{"line": 2, "status": 200, "answer": CHANGED}], "accepted": 1, "dry_run": True}
    )
    form = hidden((await browser.get("/updates/c/groups/g/file")).text)
    answer = await browser.client.post("/updates/c/groups/g/file", data=form, files={"file": ("m.csv", b"a@x.example")})
    (asked,) = services.of("POST", "/contracts/c/groups/g/users/bulk")
    assert asked.content == b"email\na@x.example" and asked.url.query == b"dry_run=true"
    assert "2 a@x.example accepted" in words(answer.text)


# ── A rollout ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_running_rollout_asks_for_itself_and_is_answered_only_when_it_has_changed(
    browser: Browser, services: Services
) -> None:
    page = (await browser.get(ROLLOUT)).text
    assert 'hx-trigger="every 3s"' in page
    seen = page.split("seen=")[1].split('"')[0]
    assert (await browser.get(f"{ROLLOUT}?seen={seen}")).status_code == 204
    services.answers["GET /contracts/c/rollouts/c-1"] = one({**ONE_ROLLOUT, "status": "completed"})
    changed = await browser.get(f"{ROLLOUT}?seen={seen}")
    assert changed.status_code == 200 and "every 3s" not in changed.text and "seen=" not in changed.text


async def test_a_poll_that_fails_changes_nothing(browser: Browser, services: Services) -> None:
    services.answers["GET /contracts/c/rollouts/c-1"] = problem(503, "unavailable")
    assert (await browser.get(f"{ROLLOUT}?seen=x")).status_code == 204
    assert (await browser.get(ROLLOUT)).status_code == 503


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        ("failures", "Too many installations failed"),
        ("no-users", "Nobody is left in the present phase"),
        ("silence", "Nobody of the present phase has reported for many days"),
        ("decision", "Exams"),
    ],
)
async def test_a_paused_rollout_says_why_and_what_can_be_done(
    browser: Browser, services: Services, cause: str, sentence: str
) -> None:
    paused = {**ONE_ROLLOUT, "status": "paused", "reason": "Exams"}
    paused["history"] = [event("RolloutPaused", "policy:thresholds", cause=cause, reason="Exams")]
    services.answers["GET /contracts/c/rollouts/c-1"] = one(paused)
    said = words((await browser.get(ROLLOUT)).text)
    assert sentence in said and "Resume" in said and "desk The disk is full. Exclude the machine" in said


async def test_the_history_of_a_group_names_updates_by_title_while_they_are_offered(
    browser: Browser, services: Services
) -> None:
    services.answers["GET /contracts/c/groups/g/history"] = many(
        event("UpdateHeld", publisher="autodesk", update_id="ACD-2027.2", reason="Exams"),
        event("UpdateApproved", publisher="autodesk", update_id="ACD-2027.2"),
        event("UpdateScheduled", publisher="autodesk", update_id="ACD-2026.9"),
    )
    said = words((await browser.get("/updates/c/groups/g")).text)
    assert "AutoCAD 2027.2 was held." in said and "AutoCAD 2027.2 was approved." in said
    assert "ACD-2026.9 was scheduled." in said
    assert len(services.of("GET", "/contracts/c/updates/autodesk/ACD-2027.2")) == 1


async def test_users_are_picked_by_their_outcome(browser: Browser) -> None:
    said = words((await browser.get(f"{ROLLOUT}?state=failed")).text)
    assert "Mina Okafor" in said and "later phase" in said and said.count("Exclude ") == 3


@pytest.mark.parametrize(
    ("deed", "route", "fields", "body"),
    [
        ("pause", "pause", {"reason": "Exams"}, {"reason": "Exams"}),
        ("resume", "resume", {}, {}),
        ("stop", "stop", {"reason": "Exams"}, {"reason": "Exams"}),
        ("retry", "retry", {}, {}),
        ("move-on", "move-on", {"reason": "Exams"}, {"reason": "Exams", "phase": 1}),
        ("exclude", "exclusions", {"reason": "x", "account_id": "a"}, {"reason": "x", "account_id": "a"}),
    ],
)
async def test_a_rollout_is_steered(
    browser: Browser, services: Services, deed: str, route: str, fields: dict[str, str], body: dict[str, Any]
) -> None:
    services.answers[f"POST /contracts/c/rollouts/c-1/{route}"] = outcome(("RolloutPaused", {}))
    asked = await browser.send(f"{ROLLOUT}/{deed}", "", **fields)
    (sent,) = services.of("POST", f"/contracts/c/rollouts/c-1/{route}")
    assert sent.url.query == b"dry_run=true" and json.loads(sent.content) == body
    assert ("can't be undone" in words(asked.text)) is (deed == "stop")
    done = await browser.post(f"{ROLLOUT}/{deed}", None, **hidden(asked.text))
    assert done.headers["location"].startswith(f"{ROLLOUT}?notice=did-")


async def test_a_reason_is_required(browser: Browser) -> None:
    assert "Fill in this field." in words((await browser.send(f"{ROLLOUT}/pause", "", reason=" ")).text)


async def test_ones_own_updates_say_when_they_come(browser: Browser) -> None:
    said = words((await browser.get("/updates/mine")).text)
    assert "It is installed in the next maintenance window, from 5 Dec 2026, 22:00 CET." in said
    assert "It failed on: desk." in said
