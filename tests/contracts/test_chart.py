"""The Helm chart says what the code says: processes, environment, ports, probes, topics, access rules and roles.

What it takes from the code is compared here; what helm makes of it, in test_chart_made.py.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

import jsonschema
import pytest
import yaml

from cli.context import ADDRESS_VARIABLES
from cli.serving.app import ServerParts
from cli.serving.app import make_app as operations_app
from deploy import ROOT, chart, databases, declaration
from deploy.declaration import Topic
from services import definition_of
from services.console.app import ConsoleParts
from services.console.app import make_app as console_app
from shared.eventlog.deliver.kafka import VARIABLES
from shared.runtime.service import PARTS, ServiceProcess
from shared.runtime.settings import Settings
from shared.services import EDGES, OPERATIONS, PORTS, SERVICES, url_variable
from tests.contracts.charts import DECLARED, PAGE, PROCESSES, grants_of_users

TEMPLATES: Final = {file.name: file.read_text() for file in (chart.CHART / "templates").iterdir()}


def test_the_file_of_the_chart_is_what_the_code_declares() -> None:
    assert chart.FILE.read_text() == chart.text(), "run `python -m deploy.chart`"


def test_every_service_has_its_parts_and_every_edge_a_process() -> None:
    parts = {f"{service}-{part}" for service in SERVICES for part in PARTS}
    assert set(PROCESSES) == {*parts, *EDGES, OPERATIONS}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_names_nothing_that_the_code_declares(name: str) -> None:
    ports = "|".join(map(str, PORTS.values()))
    topics = "|".join({topic.name.partition(".")[2] for topic in PAGE.topics})
    own = rf"\b({'|'.join((*SERVICES, *EDGES))}|{ports})\b|{topics}|/ready|/health|tenure_|retention\.ms: "
    assert not re.findall(own, re.sub(r"tenure-\w+|local\.retention\.ms", "", TEMPLATES[name]))


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_is_given_variables_that_the_code_reads(name: str) -> None:
    fields = Settings.model_fields.items()
    known = {str(field.validation_alias or f"TENURE_{key.upper()}") for key, field in fields}
    known |= {*VARIABLES, *map(url_variable, (*SERVICES, *EDGES, OPERATIONS))}
    process = PROCESSES[name]
    given = {*DECLARED["environment"], *process["environment"], *process.get("secretEnvironment", ())}
    assert given <= known
    unneeded = {"KAFKA_SASL_MECHANISM", "KAFKA_PASSWORD"} | ({"DATABASE_URL"} if name in EDGES else set())
    assert ADDRESS_VARIABLES - unneeded <= given


NOT_IN_COMPOSE: Final = {"TENURE_DRAIN_S", "TENURE_OIDC_PROVIDERS_FILE"}
NOT_IN_THE_CHART: Final = {"TENURE_LIMITS", "TENURE_MAIL_FOLDER", "TENURE_WEBHOOK_NETWORKS"}
"""A folder of mails is for development; limits and networks are variables of few, for `environment` in the values."""


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_has_the_variables_of_its_container(name: str) -> None:
    """The compose file and the chart differ in what is named here only."""
    process = PROCESSES[name]
    container = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][process["component"]]
    theirs = {key for key in container["environment"] if not key.startswith("OTEL_")} - NOT_IN_THE_CHART
    ours = {*DECLARED["environment"], *process["environment"], *process.get("secretEnvironment", ())}
    assert ours - NOT_IN_COMPOSE == theirs - NOT_IN_COMPOSE
    fixed = {k: v for k, v in process["environment"].items() if "{{" not in v}
    assert fixed == {key: str(container["environment"][key]) for key in fixed}
    assert sorted(process["secrets"]) == sorted(container["secrets"])
    assert process["command"][:3] == container["command"]


def test_every_process_answers_its_probes() -> None:
    settings = Settings()
    of_services = ServiceProcess(service=definition_of("entitlements"), settings=settings)  # one is as the others
    apps = {
        "entitlements": of_services.app,
        "console": console_app(ConsoleParts(settings=settings)),
        OPERATIONS: operations_app(ServerParts(settings=settings)),
    }
    asked = {probe["httpGet"]["path"] for probe in DECLARED["probes"].values()}
    assert {process["component"] for process in PROCESSES.values()} == {*apps, *SERVICES}
    for name, app in apps.items():
        assert asked <= {getattr(route, "path", "") for route in app.routes}, name


def test_topics_and_access_rules_are_those_of_topics_toml() -> None:
    assert [Topic(**topic) for topic in DECLARED["topics"]] == list(PAGE.topics)
    assert [user["name"] for user in DECLARED["users"]] == list(PAGE.users)
    assert grants_of_users(DECLARED["users"]) == PAGE.grants


def test_a_publisher_has_the_topics_and_rules_of_add_publisher() -> None:
    named = json.loads(json.dumps(DECLARED["publisher"]).replace(chart.NAME, "northhaus"))
    assert [Topic(**topic) for topic in named["topics"]] == PAGE.topics_of_publisher("northhaus")
    assert grants_of_users([named["user"]]) == declaration.publisher_grants("northhaus")


def test_roles_are_those_that_the_code_makes() -> None:
    """The statements of databases.sql and CloudNativePG's roles come to the same."""
    said = "\n".join(databases.role_statements("tenure", str, SERVICES, whole_cluster=True)).replace('"', "")
    roles = {role["name"]: role for role in DECLARED["roles"]}
    assert set(re.findall(r"create role (\w+)", said)) == set(roles)
    assert set(re.findall(r"alter role (\w+) login", said)) == {name for name in roles if roles[name].get("login")}
    assert set(re.findall(r"alter role (\w+) login createdb", said)) == {
        name for name in roles if roles[name].get("createdb")
    }
    members = {(group, role) for role in roles for group in roles[role].get("inRoles", ())}
    assert set(re.findall(r"^grant (\w+) to (\w+);", said, re.MULTILINE)) == members
    assert not [
        name
        for name, role in roles.items()
        if {*role} - {"name", "ensure", "login", "createdb", "inRoles", "passwordSecret"}
    ]
    first = "\n".join(DECLARED["firstStatements"]).replace('"', "")
    assert set(re.findall(r"create role (\w+)", first)) == set(roles)
    for shared in ("grant connect on database postgres to tenure_operator", "revoke all on database %I from public"):
        assert shared in said and shared in first


def test_the_chart_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == version


# ── The values ──────────────────────────────────────────────────────────────────────────────────────────

SCHEMA: Final = json.loads((chart.CHART / "values.schema.json").read_text())


def values(**more: Any) -> dict[str, Any]:
    """The default values with those of the example, and with `more`."""
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    return merged(merged(defaults, yaml.safe_load(chart.EXAMPLE.read_text())), more)


def merged(first: dict[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        k: merged(first[k], v) if isinstance(v, dict) and isinstance(first.get(k), dict) else v
        for k, v in second.items()
    }
    return {**first, **both}


def faults(given: Mapping[str, Any]) -> list[str]:
    return sorted(error.json_path for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(given))


def test_the_schema_takes_the_example_and_says_what_the_defaults_lack() -> None:
    assert faults(values()) == []
    assert faults(yaml.safe_load((chart.CHART / "values.yaml").read_text())) == [
        "$.hosts",
        "$.hosts",
        "$.image.repository",
        "$.ingress.tlsSecret",
        "$.network.pods",
        "$.postgres.backup.store.credentials",
        "$.postgres.backup.store.path",
        "$.postgres.image",
    ]


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"imagee": {}}, "$"),
        ({"parts": {"api": {"replicas": 3}}}, "$.parts.api"),
        ({"parts": {"operations": {"minReplicas": 2}}}, "$.parts.operations.minReplicas"),
        ({"environment": {"TENURE_SMTP_URL": "smtp://user:password@host"}}, "$.environment"),
        ({"environment": {"DATABASE_URL": "postgresql://else"}}, "$.environment"),
        ({"postgres": {"instances": 2}}, "$.postgres.instances"),
        ({"postgres": {"backup": {"objectStore": "ours"}}}, "$.postgres.backup.store.path"),
        ({"postgres": {"backup": {"schedule": "0 2 * * *"}}}, "$.postgres.backup.schedule"),
        ({"postgres": {"backup": {"store": {"path": ""}}}}, "$.postgres.backup.store.path"),
        ({"postgres": {"backup": {"store": {"path": "/backups"}}}}, "$.postgres.backup.store.path"),
        ({"postgres": {"backup": {"store": {"retention": "a month"}}}}, "$.postgres.backup.store.retention"),
        (
            {"postgres": {"backup": {"store": {"credentials": {"googleCredentials": {"gkeEnvironment": True}}}}}},
            "$.postgres.backup.store.credentials",
        ),
        (
            {"postgres": {"backup": {"store": {"credentials": {"s3Credentials": {"inheritFromIAMRole": True}}}}}},
            "$.postgres.backup.store.credentials.s3Credentials",
        ),
        (
            {"postgres": {"backup": {"store": {"environment": {"AWS_SECRET_ACCESS_KEY": "secret"}}}}},
            "$.postgres.backup.store.environment",
        ),
        ({"postgres": {"restore": {"time": "yesterday"}}}, "$.postgres.restore.time"),
        ({"postgres": {"managed": False}}, "$.postgres.address"),
        ({"kafka": {"managed": False}}, "$.kafka.bootstrap"),
        ({"kafka": {"tieredStorage": {"className": ""}}}, "$.kafka.tieredStorage.className"),
        ({"kafka": {"external": {"type": "ingress"}}}, "$.kafka.external.type"),
        ({"kafka": {"external": {"sources": []}}}, "$.kafka.external.sources"),
        ({"kafka": {"external": {"address": "kafka.example.org"}}}, "$.kafka.external.address"),
        ({"kafka": {"external": {"port": 9093}}}, "$.kafka.external.port"),
        ({"kafka": {"external": {"brokerHost": "kafka.example.org"}}}, "$.kafka.external.brokerHost"),
        ({"kafka": {"external": {"type": "nodeport"}}}, "$.kafka.external.className"),
        (
            {"kafka": {"external": {"type": "tlsroute", "className": "", "sources": [], "namespace": "gateways"}}},
            "$.kafka.external.parentRefs",
        ),
        ({"publishers": ["North Haus"]}, "$.publishers[0]"),
        ({"hosts": {"console": "https://tenure.example.org"}}, "$.hosts.console"),
    ],
)
def test_the_schema_refuses_values(wrong: dict[str, Any], where: str) -> None:
    assert faults(values(**wrong)) == [where]
