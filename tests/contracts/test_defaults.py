"""The settings that keep data, on the very objects that run: FastStream's and aiokafka's defaults lose some."""

import ast
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from deploy import ROOT
from shared.eventlog import host, relay
from shared.eventlog.host import BROKER_SETTINGS, Feed
from shared.eventlog.memory import MemoryStore
from shared.eventlog.projection import Projection
from shared.events.registry import IDENTITY

SOURCES = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]


class _Consumer:
    name, what = "identity.directory", Projection("directory", topics=(IDENTITY,))


def _subscriber(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    told: dict[str, Any] = {}
    make = KafkaBroker.subscriber

    def subscriber(self: KafkaBroker, *topics: str, **settings: Any) -> Any:
        told.update(settings)
        return make(self, *topics, **settings)

    monkeypatch.setattr(KafkaBroker, "subscriber", subscriber)
    feed = Feed(_Consumer(), KafkaBroker("localhost:1", **BROKER_SETTINGS), None)  # type: ignore[arg-type]
    return feed._subscriber, told


async def test_a_subscription_acknowledges_nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    subscriber, told = _subscriber(monkeypatch)
    assert told["ack_policy"] is AckPolicy.MANUAL
    assert told["batch"] is True
    assert told["auto_offset_reset"] == "earliest"
    assert subscriber._connection_args["auto_offset_reset"] == "earliest"
    assert subscriber._connection_args["enable_auto_commit"] is False


async def test_a_record_that_faststreams_parser_chokes_on_reaches_the_plan() -> None:
    nasty = [("ce_id", None), ("x", b"\xff")]
    record = ConsumerRecord("t", 0, 0, 0, 0, None, b"{}", None, 0, 0, nasty)
    message = await host.parse((record,))
    assert await host.decode(message) == (record,)
    await message.ack()  # commits nothing: the stand-in consumer has no offsets to commit


async def test_the_broker_makes_no_topics_and_would_publish_safely() -> None:
    assert BROKER_SETTINGS["allow_auto_create_topics"] is False
    assert BROKER_SETTINGS["acks"] == "all"
    assert BROKER_SETTINGS["enable_idempotence"] is True


async def test_the_relays_producer_keeps_what_it_acknowledges(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    class Stop(Exception):
        pass

    def producer(**settings: Any) -> None:
        told.update(settings)
        raise Stop

    monkeypatch.setattr(relay, "AIOKafkaProducer", producer)
    with pytest.raises(Stop):
        await relay.Relay(MemoryStore(), IDENTITY, "localhost:1")._lead()
    assert told["acks"] == "all"
    assert told["enable_idempotence"] is True
    assert told["max_batch_size"] >= 256 * 1024
    assert "transactional_id" not in told


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_else_talks_to_kafka_or_commits_bare(source: Path) -> None:
    allowed = {"AIOKafkaProducer": "relay.py", "AIOKafkaConsumer": "", "KafkaBroker": "host.py"}
    for node in ast.walk(ast.parse(source.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in allowed:
            assert source.name == allowed[called], f"{source}:{node.lineno} makes an {called}"
        if called in ("ack", "nack", "reject") or (called == "commit" and not node.args):
            receiver = ast.unparse(node.func)
            assert receiver.startswith("connection."), f"{source}:{node.lineno} {receiver} without offsets"
