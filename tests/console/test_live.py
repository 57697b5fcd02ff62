"""The live edge without Kafka: who sees what, and that every subscriber gets each event once, whatever happens."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar

import httpx
import pytest
from openapi_spec_validator import validate

from services import definitions
from services.console.live import stream as streams
from services.console.live.callers import STREAMS_OF_AN_ACCOUNT, Callers, Subscriber
from services.console.live.doors import make_doors
from services.console.live.edge import LiveEdge
from services.console.live.stream import stream
from shared.eventlog.deliver.answering import UnsentOutcome
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.ordered import Lost, Placed, placed
from shared.eventlog.deliver.received import Raw
from shared.events.envelope import to_headers
from shared.events.registry import ENTITLEMENTS, OUTCOMES, inbound_topic, outcomes_topic
from shared.runtime.auth import Actor
from shared.runtime.live import wanted as kinds
from shared.runtime.live.frames import Frame, frame_of
from shared.runtime.live.topic import LiveTopic, Window
from shared.runtime.live.wanted import Wanted, visible_to
from shared.runtime.problems import Problem
from shared.runtime.settings import Settings
from tests.console.fakes import Browser, Services
from tests.examples.positions import NOON, Store, all_placed

EVERYTHING = Wanted(everything=True)
MINA = Actor(account_id="mina", organisation_id="org-1", organisation_kind="customer", session_id="s-1")


OUTCOMES_OF_AUTODESK = outcomes_topic("autodesk")


def answers(count: int) -> list[Placed]:
    """Answers to autodesk's records; the second one can't be read."""
    made = []
    for n in range(count):
        row = (n, "urn:publisher:autodesk", f"e-{n}", "CreditsPurchased", inbound_topic("autodesk"), 0, n, "accepted")
        outcome = UnsentOutcome(*row, "", "", "", "[]", "[]", NOON)
        headers: Any = [] if n == 1 else to_headers(outcome.envelope("entitlements"))
        event = placed(Raw(OUTCOMES_OF_AUTODESK, 0, n, b"", headers, outcome.event().data()))
        assert event is not None
        made.append(event)
    return made


def frames(store: Store) -> list[Frame]:
    return [frame_of(event) for event in all_placed(store.events)]


class Topic(LiveTopic):
    """A topic whose Kafka is a list, which keeps what follows `kept`."""

    def __init__(self, window: int = 40, *, store: Store | None = None) -> None:
        super().__init__(ENTITLEMENTS, KafkaAccess(bootstrap=""), asyncio.Semaphore(1))
        self.store, self.kept, self.fails = store or Store(), 0, 0
        self.window = Window(window)
        self.all: list[Frame] = []

    def start(self) -> None:
        self.loaded.set()

    def grow(self, count: int) -> None:
        self.store.grow(count)
        new = frames(self.store)[len(self.all) :]
        self.all += new
        self.window.add(new)
        self._tell({frame.tenant for frame in new})

    async def _from_kafka(self, position: int) -> list[Frame]:
        await asyncio.sleep(0)
        if self.fails:
            self.fails -= 1
            raise ConnectionError("Kafka is away")
        if position < self.kept:
            raise Lost(position, self.kept + 1)
        return self.all[position : position + 30]


@dataclass
class Endings:
    """Sessions that have ended."""

    ended: set[str] = field(default_factory=set)

    async def good(self, actor: Actor, token: str) -> bool:
        return actor.session_id not in self.ended

    def knows_of(self, actor: Actor) -> bool:
        return actor.session_id in self.ended


class Verifier:
    """Knows the tokens of two people."""

    actors: ClassVar = {
        "mina": MINA,
        "access-1": MINA,
        "pat": replace(MINA, account_id="pat", organisation_kind="publisher", publisher="autodesk"),
        "olga": replace(MINA, account_id="olga", organisation_id="org-0", organisation_kind="operator"),
        "agent": replace(MINA, session_id="", client_id="agent", scopes=frozenset({"installs:report"})),
    }

    async def actor(self, authorization: str | None) -> Actor:
        token = (authorization or "").removeprefix("Bearer ")
        if token not in self.actors:
            raise Problem(rule="not-signed-in", reason="No.")
        return self.actors[token]

    def accepted_until(self, token: str) -> float:
        return time.time() + 60


@dataclass
class Running:
    stopping: bool = False


def callers(endings: Endings | None = None) -> Callers:
    verifier: Any = Verifier()
    known: Any = endings or Endings()
    return Callers(verifier, known)


def subscriber(actor: Actor = MINA, until_s: float = 60) -> Subscriber:
    return Subscriber(actor=actor, token="t", until=time.time() + until_s)


def blocks(
    topic: LiveTopic, after: int, wanted: Wanted = EVERYTHING, known: Callers | None = None
) -> AsyncIterator[bytes]:
    return stream(Running(), topic, known or callers(), subscriber(), wanted, after, "http://snapshot.example")


def positions(received: bytes) -> list[int]:
    """The ids of a stream's blocks with data."""
    found = [block.split(b"\n") for block in received.split(b"\n\n") if b"data:" in block]
    return [int(line[3:]) for lines in found for line in lines if line.startswith(b"id:")]


async def read(source: AsyncIterator[bytes], until: int) -> list[int]:
    """Read a stream until the event at this position has come."""
    received = b""
    async with asyncio.timeout(10):
        async for block in source:
            received += block
            if (got := positions(received)) and got[-1] >= until:
                return got
    return positions(received)


# ── Each event once ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_comes_and_goes_gets_each_event_once(seed: int) -> None:
    """Also those that begin far behind the memory, and while Kafka is away at times."""
    chance, topic = random.Random(seed), Topic()
    topic.grow(100)

    async def client(begin: int) -> list[int]:
        got: list[int] = []
        while not got or got[-1] < 400:
            last = got[-1] if got else begin
            got += await read(blocks(topic, last), min(400, last + chance.randrange(1, 90)))
            await asyncio.sleep(chance.random() / 100)
        return got

    clients = [asyncio.create_task(client(begin)) for begin in (0, 1, 50, 99, 100)]
    while len(topic.all) < 400:
        topic.fails = chance.randrange(2)
        topic.grow(chance.randrange(1, 30))
        await asyncio.sleep(0.005)
    for begin, each in zip((0, 1, 50, 99, 100), clients, strict=True):
        got = await each
        assert got == [*range(begin + 1, got[-1] + 1)] and got[-1] >= 400


async def test_one_who_reads_nothing_holds_nobody_up_and_misses_nothing() -> None:
    topic = Topic()
    slow, quick = blocks(topic, 0), blocks(topic, 0)
    await anext(slow)
    topic.grow(30)
    assert await read(quick, 30) == [*range(1, 31)]
    for _ in range(10):
        topic.grow(30)
    assert not topic.window.holds_after(0) and await read(slow, 330) == [*range(1, 331)]


async def test_a_position_that_is_not_kept_is_answered_with_a_reset_and_where_to_read_the_state() -> None:
    topic = Topic()
    topic.grow(200)
    topic.kept = 60
    source = blocks(topic, 10)
    await anext(source)
    reset = (await anext(source)).decode()
    assert reset.startswith("event: reset\nid: 60\n")
    said = json.loads(reset.partition("data: ")[2])
    assert said == {"after": 10, "nearest": 61, "snapshot": "http://snapshot.example"}
    assert await read(source, 200) == [*range(61, 201)]


async def test_events_of_others_move_the_position_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that who connects again is not behind by all that they may not see."""
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(streams, "CHECK_S", 0.01)
    topic = Topic()
    source = blocks(topic, 0, Wanted(organisation="org-2"))
    await anext(source)
    topic.grow(30)
    said = b""
    while b"id: 30" not in said:
        said += await anext(source)
    assert positions(said) == []


@pytest.mark.parametrize("size", [100, 1_000])
def test_the_memory_is_bounded_by_number_and_by_bytes(size: int) -> None:
    window, store = Window(kept=50, kept_bytes=20_000), Store()
    for _ in range(20):
        before = len(store.events)
        store.grow(20, body=b'{"n": "%s"}' % (b"x" * size))
        window.add(frames(store)[before:])
        assert len(window.frames) <= 62 and sum(len(frame.body) for frame in window.frames) <= 20_000
    got = [frame.position for frame in window.frames]
    assert got == [*range(got[0], 401)]


# ── Who sees what ──────────────────────────────────────────────────────────────────────────────────────


def seen(wanted: Wanted, *pairs: tuple[str, str]) -> list[str]:
    made = [Frame(1, "T", stream_, tenant, NOON, b"{}") for stream_, tenant in pairs]
    return [frame.stream for frame in made if wanted.admits(frame)]


ALL = (
    ("pool-1", "org-1"),
    ("pool-2", "org-2"),
    ("account-mina", "org-1"),
    ("account-ravi", "org-1"),
    ("sessions-ravi", "org-1"),
    ("invitation-1", "org-1"),
    ("operation-1", "tenure"),
    ("plan-1", "autodesk"),
    ("plan-2", "other"),
    ("machine-m", "org-1"),
)


def test_a_person_sees_the_organisations_events_and_of_accounts_the_own() -> None:
    assert seen(visible_to(MINA), *ALL) == ["pool-1", "account-mina"]


def test_a_publishers_people_see_its_plans() -> None:
    pat = replace(MINA, organisation_id="org-9", organisation_kind="publisher", publisher="autodesk")
    assert seen(visible_to(pat), *ALL) == ["plan-1"]
    assert visible_to(pat).keys == {"org-9", "autodesk"}


def test_a_machine_sees_its_own_account_besides() -> None:
    machine = replace(MINA, account_id="m", session_id="", client_id="m", scopes=frozenset({"read"}))
    assert seen(visible_to(machine), *ALL) == ["pool-1", "machine-m"]


def test_the_operator_sees_everything() -> None:
    olga = replace(MINA, organisation_kind="operator")
    assert seen(visible_to(olga), *ALL) == [name for name, _ in ALL] and visible_to(olga).keys is None


def test_every_kind_of_streams_is_somebodys() -> None:
    known = (*kinds.OF_ORGANISATION, *kinds.OF_PUBLISHER, *kinds.OF_ACCOUNT, *kinds.OF_MACHINE, *kinds.FOR_OPERATORS)
    declared = {stream_.category for service in definitions() for stream_ in service.streams} | {"operation"}
    assert sorted(known) == sorted(declared)


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ({"types": frozenset({"SeatUnassigned"})}, 24),
        ({"types": frozenset({"SeatAssigned"})}, 0),
        ({"streams": frozenset({"pool-3"})}, 2),
        ({"tenants": frozenset({"org-2"})}, 12),
        ({"since": NOON + timedelta(seconds=5)}, 20),
        ({"until": NOON + timedelta(seconds=5)}, 4),
    ],
)
def test_events_are_filtered_by_type_stream_tenant_and_time(asked: dict[str, Any], got: int) -> None:
    store = Store(("org-1", "org-2"))
    store.grow(24)
    assert len([frame for frame in frames(store) if replace(EVERYTHING, **asked).admits(frame)]) == got


def test_an_event_is_a_cloudevent_with_the_attributes_and_the_bytes_of_its_record() -> None:
    (event,) = Store().grow(1)
    said = json.loads(frame_of(all_placed([event])[0]).body)
    headers = {name.removeprefix("ce_"): value.decode() for name, value in event.headers() if name.startswith("ce_")}
    assert said == {**headers, "datacontenttype": "application/json", "data": json.loads(event.data)}
    assert event.data in frame_of(all_placed([event])[0]).body


# ── For how long ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_ends_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHECK_S", 0.01)
    endings, topic = Endings(), Topic()
    topic.grow(5)
    source = blocks(topic, 0, known=callers(endings))
    assert await read(source, 5) == [1, 2, 3, 4, 5]
    endings.ended.add("s-1")
    topic.grow(5)
    async with asyncio.timeout(5):
        assert [block async for block in source] == []


async def test_a_stream_ends_when_its_token_expires() -> None:
    source = stream(Running(), Topic(), callers(), subscriber(until_s=-1), EVERYTHING, 0, "")
    assert len([block async for block in source]) == 1


def test_an_account_has_a_bounded_number_of_streams() -> None:
    known = callers()
    with ExitStack() as open_streams:
        for _ in range(STREAMS_OF_AN_ACCOUNT):
            open_streams.enter_context(known.admitted(subscriber()))
        with pytest.raises(Problem) as refused, known.admitted(subscriber()):
            pass
        assert refused.value.status == 429
        open_streams.enter_context(known.admitted(subscriber(replace(MINA, account_id="ravi"))))
        assert known.streams == STREAMS_OF_AN_ACCOUNT + 1
    assert known.streams == 0


# ── By HTTP ────────────────────────────────────────────────────────────────────────────────────────────


class WithoutKafka(LiveEdge):
    def start(self) -> None:
        """Start nothing: the topic is filled by the test."""


class Doors:
    """The doors over a topic of 50 events."""

    def __init__(self) -> None:
        self.topic = Topic(store=Store(("org-1", "org-2")))
        self.topic.grow(50)
        endings: Any = Endings()
        self.edge = WithoutKafka(
            callers=callers(), topics={ENTITLEMENTS: self.topic}, snapshots={ENTITLEMENTS: "http://s"}, endings=endings
        )
        self.edge.outcomes = self.answers
        app = make_doors(Settings())
        app.state.live = self.edge
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console.example")

    async def answers(self, name: str) -> LiveTopic:
        """The topic with what became of the records of autodesk."""
        assert name == OUTCOMES_OF_AUTODESK
        topic = Topic()
        topic.window.add([frame_of(each) for each in answers(3)])
        return topic

    async def get(self, path: str, token: str = "mina", **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={"Authorization": f"Bearer {token}", **headers})


async def test_a_feed_is_pages_of_what_the_caller_may_see_which_lead_to_each_other() -> None:
    doors, got, at = Doors(), [], f"/feed/{ENTITLEMENTS}?limit=7"
    while True:
        page = (await doors.get(at)).json()
        got += [int(event["position"]) for event in page["items"]]
        at = page["next"]
        if not page["items"]:
            break
    assert got == [*range(2, 51, 2)] and page["position"] == 50 and at == f"/feed/{ENTITLEMENTS}?after=50&limit=7"
    assert {event["tenant"] for event in page["items"]} <= {"org-1"}


async def test_outcomes_are_read_by_their_publisher_and_the_operator_and_are_nothing_to_others() -> None:
    doors = Doors()
    page = (await doors.get(f"/feed/{OUTCOMES_OF_AUTODESK}?after=1", "pat")).json()
    assert [(event["position"], event["data"]) for event in page["items"][:1]] == [("2", None)]
    assert page["items"][1]["data"]["status"] == "accepted"
    assert page["items"][1]["id"] == f"{inbound_topic('autodesk')}:0:2:accepted"
    assert (await doors.get(f"/feed/{OUTCOMES_OF_AUTODESK}", "olga")).json()["position"] == 3
    refused = await doors.get(f"/feed/{OUTCOMES_OF_AUTODESK}")
    assert (refused.status_code, refused.json()["detail"]) == (404, "There is no topic that you may see.")
    assert (await doors.get(f"/feed/{OUTCOMES}", "pat")).status_code == 404


async def test_a_feed_waits_for_the_next_event() -> None:
    doors = Doors()
    asked = asyncio.create_task(doors.get(f"/feed/{ENTITLEMENTS}?after=50&wait=20", "olga"))
    await asyncio.sleep(0.05)
    doors.topic.grow(1)
    assert [event["position"] for event in (await asked).json()["items"]] == ["51"]


async def test_a_feed_says_that_a_position_is_not_kept() -> None:
    doors = Doors()
    doors.topic.kept = 5
    doors.topic.grow(100)
    refused = await doors.get(f"/feed/{ENTITLEMENTS}?after=1", "olga")
    assert (refused.status_code, refused.json()["rule"]) == (410, "position-not-kept")
    assert "go on after 5" in refused.json()["remedy"]


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        (f"/feed/{ENTITLEMENTS}", "nobody", 401),
        (f"/feed/{ENTITLEMENTS}", "agent", 403),
        ("/feed/anchors.v1", "mina", 404),
        (f"/feed/{ENTITLEMENTS}?after=-1", "mina", 422),
        (f"/feed/{ENTITLEMENTS}?typ=SeatAssigned", "mina", 422),
        (f"/feed/{ENTITLEMENTS}?since=2026-11-29T12:00", "mina", 422),
        (f"/feed/{ENTITLEMENTS}?since=1764417600", "mina", 422),
        (f"/live/{ENTITLEMENTS}?until=0.5", "mina", 422),
        (f"/live/{ENTITLEMENTS}?ticket=used", "mina", 401),
        (f"/live/{ENTITLEMENTS}", "agent", 403),
    ],
)
async def test_a_refusal_is_a_problem(path: str, token: str, status: int) -> None:
    refused = await Doors().get(path, token)
    assert refused.status_code == status and refused.headers["content-type"] == "application/problem+json"


async def test_a_ticket_opens_one_stream() -> None:
    doors = Doors()
    answer = await doors.client.post("/live/tickets", headers={"Authorization": "Bearer mina"})
    ticket = answer.json()["ticket"]
    doors.edge.stopping = True  # so that the stream ends
    for status in (200, 401):
        assert (await doors.client.get(f"/live/{ENTITLEMENTS}?ticket={ticket}")).status_code == status


async def test_a_stream_begins_after_the_last_id_or_else_after_the_position_or_else_now() -> None:
    doors = Doors()
    doors.edge.stopping = True

    async def begins(path: str, **headers: str) -> bytes:
        return (await doors.get(f"/live/{ENTITLEMENTS}{path}", **headers)).content.partition(b"id: ")[2].strip()

    assert await begins("") == b"50"
    assert await begins("?after=7") == b"7"
    assert await begins("?after=7", **{"Last-Event-ID": "9"}) == b"9"


async def test_a_browser_is_known_by_its_session_and_not_from_other_sites(tmp_path: Any) -> None:
    browser = Browser(Services(), tmp_path)
    await browser.sign_in()
    browser.app.state.live = Doors().edge
    path = f"/feed/{ENTITLEMENTS}?limit=1"
    assert (await browser.get(path)).json()["items"][0]["tenant"] == "org-1"
    foreign = await browser.client.get(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 401


def test_the_openapi_document_is_valid_and_has_the_doors() -> None:
    document = make_doors(Settings()).openapi()
    validate(document)
    assert list(document["paths"]) == [
        "/live/rates",
        "/live/{topic}",
        "/feed/{topic}",
        "/live/tickets",
        "/events",
        "/events/{source}/{event_id}",
        "/problems",
        "/problems/{rule}",
    ]


async def test_the_console_has_the_doors_beside_its_pages(tmp_path: Any) -> None:
    browser = Browser(Services(), tmp_path)
    browser.app.state.live = Doors().edge
    refused = await browser.get(f"/feed/{ENTITLEMENTS}")
    assert (refused.status_code, refused.json()["rule"]) == (401, "not-signed-in")
    assert (await browser.get("/openapi.json")).json()["info"]["title"] == "Tenure live"
