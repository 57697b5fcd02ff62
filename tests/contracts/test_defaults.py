"""The settings that keep data, on the very objects that run: FastStream's and aiokafka's defaults lose some."""

import ast
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from deploy import ROOT
from shared.eventlog.deliver import relay, subscribing
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.reader import SharedReader
from shared.eventlog.deliver.refetch import Refetcher
from shared.eventlog.write.log import utc_now
from shared.eventlog.write.memory import MemoryStore
from shared.events.registry import IDENTITY

SOURCES = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]


class _Consumer:
    """All that is asked of one."""

    name, definition = "identity.directory", Projection("directory", topics=(IDENTITY,))

    def now(self) -> datetime:
        return utc_now()


class Stop(Exception):
    """Ends what runs, once it has built what the test looks at."""


@dataclass
class Built:
    """What a host makes on its way to Kafka: FastStream's broker and subscriber, and aiokafka's own settings."""

    broker: Any
    subscriber: Any
    told: dict[str, Any]
    kafka: dict[str, Any]


async def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    made = Built(None, None, {}, {})
    declare, start = KafkaBroker.subscriber, KafkaBroker.start

    def subscriber(self: KafkaBroker, *topics: str, **settings: Any) -> Any:
        made.broker, made.told = self, settings
        return declare(self, *topics, **settings)

    def consumer(*_: Any, **settings: Any) -> None:
        made.kafka = settings
        raise Stop

    async def starts(self: Any) -> None:
        self.config.broker_config.builder = consumer
        self.config.broker_config.connect = _nowhere
        await start(self)

    monkeypatch.setattr(KafkaBroker, "subscriber", subscriber)
    monkeypatch.setattr(KafkaBroker, "start", starts)
    access = KafkaAccess(bootstrap="localhost:1")
    reader = SharedReader(
        "identity.consumers", [cast("Consumer", _Consumer())], subscribing.connection(access), Refetcher(access)
    )
    with pytest.raises(Stop):
        await made.broker.start()
    made.subscriber = reader._subscriber
    return made


async def _nowhere(*_: Any, **__: Any) -> None:
    """Kafka is not needed: what is built is looked at."""


async def test_a_subscription_acknowledges_nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    made = await built(monkeypatch)
    assert made.subscriber.ack_policy is AckPolicy.MANUAL
    assert type(made.subscriber).__name__ == "BatchSubscriber"
    assert made.kafka["enable_auto_commit"] is False
    assert made.kafka["auto_offset_reset"] == "earliest"
    assert made.kafka["group_id"] == "identity.consumers"
    assert (made.told["parser"], made.told["decoder"]) == (subscribing.parse, subscribing.decode)


async def test_the_broker_makes_no_topics_and_would_publish_safely(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = (await built(monkeypatch)).broker
    assert broker.config.broker_config.allow_auto_create_topics is False
    assert broker.config.broker_config.consumer_only is True
    assert broker._connection_kwargs["acks"] == "all"
    assert broker._connection_kwargs["enable_idempotence"] is True


async def test_a_record_that_faststreams_parser_chokes_on_reaches_the_plan() -> None:
    nasty = [("ce_id", None), ("x", b"\xff")]
    record = ConsumerRecord("t", 0, 0, 0, 0, None, b"{}", None, 0, 0, nasty)
    message = await subscribing.parse((record,))
    assert await subscribing.decode(message) == (record,)
    await message.ack()  # commits nothing: the stand-in consumer has no offsets to commit


async def test_the_relays_producer_keeps_what_it_acknowledges(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    def producer(**settings: Any) -> None:
        told.update(settings)
        raise Stop

    monkeypatch.setattr(relay, "AIOKafkaProducer", producer)
    with pytest.raises(Stop):
        await relay.Relay(MemoryStore(), IDENTITY, KafkaAccess(bootstrap="localhost:1"))._lead()
    assert told["acks"] == "all"
    assert told["enable_idempotence"] is True
    assert told["max_batch_size"] >= 256 * 1024
    assert "transactional_id" not in told


MAKE_READERS = (
    "shared/eventlog/repair/sources.py",
    "shared/eventlog/deliver/ordered.py",
    "shared/eventlog/deliver/refetch.py",
    "shared/eventlog/deliver/tail.py",
    "shared/eventlog/repair/topic.py",
)
MAKE_WRITERS = (
    "shared/eventlog/deliver/answering.py",
    "shared/eventlog/deliver/inbox.py",
    "shared/eventlog/deliver/relay.py",
)
MAY_USE = {
    "AIOKafkaProducer": MAKE_WRITERS,
    # As a type in the reader, where FastStream makes it, and in what opens and closes the others. Those have no group
    # and commit nothing.
    "AIOKafkaConsumer": ("shared/eventlog/deliver/reader.py", "shared/eventlog/deliver/connecting.py", *MAKE_READERS),
    "KafkaBroker": ("shared/eventlog/deliver/reader.py", "shared/eventlog/deliver/subscribing.py"),
}


def transgressions(place: str, text: str) -> list[str]:
    """Where a module reaches past host and relay to Kafka, or commits without naming the offsets."""
    found = []
    for node in ast.walk(ast.parse(text)):
        name = node.name if isinstance(node, ast.alias) else node.attr if isinstance(node, ast.Attribute) else ""
        if place not in MAY_USE.get(name, (place,)):
            found.append(f"{place} uses {name}")
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "AIOKafkaConsumer" and place not in MAKE_READERS:
            found.append(f"{place}:{node.lineno} makes an AIOKafkaConsumer")
        if called in ("ack", "nack", "reject") or (called == "commit" and not node.args and not node.keywords):
            receiver = ast.unparse(node.func)
            if not receiver.startswith("connection."):  # a database's
                found.append(f"{place}:{node.lineno} calls {receiver}() without offsets")
    return found


@pytest.mark.parametrize("place", MAKE_WRITERS)
def test_every_producer_keeps_what_it_acknowledges(place: str) -> None:
    calls = [node for node in ast.walk(ast.parse((ROOT / place).read_text())) if isinstance(node, ast.Call)]
    made = [call for call in calls if ast.unparse(call.func) == "AIOKafkaProducer"]
    assert made
    for call in made:
        told = {each.arg: ast.unparse(each.value) for each in call.keywords}
        assert (told["acks"], told["enable_idempotence"]) == ("'all'", "True"), ast.unparse(call)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_else_talks_to_kafka_or_commits_bare(source: Path) -> None:
    assert transgressions(str(source.relative_to(ROOT)), source.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "from aiokafka import AIOKafkaProducer as P",
        "import aiokafka\naiokafka.AIOKafkaConsumer()",
        "from faststream.kafka import KafkaBroker",
        "await message.ack()",
        "await consumer.commit()",
    ],
)
def test_the_check_finds_who_does(text: str) -> None:
    assert transgressions("services/any/thing.py", text)


def test_the_check_lets_offsets_be_committed() -> None:
    assert transgressions("shared/eventlog/deliver/reader.py", "await kafka.commit({partition: 7})") == []
