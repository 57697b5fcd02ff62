"""The profiles of the compose file: three brokers, what is measured, the pages of Kafka."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy import ROOT, declaration
from shared.services import PORTS

DEPLOY: Final = ROOT / "deploy"
TEXT: Final = (ROOT / "docker-compose.yml").read_text()
VARIABLE: Final = re.compile(r"\$\{(\w+)(?:(:?-)([^}]*))?\}")


def settings_of(file: Path) -> dict[str, str]:
    """Return the variables of a file for `docker compose --env-file`."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


CLUSTER: Final = settings_of(DEPLOY / "cluster.env")


def services(environment: dict[str, str]) -> dict[str, Any]:
    """Return the containers by name, with the variables filled in as docker compose does."""

    def value(found: re.Match[str]) -> str:
        name, how, default = found.groups()
        given = environment.get(name)
        return default or "" if given is None or (given == "" and how == ":-") else given

    containers: dict[str, Any] = yaml.safe_load(VARIABLE.sub(value, TEXT))["services"]
    return containers


ONE: Final = services({})
THREE: Final = services(CLUSTER)
BROKERS: Final = [name for name in ONE if re.fullmatch(r"kafka(-\d)?", name)]


@pytest.mark.parametrize("name", ONE)
def test_every_port_is_published_on_the_loopback_only(name: str) -> None:
    assert [port for port in ONE[name].get("ports", ()) if not port.startswith("127.0.0.1:")] == []


def test_no_two_containers_publish_one_port() -> None:
    published = [port.split(":")[1] for each in ONE.values() for port in each.get("ports", ())]
    assert sorted(published) == sorted(set(published))


def test_the_cluster_has_three_brokers_in_three_racks() -> None:
    assert [THREE[name].get("profiles") for name in BROKERS] == [None, ["cluster"], ["cluster"]]
    own = {name: THREE[name]["environment"] for name in BROKERS}
    assert [each["KAFKA_NODE_ID"] for each in own.values()] == [1, 2, 3]
    assert len({each["KAFKA_BROKER_RACK"] for each in own.values()}) == 3
    assert len({str(THREE[name]["volumes"][0]) for name in BROKERS}) == 3
    different = {"KAFKA_NODE_ID", "KAFKA_BROKER_RACK", "KAFKA_ADVERTISED_LISTENERS"}
    rest = [{key: value for key, value in each.items() if key not in different} for each in own.values()]
    assert rest[0] == rest[1] == rest[2]


def test_the_settings_of_the_cluster_name_every_broker() -> None:
    assert CLUSTER["COMPOSE_PROFILES"] == "cluster"
    assert CLUSTER["KAFKA_BROKERS"].split(",") == [f"{name}:9092" for name in BROKERS]
    voters = [f"{THREE[name]['environment']['KAFKA_NODE_ID']}@{name}:9093" for name in BROKERS]
    for name in BROKERS:
        broker = THREE[name]["environment"]
        assert broker["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",") == voters
        assert "CONTROLLER://:9093" in broker["KAFKA_LISTENERS"] and "CONTROLLER:SASL_SSL" in str(broker)
        assert broker["KAFKA_ADVERTISED_LISTENERS"].startswith(f"INSIDE://{name}:9092,")
        assert name in ONE["certificates"]["command"]
        assert THREE["topics"]["depends_on"][name]["condition"] == "service_healthy"
    readers = [name for name, each in THREE.items() if "KAFKA_BOOTSTRAP" in (each.get("environment") or ())]
    assert {THREE[name]["environment"]["KAFKA_BOOTSTRAP"] for name in readers} == {CLUSTER["KAFKA_BROKERS"]}


def test_a_record_of_the_cluster_is_on_three_brokers_and_acknowledged_by_two() -> None:
    """Topics are created with the cluster's defaults: no declared topic says another number."""
    broker, alone = THREE["kafka"]["environment"], ONE["kafka"]["environment"]
    assert (broker["KAFKA_DEFAULT_REPLICATION_FACTOR"], broker["KAFKA_MIN_INSYNC_REPLICAS"]) == ("3", "2")
    for topic in ("OFFSETS_TOPIC", "TRANSACTION_STATE_LOG"):
        assert broker[f"KAFKA_{topic}_REPLICATION_FACTOR"] == "3"
    assert broker["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == "2"
    assert {value for key, value in alone.items() if "REPLICATION_FACTOR" in key or "_ISR" in key} == {"1"}
    assert not [topic for topic in declaration.read().topics if "min.insync.replicas" in topic.config]


def test_prometheus_reads_every_process_of_the_compose_file() -> None:
    written = yaml.safe_load((DEPLOY / "observability" / "prometheus.compose.yml").read_text())
    (job,) = written["scrape_configs"]
    assert job["job_name"] == "tenure", "as the rules say"
    assert set(job["static_configs"][0]["targets"]) == {f"{name}:{port}" for name, port in PORTS.items()}
    for name, port in PORTS.items():
        assert ONE[name]["environment"]["TENURE_PORT"] == str(port)
    mounted = dict(volume.split(":")[:2] for volume in ONE["prometheus"]["volumes"])
    assert f"--config.file={mounted['./deploy/observability']}/prometheus.compose.yml" in ONE["prometheus"]["command"]


def test_grafana_is_given_the_source_and_the_dashboards() -> None:
    mounted = dict(volume.split(":")[:2] for volume in ONE["grafana"]["volumes"])
    folder = DEPLOY / "observability" / "grafana"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090" and source["isDefault"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "tenure.yml").read_text())["providers"]
    assert mounted["./deploy/observability/dashboards"] == provider["options"]["path"]
    assert mounted["./deploy/observability/grafana"] == "/etc/grafana/provisioning"
    assert {file.name for file in folder.iterdir()} == {"datasources", "dashboards"}, "names that Grafana reads"


def test_the_collectors_pipelines_name_what_is_configured() -> None:
    written = (DEPLOY / "observability" / "collector.yml").read_text()
    environment = ONE["collector"]["environment"]
    assert set(re.findall(r"\$\{env:(\w+)", written)) == set(environment)
    exporters = ["otlphttp", environment["TRACES_EXPORTER"]]
    for exporter in exporters:
        filled = re.sub(r"\$\{env:TRACES_EXPORTER:-\w+\}", exporter, written)
        parsed = yaml.safe_load(filled)
        for pipeline in parsed["service"]["pipelines"].values():
            for kind in ("receivers", "processors", "exporters"):
                assert set(pipeline[kind]) <= set(parsed[kind])


def test_kafkas_pages_may_read_everything_and_change_nothing() -> None:
    environment, entry = ONE["kafka-ui"]["environment"], " ".join(ONE["kafka-ui"]["entrypoint"])
    assert environment["KAFKA_CLUSTERS_0_READONLY"] == "true" and environment["AUTH_TYPE"] == "LOGIN_FORM"
    (user,) = re.findall(r'username="(\S+)"', entry)
    assert ONE["kafka-ui"]["secrets"] == [f"kafka-{user}", "kafka-ui"]
    granted = {(each.operation, each.resource, each.name) for each in declaration.read().grants if each.user == user}
    assert granted == {("read", "topic", "*"), ("describe", "group", "*")}
    assert THREE["kafka-ui"]["environment"]["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"] == CLUSTER["KAFKA_BROKERS"]


@pytest.mark.parametrize("name", ["prometheus", "grafana", "collector", "kafka-ui", *BROKERS[1:]])
def test_what_a_profile_adds_is_left_out_without_it(name: str) -> None:
    assert ONE[name]["profiles"]
    for other, each in ONE.items():
        needed = each.get("depends_on", {}).get(name)
        assert needed is None or not needed.get("required", True) or ONE[other].get("profiles"), other
