"""What is lost in the drill, and how the runbook restores it, by an operator's commands."""

import asyncio
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from deploy import OperatorError, stack, topics
from services import definition_of
from shared.events.registry import topic_of
from shared.services import SERVICES
from tests.drill.backup import PRIVATE, Backup, restore_private, restore_secrets, restore_to
from tests.remade import deleted
from tests.system.running import System, prepare_databases, tenure

WHY: Final = ("--yes", "--reason", "the drill")


@dataclass(frozen=True)
class Scene:
    """The system, its backup, and the moment to which PostgreSQL is restored."""

    system: System
    postgres: stack.Postgres
    backup: Backup
    moment: str
    chance: random.Random
    say: Callable[[str], None]
    repaired: set[str] = field(default_factory=set)
    """The services whose stores were restored or reconciled: of identity, that ends all sessions."""


def secrets_of(kafka: stack.Kafka) -> Path:
    """Return the folder of secrets, of PostgreSQL's logins, too."""
    assert kafka.protection is not None
    return kafka.protection.folder


def stop_services(system: System) -> None:
    for service in system.services.values():
        service.stop()


def start_services(system: System) -> None:
    for service in system.services.values():
        service.spawn()
    for service in system.services.values():
        service.wait_ready()


def all_of_postgresql(at: Scene) -> None:
    """PostgreSQL's folder: base backup, WAL to a moment, private tables, then Kafka."""
    at.postgres.kill()
    shutil.rmtree(at.postgres.folder)
    at.say(f"PostgreSQL's folder is gone; it is restored as of {at.moment}")
    stop_services(at.system)
    restore_to(at.postgres, at.backup, at.moment)
    restore_private(at.postgres, at.backup)
    at.repaired.update(SERVICES)
    for service in SERVICES:
        tenure(at.system, "reconcile", service, *WHY)
    start_services(at.system)


def one_store(at: Scene) -> None:
    """One service's database: made again, and restored from its topic."""
    service = at.chance.choice(SERVICES)
    at.say(f"{service}'s database is gone")
    at.system.services[service].stop()
    asyncio.run(_execute(f"{at.postgres.url}/postgres", f"drop database tenure_{service} with (force)"))
    prepare_databases(at.postgres.url)  # `python -m deploy.databases`
    if service == PRIVATE:
        restore_private(at.postgres, at.backup)
    at.repaired.add(service)
    tenure(at.system, "restore", "store", service, *WHY)
    at.system.services[service].start()


def private_tables(at: Scene) -> None:
    """The keys of persons and the credentials, which no event tells: from their own backup."""
    at.say(f"{PRIVATE}'s private tables are empty")
    at.system.services[PRIVATE].stop()
    tables = ", ".join(definition_of(PRIVATE).private_tables)
    asyncio.run(_execute(f"{at.postgres.url}/tenure_{PRIVATE}", f"truncate {tables}"))
    restore_private(at.postgres, at.backup)
    at.system.services[PRIVATE].start()


def one_topic(at: Scene) -> None:
    """One service's topic: created again, and restored from its store."""
    service = at.chance.choice(SERVICES)
    at.say(f"the topic {topic_of(service)} is gone")
    stop_services(at.system)
    asyncio.run(deleted(at.system.kafka.access, topic_of(service)))
    _make_topics(at)
    tenure(at.system, "restore", "topic", service, *WHY)
    start_services(at.system)


def all_of_kafka(at: Scene) -> None:
    """Kafka's data folder, with topics, users and offsets: created again, topics restored."""
    assert isinstance(at.system.kafka, stack.Kafka)
    at.say("Kafka's data is gone")
    stop_services(at.system)
    at.system.kafka.kill()
    shutil.rmtree(at.system.kafka.folder / "data")
    at.system.kafka.start()
    _make_topics(at)
    for service in SERVICES:
        tenure(at.system, "restore", "topic", service, *WHY)
    start_services(at.system)


def anchors(at: Scene) -> None:
    """The folder of anchors: Kafka has them, too, and the relays write new ones."""
    at.say("the folder of anchors is gone")
    shutil.rmtree(Path(at.system.env["TENURE_ANCHORS"]), ignore_errors=True)


def secrets(at: Scene) -> None:
    """The folder of passwords and of Kafka's authority: its copy is put back before anything is started."""
    assert isinstance(at.system.kafka, stack.Kafka)
    service = at.system.services[at.chance.choice(SERVICES)]
    folder = secrets_of(at.system.kafka)
    at.say("the folder of secrets is gone")
    stop_services(at.system)
    at.system.kafka.kill()
    shutil.rmtree(folder)
    try:
        service.start()
    except OperatorError:
        restore_secrets(folder, at.backup)
    else:
        raise AssertionError(f"{service.name} starts without the folder of secrets: nothing was lost")
    at.system.kafka.start()
    start_services(at.system)


LOSSES: Final[Mapping[str, Callable[[Scene], None]]] = {
    "postgresql": all_of_postgresql,
    "store": one_store,
    "private": private_tables,
    "topic": one_topic,
    "kafka": all_of_kafka,
    "anchors": anchors,
    "secrets": secrets,
}


def _make_topics(at: Scene) -> None:
    """`python -m deploy.topics`."""
    assert isinstance(at.system.kafka, stack.Kafka)
    asyncio.run(topics.bring_about(at.system.kafka.access, secrets_of(at.system.kafka)))


async def _execute(dsn: str, statement: str) -> Any:
    db = await asyncpg.connect(dsn)
    try:
        return await db.execute(statement)
    finally:
        await db.close()
