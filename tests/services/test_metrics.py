"""A process's metrics under the names that existing dashboards expect."""

import re
from typing import Final

from shared.eventlog.deliver.lag import PartitionLag
from shared.runtime.figures import Figures
from shared.runtime.metrics import Metrics

NAMED: Final = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")
SERVICE: Final = ("service_name", "identity")


def shown(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the samples on the page, by name and labels."""
    found = {}
    for line in metrics.page().decode().splitlines():
        if not line.startswith("#"):
            sample = NAMED.match(line)
            assert sample is not None, line
            labels = re.findall(r'(\w+)="([^"]*)"', sample["labels"] or "")
            found[sample["name"], frozenset(labels)] = float(sample["value"])
    return found


def of(metrics: Metrics, name: str, **labels: str) -> float | None:
    return shown(metrics).get((name, frozenset([*labels.items(), SERVICE])))


def test_lag_has_the_labels_of_kafka_exporter() -> None:
    metrics = Metrics("identity")
    metrics.lagging("identity.people", {("topic", 0): PartitionLag(3, 12.5), ("topic", 1): PartitionLag(0, 0.0)})
    place = {"consumergroup": "identity.people", "topic": "topic", "partition": "0"}
    assert of(metrics, "kafka_consumergroup_lag", **place) == 3
    assert of(metrics, "kafka_consumergroup_lag_seconds", **place) == 12.5


def test_a_partition_that_another_process_reads_now_is_not_shown() -> None:
    metrics = Metrics("identity")
    metrics.lagging("identity.people", {("topic", 0): PartitionLag(3, 1.0)})
    metrics.lagging("identity.people", {})
    assert not any(name.startswith("kafka_") for name, _ in shown(metrics))


def test_messaging_has_the_attributes_of_opentelemetry() -> None:
    metrics = Metrics("identity")
    metrics.sent("topic", 5, "")
    metrics.sent("topic", 2, "RequestTimedOutError")
    sending = {"messaging_system": "kafka", "messaging_operation_name": "send", "messaging_destination_name": "topic"}
    assert of(metrics, "messaging_client_sent_messages_total", **sending, error_type="") == 5
    assert of(metrics, "messaging_client_sent_messages_total", **sending, error_type="RequestTimedOutError") == 2
    metrics.delivered("identity.people", {"topic": 4})
    reading = {"messaging_system": "kafka", "messaging_consumer_group_name": "identity.people"}
    polled = reading | {"messaging_operation_name": "poll", "messaging_destination_name": "topic"}
    assert of(metrics, "messaging_client_consumed_messages_total", **polled) == 4


def test_a_batch_of_several_topics_has_no_destination() -> None:
    metrics = Metrics("identity")
    metrics.processed("identity.people", {"one": 1}, 0.2, "")
    metrics.processed("identity.people", {"one": 1, "two": 1}, 0.2, "Conflict")
    batch = {
        "messaging_system": "kafka",
        "messaging_operation_name": "process",
        "messaging_consumer_group_name": "identity.people",
    }
    count = "messaging_process_duration_seconds_count"
    assert of(metrics, count, **batch, messaging_destination_name="one", error_type="") == 1
    assert of(metrics, count, **batch, messaging_destination_name="", error_type="Conflict") == 1


def test_a_consumer_that_has_not_reached_kafka_is_counted_from_its_start() -> None:
    metrics = Metrics("identity")
    metrics.expect(["identity.people"])
    waited = of(metrics, "tenure_consumer_unchecked_seconds", consumer="identity.people")
    assert waited is not None and waited >= 0


def test_each_part_that_is_not_ready_is_shown() -> None:
    metrics, waiting = Metrics("identity"), {"relay": "the store has another event"}
    metrics.show(Figures(service="identity", topic="topic"), lambda: waiting)
    assert of(metrics, "tenure_waiting_for", part="relay") == 1
    waiting.clear()
    assert of(metrics, "tenure_waiting_for", part="relay") is None


def test_the_page_is_well_formed() -> None:
    """Hold what `promtool check metrics` complains about."""
    metrics = Metrics("identity")
    metrics.show(Figures(service="identity", topic="topic"), dict)
    kinds = {}
    for line in metrics.page().decode().splitlines():
        match line.split(maxsplit=3):
            case ["#", "HELP", name, text]:
                assert text, name
            case ["#", "TYPE", name, kind]:
                assert name not in kinds, name
                kinds[name] = kind
    assert kinds
    for name, kind in kinds.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(count|sum|bucket|info|milliseconds|kilobytes|minutes|hours)$", name), name
