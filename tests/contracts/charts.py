"""What the Helm chart takes from the code, for the tests of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from deploy import chart, declaration
from deploy.declaration import Grant

DECLARED: Final[Mapping[str, Any]] = json.loads(chart.FILE.read_text())
PROCESSES: Final[Mapping[str, Mapping[str, Any]]] = {each["name"]: each for each in DECLARED["processes"]}
PAGE: Final = declaration.read()


def grants_of_users(users: Sequence[dict[str, Any]]) -> set[Grant]:
    """The access rules of users as Strimzi has them."""
    return {
        Grant(
            user=user["name"],
            operation=operation.lower(),
            resource=rule["resource"]["type"],
            name=rule["resource"]["name"],
            prefixed=rule["resource"]["patternType"] == "prefix",
        )
        for user in users
        for rule in user["acls"]
        for operation in rule["operations"]
    }
