"""What one user's credentials are worth at a Kafka that is protected: everything that is another's is refused.

The brokers' own errors are looked at, on local processes or in containers, without the services: a process that runs
with a service's credentials and any code it likes.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException
from confluent_kafka import KafkaError as Refusal
from confluent_kafka import TopicPartition as Place

from deploy import declaration, topics, users
from deploy.broker import HOSTS, Protection
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.anchors import FORMER, topic_of_anchors
from shared.events.registry import ANSWERING, OUTCOMES, inbound_topic, outcomes_topic, topic_of
from shared.services import SERVICES
from tests.conftest import in_a_loop
from tests.system import parts

pytestmark = pytest.mark.system

RIVAL = "rival"
USERS = (*SERVICES, "console", "publisher-autodesk", "publisher-rival", "dashboard", "viewer", "operator")
TOPICS = (*(topic.name for topic in topics.declared()), inbound_topic(RIVAL), outcomes_topic(RIVAL), FORMER)


class Protected:
    """A protected Kafka with the declared topics and users, one publisher more, and the anchors' former topic."""

    def __init__(self, kafka: parts.Kafka, folder: Path) -> None:
        self.kafka, self.secrets = kafka, folder / "kafka" / "secrets"

    def begin(self) -> None:
        in_a_loop(self._before())
        in_a_loop(topics.bring_about(self.kafka.access, self.secrets))
        topics.add_publisher(self.kafka.access, self.secrets, RIVAL)
        in_a_loop(self._fill())

    async def _before(self) -> None:
        """As it was when all services wrote their anchors to one topic."""
        await topics.ensure(self.kafka.access, [topics.Topic(FORMER, 1, {})])
        granted = {declaration.Grant(user=name, operation="write", resource="topic", name=FORMER) for name in SERVICES}
        await asyncio.to_thread(users.grant, topics.connected(self.kafka.access, 10), granted)

    async def _fill(self) -> None:
        """One record in each topic: who may not read it is to be refused something."""
        producer = AIOKafkaProducer(**self.access("operator").client())
        await producer.start()
        for topic in TOPICS:
            await producer.send_and_wait(topic, b"{}", partition=0)
        await producer.stop()

    def access(self, user: str) -> KafkaAccess:
        return self.kafka.access_of(user)


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protected]:
    folder = tmp_path_factory.mktemp("protected")
    with parts.kafka(folder / "kafka", protected=True) as kafka:
        made = Protected(kafka, folder)
        made.begin()
        yield made
        kafka.kill()


async def produced(access: KafkaAccess, topic: str) -> bool:
    """Whether a record is taken, with or without idempotence; any refusal but that of the topic is raised."""
    taken = []
    for idempotent in (False, True):
        producer = AIOKafkaProducer(**access.client(), enable_idempotence=idempotent, request_timeout_ms=10_000)
        try:
            await producer.start()
            # By number: a client that may not see the topic would wait for its metadata instead of asking.
            producer.client.add_topic(topic)
            await producer.send_and_wait(topic, b"{}", partition=0)
            taken.append(True)
        except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            taken.append(False)
        finally:
            await producer.stop()
    assert len(set(taken)) == 1
    return taken[0]


def fetched(access: KafkaAccess, topic: str) -> bool:
    """Whether the topic's first record is given out, to a client that asks for it by its place."""
    consumer = Consumer({**access.librdkafka(), "group.id": "of no use here", "enable.auto.commit": False})
    try:
        unseen = consumer.list_topics(topic, timeout=10).topics[topic].error
        if unseen is not None:  # the client would wait for a topic that it may not see
            assert unseen.code() == Refusal.TOPIC_AUTHORIZATION_FAILED
            return False
        consumer.assign([Place(topic, 0, OFFSET_BEGINNING)])
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = consumer.poll(1)
            error = None if found is None else found.error()
            if found is None or (error is not None and error.code() == Refusal.GROUP_AUTHORIZATION_FAILED):
                continue  # it needs no group to be given a record
            assert error is None or error.code() == Refusal.TOPIC_AUTHORIZATION_FAILED
            return error is None
        raise AssertionError(f"neither a record of {topic} nor a refusal within 20 s")
    finally:
        consumer.close()


async def joined(access: KafkaAccess, group: str) -> bool:
    """Whether the group's coordinator says its offsets to this user."""
    admin = AIOKafkaAdminClient(**access.client(), request_timeout_ms=10_000)
    await admin.start()
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    await admin.list_consumer_group_offsets(group)
                except GroupCoordinatorNotAvailableError:  # while the broker makes its topic of offsets
                    await asyncio.sleep(0.2)
                except GroupAuthorizationFailedError:
                    return False
                else:
                    return True
    finally:
        await admin.close()


def may(user: str, operation: str, resource: str, name: str) -> bool:
    """By the page, and by what is given to every publisher."""
    grants = declaration.read().grants | declaration.publisher_grants(RIVAL)
    return any(
        (each.user, each.operation, each.resource) == (user, operation, resource)
        and (each.name in ("*", name) or (each.prefixed and name.startswith(each.name)))
        for each in grants
    )


@pytest.mark.parametrize("user", USERS)
async def test_a_user_writes_the_topics_that_are_its_own_and_no_other(protected: Protected, user: str) -> None:
    for topic in TOPICS:
        assert await produced(protected.access(user), topic) == may(user, "write", "topic", topic), topic


@pytest.mark.parametrize("service", SERVICES)
def test_no_page_could_let_a_service_write_anothers_topic(service: str) -> None:
    """The matrix above compares with the page: this says what the page must say."""
    mine = {topic for topic in TOPICS if may(service, "write", "topic", topic)}
    answers = {OUTCOMES, *map(outcomes_topic, ("autodesk", RIVAL))} if service in ANSWERING else set()
    assert mine == {topic_of(service), topic_of_anchors(service), *answers}


@pytest.mark.parametrize("user", USERS)
async def test_a_user_reads_what_it_is_granted_and_nothing_else(protected: Protected, user: str) -> None:
    for topic in TOPICS:
        given = await asyncio.to_thread(fetched, protected.access(user), topic)
        assert given == may(user, "read", "topic", topic), topic


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_has_its_own_groups_and_no_others(protected: Protected, service: str) -> None:
    for other in SERVICES:
        assert await joined(protected.access(service), f"{other}.reactions") == (other == service), other


@pytest.mark.parametrize("user", [*SERVICES, "publisher-autodesk", "dashboard", "viewer", "operator"])
async def test_nobody_but_the_administrator_makes_topics_or_users(protected: Protected, user: str) -> None:
    admin = AIOKafkaAdminClient(**protected.access(user).client(), request_timeout_ms=10_000)
    await admin.start()
    try:
        answer = (await admin.create_topics([NewTopic("mine.v1", 1, 1)])).to_object()
        assert for_code(answer["topic_errors"][0]["error_code"]) is TopicAuthorizationFailedError
    except ClusterAuthorizationFailedError:
        pass
    finally:
        await admin.close()
    client = topics.connected(protected.access(user), 10)
    with pytest.raises(KafkaException, match="CLUSTER_AUTHORIZATION_FAILED"):
        users.put(client, {"mine": "a password"})
    with pytest.raises(KafkaException, match="CLUSTER_AUTHORIZATION_FAILED"):
        users.grant(client, declaration.publisher_grants("mine"))


async def _let_in(access: KafkaAccess) -> bool:
    admin = AIOKafkaAdminClient(**access.client(), request_timeout_ms=3_000)
    try:
        async with asyncio.timeout(10):
            await admin.start()
        return True
    except (KafkaError, TimeoutError):
        return False
    finally:
        await admin.close()


@pytest.mark.parametrize(
    "change",
    [
        {"username": "nobody"},
        {"password": "wrong"},
        {"mechanism": "PLAIN"},
        {"security": "plaintext", "username": None, "password": None, "ca_file": None},
        {"security": "sasl_plaintext", "ca_file": None},
        {"security": "tls", "username": None, "password": None},
    ],
    ids=lambda change: ",".join(f"{name}={value}" for name, value in change.items()),
)
async def test_who_does_not_say_truly_who_it_is_does_not_get_in(protected: Protected, change: dict[str, Any]) -> None:
    access = protected.access("marketplace")
    assert await _let_in(access)
    assert not await _let_in(replace(access, **change))


async def test_a_client_gives_its_password_to_no_broker_of_another_authority(
    protected: Protected, tmp_path: Path
) -> None:
    Protection(tmp_path, HOSTS).prepare()
    access = replace(protected.access("marketplace"), ca_file=tmp_path / "ca.pem")
    admin = AIOKafkaAdminClient(**access.client(), request_timeout_ms=3_000)
    with pytest.raises(KafkaConnectionError):
        await admin.start()
    await admin.close()


async def test_a_revoked_publisher_is_refused_on_the_connection_that_it_has(protected: Protected) -> None:
    access, topic = protected.kafka.access, inbound_topic("leaver")
    await asyncio.to_thread(topics.add_publisher, access, protected.secrets, "leaver")
    own = protected.access("publisher-leaver")
    producer = AIOKafkaProducer(**own.client())
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}")
        await asyncio.to_thread(topics.revoke_publisher, access, protected.secrets, "leaver")
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(topic, b"{}")
    finally:
        await producer.stop()
    assert not await _let_in(own)


async def test_a_rotated_password_is_the_only_one(protected: Protected) -> None:
    before = protected.access("dashboard")
    await asyncio.to_thread(topics.rotate, protected.kafka.access, protected.secrets, "dashboard")
    assert not await _let_in(before)
    assert await _let_in(protected.access("dashboard"))


async def test_access_that_is_not_declared_is_said_and_removed(protected: Protected) -> None:
    admin = await asyncio.to_thread(topics.connected, protected.kafka.access, 10)
    stranger = declaration.Grant(user="dashboard", operation="write", resource="topic", name=topic_of("identity"))
    await asyncio.to_thread(users.grant, admin, {stranger})
    await asyncio.to_thread(users.put, admin, {"stranger": "a password"})
    said = ["the user stranger", f"dashboard may write topic {topic_of('identity')}"]
    _, strange = await topics.bring_about(protected.kafka.access, protected.secrets)
    assert strange == said
    assert (await topics.bring_about(protected.kafka.access, protected.secrets, prune=True))[1] == said
    assert (await topics.bring_about(protected.kafka.access, protected.secrets))[1] == []
