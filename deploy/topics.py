"""Creation and checks of the topics, users and access rules that topics.toml declares.

    python -m deploy.topics [--prune]                 create what is missing; --prune removes undeclared access
    python -m deploy.topics add-publisher NAME        create topics, a user and a password for a publisher
    python -m deploy.topics revoke-publisher NAME     remove its access; its events stay
    python -m deploy.topics rotate USER               replace a user's password

Users and rules require an administrator: KAFKA_USERNAME is `admin`, or a user who may alter the cluster. Without one,
only the topics are created.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from deploy import PORT_BASE, OperatorError, certificates, declaration, secrets, users
from deploy.broker import Protection
from deploy.declaration import Topic as Topic
from shared.eventlog.deliver.kafka import InvalidKafkaSettings, KafkaAccess
from shared.events.registry import inbound_topic

T = TypeVar("T")
REQUEST_S: Final = 10.0
_UNKNOWN: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


def declared(page: Path = declaration.PAGE) -> list[Topic]:
    """Return the declared topics in the file's order, those of publishers last."""
    return list(declaration.read(page).topics)


async def ensure(access: KafkaAccess, topics: Sequence[Topic] | None = None, patience_s: float = 60.0) -> list[str]:
    """Create the missing topics, wait for the partitions' leaders, and return the new names.

    Several processes may do this at once. Existing topics are never changed.

    Raises:
        OperatorError: Kafka does not answer within `patience_s`, or an existing topic differs from its declaration.
    """
    wanted = declared() if topics is None else topics
    return await asyncio.to_thread(lambda: _ensure(connected(access, patience_s), access, wanted, patience_s))


async def bring_about(
    access: KafkaAccess, folder: Path = secrets.FOLDER, patience_s: float = 60.0, *, prune: bool = False
) -> tuple[list[str], list[str]]:
    """Create the declared topics and, if Kafka has users, the declared users and access rules.

    Returns:
        The names of the topics created, and the undeclared users and rules in words; `prune` removes those.
    """

    def work() -> tuple[list[str], list[str]]:
        admin, page = connected(access, patience_s), declaration.read()
        created = _ensure(admin, access, page.topics, patience_s)
        return created, users.bring_about(admin, page, partial(_password, folder), prune=prune) if access.sasl else []

    return await asyncio.to_thread(work)


def _password(folder: Path, user: str) -> str:
    return secrets.secret(f"kafka-{user}", folder)


def connected(access: KafkaAccess, patience_s: float) -> AdminClient:
    """Return an administrator's client that is connected to Kafka.

    Raises:
        OperatorError: Kafka refuses the user, or does not answer within `patience_s`.
    """
    heard: list[KafkaError] = []
    settings: dict[str, Any] = {"client.id": "tenure-topics", "log_level": 0, "error_cb": heard.append}
    settings |= {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 1_000, "allow.auto.create.topics": "false"}
    admin = AdminClient({**access.librdkafka(), **settings})
    deadline = time.monotonic() + patience_s
    while True:
        try:
            admin.list_topics(timeout=min(2.0, patience_s))
        except KafkaException as error:
            refused = [e for e in heard if e.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)]
            if refused:
                raise OperatorError(
                    f"Kafka at {access.bootstrap} refused the connection: {refused[-1].str()}."
                ) from error
            if time.monotonic() > deadline:
                raise OperatorError(
                    f"No Kafka answers at {access.bootstrap}: start it, or correct KAFKA_BOOTSTRAP."
                ) from error
        else:
            return admin


def _ensure(admin: AdminClient, access: KafkaAccess, wanted: Sequence[Topic], patience_s: float) -> list[str]:
    try:
        existing = admin.list_topics(timeout=REQUEST_S).topics
        missing = [topic for topic in wanted if topic.name not in existing]
        created = _create(admin, missing, patience_s) if missing else []
        differences = _partition_differences(wanted, _led(admin, wanted, patience_s))
        differences += _config_differences(admin, wanted, patience_s)
    except KafkaException as error:
        raise OperatorError(f"Kafka at {access.bootstrap} refused the topics: {error.args[0].str()}.") from error
    if differences:
        raise OperatorError(
            f"Topics differ from deploy/topics.toml; correct one or the other: {'; '.join(differences)}."
        )
    return created


def _create(admin: AdminClient, topics: Sequence[Topic], patience_s: float) -> list[str]:
    """Create topics with the cluster's `default.replication.factor`.

    While a cluster starts, or a broker is late, there may be fewer brokers than that.
    """
    deadline = time.monotonic() + patience_s
    missing, created = {each.name: each for each in topics}, []
    while missing:
        new = [
            NewTopic(each.name, each.partitions, replication_factor=-1, config=each.config) for each in missing.values()
        ]
        for name, answer in admin.create_topics(new, request_timeout=REQUEST_S).items():
            try:
                answer.result()
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.INVALID_REPLICATION_FACTOR and time.monotonic() < deadline:
                    continue
                if code != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            else:
                created.append(name)
            del missing[name]
        if missing:
            time.sleep(0.2)
    return created


def _led(admin: AdminClient, wanted: Sequence[Topic], patience_s: float) -> dict[str, int]:
    """Wait until all partitions have a leader; return the number of partitions of each topic."""
    deadline = time.monotonic() + patience_s
    names = TopicCollection([topic.name for topic in wanted])
    while True:
        found: dict[str, int] = {}
        for name, answer in admin.describe_topics(names, request_timeout=REQUEST_S).items():
            partitions = _described(answer)
            if partitions and all(each.leader is not None and each.leader.id >= 0 for each in partitions):
                found[name] = len(partitions)
        unled = [topic.name for topic in wanted if topic.name not in found]
        if not unled:
            return found
        if time.monotonic() > deadline:
            raise OperatorError(
                f"After {patience_s:.0f} s, partitions of these topics still have no leader: {', '.join(unled)}."
            )
        time.sleep(0.05)


def _described(answer: "Future[Any]") -> Sequence[Any]:
    """Return a topic's partitions; none if the broker does not know the new topic yet."""
    try:
        return list(answer.result().partitions)
    except KafkaException as error:
        if error.args[0].code() in _UNKNOWN:
            return []
        raise


def _partition_differences(wanted: Sequence[Topic], found: Mapping[str, int]) -> list[str]:
    return [
        f"{topic.name} has {found[topic.name]} partitions, declared are {topic.partitions} (partitions are not added: "
        "each key's partition would change)"
        for topic in wanted
        if found[topic.name] != topic.partitions
    ]


def _configs(admin: AdminClient, wanted: Sequence[Topic], patience_s: float) -> dict[str, Any]:
    """Return the topics' settings.

    Of a cluster, the broker that is asked may not know a new topic yet.
    """
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in wanted]
    deadline = time.monotonic() + patience_s
    while True:
        answers = admin.describe_configs(resources, request_timeout=REQUEST_S)
        try:
            return {resource.name: answer.result() for resource, answer in answers.items()}
        except KafkaException as error:
            if error.args[0].code() not in _UNKNOWN or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _config_differences(admin: AdminClient, wanted: Sequence[Topic], patience_s: float) -> list[str]:
    found = _configs(admin, wanted, patience_s)
    has = {name: {key: entry.value for key, entry in entries.items()} for name, entries in found.items()}
    return [
        f"{topic.name} has {key}={has[topic.name].get(key)}, declared is {value}"
        for topic in wanted
        for key, value in topic.config.items()
        if has[topic.name].get(key) != value
    ]


# ── The commands ───────────────────────────────────────────────────────────────────────────────────────


def _bring_about(access: KafkaAccess, folder: Path, prune: bool) -> None:
    created, strange = asyncio.run(bring_about(access, folder, prune=prune))
    page = declaration.read()
    print(f"{len(page.topics)} topics as declared, {len(created)} of them new")
    if access.sasl:
        print(f"{len(page.users)} users and {len(page.grants)} access rules as declared")
    for line in strange:
        print(f"{'removed' if prune else 'not declared'}: {line}")
    if strange and not prune:
        raise OperatorError("There is undeclared access: declare it in deploy/topics.toml, or remove it with --prune.")


def add_publisher(access: KafkaAccess, folder: Path, name: str) -> None:
    """Create a publisher's topics, its user and password, and its rights."""
    page, user = declaration.read(), declaration.user_of_publisher(name)
    topics = page.topics_of_publisher(name)
    admin = connected(access, 20.0)
    _ensure(admin, access, topics, 20.0)
    users.put(admin, {user: _password(folder, user)})
    users.grant(admin, declaration.publisher_grants(name))
    print(f"{name} may send to {topics[0].name} as the user {user}; its password is in {folder / f'kafka-{user}'}.")


def revoke_publisher(access: KafkaAccess, folder: Path, name: str) -> None:
    """Remove a publisher's rights and credential; its topic and events stay."""
    user = declaration.user_of_publisher(name)
    topic, admin = inbound_topic(name), connected(access, 20.0)
    users.revoke(admin, user)
    (folder / f"kafka-{user}").unlink(missing_ok=True)
    print(f"{user} has no rights any more; its events stay in {topic}.")
    if name in declaration.read().publishers:
        print("It is declared in deploy/topics.toml: remove it there, or it will be created again.")


def rotate(access: KafkaAccess, folder: Path, user: str) -> None:
    """Replace a user's password and write the new one to the folder."""
    admin = connected(access, 20.0)
    if user not in users.existing(admin):
        raise OperatorError(f"There is no user {user}; the users are {', '.join(sorted(users.existing(admin)))}.")
    users.put(admin, {user: secrets.renewed(f"kafka-{user}", folder)})
    print(f"{user} has a new password, in {folder / f'kafka-{user}'}: restart the processes that use it.")


def _administrator(folder: Path) -> KafkaAccess:
    """Return the access in the environment, or else of this machine's administrator.

    Raises:
        OperatorError: There is neither.
    """
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return KafkaAccess.from_environment()
    if not (folder / certificates.AUTHORITY).exists():
        raise OperatorError(
            "There is no Kafka on this machine: run `make up`, or set KAFKA_BOOTSTRAP to that of another server."
        )
    return Protection(folder).access(f"127.0.0.1:{PORT_BASE + 11}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.topics", description="Create Kafka's topics, users and access rules."
    )
    parser.add_argument("--prune", action="store_true", help="remove users and access rules that are not declared")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("add-publisher", help="create a publisher's topic and user").add_argument("name")
    commands.add_parser("revoke-publisher", help="remove a publisher's access").add_argument("name")
    commands.add_parser("rotate", help="replace a user's password").add_argument("name", metavar="user")
    chosen = parser.parse_args()
    folder = Path(os.environ.get("TENURE_SECRETS") or secrets.FOLDER)
    try:
        access = _administrator(folder)
        match chosen.command:
            case None:
                return _bring_about(access, folder, chosen.prune)
            case _ if not access.sasl:
                raise OperatorError("Set KAFKA_USERNAME and KAFKA_PASSWORD to those of Kafka's administrator.")
            case "add-publisher":
                return add_publisher(access, folder, chosen.name)
            case "revoke-publisher":
                return revoke_publisher(access, folder, chosen.name)
            case _:
                return rotate(access, folder, chosen.name)
    except KafkaException as error:
        sys.exit(f"Kafka refused the request: {error.args[0].str()}.")
    except (OperatorError, InvalidKafkaSettings, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
