"""Operate: verbs by their forms, plans that are confirmed, runs that are watched, parked records that are mended."""

import re
from pathlib import Path
from typing import Any

import pytest

from cli.sentences import Count, Sentence, in_a_row, say, view
from cli.verbs.mail import STATE
from cli.verbs.status import Lag, ServiceStatus, as_data
from cli.verbs.webhook import STATES
from services.console.app import AREAS
from services.console.pages.operating.fields import COLUMNS
from tests.console.fakes import ACCOUNT, Browser, Services, hidden, problem, words
from tests.console.samples.operating import (
    ANSWERS,
    KIM,
    NOON,
    OPERATION,
    RECORD,
    RESTORES,
    RUNNING,
    WHOLE,
    answer,
    restore,
    run,
    said,
    sentence,
)

AT = "/operator/operate"
RUN = f"{AT}/operations/op-1"
BEGUN = answer(run(id="op-2"), 202)
PATHS = [page.path for area in AREAS if area.name == "operating" for page in area.pages]


@pytest.fixture
def services() -> Services:
    return Services({**ANSWERS, "POST /verbs/rebuild": BEGUN, "POST /verbs/parked-edit": BEGUN})


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


async def form(browser: Browser) -> dict[str, str]:
    return hidden((await browser.get("/profile")).text)


def shows(services: Services, **changed: Any) -> None:
    services.answers["GET /operations/op-1"] = answer(run(**changed))


@pytest.mark.parametrize("kind", ["customer", "partner", "publisher"])
async def test_nobody_but_the_operators_people_finds_these_pages(
    browser: Browser, services: Services, kind: str
) -> None:
    services.answers["GET /me"] = answer({**ACCOUNT, "organisation_kind": kind})
    asked = len(services.asked)
    for path in PATHS:
        at = path.replace("{verb}", "rebuild").replace("{operation_id}", "op-1").replace("{", "").replace("}", "")
        assert (await browser.get(at)).status_code == 404
        if "{" in path and "fingerprint" not in path:
            assert (await browser.post(at, None, **await form(browser), reason="why")).status_code == 404
    assert not [each for each in services.asked[asked:] if each.url.host == "operations.example"]
    assert AT not in (await browser.get("/profile")).text


# ── The overview ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_page_has_every_verb_by_its_subject_and_what_is_parked(browser: Browser) -> None:
    page = (await browser.get(AT)).text
    text = words(page)
    assert "3 records are parked or wait behind one that is." in text
    assert "Projections Rebuild a projection changes" in text and "Time Timers" in text
    assert "Webhooks All webhooks Resume a webhook changes" in text
    assert "Webhook test" in text, "a verb without words of its own is in the subject of its group"
    assert "tenure export It writes a file on the machine where it runs." in text
    assert f'href="{RUN}"' in page and 'href="/machines"' in page


async def test_a_system_without_parked_records_is_said_to_be_so(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/parked-group"] = answer(said(groups=[]))
    assert "No record is parked." in words((await browser.get(AT)).text)


async def test_without_the_operations_server_the_page_says_so(browser: Browser, services: Services) -> None:
    services.answers["GET /verbs"] = problem(503, "unavailable", "Kafka can't be reached.")
    assert (await browser.get(AT)).status_code == 503


# ── A verb's form ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_form_has_a_field_for_each_parameter(browser: Browser) -> None:
    page = (await browser.get(f"{AT}/verbs/rebuild")).text
    assert '<option value="marketplace.sales">' in page and "Show what it would do" in words(page)
    assert "Projection The projection." in words(page) and "Workers (optional)" in words(page)
    assert 'name="limit" type="text" value="50"' in (await browser.get(f"{AT}/verbs/timers")).text
    assert (await browser.get(f"{AT}/verbs/nothing")).status_code == 404


async def test_a_form_is_sent_as_the_parameters_of_its_verb(browser: Browser, services: Services) -> None:
    begun = await browser.send(f"{AT}/verbs/rebuild", projection=" marketplace.sales ", workers="8")
    assert begun.headers["location"] == f"{AT}/operations/op-2"
    (asked,) = services.of("POST", "/verbs/rebuild")
    assert asked.headers["prefer"] == "respond-async, wait=2"
    assert services.bodies("POST", "/verbs/rebuild") == [{"projection": "marketplace.sales", "workers": 8}]


@pytest.mark.parametrize(
    ("verb", "fields", "sent"),
    [
        ("timers", {"limit": "-5", "due": "on"}, {"limit": -5, "due": True}),
        ("timers", {"limit": ""}, {}),
        ("status", {"over": "0.5"}, {"over": 0.5}),
        ("parked-retry", {"handles": "a\r\n b \n\n"}, {"handles": ["a", "b"]}),
        ("mail-retry", {"ids": "1, 2\n3"}, {"ids": [1, 2, 3]}),
    ],
)
async def test_what_is_entered_has_the_type_that_the_verb_reads(
    browser: Browser, services: Services, verb: str, fields: dict[str, str], sent: dict[str, Any]
) -> None:
    services.answers[f"POST /verbs/{verb}"] = BEGUN
    assert (await browser.send(f"{AT}/verbs/{verb}", **fields)).status_code == 303
    assert services.bodies("POST", f"/verbs/{verb}") == [sent]


@pytest.mark.parametrize(
    ("verb", "fields", "fault"),
    [
        ("rebuild", {"projection": ""}, "Fill in this field."),
        ("timers", {"limit": "many"}, "Enter a number."),
        ("mail-retry", {"ids": "1 x"}, "Enter a number."),
    ],
)
async def test_what_no_verb_reads_is_said_beside_its_field(
    browser: Browser, services: Services, verb: str, fields: dict[str, str], fault: str
) -> None:
    refused = await browser.send(f"{AT}/verbs/{verb}", **fields)
    assert refused.status_code == 422 and fault in words(refused.text)
    assert services.of("POST", f"/verbs/{verb}") == []


async def test_a_form_is_filled_in_by_its_address(browser: Browser) -> None:
    page = (await browser.get(f"{AT}/verbs/rebuild?projection=a.b&workers=2")).text
    assert 'value="a.b"' in page and 'value="2"' in page


async def test_a_busy_server_leaves_the_form_as_it_was(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/rebuild"] = problem(503, "busy", "Too many operations run now.")
    refused = await browser.send(f"{AT}/verbs/rebuild", projection="a.b")
    assert refused.status_code == 422 and 'value="a.b"' in refused.text


# ── A run ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_plan_is_confirmed_with_its_digest_and_a_reason(browser: Browser, services: Services) -> None:
    assert "Nothing is changed yet. This would happen: 70 events would be" in words((await browser.get(RUN)).text)
    without = await browser.send(RUN, reason=" ")
    assert without.status_code == 422 and "Fill in this field." in words(without.text)
    done = await browser.send(RUN, reason="It differs.")
    assert done.headers["location"] == f"{AT}/operations/op-2"
    confirmed = {"yes": True, "reason": "It differs.", "plan": "digest-1"}
    assert services.bodies("POST", "/verbs/rebuild") == [{"projection": "marketplace.sales", **confirmed}]


async def test_the_digest_that_is_sent_is_that_of_the_plan_that_was_shown(browser: Browser, services: Services) -> None:
    page = await browser.get(RUN)
    shows(services, answer=said("80 events would be folded again.", plan="digest-2"))
    await browser.post(RUN, None, **{**hidden(page.text), "reason": "why", "plan": "digest-1"})
    assert services.bodies("POST", "/verbs/rebuild")[0]["plan"] == "digest-1"


async def test_a_plan_that_has_changed_is_shown_and_asked_about_again(browser: Browser, services: Services) -> None:
    changed = {"detail": "The plan is not the one that was confirmed.", "rule": "operation-plan-changed"}
    now = said("80 events would be folded again.", plan="digest-2")
    shows(services, dry_run=False, state="failed", problem=changed, answer=now)
    page = await browser.get(RUN)
    assert "so nothing is done yet. It is now: 80 events" in words(page.text)
    await browser.send(RUN, reason="why")
    assert services.bodies("POST", "/verbs/rebuild")[0]["plan"] == "digest-2"


async def test_a_run_is_followed_while_it_runs_and_no_longer(browser: Browser, services: Services) -> None:
    steps = [{"step": "folding", "done": 1200, "of": 5000}, {"step": "verify identity", "done": 7, "of": None}]
    shows(services, state="running", ended=None, dry_run=False, progress=steps)
    page = (await browser.get(RUN)).text
    assert 'hx-trigger="every 1s"' in page and "Folding events 1,200 of 5,000" in words(page)
    assert 'max="5000" value="1200"' in page and "Verify identity 7" in words(page)
    shows(services, dry_run=False, answer=said("Switched.", operation=OPERATION, agrees=True))
    page = (await browser.get(RUN)).text
    assert "every 1s" not in page and "Apply it" not in page
    assert "done" in words(page) and f"<code>{OPERATION}</code>" in page


async def test_a_failed_run_says_why_and_leads_back_to_its_form(browser: Browser, services: Services) -> None:
    shows(services, state="failed", problem={"detail": "The consumer has never run.", "rule": "operation-refused"})
    page = (await browser.get(RUN)).text
    assert "failed The consumer has never run." in words(page.replace('class="unseen">About it', ">"))
    assert f'href="{AT}/verbs/rebuild?projection=marketplace.sales"' in page


async def test_a_result_is_shown_as_facts_and_tables_whatever_it_has(browser: Browser, services: Services) -> None:
    result: dict[str, Any] = {
        "looked_at": 3,
        "well": False,
        "took_s": 0.071234,
        "timers": [{"name": "remind", "due": "2026-11-30T10:00:00Z", "more": {"a": 1}}] * 201,
        "services": {"identity": {"head": 41}, "marketplace": {"head": 59}},
        "rows_now": {"carts": 3},
        "none": [],
    }
    shows(services, verb="timers", dry_run=None, answer=said("3 shown at 2026-11-30 10:00:00Z.", ok=False, **result))
    page = (await browser.get(RUN)).text
    text = words(page)
    assert "something is wrong" in text and "3 shown at 30 Nov 2026, 11:00 CET." in text
    assert "Looked through 3 Took 0.071 sec" in text and "Well" not in text and "1 more row is not shown." in text
    assert (
        'remind 30 Nov 2026, 11:00 CET {"a": 1}' in text
        and "Services Name Newest position identity 41 marketplace 59" in text
    )
    assert "Rows now Name Value carts 3" in text


async def test_the_state_of_the_system_is_told_in_words(browser: Browser, services: Services) -> None:
    log = {"head": 41, "relayed": 40, "relay_behind_s": 600.0, "owner": "pid-7", "led": True, "parked": 2, "due": 1}
    seen = [
        ServiceStatus(
            service="identity", waiting={"consumers": "connecting to Kafka"}, log={**log, "bytes": 8_400_000}
        ),
        ServiceStatus(service="marketplace", waiting={}, fault="gone"),
    ]
    lag = Lag(consumer="marketplace.sales", events=1204, parked=0, seconds=4.25, per_s=-1_520.4)
    result = as_data(seen, [lag], ["identity: consumers: connecting to Kafka"])
    for (verb, table), columns in COLUMNS.items():
        rows = result[table].values() if isinstance(result[table], dict) else result[table]
        assert verb == "status" and {*columns} <= set().union({"fenced"}, *rows)
    shows(services, verb="status", dry_run=None, answer=said("identity: connecting to Kafka", ok=False, **result))
    text = words((await browser.get(RUN)).text.partition("All of it as JSON")[0])
    assert "Services Name Ready Waits for Why it can't be read Parked" in text
    assert "identity – consumers: connecting to Kafka – 2 10 mins 1 8.4 MB" in text
    assert "marketplace.sales 1,204 4.25 secs -1,520.4/s 0" in text
    assert not re.search(r"relay_|lag_s|Lag s|pid-7|[{}]", text)


@pytest.mark.parametrize("kind", ["status", "rebuild"])
async def test_a_verbs_form_says_what_it_leaves_alone_and_how_long_it_takes(browser: Browser, kind: str) -> None:
    said_first = {
        "status": "It only reads, and changes nothing. It takes a few seconds,",
        "rebuild": "Nothing is changed until you have seen what it would do, and have confirmed it. It folds all",
    }
    assert said_first[kind] in words((await browser.get(f"{AT}/verbs/{kind}")).text)


async def test_what_a_record_has_is_text(browser: Browser, services: Services) -> None:
    shows(services, dry_run=None, answer=said("<b>&", rows=[{"<i>": "<script>"}], fact="<u>"))
    page = (await browser.get(RUN)).text
    assert "<script>" not in page and "<b>&" not in page and "<i>" not in page and "<u>" not in page


async def test_a_command_in_a_sentence_is_code(browser: Browser, services: Services) -> None:
    shows(services, dry_run=None, answer=said("a < b: run `tenure verify identity --from <n>`, then `tenure status`."))
    page = (await browser.get(RUN)).text
    assert (
        "a &lt; b: run <code>tenure verify identity --from &lt;n&gt;</code>, then <code>tenure status</code>." in page
    )


async def test_a_verb_speaks_the_persons_language(browser: Browser, services: Services) -> None:
    services.answers["GET /me"] = answer({**ACCOUNT, "organisation_kind": "operator", "locale": "de-DE"})
    template = (
        "%(events)s of %(projection)s's streams would be folded again, from %(source)s, by %(workers)s, into "
        "%(tables)s:"
    )
    dropped = "The schema %(schema)s, replaced %(time)s, would be dropped."
    source = sentence("the store", "the store")
    counted = {name: {"number": 1204, "thing": name.removesuffix("s")} for name in ("events", "workers", "tables")}
    plan = said(plan="digest-1")
    plan["sentences"] = [
        sentence("English.", template, projection="marketplace.sales", source=source, **counted),
        sentence("English.", dropped, schema="old_1", time={"time": NOON}),
        sentence("A text that has no parts."),
    ]
    shows(services, answer=plan)
    text = words((await browser.get(RUN)).text)
    assert "1.204 Ereignisse der Streams von marketplace.sales würden noch einmal verarbeitet, aus dem Speicher" in text
    assert "Das Schema old_1, ersetzt am 29.11.2026, 12:00:00 MEZ, würde gelöscht." in text
    assert "A text that has no parts." in text and "English." not in text


@pytest.mark.parametrize(
    ("english", "german"),
    [
        (
            say(
                "Webhook %(webhook)s (%(name)s, %(state)s) %(effect)s.",
                webhook="w-1",
                name="Billing",
                state=say("%(so)s: %(why)s", so=STATES["parked"], why="410 Gone"),
                effect=say("would be sent its events from position %(position)s on", position=1204),
            ),
            "Der Webhook w-1 (Billing, geparkt: 410 Gone) bekäme seine Ereignisse ab Position 1.204 gesendet.",
        ),
        (
            say(
                "Mail %(number)s (%(kind)s, %(state)s: %(reason)s) %(effect)s.",
                number="7",
                kind="welcome",
                state=STATE["parked"],
                reason="550 no such user",
                effect=say("would be sent again"),
            ),
            "Mail 7 (welcome, geparkt: 550 no such user) würde noch einmal gesendet.",
        ),
        (
            say(
                "%(those)s shown; %(figures)s.",
                those=Count(1, "notification"),
                figures=in_a_row([say("%(number)s sent", number=1), say("%(number)s bounced", number=1200)]),
            ),
            "Gezeigt: 1 Benachrichtigung; 1 gesendet, 1.200 abgewiesen.",
        ),
        (say("Checked: %(so)s; %(judgement)s.", so="x", judgement=say("sound")), "Geprüft: x; in Ordnung."),
        (say("Everything is well."), "Alles ist in Ordnung."),
    ],
)
async def test_what_is_inside_a_sentence_is_in_the_persons_language_too(
    browser: Browser, services: Services, english: Sentence, german: str
) -> None:
    services.answers["GET /me"] = answer({**ACCOUNT, "organisation_kind": "operator", "locale": "de-DE"})
    plan = said(plan="digest-1")
    plan["sentences"] = [view(english, str(english)).model_dump(mode="json")]
    shows(services, answer=plan)
    assert german in words((await browser.get(RUN)).text)


async def test_a_run_that_nobody_knows_is_not_found(browser: Browser) -> None:
    assert (await browser.get(f"{AT}/operations/op-9")).status_code == 404


# ── Cancelling, restores ───────────────────────────────────────────────────────────────────────────────


async def test_a_run_is_cancelled_after_the_page_has_said_what_it_leaves(browser: Browser, services: Services) -> None:
    services.answers["POST /operations/op-3/cancel"] = answer(RUNNING, 202)
    assert f'href="{AT}/operations/op-3/cancel"' in (await browser.get(f"{AT}/operations/op-3")).text
    page = (await browser.get(f"{AT}/operations/op-3/cancel")).text
    assert "Restore a store from its topic: What is left behind: What was done stays." in words(page)
    without = await browser.send(f"{AT}/operations/op-3/cancel", reason=" ")
    assert without.status_code == 422 and "Fill in this field." in words(without.text)
    done = await browser.send(f"{AT}/operations/op-3/cancel", reason="Wrong service.")
    assert done.headers["location"] == f"{AT}/operations/op-3"
    assert services.bodies("POST", "/operations/op-3/cancel") == [{"reason": "Wrong service."}]


async def test_a_dry_run_is_cancelled_without_a_reason(browser: Browser, services: Services) -> None:
    services.answers["GET /operations/op-3"] = answer({**RUNNING, "dry_run": True})
    services.answers["POST /operations/op-3/cancel"] = answer(RUNNING, 202)
    page = (await browser.get(f"{AT}/operations/op-3/cancel")).text
    assert "Nothing is changed yet." in words(page) and 'name="reason"' not in page
    assert (await browser.send(f"{AT}/operations/op-3/cancel")).status_code == 303


async def test_what_has_ended_meanwhile_is_not_cancelled(browser: Browser, services: Services) -> None:
    services.answers["POST /operations/op-3/cancel"] = problem(409, "operation-ended", "The operation has ended.")
    refused = await browser.send(f"{AT}/operations/op-3/cancel", reason="why")
    assert refused.status_code == 422 and "so it can't be cancelled" in words(refused.text)
    assert "It has ended already." in words((await browser.get(f"{AT}/operations/op-1/cancel")).text)


async def test_a_cancelled_run_says_by_whom_and_what_is_left(browser: Browser, services: Services) -> None:
    cancellation = {"by": KIM, "at": NOON, "reason": "Wrong one."}
    shows(services, state="running", ended=None, dry_run=False, cancellation=cancellation)
    page = (await browser.get(RUN)).text
    assert "Kim Ode cancelled it on 29 Nov 2026, 12:00:00 CET. Why: Wrong one. It cleans up" in words(page)
    assert "/cancel" not in page
    left = {"detail": "It was cancelled.", "rule": "operation-cancelled", "remedy": "The new tables stay."}
    shows(services, state="cancelled", dry_run=False, cancellation=cancellation, problem=left)
    text = words((await browser.get(RUN)).text)
    assert "Rebuild a projection cancelled" in text and "The new tables stay." in text and "Apply it" not in text
    shows(services, dry_run=False, cancellation=cancellation, answer=said("Switched."))
    assert "It had reached its end before." in words((await browser.get(RUN)).text)


async def test_restores_show_how_far_and_how_fast_they_are(browser: Browser, services: Services) -> None:
    page = (await browser.get(f"{AT}/restores")).text
    text = words(page)
    assert "Events in the store 1,200 of 5,000, 400 per second, about 10 s left" in text
    assert "marketplace.sales 3,800 120.5" in text and "begun 29 Nov 2026" not in text
    assert 'hx-trigger="every 3s"' in page and f'href="{AT}/operations/op-3"' in page
    assert "identity 41" in text and services.bodies("POST", "/verbs/restore-status") == [{"over": 1.0}]


@pytest.mark.parametrize(
    ("state", "why", "verb"),
    [
        ("interrupted", "it stopped", "restore store"),
        ("interrupted", "it stopped, begun by Kim: `tenure restore store` was wrong", "reconcile"),
        ("fenced", "the store and its topic differ: it lacks 3 events", "reconcile"),
    ],
)
async def test_a_restore_that_does_not_run_leads_to_what_continues_it(
    browser: Browser, services: Services, state: str, why: str, verb: str
) -> None:
    services.answers["GET /operations"] = answer({"items": []})
    waiting = restore("marketplace", state, why=why, continued_by=verb)
    services.answers["POST /verbs/restore-status"] = answer(said(**{**RESTORES, "services": [waiting]}))
    page = (await browser.get(f"{AT}/restores")).text
    assert f'href="{AT}/verbs/{verb.replace(" ", "-")}?service=marketplace"' in page and "every 3s" not in page


async def test_without_restores_the_page_says_so(browser: Browser, services: Services) -> None:
    services.answers["GET /operations"] = answer({"items": []})
    well = {**RESTORES, "services": [restore("identity")], "kafka": "Kafka at x does not answer (OSError)"}
    services.answers["POST /verbs/restore-status"] = answer(said(**well))
    text = words((await browser.get(f"{AT}/restores")).text)
    assert "nothing is being restored" in text and "Kafka at x does not answer (OSError)." in text


# ── Parked records ─────────────────────────────────────────────────────────────────────────────────────


async def test_groups_lead_to_their_records_and_these_to_their_bytes(browser: Browser, services: Services) -> None:
    page = (await browser.get(f"{AT}/parked")).text
    assert f'href="{AT}/parked/10602aa8"' in page and "Input should be a valid integer" in words(page)
    page = (await browser.get(f"{AT}/parked/10602aa8")).text
    assert services.bodies("POST", "/verbs/parked-ls") == [{"group": "10602aa8"}]
    assert "1 record of entitlements.reactions failed like this." in words(page)
    assert f'href="{AT}/records/d87db9ad"' in page and 'name="group" value="10602aa8"' in page
    page = (await browser.get(f"{AT}/records/d87db9ad")).text
    assert "ce_id e-1" in words(page) and "&#34;amount&#34;: &#34;12x&#34;" in page


async def test_groups_are_filtered_by_consumer_or_stream_and_retried(browser: Browser, services: Services) -> None:
    page = (await browser.get(f"{AT}/parked?consumer=entitlements.reactions")).text
    assert services.bodies("POST", "/verbs/parked-group") == [{"consumer": "entitlements.reactions"}]
    assert 'name="consumer" value="entitlements.reactions"' in page and "Retry all of these" in words(page)
    page = (await browser.get(f"{AT}/parked?stream=pool-1")).text
    assert services.bodies("POST", "/verbs/parked-group")[1:] == [{"stream": "pool-1"}]
    assert 'name="stream" value="pool-1"' in page
    services.answers["POST /verbs/parked-group"] = problem(404, "unknown", "There is no consumer x.")
    answered = await browser.get(f"{AT}/parked?consumer=x")
    assert answered.status_code == 200 and "Retry all" not in words(answered.text)


async def test_a_group_that_is_gone_says_so(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/parked-ls"] = answer(said(parked=[]))
    assert "No record of this group is parked any more." in words((await browser.get(f"{AT}/parked/10602aa8")).text)


async def test_an_edited_body_is_sent_as_compact_as_it_was(browser: Browser, services: Services) -> None:
    edited = '{\n  "grant_id": "g-1",\n  "amount": 12\n}'
    begun = await browser.send(f"{AT}/records/d87db9ad", value=edited, header="ce_actor=me\n")
    assert begun.headers["location"] == f"{AT}/operations/op-2"
    sent = {"handle": "d87db9ad", "value": '{"grant_id":"g-1","amount":12}', "header": ["ce_actor=me"]}
    assert services.bodies("POST", "/verbs/parked-edit") == [sent]


async def test_a_body_that_was_not_edited_is_not_sent(browser: Browser, services: Services) -> None:
    await browser.send(f"{AT}/records/d87db9ad", value='{"grant_id": "g-1", "amount": "12x"}')
    assert services.bodies("POST", "/verbs/parked-edit") == [{"handle": "d87db9ad"}]


@pytest.mark.parametrize("written", ['{"amount": 12', "", "[" * 100_000])
async def test_a_body_that_is_not_json_is_said_to_be_so(browser: Browser, services: Services, written: str) -> None:
    refused = await browser.send(f"{AT}/records/d87db9ad", value=written)
    assert refused.status_code == 422 and "This is not JSON:" in words(refused.text)
    assert services.of("POST", "/verbs/parked-edit") == []


async def test_a_body_that_is_no_json_stays_as_it_is_written(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/parked-show"] = answer(said(**{**WHOLE, "value": "not json"}))
    await browser.send(f"{AT}/records/d87db9ad", value="still { not")
    assert services.bodies("POST", "/verbs/parked-edit") == [{"handle": "d87db9ad", "value": "still { not"}]


async def test_a_difference_is_shown_line_by_line_and_then_retried(browser: Browser, services: Services) -> None:
    parameters = {"handle": RECORD["handle"], "value": "{}"}
    plan = said("It would get 2 bytes.", '  -  "amount": "12x"', '  +  "amount": 12', plan="digest-1")
    shows(services, verb="parked-edit", parameters=parameters, answer=plan)
    page = (await browser.get(RUN)).text
    assert '<li class="removed">' in page and '<li class="added">' in page
    assert f'href="{AT}/records/d87db9ad"' in page, "where it is changed"
    shows(
        services, verb="parked-edit", dry_run=False, parameters=parameters, answer=said("Checked.", operation=OPERATION)
    )
    page = (await browser.get(RUN)).text
    assert 'name="handles" value="d87db9ad"' in page and "Retry this record" in words(page)
