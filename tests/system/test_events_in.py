"""A publisher's events by Kafka and by HTTP, in every mode: one effect, and the same answer by every door."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.cast import PUBLISHER
from shared.events.registry import inbound_topic, outcomes_topic
from shared.events.structured import BATCH, STRUCTURED
from tests.system.publishing import machine_of
from tests.system.running import System, console_of, system

pytestmark = [pytest.mark.system, pytest.mark.long]

SOURCE, USER = f"urn:publisher:{PUBLISHER}", f"publisher-{PUBLISHER}"
OUTCOMES = outcomes_topic(PUBLISHER)
MODES: Final = ("kafka binary", "kafka structured", "http binary", "http structured", "http batch")
PATIENCE_S: Final = 60
Event = Mapping[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with system(tmp_path_factory.mktemp("events-in")) as running:
        yield running


@pytest.fixture(scope="module")
def console(whole: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with console_of(whole, tmp_path_factory.mktemp("console")) as url:
        yield url


@pytest.fixture(scope="module")
def token(whole: System) -> str:
    client_id, secret = machine_of(whole)
    asked = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    answer = httpx.post(f"{whole.env['TENURE_IDENTITY_URL']}/oauth/token", data=asked)
    given: str = answer.raise_for_status().json()["access_token"]
    return given


@dataclass
class Sender:
    """The publisher's system."""

    kafka: AIOKafkaProducer
    http: httpx.AsyncClient

    async def send(self, mode: str, event: Event) -> httpx.Response | None:
        door, _, form = mode.partition(" ")
        data = json.dumps(event["data"]).encode()
        attributes = {name: str(value) for name, value in event.items() if name != "data"}
        if door == "http":
            body, headers = data, {f"ce-{name}": value for name, value in attributes.items()}
            if form != "binary":
                body = json.dumps([event] if form == "batch" else event).encode()
                headers = {"content-type": BATCH if form == "batch" else STRUCTURED}
            return await self.http.post("/events", content=body, headers={"content-type": "application/json"} | headers)
        marks = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
        value = data
        if form != "binary":
            value = json.dumps([event] if form == "batch" else event).encode()
            marks = [("content-type", (BATCH if form == "batch" else STRUCTURED).encode())]
        await self.kafka.send_and_wait(inbound_topic(PUBLISHER), value, headers=marks)
        return None

    async def outcomes(self, event_id: str, count: int) -> list[dict[str, Any]]:
        """The event's outcomes as the console says them, the oldest first."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                answer = await self.http.get(f"/events/{SOURCE}/{event_id}?wait=20")
                found = answer.json()["outcomes"] if answer.status_code == 200 else []
                await asyncio.sleep(0.1)
        return found[::-1]


@pytest.fixture
async def sender(whole: System, console: str, token: str) -> AsyncIterator[Sender]:
    access = whole.kafka.access_of(USER)
    async with (
        AIOKafkaProducer(**access.client(), acks="all") as kafka,
        httpx.AsyncClient(base_url=console, headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
    ):
        yield Sender(kafka, http)


async def answered(whole: System, count: int, **said: str) -> list[dict[str, Any]]:
    """The answers on the publisher's topic with these texts in their fields, as its own user reads them."""
    found: list[dict[str, Any]] = []
    async with AIOKafkaConsumer(**whole.kafka.access_of(USER).client(), auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(OUTCOMES, 0)])
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                data = json.loads((await consumer.getone()).value)
                found += [data] if all(text in data[name] for name, text in said.items()) else []
    return found


async def in_feed(sender: Sender, event_id: str, count: int) -> list[dict[str, Any]]:
    """The event's outcomes in the feed, which may read the topic a moment later than others."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            page = (await sender.http.get(f"/feed/{OUTCOMES}?limit=1000")).json()
            found = [each["data"] for each in page["items"] if each["data"]["event_id"] == event_id]
            await asyncio.sleep(0.05)
    return found


def published(event_id: str) -> Event:
    data = {
        "update_id": f"U-{event_id}",
        "publisher": PUBLISHER,
        "product": "autocad",
        "kind": "update",
        "title": "AutoCAD 2027.1",
        "version": "2027.1",
        "platform": "win64",
        "severity": "normal",
        "sha256": "0" * 64,
        "size_bytes": 4_000,
        "location": "https://updates.example.org/acd.msp",
        "published_at": "2026-11-29T08:00:00Z",
    }
    return said(event_id, "UpdatePublished", data)


def said(event_id: str, event_type: str, data: Mapping[str, Any], **changed: str) -> Event:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": event_type,
        "time": "2026-11-29T08:00:00Z",
        **changed,
        "data": data,
    }


async def test_an_event_has_one_effect_by_whatever_door_and_mode_it_comes(whole: System, sender: Sender) -> None:
    event_id = token_hex(6)
    for mode in MODES:
        answer = await sender.send(mode, published(event_id))
        assert answer is None or answer.status_code == 202, answer.text
    outcomes = await sender.outcomes(event_id, len(MODES))
    assert [each["status"] for each in outcomes] == ["accepted"] * len(MODES)
    assert len({tuple(each["events"]) for each in outcomes}) == 1 and len(outcomes[0]["events"]) == 1
    on_topic = await answered(whole, len(MODES), event_id=event_id)
    assert [each["events"] for each in on_topic] == [outcomes[0]["events"]] * len(MODES)
    assert await in_feed(sender, event_id, len(on_topic)) == on_topic
    query = "select count(*) from log.events where type = 'UpdatePublished' and data->>'update_id' = $1"
    db = await asyncpg.connect(whole.dsns()["distribution"])
    count = await db.fetchval(query, f"U-{event_id}")
    await db.close()
    assert count == 1


async def test_a_rejected_event_is_answered_the_same_by_every_door(whole: System, sender: Sender) -> None:
    """By the service's rule: nobody knows the contract."""
    bought = {"contract_id": "nobodys", "grant_id": "g-1", "amount": 5}
    run, told = token_hex(6), set[tuple[str, str]]()
    for number, mode in enumerate(MODES):
        await sender.send(mode, said(f"{run}-{number}", "CreditsPurchased", bought))
    for number in range(len(MODES)):
        (outcome,) = await sender.outcomes(f"{run}-{number}", 1)
        told.add((outcome["status"], outcome["rule"]))
        (on_topic,) = await answered(whole, 1, event_id=f"{run}-{number}")
        told.add((on_topic["status"], on_topic["rule"]))
        assert on_topic["reason"] == outcome["reason"]
        assert await in_feed(sender, f"{run}-{number}", 1) == [on_topic]
    ((status, rule),) = told
    assert status == "rejected" and rule


UNFIT: Mapping[str, Mapping[str, Any]] = {
    "unknown-type": {"event_type": "CreditsSold"},
    "refused": {"source": "urn:publisher:rival"},
    "unreadable": {"data": {"contract_id": "c"}},
}


@pytest.mark.parametrize("rule", UNFIT)
async def test_what_may_not_be_on_the_topic_is_refused_by_the_same_rule(
    whole: System, sender: Sender, rule: str
) -> None:
    usual = {"event_type": "CreditsPurchased", "data": {"contract_id": "c", "grant_id": "g-2", "amount": 5}}
    event = said(token_hex(6), **(usual | dict(UNFIT[rule])))
    refusal = await sender.send("http structured", event)
    assert refusal is not None and (refusal.status_code, refusal.json()["rule"]) == (422, rule)
    before = len((await sender.http.get(f"/feed/{OUTCOMES}?limit=1000")).json()["items"])
    await sender.send("kafka structured", event)
    page = (await sender.http.get(f"/feed/{OUTCOMES}?limit=1000&after={before}&wait=30")).json()
    outcome = page["items"][0]["data"]
    assert (outcome["status"], outcome["rule"], outcome["reason"]) == ("rejected", rule, refusal.json()["detail"])
    assert outcome["event_id"] == ("" if rule == "refused" else event["id"])


async def test_a_batch_is_no_record(whole: System, sender: Sender) -> None:
    await sender.send("kafka batch", published(token_hex(6)))
    (answer,) = await answered(whole, 1, reason=BATCH)
    assert (answer["status"], answer["rule"]) == ("rejected", "unreadable")
    assert "Send the events of a batch as a record each" in answer["reason"]
