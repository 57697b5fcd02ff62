"""Creates the topics that topics.toml declares, and checks those that exist. `python -m deploy.topics`."""

import asyncio
import logging
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from deploy import Trouble
from shared.eventlog.kafka import InvalidKafkaSettings, KafkaAccess

_DECLARATION: Final = Path(__file__).with_name("topics.toml")


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int
    config: dict[str, str]


def declared(page: Path = _DECLARATION) -> list[Topic]:
    """The topics of the page, in its order."""
    tables = tomllib.loads(page.read_text())
    return [
        Topic(name, table["partitions"], {key: str(value) for key, value in table.items() if key != "partitions"})
        for name, table in tables.items()
    ]


async def ensure(access: KafkaAccess, topics: list[Topic] | None = None, patience_s: float = 60.0) -> list[str]:
    """Create what is missing, wait until every partition has a leader, and return the names created.

    Safe to run by several at once. Trouble when Kafka does not answer within `patience_s`, or when a topic that exists
    differs from its declaration: nothing about an existing topic is ever changed here.
    """
    wanted = declared() if topics is None else topics
    admin = await _connected(access, patience_s)
    try:
        existing = {found["topic"] for found in await admin.describe_topics()}
        missing = [topic for topic in wanted if topic.name not in existing]
        created = await _create(admin, missing) if missing else []
        differences = _partition_differences(wanted, await _led(admin, wanted, patience_s))
        differences += await _config_differences(admin, wanted)
    except KafkaError as error:
        raise Trouble(f"Kafka at {access.bootstrap} refused the topics: {error}.") from error
    finally:
        await admin.close()
    if differences:
        raise Trouble(f"Topics differ from deploy/topics.toml, put one or the other right: {'; '.join(differences)}.")
    return created


async def _connected(access: KafkaAccess, patience_s: float) -> AIOKafkaAdminClient:
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + patience_s, 0.2
    while True:
        admin = AIOKafkaAdminClient(**access.client(), request_timeout_ms=10_000)
        try:
            await admin.start()
        except (KafkaError, OSError) as error:
            await admin.close()
            if loop.time() + pause_s > deadline:
                raise Trouble(
                    f"No Kafka answers at {access.bootstrap}: start it, or correct KAFKA_BOOTSTRAP."
                ) from error
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 5.0)
        else:
            return admin


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic]) -> list[str]:
    """Replication is the cluster's to say (`default.replication.factor`): one broker here, three there."""
    new = [
        NewTopic(each.name, each.partitions, replication_factor=-1, replica_assignments={}, topic_configs=each.config)
        for each in topics
    ]
    answer = (await admin.create_topics(new)).to_object()
    created = []
    for result in answer["topic_errors"]:
        error = for_code(result["error_code"])
        if result["error_code"] == 0:
            created.append(result["topic"])
        elif error is not TopicAlreadyExistsError:
            raise error(f"{result['topic']}: {result.get('error_message') or error.description}")
    return created


async def _led(admin: AIOKafkaAdminClient, wanted: list[Topic], patience_s: float) -> dict[str, int]:
    """Each topic's number of partitions, once all of them have a leader."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        found: list[dict[str, Any]] = await admin.describe_topics([topic.name for topic in wanted])
        if all(t["error_code"] == 0 and all(p["leader"] >= 0 for p in t["partitions"]) for t in found):
            return {t["topic"]: len(t["partitions"]) for t in found}
        if asyncio.get_running_loop().time() > deadline:
            unled = [t["topic"] for t in found if t["error_code"] or any(p["leader"] < 0 for p in t["partitions"])]
            raise Trouble(f"After {patience_s:.0f} s partitions are without a leader in {', '.join(unled)}.")
        await asyncio.sleep(0.1)


def _partition_differences(wanted: list[Topic], found: dict[str, int]) -> list[str]:
    return [
        f"{topic.name} has {found[topic.name]} partitions, declared are {topic.partitions} (partitions are not added: "
        "each key's partition would change)"
        for topic in wanted
        if found[topic.name] != topic.partitions
    ]


async def _config_differences(admin: AIOKafkaAdminClient, wanted: list[Topic]) -> list[str]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in wanted]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for resource in answer.to_object()["resources"]:
            if resource["error_code"]:
                raise for_code(resource["error_code"])(resource["resource_name"])
            entries = resource["config_entries"]
            found[resource["resource_name"]] = {entry["config_names"]: entry["config_value"] for entry in entries}
    return [
        f"{topic.name} has {key}={found[topic.name].get(key)}, declared is {value}"
        for topic in wanted
        for key, value in topic.config.items()
        if found[topic.name].get(key) != value
    ]


def main() -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it retries is said once, at the end
    try:
        created = asyncio.run(ensure(KafkaAccess.from_environment()))
    except (Trouble, InvalidKafkaSettings) as trouble:
        sys.exit(str(trouble))
    print(f"{len(declared())} topics as declared, {len(created)} of them new")


if __name__ == "__main__":
    main()
