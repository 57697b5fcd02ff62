"""The topics, users and access rules that topics.toml and the services declare."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from deploy import OperatorError
from shared.eventlog.repair.anchors import topic_of_anchors
from shared.events.registry import INBOUND, OUTCOMES, inbound_topic, outcomes_topic, topic_of
from shared.services import DECLARED, EDGES_DECLARED, PUBLISHERS, EdgeDeclaration, ServiceDeclaration

PAGE: Final = Path(__file__).with_name("topics.toml")
ADMIN: Final = "admin"
"""The broker's administrator: its password is in the broker's settings, and it has all rights."""

Operation = Literal["read", "write", "describe"]
_TOPIC_GRANTS: Final[Mapping[str, Operation]] = {"writes": "write", "reads": "read"}
_GROUP_GRANTS: Final[Mapping[str, Operation]] = {"groups": "read", "watches": "describe"}


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Grant:
    """An access rule: a user may do an operation on a topic or group, or on all with a prefix."""

    user: str
    operation: Operation
    resource: Literal["topic", "group"]
    name: str
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{self.user} may {self.operation} {self.resource} {self.name}{'*' if self.prefixed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """Everything that topics.toml declares."""

    topics: Sequence[Topic]
    users: Sequence[str]
    grants: frozenset[Grant]
    publishers: Sequence[str]
    publisher_rule: Topic
    """The settings of each publisher's inbound topic, with the common prefix of their names."""
    outcomes_rule: Topic | None
    """The settings of each topic of outcomes; None if there are none."""
    former: Sequence[str]
    """Former topics, which may exist and have no access rules."""

    def topics_of_publisher(self, publisher: str) -> list[Topic]:
        """Return the topics that only the publisher may write, and only it may read."""
        inbound = replace(self.publisher_rule, name=inbound_topic(publisher))
        rule = self.outcomes_rule
        return [inbound] if rule is None else [inbound, replace(rule, name=outcomes_topic(publisher))]


def user_of_publisher(publisher: str) -> str:
    return f"publisher-{publisher}"


def publisher_grants(publisher: str) -> frozenset[Grant]:
    """Return a publisher's rights: to write its own topic, and to read its outcomes."""
    user = user_of_publisher(publisher)
    writes, reads = [inbound_topic(publisher)], [outcomes_topic(publisher)]
    return frozenset(_grants(user, {"writes": writes, "reads": reads, "groups": [f"{user}.*"]}))


def service_grants(service: ServiceDeclaration) -> frozenset[Grant]:
    """Return a service's rights: write its topics, read its events and declared topics.

    A service that decides on publishers' events also writes their outcomes.
    """
    reads = [f"{INBOUND}*" if each == PUBLISHERS else topic_of(each) for each in (service.name, *service.reads)]
    writes = [topic_of(service.name), topic_of_anchors(service.name)]
    writes += [f"{OUTCOMES}*"] * (PUBLISHERS in service.reads)
    return frozenset(_grants(service.name, {"writes": writes, "reads": reads, "groups": [f"{service.name}.*"]}))


def edge_grants(edge: EdgeDeclaration) -> frozenset[Grant]:
    """Return an edge's rights: read events and outcomes, and keep publishers' events.

    It has no consumer group.
    """
    reads = [*map(topic_of, edge.reads), f"{OUTCOMES}*"]
    return frozenset(_grants(edge.name, {"reads": reads, "writes": [f"{INBOUND}*"]}))


def read(page: Path = PAGE) -> Declaration:
    """Return the declaration in a file such as topics.toml.

    Services are included if the file has the settings of their topics.

    Raises:
        OperatorError: The file has an unknown table or key.
    """
    tables = tomllib.loads(page.read_text())
    if unknown := set(tables) - {"topics", "services", "former", "publishers", "outcomes", "users"}:
        known = "topics, services, former, publishers, outcomes and users"
        raise OperatorError(f"{page} has an unknown table {min(unknown)!r}; the tables are {known}.")
    own: Mapping[str, Mapping[str, Any]] = tables.get("services", {})
    services, edges = (DECLARED, EDGES_DECLARED) if own else ((), ())
    rule: dict[str, Any] = dict(tables.get("publishers", {"partitions": 1}))
    publishers: list[str] = rule.pop("names", [])
    users: Mapping[str, Mapping[str, list[str]]] = tables.get("users", {})
    grants = {grant for user, table in users.items() for grant in _grants(user, table)}
    grants = grants.union(*map(service_grants, services), *map(edge_grants, edges), *map(publisher_grants, publishers))
    family = _topic(INBOUND, rule)
    outcomes = _topic(OUTCOMES, tables["outcomes"]) if "outcomes" in tables else None
    return Declaration(
        topics=[
            *(_topic(topic_of(service.name), own["events"]) for service in services),
            *(_topic(name, table) for name, table in tables.get("topics", {}).items()),
            *(_topic(topic_of_anchors(service.name), own["anchors"]) for service in services),
            *(replace(family, name=inbound_topic(publisher)) for publisher in publishers),
            *([] if outcomes is None else (replace(outcomes, name=outcomes_topic(of)) for of in ("", *publishers))),
        ],
        users=[*(each.name for each in (*services, *edges)), *users, *map(user_of_publisher, publishers)],
        grants=frozenset(grants),
        publishers=publishers,
        publisher_rule=family,
        outcomes_rule=outcomes,
        former=tables.get("former", {}).get("topics", []),
    )


def _topic(name: str, table: Mapping[str, Any]) -> Topic:
    return Topic(name, table["partitions"], {key: str(value) for key, value in table.items() if key != "partitions"})


def _grants(user: str, table: Mapping[str, Iterable[str]]) -> list[Grant]:
    if unknown := set(table) - set(_TOPIC_GRANTS) - set(_GROUP_GRANTS):
        raise OperatorError(
            f"The user {user} has an unknown key {min(unknown)!r}; the keys are writes, reads, groups and watches."
        )
    if user == ADMIN:
        raise OperatorError(
            f"{ADMIN} is the broker's administrator, whose rights are not declared: remove it from the users."
        )
    return [
        Grant(
            user=user,
            operation=operations[key],
            resource=resource,
            name=name if name == "*" else name.removesuffix("*"),
            prefixed=name != "*" and name.endswith("*"),
        )
        for resource, operations in _RESOURCES.items()
        for key in operations
        for name in table.get(key, ())
    ]


_RESOURCES: Final[Mapping[Literal["topic", "group"], Mapping[str, Operation]]] = {
    "topic": _TOPIC_GRANTS,
    "group": _GROUP_GRANTS,
}
