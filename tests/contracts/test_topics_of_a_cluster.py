"""Topics of a cluster, whose brokers start, and learn of a new topic, after each other."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from deploy import OperatorError, topics
from deploy.topics import Topic
from shared.eventlog.deliver.kafka import KafkaAccess


class Behind:
    """The administrator's client of a cluster, of which one broker learns of a new topic after the others."""

    def __init__(self, topic: Topic, unknown: int) -> None:
        self.topic, self.unknown = topic, unknown

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics={self.topic.name: None})

    def describe_topics(self, *_: Any, **__: Any) -> dict[str, Future[Any]]:
        partition = SimpleNamespace(leader=SimpleNamespace(id=1))
        return {self.topic.name: _answered(SimpleNamespace(partitions=[partition] * self.topic.partitions))}

    def describe_configs(self, resources: list[Any], **_: Any) -> dict[Any, Future[Any]]:
        self.unknown -= 1
        settings = {key: SimpleNamespace(value=value) for key, value in self.topic.config.items()}
        error = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return {each: _answered(error if self.unknown >= 0 else settings) for each in resources}


def _answered(answer: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
    return future


@pytest.mark.parametrize("unknown", [0, 2])
async def test_a_broker_that_does_not_know_a_new_topic_yet_is_asked_again(
    unknown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic("new.v1", 2, {"retention.ms": "-1"})
    monkeypatch.setattr(topics, "connected", lambda *_: Behind(topic, unknown))
    assert await topics.ensure(KafkaAccess(bootstrap="h:1"), [topic], 5.0) == []


async def test_a_topic_that_stays_unknown_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic("new.v1", 2, {"retention.ms": "-1"})
    monkeypatch.setattr(topics, "connected", lambda *_: Behind(topic, 1000))
    with pytest.raises(OperatorError, match="refused the topics"):
        await topics.ensure(KafkaAccess(bootstrap="h:1"), [topic], 0.0)


class Starting(Behind):
    """The administrator's client of a cluster, of which fewer brokers run than a topic has replicas."""

    def __init__(self, topic: Topic, too_few: int) -> None:
        super().__init__(topic, 0)
        self.too_few = too_few

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics={})

    def create_topics(self, new: list[Any], **_: Any) -> dict[str, Future[Any]]:
        self.too_few -= 1
        error = KafkaException(KafkaError(KafkaError.INVALID_REPLICATION_FACTOR))
        return {each.topic: _answered(error if self.too_few >= 0 else None) for each in new}


async def test_a_topic_is_created_once_enough_brokers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic("new.v1", 2, {"retention.ms": "-1"})
    monkeypatch.setattr(topics, "connected", lambda *_: Starting(topic, 2))
    assert await topics.ensure(KafkaAccess(bootstrap="h:1"), [topic], 5.0) == ["new.v1"]


async def test_too_few_brokers_are_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic("new.v1", 2, {"retention.ms": "-1"})
    monkeypatch.setattr(topics, "connected", lambda *_: Starting(topic, 1000))
    with pytest.raises(OperatorError, match="refused the topics"):
        await topics.ensure(KafkaAccess(bootstrap="h:1"), [topic], 0.0)
