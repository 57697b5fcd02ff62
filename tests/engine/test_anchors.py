"""Which anchors count, on a real Kafka: a service's own, and those of before that have its name."""

import uuid

import pytest
from aiokafka import AIOKafkaProducer

from deploy import topics
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.anchors import FORMER, Anchor, from_topic, topic_of_anchors
from tests.system import parts

pytestmark = pytest.mark.system


async def write(access: KafkaAccess, topic: str, *anchors: Anchor) -> None:
    await topics.ensure(access, [topics.Topic(topic, 1, {})])
    producer = AIOKafkaProducer(**access.client())
    await producer.start()
    for anchor in anchors:
        await producer.send_and_wait(topic, anchor.line(), key=anchor.service.encode())
    await producer.stop()


async def test_a_service_has_the_anchors_of_its_topic_and_those_of_before(kafka: parts.Kafka) -> None:
    service, other = (f"service-{uuid.uuid4()}" for _ in range(2))
    mine = [Anchor(service, n, b"%d" % n, "noon") for n in (1, 2)]
    theirs = [Anchor(other, n, b"x", "noon") for n in (3, 4)]
    await write(kafka.access, topic_of_anchors(service), mine[1])
    await write(kafka.access, topic_of_anchors(other), Anchor(service, 9, b"forged", "noon"), theirs[1])
    await write(kafka.access, FORMER, mine[0], theirs[0])
    assert await from_topic(kafka.access, service) == (mine, [])
    assert await from_topic(kafka.access, other) == (theirs, [])


async def test_a_kafka_without_the_topic_of_before_has_those_of_the_own_one(own_kafka: parts.Kafka) -> None:
    service = f"service-{uuid.uuid4()}"
    mine = Anchor(service, 7, b"7", "noon")
    await write(own_kafka.access, topic_of_anchors(service), mine)
    assert await from_topic(own_kafka.access, service) == ([mine], [])
