"""What the Helm chart takes from the code: `python -m deploy.chart`.

It writes `deploy/helm/files/declared.json`. The processes with their environment, ports, probes and secrets, the
topics, the users with their access rules and the roles are declared elsewhere: in shared/services.py, topics.toml and
databases.py. The chart's templates read the file, and name none of them. A text in it that has braces is a template,
too: what an installation chooses is a value.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from deploy import ROOT, databases
from deploy.databases import OPERATOR
from deploy.declaration import Declaration, Grant, Topic, publisher_grants, read, user_of_publisher
from shared.eventlog.deliver.offsets import group_of
from shared.eventlog.migrate import operator_of, owner_of
from shared.runtime.service import PARTS
from shared.services import EDGES, OPERATIONS, PORTS, SERVICES, url_variable
from shared.sql import statements, with_names

CHART: Final = ROOT / "deploy" / "helm"
FILE: Final = CHART / "files" / "declared.json"
EXAMPLE: Final = CHART / "ci" / "values.yaml"
"""The values of an installation with everything on, for tests."""
SQL: Final = statements(__file__)
PREFIX: Final = "tenure"
"""The prefix of databases, roles and Kubernetes' objects. A namespace has one installation."""
NAME: Final = "NAME"
"""Stands for a publisher's name in the topics and rules of a publisher."""

_SECRETS: Final = "/run/secrets"
_HOSTS: Final = "https://{{ .Values.hosts.%s }}"
_CONNECTIONS: Final = 17
"""How many connections to PostgreSQL a process has at most: a pool of 12, its log's writer and readers, listeners."""
_DRAIN_S: Final = 5
"""Longer than the readiness probe's period: an endpoint that goes is not asked any more when connections end."""
PROBES: Final[Mapping[str, Any]] = {
    "startupProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1, "failureThreshold": 60},
    "livenessProbe": {
        "httpGet": {"path": "/health", "port": "http"},
        "periodSeconds": 10,
        "timeoutSeconds": 5,
        "failureThreshold": 6,
    },
    "readinessProbe": {
        "httpGet": {"path": "/ready", "port": "http"},
        "periodSeconds": 2,
        "timeoutSeconds": 4,
        "failureThreshold": 2,
    },
}


def shared_environment() -> dict[str, str]:
    """Return the variables of every process."""
    return {
        "KAFKA_BOOTSTRAP": '{{ include "tenure.kafka" . }}',
        "KAFKA_CA_FILE": "/etc/kafka-ca/ca.pem",
        "KAFKA_SECURITY": "sasl_tls",
        "TENURE_ANCHORS": "/var/lib/tenure/anchors",
        "TENURE_DRAIN_S": str(_DRAIN_S),
        "TENURE_HOST": "0.0.0.0",  # noqa: S104  # a pod has a network of its own
        "TENURE_ISSUER": _HOSTS % "identity",
        "TENURE_LOG": "json",
        "TENURE_LOG_LEVEL": "{{ .Values.logLevel }}",
        "TENURE_PUBLIC_KAFKA": "{{ .Values.kafka.external.address }}",
        "TENURE_PUBLIC_URL": _HOSTS % "console",
        "TENURE_TRUSTED_PROXIES": '{{ join "," .Values.network.pods }}',
        **{url_variable(name): f"http://{PREFIX}-{name}:{port}" for name, port in PORTS.items()},
    }


def processes() -> Iterator[dict[str, Any]]:
    """Yield the deployments: a service's parts, the edges, the operations server."""
    for name in SERVICES:
        for part in PARTS:
            group = {"group": group_of(name)} if part == "consumers" else {}
            command = ["python", "-m", f"services.{name}", "--only", part]
            environment = {**_database(name), **_kafka(name), **_OWN.get(name, {})}
            secrets = [f"postgres-{name}", f"kafka-{name}"]
            process = _process(f"{name}-{part}", name, part, command, environment, secrets)
            yield process | group | {"secretEnvironment": _OWN_SECRETS.get(name, {})}
    for name in EDGES:
        command = ["python", "-m", f"services.{name}"]
        environment = {**_kafka(name), "TENURE_COOKIE_KEY_FILE": f"{_SECRETS}/cookies-{name}", **_OWN.get(name, {})}
        yield _process(name, name, "edge", command, environment, [f"cookies-{name}", f"kafka-{name}"])
    command, environment = ["python", "-m", "cli.serving"], {**_database(OPERATOR), **_kafka(OPERATOR)}
    secrets = [f"postgres-{OPERATOR}", f"kafka-{OPERATOR}"]
    yield _process(OPERATIONS, OPERATIONS, "operations", command, environment, secrets)


_PROVIDERS: Final = {"TENURE_OIDC_PROVIDERS_FILE": "{{ if .Values.providers.file }}/etc/tenure/providers.toml{{ end }}"}
_OWN: Final[Mapping[str, Mapping[str, str]]] = {
    "identity": {"TENURE_MAIL_FROM": "{{ .Values.mail.from }}", **_PROVIDERS},
    "console": {"TENURE_TRUSTED_PROXIES": '{{ join "," .Values.network.proxies }}', **_PROVIDERS},
}
"""Variables of some processes only. An empty variable counts as unset."""
_OWN_SECRETS: Final[Mapping[str, Mapping[str, str]]] = {"identity": {"TENURE_SMTP_URL": "{{ .Values.mail.secret }}"}}
"""Variables of some processes that are secrets, each with the name of the Secret whose key `url` has it."""


def _process(
    name: str, component: str, part: str, command: Sequence[str], environment: Mapping[str, str], secrets: Sequence[str]
) -> dict[str, Any]:
    return {
        "name": name,
        "component": component,
        "part": part,
        "command": command,
        "port": PORTS[component],
        "environment": {**environment, "TENURE_PORT": str(PORTS[component])},
        "secrets": secrets,
    }


def _database(login: str) -> dict[str, str]:
    url = f'postgresql://{PREFIX}_{login}@{{{{ include "tenure.postgres" . }}}}'
    query = "sslmode=verify-full&sslrootcert=/etc/postgres-ca/ca.pem"
    return {"DATABASE_URL": f"{url}?{query}", "DATABASE_PASSWORD_FILE": f"{_SECRETS}/postgres-{login}"}


def _kafka(user: str) -> dict[str, str]:
    return {"KAFKA_USERNAME": user, "KAFKA_PASSWORD_FILE": f"{_SECRETS}/kafka-{user}"}


def roles() -> list[dict[str, Any]]:
    """Return the roles of databases.sql as CloudNativePG's managed roles."""
    owners = [owner_of(f"{PREFIX}_{name}") for name in SERVICES]
    operator = _login(operator_of(PREFIX), OPERATOR) | {"createdb": True, "inRoles": owners}
    services = [_login(f"{PREFIX}_{name}", name) for name in SERVICES]
    owning = [
        {"name": owner, "ensure": "present", "inRoles": [f"{PREFIX}_{name}", "pg_read_all_stats"]}
        for name, owner in zip(SERVICES, owners, strict=True)
    ]
    return [*services, *owning, operator]


def _login(role: str, login: str) -> dict[str, Any]:
    return {"name": role, "ensure": "present", "login": True, "passwordSecret": {"name": f"postgres-{login}"}}


def first_statements() -> list[str]:
    """Return the SQL for a new server.

    It creates all roles, so that memberships can be granted in any order, and closes the databases.
    """
    made = [with_names(databases.SQL["role"], role=role["name"]) for role in roles()]
    return [*made, with_names(SQL["connect"], role=operator_of(PREFIX)), databases.SQL["others"]]


def topic(declared: Topic) -> dict[str, Any]:
    return {"name": declared.name, "partitions": declared.partitions, "config": declared.config}


def user(name: str, grants: Sequence[Grant]) -> dict[str, Any]:
    """Return a user with its access rules as Strimzi has them: the operations by resource."""
    rules = [
        {
            "resource": {"type": kind, "name": named, "patternType": "prefix" if prefixed else "literal"},
            "operations": sorted(grant.operation.capitalize() for grant in of_resource),
        }
        for (kind, named, prefixed), of_resource in groupby(sorted(grants, key=_resource), key=_resource)
    ]
    return {"name": name, "acls": rules}


def _resource(grant: Grant) -> tuple[str, str, bool]:
    return grant.resource, grant.name, grant.prefixed


def declared(page: Declaration | None = None) -> dict[str, Any]:
    """Return everything that the chart takes from the code."""
    page = read() if page is None else page
    return {
        "environment": shared_environment(),
        "processes": list(processes()),
        "probes": PROBES,
        "graceSeconds": 30 + _DRAIN_S,
        "migrations": {
            "command": ["python", "-m", "deploy.databases"],
            "environment": _database(OPERATOR),
            "secrets": [f"postgres-{OPERATOR}"],
        },
        "topics": [topic(each) for each in page.topics],
        "users": [user(name, [each for each in page.grants if each.user == name]) for name in page.users],
        "publisher": {
            "topics": [topic(each) for each in page.topics_of_publisher(NAME)],
            "user": user(user_of_publisher(NAME), list(publisher_grants(NAME))),
        },
        "roles": roles(),
        "firstStatements": first_statements(),
        "connections": _CONNECTIONS,
        "partitions": max(each.partitions for each in page.topics if each.name.startswith(tuple(SERVICES))),
    }


def text() -> str:
    """Return the file's text."""
    return json.dumps(declared(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
