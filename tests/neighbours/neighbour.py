"""A publisher's system in Python, written from the published documents: it imports nothing of this project."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Consumer, Producer
from jsonschema import Draft202012Validator

PUBLISHER, PATIENCE_S = os.environ["PUBLISHER"], 60
SOURCE, PREFIX = f"urn:publisher:{PUBLISHER}", "internal.tenure."
KAFKA = {
    "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
    "security.protocol": "SASL_SSL",
    "sasl.mechanisms": "SCRAM-SHA-512",
    "sasl.username": os.environ["KAFKA_USERNAME"],
    "sasl.password": os.environ["KAFKA_PASSWORD"],
    "ssl.ca.location": os.environ["KAFKA_CA_FILE"],
}
FORMAT = JSONFormat()


def say(step: str, **what: object) -> None:
    print(json.dumps({"step": step, **what}), flush=True)


class Console:
    """The doors by HTTP, with the token of the publisher's machine account."""

    def __init__(self) -> None:
        credentials = (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
        endpoint = f"{os.environ['TENURE_IDENTITY_URL']}/oauth/token"
        granted = httpx.post(endpoint, auth=credentials, data={"grant_type": "client_credentials"})
        headers = {"Authorization": f"Bearer {granted.raise_for_status().json()['access_token']}"}
        self._http = httpx.Client(base_url=os.environ["TENURE_CONSOLE_URL"], headers=headers, timeout=60)

    def get(self, path: str, **query: str) -> Any:
        return self._http.get(path, params=query or None).raise_for_status().json()

    def feed(self, topic: str, **query: str) -> Iterator[Any]:
        """The topic's events, page after page."""
        page, end = self.get(f"/feed/{topic}", wait="10", **query), time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            yield from page["items"]
            page = self.get(page["next"])


def fits(dataschema: str, data: object) -> bool:
    """Whether the data are as their schema says, which a service serves."""
    schema = httpx.get(f"{os.environ['TENURE_IDENTITY_URL']}/schemas/{dataschema}").raise_for_status().json()
    checked: bool = Draft202012Validator(schema).is_valid(data)
    return checked and schema["$id"] == dataschema


def send(producer: Producer, name: str, data: Mapping[str, object], key: str, structured: bool) -> str:
    """Send an event to the publisher's own topic; return its id."""
    dataschema = f"urn:tenure:events:{name}:1"
    assert fits(f"{dataschema}:sent", data), data
    attributes = {"id": str(uuid4()), "source": SOURCE, "specversion": "1.0", "type": f"{PREFIX}{name}"}
    optional = {"time": datetime.now(UTC), "datacontenttype": "application/json", "dataschema": dataschema}
    event = CloudEvent({**attributes, **optional, "partitionkey": key}, dict(data))
    message = (to_structured if structured else to_binary)(event, FORMAT)
    topic = f"publisher.inbound.v1.{PUBLISHER}"
    producer.produce(topic, message.value, message.key, headers=list(message.headers.items()))
    assert producer.flush(PATIENCE_S) == 0
    say("sent", id=attributes["id"], data=data)
    return attributes["id"]


def outcome(consumer: Consumer, event_id: str) -> None:
    """Say what became of the event, as the publisher's topic of outcomes says it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if (record := consumer.poll(1)) is None:
            continue
        assert record.error() is None, record.error()
        found = dict(record.headers() or ())
        headers = {name: value for name, value in found.items() if isinstance(value, bytes)}
        event = from_kafka(KafkaMessage(headers, record.key(), record.value() or b""), FORMAT)
        data: Any = event.get_data()
        if data["event_id"] == event_id:
            name, dataschema = event.get_type().removeprefix(PREFIX), event.get_dataschema() or ""
            say("outcome", type=name, fits=fits(dataschema, data), data=data)
            return
    sys.exit(f"no outcome of {event_id}")


def main() -> None:
    began, run = datetime.now(UTC), uuid4().hex
    console, producer = Console(), Producer(KAFKA)
    group = {"group.id": f"publisher-{PUBLISHER}.{run}", "auto.offset.reset": "earliest"}
    consumer = Consumer({**KAFKA, **group})
    consumer.subscribe([f"publisher.outcomes.v1.{PUBLISHER}"])
    product_id = f"{run[:5].upper()}{int(run, 16) % 10**6:06}N{int(run, 16) % 1000:03}"
    plan = {
        "product_id": product_id,
        "publisher": PUBLISHER,
        "programme": "neighbour-subscription",
        "product": f"neighbour-{run[:6]}",
        "product_name": "Neighbour",
        "period": "annual",
        "support": "basic",
        "billing": "upfront",
        "commitment_months": 12,
        "category": "open",
        "agreement": "desktop",
        "price": {"amount": 4_200, "currency": "EUR"},
    }
    listed = send(producer, "PlanListed", {"plan": plan}, product_id, structured=False)
    for event in console.feed("marketplace.events.v1", type="PlanListed", since=began.isoformat()):
        if event["data"]["plan"]["product_id"] == product_id:
            name = event["type"].removeprefix(PREFIX)
            schema = fits(event["dataschema"], event["data"])
            say("effect", type=name, id=event["id"], cause=event["causationid"], fits=schema, data=event["data"])
            break
    outcome(consumer, listed)
    unknown = {"subscription_id": f"nobodys-{run}", "reference": "4500017"}
    confirmed = send(producer, "OrderConfirmed", unknown, unknown["subscription_id"], structured=True)
    outcome(consumer, confirmed)
    consumer.close()
    say("answer", **console.get(f"/events/{SOURCE}/{confirmed}", wait="20"))


if __name__ == "__main__":
    main()
