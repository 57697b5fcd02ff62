"""The operator's look at the running system: figures, streams, and why an event happened."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import JsonValue

from services.console.live.rates import HISTORY_S, Tick
from services.console.pages.inspecting.charts import HEIGHT, latency_charts, rate_chart, scale
from services.console.pages.inspecting.graphs import DRAWN, Related
from services.console.pages.inspecting.values import LONGEST, fields_of, shown_value
from services.console.shapes.operations import LatencyHistory, RelatedEvent
from services.console.texts import texts_for
from tests.console.fakes import ACCOUNT, Browser, Services, problem, words
from tests.console.samples.inspecting import (
    ANSWERS,
    CONFIRMED,
    FOUND,
    LATENCY,
    OPENED,
    PUBLISHERS,
    SHOWN,
    SUBSCRIPTION,
    WHY,
    related,
    verb,
)

STREAM = f"/operator/streams/{SUBSCRIPTION}"
EVENT = f"/operator/events/{CONFIRMED}"


@pytest.fixture
def services() -> Services:
    return Services(dict(ANSWERS))


@pytest.fixture
async def browser(services: Services, tmp_path: Path) -> Browser:
    browser = Browser(services, tmp_path)
    await browser.sign_in()
    return browser


@pytest.mark.parametrize("path", ["/operator/now", "/operator/streams", STREAM, EVENT])
async def test_nobody_but_the_operators_people_sees_them(browser: Browser, services: Services, path: str) -> None:
    services.answers["GET /me"] = httpx.Response(200, json={**ACCOUNT, "organisation_kind": "publisher"})
    assert (await browser.get(path)).status_code == 404
    assert [each for each in services.asked if each.url.path.startswith("/verbs/")] == []


async def test_the_operations_server_decides_who_is_the_operator(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/stream-show"] = problem(403, "operator-only", "Only the operator's people.")
    refused = await browser.get(STREAM)
    assert refused.status_code == 403 and "Only the operator of this system does this." in words(refused.text)
    assert services.of("POST", "/verbs/stream-show")[-1].headers["authorization"] == "Bearer access-1"


# ── Now ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_now_names_every_figure_with_its_unit(browser: Browser, services: Services) -> None:
    said = words((await browser.get("/operator/now")).text)
    for heading in (
        "Commands per second",
        "p99 (ms)",
        "Command latency, p99 (0 to 250 ms)",
        "Relay lag (s)",
        "Lag (s)",
        "Lag (0 to 12.5 s)",
        "Lag (records)",
        "In (days)",
    ):
        assert heading in said, heading
    assert "marketplace 1.5 0 250 250 250 of 12 commands just now" in said and "marketplace 4.2 3 2 0" in said
    assert "identity 1.5 0 12 12 12" in said and "of 37 commands since its start" in said
    assert "late by 90 s" in said and "distribution does not answer" in said
    assert "3 consumers, 2 are behind or have parked records." in said
    assert said.index("marketplace.sales 12.5") < said.index("marketplace.process ?")
    assert "0–6 3 2" in said
    assert "AutoCAD 2027.1 2027.1 paused" in said and "Users: 2 of 8 have it, failed for 1." in said
    assert services.bodies("POST", "/verbs/now") == [{"over": 0.5}]


async def test_command_latency_is_drawn_over_time_with_its_unit(browser: Browser) -> None:
    page = await browser.get("/operator/now")
    said = words(page.text)
    assert "identity ↑ Milliseconds · 9 commands" in said and "30 min ago Time (minutes) → now" in said
    assert "Command latency of marketplace in the last 30 minutes, in milliseconds. The greatest p99 was 250 ms." in (
        page.text
    )
    assert (
        "distribution has had no command in the last 30 minutes." in page.text and 'viewBox="0 0 600 100"' in page.text
    )
    assert "Command latency over time" in words((await browser.get("/operator/now/figures")).text)


def test_a_curve_ends_where_there_was_no_command() -> None:
    identity, marketplace, *_ = latency_charts(LatencyHistory.model_validate(LATENCY))
    assert (identity.top_ms, identity.most_ms, identity.commands) == (20, 20, 9)
    assert identity.p99 == "M300.0,50.0h0L305.0,0.0M600.0,25.0h0"
    assert identity.p50 == "M300.0,75.0h0L305.0,50.0M600.0,62.5h0"
    assert (marketplace.top_ms, marketplace.p99) == (500, "M305.0,50.0h0")


def test_what_was_before_the_time_that_is_drawn_does_not_count() -> None:
    history = LatencyHistory.model_validate(LATENCY)
    oldest = history.intervals[0].model_copy(update={"at": history.at - timedelta(minutes=31)})
    assert "identity" in oldest.services
    later = history.model_copy(update={"intervals": [oldest, *history.intervals]})
    assert latency_charts(later) == latency_charts(history)


async def test_parked_counts_lead_to_the_records(browser: Browser) -> None:
    page = (await browser.get("/operator/now")).text
    assert 'href="/operator/operate/parked">2</a>' in page
    assert 'href="/operator/operate/parked?consumer=marketplace.sales">2</a>' in page


async def test_now_goes_on_without_the_operations_server(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/now"] = httpx.Response(200, json={"ok": True, "result": {"at": "noon"}})
    shown = await browser.get("/operator/now")
    assert shown.status_code == 200 and "The operations server does not answer" in words(shown.text)
    assert "can't read Kafka now" in words(shown.text)


async def test_the_figures_are_a_part_of_the_page(browser: Browser, services: Services) -> None:
    part = await browser.get("/operator/now/figures")
    assert part.text.lstrip().startswith("<div") and "<html" not in part.text
    assert services.bodies("POST", "/verbs/now") == [{"over": 2.0}]
    services.answers["GET /me"] = httpx.Response(200, json=ACCOUNT)
    assert (await browser.get("/operator/now/figures")).status_code == 204


def ticks(**events: dict[str, int]) -> list[Tick]:
    """A minute whose last second has these events."""
    return [*(Tick(second=n) for n in range(HISTORY_S - 1)), Tick(second=HISTORY_S, events=events)]


def test_a_chart_has_a_line_a_service_and_the_most_frequent_types() -> None:
    chart = rate_chart(ticks(identity={"AccountOpened": 2, "RoleAssigned": 5}, marketplace={"CsnIssued": 12}))
    assert [(line.service, line.events) for line in chart.lines] == [
        ("identity", 7),
        ("marketplace", 12),
        ("entitlements", 0),
        ("distribution", 0),
    ]
    assert chart.top == 20 and chart.lines[1].points.endswith(f"600.0,{HEIGHT * 8 / 20}")
    assert [each.type for each in chart.types] == ["CsnIssued", "RoleAssigned", "AccountOpened"]
    assert rate_chart(ticks(identity={f"E{n}": n for n in range(1, 21)})).more == 8


@pytest.mark.parametrize(("most", "top"), [(0, 4), (4, 4), (5, 10), (11, 20), (500, 500), (501, 1000)])
def test_a_scale_ends_with_a_round_number(most: int, top: int) -> None:
    assert scale(most) == top


# ── Streams ────────────────────────────────────────────────────────────────────────────────────────────


async def test_streams_are_found(browser: Browser, services: Services) -> None:
    page = await browser.get("/operator/streams?q=+Northhaus+")
    said = words(page.text)
    assert "The streams of Northhaus:" in said and f"{SUBSCRIPTION} marketplace sandbox 2 SubscriptionConfirmed" in said
    assert f'href="{STREAM}"' in page.text and f'href="{EVENT}"' in page.text
    assert services.bodies("POST", "/verbs/stream-find") == [{"text": "Northhaus"}]


async def test_several_organisations_lead_to_the_streams_of_each(browser: Browser, services: Services) -> None:
    several = [{"organisation_id": f"o-{n}", "name": f"North {n}", "kind": "partner"} for n in range(2)]
    services.answers["POST /verbs/stream-find"] = verb(**{**FOUND, "organisations": several, "streams": []})
    assert 'href="/operator/streams?q=o-1"' in (await browser.get("/operator/streams?q=north")).text


async def test_a_search_without_a_text_asks_nobody_and_says_what_can_be_entered(
    browser: Browser, services: Services
) -> None:
    assert "What can be entered" in words((await browser.get("/operator/streams")).text)
    nothing: dict[str, Any] = {"organisations": [], "streams": [], "account": None, "event": None, "more": 0}
    assert services.of("POST", "/verbs/stream-find") == []
    services.answers["POST /verbs/stream-find"] = verb(**nothing)
    assert "Nothing is found by this." in words((await browser.get("/operator/streams?q=x")).text)


async def test_a_timeline_has_each_event_with_what_it_changed_and_the_state_after(
    browser: Browser, services: Services
) -> None:
    page = await browser.get(STREAM)
    said = words(page.text)
    assert said.index("9. SubscriptionConfirmed") < said.index("8. SubscriptionOrdered")
    assert "is Ordered Running" in said and "seats 0 3" in said
    assert "term.ends was not there 30 Nov 2027" in said and "waits true is gone" in said
    state = said.partition("State after version 9")[2]
    assert "term.at 29 Nov 2026, 12:00:05 CET" in state and "seats [1, 2]" in state
    assert "hash chain intact" in said and f'href="{STREAM}?version=7"' in page.text
    assert services.bodies("POST", "/verbs/stream-show") == [{"stream": SUBSCRIPTION, "last": 10}]


async def test_a_stream_is_shown_as_of_a_version_and_a_moment_in_the_persons_zone(
    browser: Browser, services: Services
) -> None:
    page = await browser.get(f"{STREAM}?version=8&as_of=2026-11-29T12:00")
    assert services.bodies("POST", "/verbs/stream-show")[-1] == {
        "stream": SUBSCRIPTION,
        "at": "2026-11-29T11:00:00+00:00",
        "version": 8,
        "last": 10,
    }
    assert "It stood so on 29 Nov 2026, 12:00 CET." in words(page.text)
    for wrong in ("0", "-1", "x", "9" * 30, "²"):
        await browser.get(f"{STREAM}?version={wrong}")
        assert "version" not in services.bodies("POST", "/verbs/stream-show")[-1], wrong


async def test_before_its_first_event_a_stream_has_no_state(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/stream-show"] = verb(**{**SHOWN, "events": [], "before": 0})
    assert "It had no events at that time yet." in words((await browser.get(f"{STREAM}?as_of=2026-01-01T00:00")).text)


async def test_a_broken_chain_is_said(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/stream-show"] = verb(**{**SHOWN, "chain": "version 2 does not match its hash"})
    said = words((await browser.get(STREAM)).text)
    assert "hash chain broken" in said and "version 2 does not match its hash" in said


@pytest.mark.parametrize(
    ("path", "route", "text"),
    [
        (STREAM, "/verbs/stream-show", "There is no such stream"),
        (EVENT, "/verbs/why", "There is no such event"),
    ],
)
async def test_what_no_service_has_is_said_so(
    browser: Browser, services: Services, path: str, route: str, text: str
) -> None:
    services.answers[f"POST {route}"] = problem(404, "unknown", "No service has it.")
    answer = await browser.get(path)
    assert answer.status_code == 404 and text in words(answer.text)


async def test_a_stream_whose_key_has_a_slash_has_a_page(browser: Browser, services: Services) -> None:
    assert (await browser.get("/operator/streams/engagement-a%2Fb")).status_code == 200
    assert services.bodies("POST", "/verbs/stream-show")[-1]["stream"] == "engagement-a/b"


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_says_why_it_happened_and_what_followed(browser: Browser, services: Services) -> None:
    page = await browser.get(EVENT)
    said = words(page.text)
    why, _, effects = said.partition("Why it happened")[2].partition("What followed from it")
    assert why.index("OrderConfirmed urn:publisher:autodesk") < why.index("SubscriptionConfirmed this event")
    assert effects.index("SeatPoolOpened entitlements") < effects.index("ProductOwned distribution")
    assert "is Ordered Running" in said and "starts 1 Dec 2026" in said
    assert page.text.count('<rect class="box"') == len(WHY["events"]) and "More may belong to it" not in said
    (asked,) = services.bodies("POST", "/verbs/stream-show")
    assert asked == {"stream": SUBSCRIPTION, "version": 1, "last": 1}


@pytest.mark.parametrize(
    ("outcomes", "became"),
    [
        ([], "What became of it No service has answered it."),
        ([{}], "What became of it rejected · marketplace · 29 Nov 2026, 13:00:00 CET not-confirmed It waits. Wait."),
        ([{"status": "accepted", "rule": ""}], "What became of it accepted · marketplace · 29 Nov 2026, 13:00:00 CET"),
    ],
)
async def test_a_publishers_event_says_what_became_of_it(
    browser: Browser, services: Services, outcomes: list[dict[str, str]], became: str
) -> None:
    rejected = {"service": "marketplace", "status": "rejected", "rule": "not-confirmed", "time": "2026-11-29T12:00:00Z"}
    said = {**rejected, "reason": "It waits.", "remedy": "Wait."}
    event = related(PUBLISHERS, "OrderConfirmed", None, "", outcomes=[{**said, **each} for each in outcomes])
    services.answers["POST /verbs/why"] = verb(**{**WHY, "asked": "x-1", "asked_keys": [PUBLISHERS], "events": [event]})
    assert became in words((await browser.get("/operator/events/x-1")).text)


async def test_a_publishers_event_has_effects_and_no_stream(browser: Browser, services: Services) -> None:
    services.answers["POST /verbs/why"] = verb(**{**WHY, "asked": "x-1", "asked_keys": [PUBLISHERS]})
    said = words((await browser.get("/operator/events/x-1")).text)
    assert "publisher.inbound.v1.autodesk/0/19" in said and services.of("POST", "/verbs/stream-show") == []


async def test_a_command_shows_what_followed_from_it(browser: Browser, services: Services) -> None:
    effect = related(CONFIRMED, "SubscriptionConfirmed", "marketplace", SUBSCRIPTION, "a:b")
    services.answers["POST /verbs/why"] = verb(**{**WHY, "asked": "a:b", "asked_keys": [], "events": [effect]})
    said = words((await browser.get("/operator/events/a:b")).text)
    assert "What followed from a command" in said and "Somebody's request: a:b" in said


@pytest.mark.parametrize(
    "part",
    [
        {"cut_off": [{"service": "identity", "about": "x", "taken": 2, "after": 2, "left": 1}]},
        {"not_followed": {"correlations": 1, "publishers_events": 0}},
        {"inbound": {"looked_at": 0, "records": 0, "found": 0, "problem": "Kafka does not answer"}},
    ],
)
async def test_an_incomplete_search_says_so(browser: Browser, services: Services, part: dict[str, Any]) -> None:
    services.answers["POST /verbs/why"] = verb(**{**WHY, **part})
    assert "More may belong to it than is shown" in words((await browser.get(EVENT)).text)


async def test_what_an_event_says_is_text(browser: Browser, services: Services) -> None:
    hostile = {**SHOWN["events"][1], "data": {"<b>": "<script>alert(1)</script>"}, "actor": "<img>"}
    services.answers["POST /verbs/stream-show"] = verb(**{**SHOWN, "events": [hostile]})
    text = (await browser.get(EVENT)).text
    assert "&lt;script&gt;" in text and "<script>alert" not in text and "<b>" not in text


def chain(number: int) -> Related:
    """Events each of which causes the next one; the middle one is asked for."""
    keys = [f"e-{n}" for n in range(number)]
    events = [related(key, "CsnIssued", "identity", "a-1", f"e-{n - 1}" if n else "") for n, key in enumerate(keys)]
    return Related([RelatedEvent.model_validate(each) for each in events], [keys[number // 2]])


def test_a_graph_reads_from_causes_to_effects() -> None:
    made = Related([RelatedEvent.model_validate(each) for each in WHY["events"]], [CONFIRMED])
    graph = made.graph()
    at = {node.event.key: (node.x, node.y) for node in graph.nodes}
    assert at[PUBLISHERS][0] < at[CONFIRMED][0] < at[OPENED][0] and at[OPENED][0] == at["e-5"][0]
    assert at[PUBLISHERS][1] == at[CONFIRMED][1] == at[OPENED][1] < at["e-5"][1]
    assert len(graph.edges) == 4 and [node.event.key for node in graph.nodes if node.asked] == [CONFIRMED]
    assert len(set(at.values())) == len(at)


def test_a_long_chain_is_drawn_around_what_was_asked() -> None:
    related_ = chain(500)
    graph = related_.graph()
    drawn = [node.event.key for node in graph.nodes]
    assert len(drawn) == DRAWN and graph.left_out == 440 and "e-250" in drawn
    assert [each.key for each in related_.causes("e-250")][-1] == "e-249"
    assert {f"e-{n}" for n in range(225, 275)} <= set(drawn)


def test_events_that_cause_each_other_are_no_endless_chain() -> None:
    both = [related("a", "CsnIssued", "identity", "s-1", "b"), related("b", "CsnIssued", "identity", "s-1", "a")]
    made = Related([RelatedEvent.model_validate(each) for each in both], ["a"])
    assert [each.key for each in made.causes("a")] == ["b"] and made.below("a", 10)[0].event.key == "b"
    assert made.graph().left_out in (0, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "true"),
        ("2026-02-30", "2026-02-30"),
        ("2026-02-03", "3 Feb 2026"),
        ("2026-02-03T04:05:06Z", "3 Feb 2026, 05:05:06 CET"),
        ("enc:1:abc", "enc:1:abc"),
        (["a", 1], '["a", 1]'),
    ],
)
def test_values_are_shown_as_people_write_them(value: Any, text: str) -> None:
    assert shown_value(value, texts_for("en-GB", "", "Europe/Berlin")) == text


def test_long_values_are_cut_and_nested_ones_flat() -> None:
    assert len(shown_value("x" * 10_000, texts_for("en-GB"))) == LONGEST + 1
    nested: JsonValue = {"a": {"b": 1}, "c": [{"d": 2}], "e": [], "f": {}}
    assert list(fields_of(nested)) == [("a.b", 1), ("c[0].d", 2), ("e", []), ("f", {})]
