"""PostgreSQL's backups and restores, and Kafka's listener for the outside, as helm makes them of the chart.

`make chart` builds helm and writes the schemas, with Go; without them, these tests are skipped.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import pytest

from deploy import OperatorError, chart, chart_checks
from shared.services import OPERATIONS, SERVICES
from tests.contracts.charts import DECLARED, PROCESSES

pytestmark = pytest.mark.skipif(
    not (chart_checks.HELM.exists() and chart_checks.has_schemas()),
    reason="`make chart` makes helm and schemas, with Go",
)

PLUGIN: Final = "barman-cloud.cloudnative-pg.io"
VALUES: Final = json.loads((chart.CHART / "values.schema.json").read_text())


def made(settings: Mapping[str, str] = MappingProxyType({})) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects for the example values and settings, by kind and name; all are valid."""
    text = chart_checks.rendered(settings=settings)
    chart_checks.validate(text)
    return {(each["kind"], each["metadata"]["name"]): each for each in chart_checks.objects(text)}


def schema_of(group: str, file: str) -> Mapping[str, Any]:
    """Return the properties of a specification, as an operator's own definition has them."""
    schema = json.loads((chart_checks.SCHEMAS / group / f"{file}.json").read_text())
    return dict(schema["properties"]["spec"]["properties"])


def test_backups_and_the_log_go_to_the_store_that_the_values_name() -> None:
    objects = made()
    spec = objects["ObjectStore", "tenure-postgres"]["spec"]
    assert spec["configuration"] == {
        "destinationPath": "s3://tenure-backups/production",
        "endpointURL": "https://s3.example.org",
        "endpointCA": {"name": "object-store-ca", "key": "ca.crt"},
        "s3Credentials": {
            "accessKeyId": {"name": "backups", "key": "id"},
            "secretAccessKey": {"name": "backups", "key": "secret"},
        },
        "wal": {"compression": "gzip", "encryption": "aws:kms", "maxParallel": 4},
        "data": {"compression": "gzip", "encryption": "aws:kms", "jobs": 2},
    }
    assert spec["retentionPolicy"] == "30d"
    assert spec["instanceSidecarConfiguration"]["env"] == [
        {"name": "AWS_REQUEST_CHECKSUM_CALCULATION", "value": "when_required"}
    ]
    cluster = objects["Cluster", "tenure-postgres"]["spec"]
    parameters = {"barmanObjectName": "tenure-postgres", "serverName": "tenure-postgres"}
    assert cluster["plugins"] == [{"name": PLUGIN, "isWALArchiver": True, "parameters": parameters}]
    assert "eks.amazonaws.com/role-arn" in cluster["serviceAccountTemplate"]["metadata"]["annotations"]
    scheduled = objects["ScheduledBackup", "tenure-postgres"]["spec"]
    assert (scheduled["method"], scheduled["pluginConfiguration"]) == ("plugin", {"name": PLUGIN})
    assert scheduled["cluster"] == {"name": "tenure-postgres"}


def test_no_object_has_the_backups_that_cloudnativepg_removes() -> None:
    """Its own support of object stores, `barmanObjectStore`, is not in 1.32 any more."""
    assert "barmanObjectStore" not in chart_checks.rendered()
    assert "backup" not in made()["Cluster", "tenure-postgres"]["spec"]


def test_a_store_of_the_installations_own_is_named_and_not_made() -> None:
    objects = made({"postgres.backup.objectStore": "ours", "postgres.backup.store.path": ""})
    assert ("ObjectStore", "tenure-postgres") not in objects
    (plugin,) = objects["Cluster", "tenure-postgres"]["spec"]["plugins"]
    assert plugin["parameters"]["barmanObjectName"] == "ours"


def test_a_restored_cluster_is_made_of_the_backup_and_archives_into_another_folder() -> None:
    settings = {
        "postgres.backup.server": "second",
        "postgres.restore.server": "tenure-postgres",
        "postgres.restore.time": "2026-11-30T12:00:00Z",
    }
    spec = made(settings)["Cluster", "tenure-postgres"]["spec"]
    recovery = {"source": "backup", "recoveryTarget": {"targetTime": "2026-11-30T12:00:00Z"}}
    assert spec["bootstrap"] == {"recovery": recovery}
    (source,) = spec["externalClusters"]
    folder = {"barmanObjectName": "tenure-postgres", "serverName": "tenure-postgres"}
    assert source == {"name": "backup", "plugin": {"name": PLUGIN, "parameters": folder}}
    assert spec["plugins"][0]["parameters"] == {**folder, "serverName": "second"}


def test_while_it_is_stopped_only_the_operations_server_runs() -> None:
    objects = made({"stopped": "true"})
    replicas = {name: each["spec"]["replicas"] for (kind, name), each in objects.items() if kind == "Deployment"}
    assert {name for name, number in replicas.items() if number} == {f"tenure-{OPERATIONS}"}
    assert not [kind for kind, _ in objects if kind in ("HorizontalPodAutoscaler", "ScaledObject")]
    assert ("Job", "tenure-migrations") in {(kind, name.rpartition("-")[0]) for kind, name in objects}


def test_without_a_time_a_restore_takes_all_of_the_archive() -> None:
    spec = made({"postgres.backup.server": "second", "postgres.restore.server": "first"})["Cluster", "tenure-postgres"][
        "spec"
    ]
    assert spec["bootstrap"] == {"recovery": {"source": "backup"}}


def test_a_restored_cluster_may_not_archive_into_what_it_is_made_of() -> None:
    with pytest.raises(OperatorError, match="can't archive into the folder tenure-postgres"):
        made({"postgres.restore.server": "tenure-postgres"})
    made({"postgres.restore.server": "tenure-postgres", "postgres.restore.objectStore": "another"})


def test_the_values_of_a_store_are_those_of_the_plugins_definition() -> None:
    store = VALUES["definitions"]["store"]["properties"]
    spec = schema_of("barmancloud.cnpg.io", "objectstore-v1")
    theirs = spec["configuration"]["properties"]
    for kind, ours in store["credentials"]["properties"].items():
        assert set(ours["properties"]) == set(theirs[kind]["properties"])
    assert {name for name in theirs if name.endswith("Credentials")} == set(store["credentials"]["properties"])
    for name in ("compression", "encryption"):
        assert set(store[name]["enum"]) <= set(theirs["wal"]["properties"][name]["enum"])
        assert set(store[name]["enum"]) == set(theirs["data"]["properties"][name]["enum"])
    assert store["retention"]["pattern"] == spec["retentionPolicy"]["pattern"]


def test_postgres_takes_the_connections_of_all_processes_during_an_upgrade() -> None:
    objects = made()
    processes = sum(
        1 + bound(objects, f"tenure-{name}")
        for name, each in PROCESSES.items()
        if "DATABASE_URL" in each["environment"]
    )
    needed = 20 + DECLARED["connections"] * (processes + len(SERVICES) * (20 - 4))
    with pytest.raises(OperatorError, match=f"max_connections: an upgrade has up to {needed} by the bounds"):
        made({"parts.api.maxReplicas": "20", "parts.consumers.maxReplicas": "4"})


def bound(objects: Mapping[tuple[str, str], Mapping[str, Any]], name: str) -> int:
    """Return how many processes a deployment has at most."""
    for kind, field in (("HorizontalPodAutoscaler", "maxReplicas"), ("ScaledObject", "maxReplicaCount")):
        if (kind, name) in objects:
            return int(objects[kind, name]["spec"][field])
    return int(objects["Deployment", name]["spec"]["replicas"])


def test_a_new_version_of_the_chart_starts_no_broker_again() -> None:
    """Strimzi copies labels to pods, but for those of app.kubernetes.io/, and restarts a pod whose labels change."""
    objects = made()
    for kind, name in (("Kafka", "tenure"), ("KafkaNodePool", "broker"), ("KafkaNodePool", "controller")):
        labels = objects[kind, name]["metadata"]["labels"]
        assert {label for label in labels if not label.startswith("app.kubernetes.io/")} <= {"strimzi.io/cluster"}


# ── Kafka from outside ──────────────────────────────────────────────────────────────────────────────────


def listeners(settings: Mapping[str, str] = MappingProxyType({})) -> dict[str, dict[str, Any]]:
    """Return Kafka's listeners by name, for settings of `kafka.external`."""
    spec = made({f"kafka.external.{name}": value for name, value in settings.items()})["Kafka", "tenure"]["spec"]
    return {each["name"]: each for each in spec["kafka"]["listeners"]}


def test_kafka_has_no_listener_for_the_outside_unless_asked() -> None:
    assert set(listeners({"type": ""})) == {"tls"}


def test_a_listener_for_the_outside_is_as_safe_as_the_inner_one() -> None:
    inner, outer = listeners()["tls"], listeners()["external"]
    assert (outer["tls"], outer["authentication"]) == (True, {"type": "scram-sha-512"})
    assert (outer["tls"], outer["authentication"]) == (inner["tls"], inner["authentication"])


def test_a_load_balancer_lets_the_named_networks_in_and_keeps_their_addresses() -> None:
    outer = listeners()["external"]
    networks = ["198.51.100.0/24", "2001:db8::/32"]
    assert outer["networkPolicyPeers"] == [{"ipBlock": {"cidr": network}} for network in networks]
    assert outer["configuration"] == {
        "loadBalancerSourceRanges": networks,
        "externalTrafficPolicy": "Local",
        "class": "internal",
        "bootstrap": {
            "alternativeNames": ["kafka.example.org"],
            "annotations": {"external-dns.alpha.kubernetes.io/hostname": "kafka.example.org"},
        },
        "advertisedHostTemplate": "kafka-{nodeId}.example.org",
        "perBrokerAnnotationsTemplate": {"external-dns.alpha.kubernetes.io/hostname": "kafka-{nodeId}.example.org"},
        "brokerCertChainAndKey": {"secretName": "kafka-tls", "certificate": "tls.crt", "key": "tls.key"},
    }


def test_node_ports_keep_the_clients_address_and_name_no_balancer() -> None:
    own = {"type": "nodeport", "className": "", "host": "", "annotations": "null", "brokerAnnotations": "null"}
    settings = own | {"brokerHost": "", "certificateSecret": ""}
    assert listeners(settings)["external"]["configuration"] == {"externalTrafficPolicy": "Local"}


def test_a_gateway_is_let_in_by_its_namespace() -> None:
    own = {"type": "tlsroute", "sources": "null", "className": "", "namespace": "gateways"}
    outer = listeners(own | {"parentRefs[0].name": "kafka", "parentRefs[0].namespace": "gateways"})["external"]
    assert outer["networkPolicyPeers"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateways"}}}
    ]
    configuration = outer["configuration"]
    assert configuration["parentRefs"] == [{"name": "kafka", "namespace": "gateways"}]
    assert configuration["bootstrap"]["host"] == "kafka.example.org"
    assert configuration["hostTemplate"] == "kafka-{nodeId}.example.org"
    assert not {"loadBalancerSourceRanges", "externalTrafficPolicy", "advertisedHostTemplate"} & {*configuration}


def test_the_values_of_a_listener_are_those_of_strimzis_definition() -> None:
    spec = schema_of("kafka.strimzi.io", "kafka-v1")["kafka"]["properties"]["listeners"]["items"]["properties"]
    types = VALUES["definitions"]["external"]["properties"]["type"]["enum"]
    assert set(types) - {""} <= set(spec["type"]["enum"])
    assert set(spec["networkPolicyPeers"]["items"]["properties"]) >= {"ipBlock", "namespaceSelector"}
