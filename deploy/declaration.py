"""What topics.toml declares: topics, users and what each user may do. Pure."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from deploy import Trouble
from shared.events.registry import INBOUND, inbound_topic

PAGE: Final = Path(__file__).with_name("topics.toml")
ADMIN: Final = "admin"
"""The broker's own administrator: it has its password from the broker's settings and may do everything."""

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
    """One access rule: the user may do this with the topic or group of that name, or with all whose names begin so."""

    user: str
    operation: Operation
    resource: Literal["topic", "group"]
    name: str
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{self.user} may {self.operation} {self.resource} {self.name}{'*' if self.prefixed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The page as a whole."""

    topics: Sequence[Topic]
    users: Sequence[str]
    grants: frozenset[Grant]
    publishers: Sequence[str]
    publisher_rule: Topic
    """What each publisher's own topic is like, under the name of the family."""
    former: Sequence[str]
    """Topics of before, which may exist: no rule is on them any more."""

    def topic_of_publisher(self, publisher: str) -> Topic:
        """The topic that the publisher's system alone may write."""
        return replace(self.publisher_rule, name=inbound_topic(publisher))


def user_of_publisher(publisher: str) -> str:
    return f"publisher-{publisher}"


def publisher_grants(publisher: str) -> frozenset[Grant]:
    """All that a publisher's system may do: write to its own topic."""
    user = user_of_publisher(publisher)
    return frozenset({Grant(user=user, operation="write", resource="topic", name=inbound_topic(publisher))})


def read(page: Path = PAGE) -> Declaration:
    """The declaration of a page. Trouble where it says something that is not known here."""
    tables = tomllib.loads(page.read_text())
    if unknown := set(tables) - {"topics", "former", "publishers", "users"}:
        raise Trouble(f"{page} has a table {min(unknown)!r}: there are topics, former, publishers and users.")
    rule: dict[str, Any] = dict(tables.get("publishers", {"partitions": 1}))
    publishers: list[str] = rule.pop("names", [])
    users: Mapping[str, Mapping[str, list[str]]] = tables.get("users", {})
    grants = {grant for user, table in users.items() for grant in _grants(user, table)}
    family = _topic(INBOUND, rule)
    return Declaration(
        topics=[
            *(_topic(name, table) for name, table in tables.get("topics", {}).items()),
            *(replace(family, name=inbound_topic(publisher)) for publisher in publishers),
        ],
        users=[*users, *map(user_of_publisher, publishers)],
        grants=frozenset(grants.union(*map(publisher_grants, publishers))),
        publishers=publishers,
        publisher_rule=family,
        former=tables.get("former", {}).get("topics", []),
    )


def _topic(name: str, table: Mapping[str, Any]) -> Topic:
    return Topic(name, table["partitions"], {key: str(value) for key, value in table.items() if key != "partitions"})


def _grants(user: str, table: Mapping[str, Iterable[str]]) -> list[Grant]:
    if unknown := set(table) - set(_TOPIC_GRANTS) - set(_GROUP_GRANTS):
        raise Trouble(f"The user {user} has {min(unknown)!r}: there are writes, reads, groups and watches.")
    if user == ADMIN:
        raise Trouble(f"{ADMIN} is the broker's administrator: what it may do is not declared.")
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
