"""What helm makes of the chart and of the example values is what the code declares.

`make chart` builds helm, with Go; without it, these tests are skipped.
"""

import os
from collections import Counter
from functools import cache, reduce
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from deploy import OperatorError, certificates, chart, chart_checks, databases, declaration
from shared.runtime.settings import Settings, edge_settings
from shared.services import EDGES, OPERATIONS, PORTS, SERVICES, url_variable
from tests.contracts.charts import DECLARED, PAGE, PROCESSES, grants_of_users

pytestmark = pytest.mark.skipif(not chart_checks.HELM.exists(), reason="no helm here: `make chart` builds it, with Go")
needs_schemas = pytest.mark.skipif(not chart_checks.has_schemas(), reason="`make chart` writes the schemas, with Go")


ALWAYS_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")


@cache
def made() -> list[dict[str, Any]]:
    """What helm makes of the chart and the example values."""
    return list(chart_checks.objects(chart_checks.rendered()))


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in made() if each["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """The pods that the chart makes, by the name of their deployment or job."""
    return {
        name: each["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for name, each in of_kind(kind).items()
    }


def test_the_deployments_run_the_declared_processes() -> None:
    deployments = of_kind("Deployment")
    assert set(deployments) == {f"tenure-{name}" for name in PROCESSES}
    for name, process in PROCESSES.items():
        (container,) = pods()[f"tenure-{name}"]["containers"]
        assert container["command"] == process["command"]
        assert container["ports"] == [{"name": "http", "containerPort": PORTS[process["component"]]}]
        assert {probe: container[probe] for probe in chart.PROBES} == chart.PROBES
        environment = {each["name"]: each.get("value") for each in container["env"]}
        declared = {**DECLARED["environment"], **process["environment"]}
        assert environment == environment | {key: text for key, text in declared.items() if "{{" not in text}
        assert set(environment) - {*declared, *process.get("secretEnvironment", ())} == {
            "TENURE_LIMITS",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        }
        assert not [text for text in environment.values() if text is not None and ("{{" in text or text == "")]


@pytest.mark.parametrize("component", [*SERVICES, *EDGES, OPERATIONS, "migrations"])
def test_the_code_takes_a_pods_environment(component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is mounted, as files; but for the mails' server, which is a secret."""
    certificates.ensure(tmp_path, ["localhost"])
    for name in [name for name in os.environ if name.startswith(("DATABASE_", "KAFKA_", "TENURE_"))]:
        monkeypatch.delenv(name)
    pod = next(pod for name, pod in pods().items() if name.startswith(f"tenure-{component}"))
    for variable in pod["containers"][0]["env"]:
        if "value" in variable:
            places = {"/run/secrets": str(tmp_path), "/etc/kafka-ca/ca.pem": str(tmp_path / certificates.AUTHORITY)}
            text = reduce(lambda given, place: given.replace(*place), places.items(), variable["value"])
            monkeypatch.setenv(variable["name"], text)
    for secret in ("postgres", "kafka"):
        for login in (*SERVICES, *EDGES, databases.OPERATOR):
            (tmp_path / f"{secret}-{login}").write_text(f"{secret}'s password")
    current = edge_settings() if component in EDGES else Settings()
    login = databases.OPERATOR if component in (OPERATIONS, "migrations") else component
    if component not in EDGES:
        server = f"tenure_{login}:postgres%27s%20password@tenure-postgres-rw.tenure.svc:5432"
        assert current.dsn("identity").startswith(f"postgresql://{server}/tenure_identity?sslmode=verify-full")
    if component != "migrations":
        assert (current.kafka.username, current.kafka.password) == (login, "kafka's password")
        assert current.kafka.security == "sasl_tls" and current.host == "0.0.0.0"
        assert current.port == PORTS[component] and current.token_issuer == "https://id.example.org"


def test_what_asks_for_a_service_finds_it() -> None:
    services = of_kind("Service")
    for name, port in PORTS.items():
        assert DECLARED["environment"][url_variable(name)] == f"http://tenure-{name}:{port}"
        (found,) = services[f"tenure-{name}"]["spec"]["ports"]
        assert found["port"] == port
        selector = services[f"tenure-{name}"]["spec"]["selector"].items()
        labels = [each["spec"]["template"]["metadata"]["labels"].items() for each in of_kind("Deployment").values()]
        assert sum(selector <= each for each in labels) == 1


def test_kafka_has_the_declared_topics_and_access_rules() -> None:
    own = PAGE.topics_of_publisher("northhaus")
    tiers = {"remote.storage.enable": "true", "local.retention.ms": "604800000"}
    assert set(of_kind("KafkaTopic")) == {topic.name for topic in (*PAGE.topics, *own)}
    for topic in (*PAGE.topics, *own):
        spec = of_kind("KafkaTopic")[topic.name]["spec"]
        assert (spec["partitions"], spec["replicas"]) == (topic.partitions, 3)
        assert spec["config"] == topic.config | (tiers if topic.config["retention.ms"] == "-1" else {})
    users = [
        {"name": name, "acls": each["spec"]["authorization"]["acls"]} for name, each in of_kind("KafkaUser").items()
    ]
    assert grants_of_users(users) == PAGE.grants | declaration.publisher_grants("northhaus")


def test_postgres_waits_for_a_standby_and_has_the_declared_roles() -> None:
    spec = of_kind("Cluster")["tenure-postgres"]["spec"]
    assert spec["instances"] == 3
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert spec["managed"]["roles"] == DECLARED["roles"]
    assert spec["bootstrap"]["initdb"]["postInitSQL"] == DECLARED["firstStatements"]


def test_consumers_scale_by_the_lag_of_their_own_group() -> None:
    scaled = of_kind("ScaledObject")
    assert set(scaled) == {f"tenure-{service}-consumers" for service in SERVICES}
    for service in SERVICES:
        name = f"tenure-{service}-consumers"
        (trigger,) = scaled[name]["spec"]["triggers"]
        assert trigger["metadata"]["consumerGroup"] == PROCESSES[f"{service}-consumers"]["group"]
        assert any(
            grant.user == service and trigger["metadata"]["consumerGroup"].startswith(grant.name)
            for grant in PAGE.grants
            if grant.resource == "group"
        )
        access = of_kind("TriggerAuthentication")[name]["spec"]
        assert access["secretTargetRef"][0] == {"parameter": "password", "name": f"kafka-{service}", "key": "password"}
        assert of_kind("ConfigMap")[name]["data"] == {"username": service}
    by_cpu = {name for name, process in PROCESSES.items() if process["part"] in ("api", "edge")}
    assert set(of_kind("HorizontalPodAutoscaler")) == {f"tenure-{name}" for name in by_cpu}


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"parts.api.minReplicas": "5"}, 4),
        ({"parts.edge.maxReplicas": "1"}, 1),
        ({"parts.consumers.minReplicas": "7", "parts.consumers.maxReplicas": "9"}, DECLARED["partitions"]),
    ],
)
def test_bounds_that_no_cluster_takes_are_refused(settings: dict[str, str], most: int) -> None:
    """Also more consumers than partitions, of which the others would be idle."""
    with pytest.raises(OperatorError, match=rf"parts\.\w+\.minReplicas: \d is more than {most}"):
        chart_checks.rendered(settings=settings)


def test_every_pod_is_restricted() -> None:
    """As the pod security standard `restricted` says, and with a read-only root file system."""
    assert len(pods()) == len(PROCESSES) + 1
    for pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {
            "type": "RuntimeDefault"
        }
        assert not pod["automountServiceAccountToken"] and not {"hostNetwork", "hostPID", "hostIPC"} & {*pod}
        assert all(
            {*volume} & {"emptyDir", "projected", "secret", "configMap", "persistentVolumeClaim"}
            for volume in pod["volumes"]
        )
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_only_what_people_name_is_reached_outside() -> None:
    """Webhooks and mails are sent by identity's consumers, providers are asked by its API and by the console."""
    outside: dict[str, list[dict[str, Any]]] = {}
    for name, policy in of_kind("NetworkPolicy").items():
        blocks = [
            peer["ipBlock"] for rule in policy["spec"].get("egress", ()) for peer in rule["to"] if "ipBlock" in peer
        ]
        outside |= {name: blocks} if blocks else {}
    assert set(outside) == {"tenure-identity-api", "tenure-identity-consumers", "tenure-console"}
    for name, blocks in outside.items():
        pods_of = of_kind("NetworkPolicy")[name]["spec"]["podSelector"]["matchLabels"]
        assert pods_of == of_kind("Deployment")[name]["spec"]["selector"]["matchLabels"]
        assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
        for block in blocks:
            assert {":" in private for private in block["except"]} == {":" in block["cidr"]}
            assert {ip_network(one) for one in block["except"]} >= {
                ip_network(one) for one in ALWAYS_PRIVATE if (":" in one) == (":" in block["cidr"])
            }


def test_secrets_are_named_and_never_made() -> None:
    assert not of_kind("Secret")
    for name, process in PROCESSES.items():
        (secrets,) = (volume for volume in pods()[f"tenure-{name}"]["volumes"] if volume["name"] == "secrets")
        named = [(each["secret"]["name"], each["secret"]["items"]) for each in secrets["projected"]["sources"]]
        assert named == [(secret, [{"key": "password", "path": secret}]) for secret in process["secrets"]]


def test_every_deployment_may_lose_one_pod_at_a_time() -> None:
    for name, budget in of_kind("PodDisruptionBudget").items():
        spec = of_kind("Deployment")[name]["spec"]
        assert budget["spec"] == {"maxUnavailable": 1, "selector": spec["selector"]}
        assert {each["topologyKey"] for each in spec["template"]["spec"]["topologySpreadConstraints"]} == {
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        }
    assert set(of_kind("PodDisruptionBudget")) == set(of_kind("Deployment"))


@needs_schemas
def test_every_kind_of_the_chart_has_a_schema() -> None:
    """Also the operators' kinds; none is skipped."""
    counted = chart_checks.validate(chart_checks.rendered())
    assert counted == Counter(each["kind"] for each in made())


@needs_schemas
@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("kind: ScheduledBackup", "kind: BackupOfAnotherKind", "BackupOfAnotherKind tenure-postgres"),
        ("apiVersion: keda.sh/v1alpha1", "apiVersion: keda.sh/v2", "ScaledObject tenure-"),
        ("apiVersion: apps/v1", "apiVersion: batch/v1", "Deployment tenure-"),
        ("isWALArchiver: true", "isWalArchiver: true", "Cluster tenure-postgres: .*isWalArchiver"),
        ("containerPort: 8101", "containerPort: http", "Deployment tenure-identity-api: .*containerPort"),
    ],
)
def test_an_object_that_no_schema_takes_is_named(before: str, after: str, what: str) -> None:
    text = chart_checks.rendered()
    assert before in text
    with pytest.raises(OperatorError, match=f"refuses[^:]*\\n(.*\\n)*{what}"):
        chart_checks.validate(text.replace(before, after))


def test_the_readme_names_the_versions_of_the_definitions() -> None:
    said = (chart.CHART / "README.md").read_text()
    assert [module for module in chart_checks.MODULES if f" {module.partition('@v')[2]}" not in said] == []
