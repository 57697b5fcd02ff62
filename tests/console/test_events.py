"""Publishers' events by HTTP: the same event and the same refusal as on Kafka, in all modes."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

import httpx
import pytest

from services.console.doors import Doors
from services.console.live.callers import Callers
from services.console.live.doors import make_doors
from services.console.live.edge import LiveEdge
from services.console.live.limits import BATCH_EVENTS, EVENT_BYTES
from shared.eventlog.deliver.duplicates import content_of, identity_of
from shared.eventlog.deliver.inbox import Checked, Given, Inbox, NotKept, Refusal, checked
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.plan import ConsumerCheckpoint, plan
from shared.eventlog.deliver.received import Raw, receive
from shared.events.registry import ANSWERING, PUBLISHERS_EVENTS, inbound_topic
from shared.events.structured import BATCH, STRUCTURED
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem
from shared.runtime.settings import Settings

SOURCE, TOPIC = "urn:publisher:autodesk", inbound_topic("autodesk")
EVENT: Mapping[str, Any] = {
    "specversion": "1.0",
    "id": "said/1 50%",
    "source": SOURCE,
    "type": "internal.tenure.OrderConfirmed",
    "time": "2026-11-29T08:00:00Z",
    "subject": 'order "7"',
    "datacontenttype": "application/json",
    "data": {"subscription_id": "s-1", "reference": "Bestellung für Köln"},
}
SYSTEM = Actor(
    account_id="system",
    organisation_id="org-9",
    organisation_kind="publisher",
    publisher="autodesk",
    client_id="system",
    scopes=frozenset({"events:publish"}),
)
MODES = ("binary", "structured", "batch")


class Verifier:
    """Knows the tokens of a publisher's system, and of others."""

    actors: ClassVar[Mapping[str, Actor]] = {
        "system": SYSTEM,
        "reader": replace(SYSTEM, scopes=frozenset({"read"})),
        "customer's": replace(SYSTEM, organisation_kind="customer", publisher=""),
        "operator's": replace(SYSTEM, organisation_kind="operator", publisher=""),
        "rival's": replace(SYSTEM, publisher="rival"),
        "pat": replace(SYSTEM, client_id="", session_id="s-1", scopes=None),
    }

    async def actor(self, authorization: str | None) -> Actor:
        token = (authorization or "").removeprefix("Bearer ")
        if token not in self.actors:
            raise Problem(rule="not-signed-in", reason="No.")
        return self.actors[token]

    def accepted_until(self, _token: str) -> float:
        return time.time() + 60


class NoEndings:
    """No session ends."""

    async def good(self, _actor: Actor, _token: str) -> bool:
        return True

    def knows_of(self, _actor: Actor) -> bool:
        return False


class Kept(Inbox):
    """An inbox whose Kafka is a list, or away."""

    def __init__(self) -> None:
        super().__init__(KafkaAccess(bootstrap=""))
        self.away = False
        self.records: list[Raw] = []

    async def keep(self, publisher: str, events: Sequence[Checked], noted: Mapping[str, str]) -> None:
        if self.away:
            raise NotKept("it is away")
        more = [(name, text.encode()) for name, text in noted.items()]
        for each in events:
            headers = [*each.given.headers, *more]
            self.records.append(Raw(inbound_topic(publisher), 0, len(self.records), each.key, headers, each.given.data))


class Still(LiveEdge):
    """It follows no topic and no session."""

    def start(self) -> None:
        """Do nothing."""


class Edge:
    """The doors, with services that know some outcomes."""

    def __init__(self) -> None:
        verifier: Any = Verifier()
        endings: Any = NoEndings()
        self.inbox, self.asked = Kept(), 0
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.counted: Counter[tuple[str, str]] = Counter()
        live = Still(
            callers=Callers(verifier, endings),
            topics={},
            snapshots={},
            endings=endings,
            inbox=self.inbox,
            count=lambda publisher, outcome: self.counted.update([(publisher, outcome)]),
        )
        app = make_doors(Settings())
        app.state.live = live
        services = httpx.AsyncClient(transport=httpx.MockTransport(self._service))
        app.state.doors = Doors({name: f"http://{name}.example" for name in ANSWERING}, services)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console.example")

    def _service(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        assert request.headers["authorization"] and request.url.raw_path.startswith(b"/events/urn:publisher:autodesk/")
        answer = self.answers.get(request.url.host.removesuffix(".example"), httpx.Response(404))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def send(self, mode: str, event: Mapping[str, Any] = EVENT, token: str = "system") -> httpx.Response:
        content, headers = written(mode, event)
        return await self.post(content, {**headers, "Authorization": f"Bearer {token}"})

    async def post(self, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        return await self.client.post("/events", content=content, headers={"Authorization": "Bearer system", **headers})

    async def outcome(self, token: str = "system", query: str = "") -> httpx.Response:
        at = f"/events/{SOURCE}/{quote('said/1 50%', safe='')}{query}"
        return await self.client.get(at, headers={"Authorization": f"Bearer {token}"})


def written(mode: str, event: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """An event in a mode of the HTTP binding: the body and the headers."""
    if mode == "structured":
        return json.dumps(event).encode(), {"Content-Type": f"{STRUCTURED}; charset=utf-8"}
    if mode == "batch":
        return json.dumps([event]).encode(), {"Content-Type": BATCH}
    headers = {f"ce-{name}": quote(str(value), safe=":. ") for name, value in event.items() if name not in BODY}
    return json.dumps(event["data"]).encode(), {**headers, "Content-Type": event["datacontenttype"]}


BODY = ("data", "datacontenttype")


def on_kafka(event: Mapping[str, Any]) -> Raw:
    """The record of an event in binary mode."""
    headers = [(f"ce_{name}", str(value).encode()) for name, value in event.items() if name not in BODY]
    return Raw(TOPIC, 0, 0, b"k", headers, json.dumps(event["data"]).encode(), arrived=datetime.now(UTC))


@pytest.mark.parametrize("mode", MODES)
async def test_an_event_is_kept_as_the_same_event_would_be_on_kafka(mode: str) -> None:
    edge = Edge()
    first, answer = await edge.send(mode), await edge.send(mode)
    assert first.status_code == answer.status_code == 202, answer.text
    taken = answer.json()["results"][0] if mode == "batch" else answer.json()
    location = "/events/urn:publisher:autodesk/said%2F1%2050%25"
    assert taken == {"status": 202, "source": SOURCE, "id": EVENT["id"], "type": "OrderConfirmed", "location": location}
    assert mode == "batch" or answer.headers["location"] == location
    types = frozenset(PUBLISHERS_EVENTS)
    said = receive(on_kafka(EVENT), types)
    for raw in edge.inbox.records:
        kept = receive(raw, types)
        assert (identity_of(kept), content_of(kept)) == (identity_of(said), content_of(said)), kept.problem
        assert kept.envelope and said.envelope and kept.envelope.stream == said.envelope.stream == 'order "7"'
        assert (raw.key, dict(raw.headers)["client-id"]) == (b'order "7"', b"system")


FUTURE = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
PLAN_OF_ANOTHER = {"csn": "5500112233", "organisation_id": "o", "publisher": "rival"}
UNFIT: Mapping[str, Mapping[str, Any]] = {
    "another's source": {"source": "urn:publisher:rival"},
    "a service's source": {"source": "urn:tenure:marketplace"},
    "a service's type": {"type": "SubscriptionConfirmed"},
    "no known type": {"type": "OrderAccepted"},
    "from the future": {"time": FUTURE},
    "no time": {"time": "today"},
    "of another publisher": {"type": "CsnIssued", "data": PLAN_OF_ANOTHER},
    "no id": {"id": ""},
    "another version of CloudEvents": {"specversion": "0.3"},
    "no text of an id": {"id": "für"},
    "data that are not the type's": {"data": {"subscription_id": "s-1"}},
    "data of another form": {"data": [1]},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("unfit", UNFIT)
async def test_what_may_not_be_on_kafka_is_refused_by_the_same_rule_and_not_kept(mode: str, unfit: str) -> None:
    event, edge = {**EVENT, **UNFIT[unfit]}, Edge()
    answer = await edge.send(mode, event)
    problem = answer.json()["results"][0]["problem"] if mode == "batch" else answer.json()
    assert answer.status_code == (207 if mode == "batch" else 422) and edge.inbox.records == []
    parked = plan([receive(on_kafka(event), frozenset(PUBLISHERS_EVENTS), datetime.now(UTC))], _nothing_yet()).parked
    assert [each.reason for each in parked] == [problem["rule"]]
    if "ahead of" not in problem["detail"]:
        assert problem["detail"] == parked[0].detail


def _nothing_yet() -> ConsumerCheckpoint:
    return ConsumerCheckpoint(offsets={(TOPIC, 0): -1}, seen={})


async def test_each_event_of_a_batch_is_answered_and_the_good_ones_are_kept_in_order() -> None:
    edge = Edge()
    events: list[Any] = [{**EVENT, "id": f"e-{n}", "subject": "s"} for n in range(4)]
    events[1]["type"], events[3] = "OrderAccepted", "nothing"
    answer = await edge.post(json.dumps(events).encode(), {"Content-Type": BATCH})
    assert answer.status_code == 207
    assert [each["status"] for each in answer.json()["results"]] == [202, 422, 202, 422]
    assert [dict(raw.headers)["ce_id"] for raw in edge.inbox.records] == [b"e-0", b"e-2"]
    assert answer.json()["results"][3]["problem"]["rule"] == "unreadable"


@pytest.mark.parametrize("mode", ["structured", "batch"])
async def test_headers_may_repeat_what_the_event_says_and_not_contradict_it(mode: str) -> None:
    """Who routes by headers would take it for another event than who reads the body."""
    edge = Edge()
    content, headers = written(mode, EVENT)
    same = {f"ce-{name}": quote(EVENT[name]) for name in ("id", "source", "type")}
    assert (await edge.post(content, {**headers, **same})).status_code == 202
    (raw,) = edge.inbox.records
    assert [name for name, _ in raw.headers].count("ce_id") == 1
    for name, value in (("ce-id", "another"), ("ce-type", "0" * 501), ("ce-extension", "ö")):
        answer = await edge.post(content, {**headers, **same, name: quote(value)})
        problem = answer.json()["results"][0]["problem"] if mode == "batch" else answer.json()
        assert (problem["status"], problem["rule"]) == (422, "unreadable")
        assert f"attribute {name[3:]} " in problem["detail"]
    assert len(edge.inbox.records) == 1


async def test_the_attributes_that_an_event_lacks_are_named() -> None:
    problem = (await Edge().post(b"{}", {"Content-Type": STRUCTURED})).json()
    assert (problem["rule"], problem["detail"]) == ("unreadable", "missing attributes: specversion, id, source, type")


@pytest.mark.parametrize(
    ("token", "status", "rule"),
    [
        ("nobody", 401, "not-signed-in"),
        ("reader", 403, "scope-missing"),
        ("customer's", 403, "publisher-only"),
        ("operator's", 403, "publisher-only"),
        ("pat", 403, "machines-only"),
        ("rival's", 422, "refused"),
    ],
)
async def test_only_a_publishers_own_systems_send_its_events(token: str, status: int, rule: str) -> None:
    edge = Edge()
    answer = await edge.send("structured", token=token)
    assert (answer.status_code, answer.json()["rule"], edge.inbox.records) == (status, rule, [])


@pytest.mark.parametrize("unfit", ["a service's type", "no known type", "data of another form", "from the future"])
async def test_a_source_that_is_not_the_senders_is_what_is_refused(unfit: str) -> None:
    """Whatever else is wrong: who mends the type would be refused again."""
    problem = (await Edge().send("structured", {**EVENT, **UNFIT[unfit], "source": "urn:publisher:rival"})).json()
    assert problem["rule"] == "refused"
    assert problem["detail"] == (
        f"the source urn:publisher:rival may not publish on {TOPIC}, but only urn:publisher:autodesk"
    )


@pytest.mark.parametrize("unfit", [{}, {"type": "SubscriptionConfirmed"}, {"data": [1]}])
def test_a_publisher_without_a_topic_of_its_own_is_told_its_source_first(unfit: Mapping[str, Any]) -> None:
    raw = on_kafka({**EVENT, **unfit})
    given = Given([(name, value or b"") for name, value in raw.headers], raw.value or b"")
    refused = checked(given, "no.topic!", datetime.now(UTC))
    assert isinstance(refused, Refusal) and refused.rule == "refused"
    assert refused.reason == f"the source {SOURCE} is not this publisher's, urn:publisher:no.topic!"


async def test_a_browsers_session_sends_nothing() -> None:
    content, headers = written("structured", EVENT)
    answer = await Edge().client.post("/events", content=content, headers={**headers, "Cookie": "session=x"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "", 415),
        (b"[]", BATCH, 422),
        (b"{}", BATCH, 422),
        (b"[", BATCH, 422),
        (b"[" + b",".join([b"{}"] * (BATCH_EVENTS + 1)) + b"]", BATCH, 422),
        (b" " * (EVENT_BYTES + 1), STRUCTURED, 413),
    ],
)
async def test_a_request_that_has_no_events_or_too_much_is_refused(
    content: bytes, media_type: str, status: int
) -> None:
    answer = await Edge().post(content, {"Content-Type": media_type})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("mode", MODES)
async def test_what_kafka_has_not_acknowledged_is_to_be_sent_again(mode: str) -> None:
    edge = Edge()
    edge.inbox.away = True
    answer = await edge.send(mode)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


# ── Outcomes ───────────────────────────────────────────────────────────────────────────────────────────

REJECTED = {
    "status": "rejected",
    "rule": "limit",
    "reason": "No.",
    "remedy": "",
    "because": [],
    "events": [],
    "topic": TOPIC,
    "partition": 0,
    "offset": 7,
    "time": "2026-11-30T08:00:00Z",
}
FOUND = httpx.Response(200, json={"source": SOURCE, "id": EVENT["id"], "type": "T", "outcomes": [REJECTED]})


async def test_an_outcome_is_that_of_the_service_that_decided() -> None:
    edge = Edge()
    edge.answers["entitlements"] = FOUND
    answer = await edge.outcome()
    assert answer.status_code == 200 and answer.json()["outcomes"] == [REJECTED]
    assert (await edge.outcome("reader")).status_code == 200


async def test_an_outcome_that_is_not_there_yet_is_waited_for() -> None:
    edge = Edge()
    assert (await edge.outcome()).status_code == 404 and edge.asked == len(ANSWERING)
    assert (await edge.outcome(query="?wait=1")).status_code == 404 and edge.asked >= 4 * len(ANSWERING)


async def test_an_outcome_is_nothing_to_others_and_nobody_is_asked() -> None:
    edge = Edge()
    edge.answers["entitlements"] = FOUND
    assert (await edge.outcome("rival's")).status_code == (await edge.outcome("customer's")).status_code == 404
    assert edge.asked == 0


@pytest.mark.parametrize("silence", [httpx.ConnectError("away"), httpx.Response(503)])
async def test_a_silent_service_may_know_what_the_others_do_not(silence: httpx.Response | Exception) -> None:
    edge = Edge()
    edge.answers["distribution"] = silence
    assert (await edge.outcome()).status_code == 503
    edge.answers["entitlements"] = FOUND
    assert (await edge.outcome()).status_code == 200


async def test_what_became_of_each_event_is_counted_by_its_publisher() -> None:
    edge = Edge()
    batch = json.dumps([EVENT, {**EVENT, "id": "2"}, {**EVENT, "source": "urn:publisher:rival"}]).encode()
    assert (await edge.post(batch, {"Content-Type": BATCH})).status_code == 207
    edge.inbox.away = True
    assert (await edge.send("structured")).status_code == 503
    assert edge.counted == {("autodesk", "kept"): 2, ("autodesk", "refused"): 1, ("autodesk", "not-kept"): 1}
