"""A process's metrics, and the page that Prometheus reads.

Every metric has the label `service_name`, as OpenTelemetry's `service.name` is called in Prometheus. The figures from
the database are the same in all processes of a service: take their maximum by service. Names that begin with `kafka_`
are kafka_exporter's, and those that begin with `messaging_` are OpenTelemetry's, with its attributes as labels.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.eventlog.deliver.lag import PartitionLag
from shared.eventlog.deliver.received import Partition
from shared.eventlog.write.log import Accepted, Answer
from shared.runtime.figures import Figures

PROCESS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Source: OpenTelemetry's semantic conventions, `messaging.process.duration`."""
MESSAGING: Final = ("messaging_system", "messaging_operation_name", "messaging_destination_name")
GROUP: Final = "messaging_consumer_group_name"


class _Registry(CollectorRegistry):
    """A registry that adds the service's name to every sample."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, "service_name": self._service}) for sample in metric.samples
            ]
            yield metric


class _Figures(Collector):
    """Collector of the figures from the database, and of what the process waits for."""

    def __init__(self, figures: Figures, waiting_for: Callable[[], Mapping[str, str]]) -> None:
        self._figures, self._waiting_for = figures, waiting_for

    def collect(self) -> Iterator[GaugeMetricFamily]:
        figures = self._figures
        parked = GaugeMetricFamily("tenure_parked_records", "Records parked now", labels=["consumer", "reason"])
        oldest = GaugeMetricFamily(
            "tenure_parked_oldest_seconds", "Age of the oldest parked record", labels=["consumer", "reason"]
        )
        for each in figures.parked:
            parked.add_metric([each.consumer, each.reason], each.records)
            oldest.add_metric([each.consumer, each.reason], each.oldest_s)
        waiting = GaugeMetricFamily("tenure_waiting_for", "1 for each part that is not ready", labels=["part"])
        for part in self._waiting_for():
            waiting.add_metric([part], 1)
        yield from (parked, oldest, waiting)
        since = time.monotonic() - figures.read_at
        for name, what, value in (
            ("tenure_alarms", "Parked records that are forged or contradict the store", figures.alarms),
            ("tenure_relay_behind_events", "Events not published yet", figures.relay_events),
            ("tenure_relay_behind_seconds", "Age of the oldest event not published yet", figures.relay_s),
            ("tenure_relay_position", "The last position published", figures.published),
            ("tenure_outcomes_waiting", "Outcomes of publishers' records not published yet", figures.outcomes),
            ("tenure_outcomes_oldest_seconds", "Age of the oldest outcome not published yet", figures.outcomes_s),
            ("tenure_store_head_position", "The position of the store's last event", figures.head),
            ("tenure_store_fenced", "Whether the store takes no commands until it is repaired", figures.fenced),
            ("tenure_store_size_bytes", "Size of the service's database", figures.size_bytes),
            ("tenure_store_unread_seconds", "Time since the figures were last read from the database", since),
            ("tenure_timers_due", "Timers that are due by the real clock", figures.timers_due),
            ("tenure_timers_late_seconds", "How long the earliest timer has been due", figures.timers_late_s),
        ):
            yield GaugeMetricFamily(name, what, value)


class _ConsumerLags(Collector):
    """Collector of the consumers' lags in the partitions that this process reads now."""

    def __init__(self) -> None:
        self.lags: dict[str, Mapping[Partition, PartitionLag]] = {}
        self.checked: dict[str, float] = {}
        """When each consumer's progress was last checked, or expected to be."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ["consumergroup", "topic", "partition"]
        records = GaugeMetricFamily("kafka_consumergroup_lag", "Records that are not processed yet", labels=labels)
        seconds = GaugeMetricFamily(
            "kafka_consumergroup_lag_seconds", "Age of the oldest record that is not processed yet", labels=labels
        )
        for consumer, lags in list(self.lags.items()):
            for (topic, partition), lag in lags.items():
                records.add_metric([consumer, topic, str(partition)], lag.records)
                seconds.add_metric([consumer, topic, str(partition)], lag.seconds)
        unchecked = GaugeMetricFamily(
            "tenure_consumer_unchecked_seconds",
            "Time since the consumer last compared its progress with Kafka",
            labels=["consumer"],
        )
        now = time.monotonic()
        for consumer, checked in list(self.checked.items()):
            unchecked.add_metric([consumer], now - checked)
        yield from (records, seconds, unchecked)


class Metrics:
    """One process's metrics in a registry of their own; the engine's observer in all its roles."""

    def __init__(self, service: str) -> None:
        registry = self.registry = _Registry(service)
        self._requests = Histogram(
            "tenure_http_request_seconds", "HTTP requests", ["method", "route", "status"], registry=registry
        )
        self._commands = Counter("tenure_commands", "Commands by outcome", ["command", "outcome"], registry=registry)
        self._latency = Histogram("tenure_command_seconds", "Time from a command to its answer", registry=registry)
        self._events = Counter("tenure_events_appended", "Events appended", ["type"], registry=registry)
        self._sent = Counter(
            "messaging_client_sent_messages",
            "Events that the relay tried to send to Kafka",
            [*MESSAGING, "error_type"],
            registry=registry,
        )
        self._outcomes = Counter(
            "tenure_outcomes", "Outcomes published, by publisher", ["publisher", "status"], registry=registry
        )
        self._delivered = Counter(
            "messaging_client_consumed_messages",
            "Records that were delivered to a consumer, also repeatedly",
            [*MESSAGING, GROUP],
            registry=registry,
        )
        self._processed = Histogram(
            "messaging_process_duration_seconds",
            "Processing of a batch of records; without a destination if it has several topics",
            [*MESSAGING, GROUP, "error_type"],
            buckets=PROCESS_BUCKETS,
            registry=registry,
        )
        self._applied = Counter("tenure_consumer_events", "Events applied", ["consumer"], registry=registry)
        self._repeats = Counter("tenure_consumer_repeats", "Repeats dropped", ["consumer"], registry=registry)
        self._parked = Counter("tenure_consumer_parked", "Events parked", ["consumer", "reason"], registry=registry)
        self._lags = _ConsumerLags()
        registry.register(self._lags)
        self._limited = Counter("tenure_requests_limited", "Requests refused by a limit", ["limit"], registry=registry)

    def show(self, figures: Figures, waiting_for: Callable[[], Mapping[str, str]]) -> None:
        """Add a service's figures, and what the process waits for, to the page."""
        self.registry.register(_Figures(figures, waiting_for))

    def watch(self, name: str, what: str, count: Callable[[], float]) -> None:
        """Add a gauge to the page that calls `count` for its value."""
        Gauge(name, what, registry=self.registry).set_function(count)

    def count(self, name: str, what: str, labels: Sequence[str]) -> Callable[..., None]:
        """Add a counter of a service's own, and return a function that increments it.

        The function takes a value for each label.
        """
        counter = Counter(name, what, labels, registry=self.registry)
        return lambda *values: counter.labels(*values).inc()

    def spans(self) -> Callable[[str, int], None]:
        """Add the counter of spans to the page, and return a function that adds to it.

        The function takes an outcome and a number of spans.
        """
        counter = Counter("tenure_spans", "Spans by what became of them", ["outcome"], registry=self.registry)
        for outcome in ("exported", "failed", "queue-full"):
            counter.labels(outcome)
        return lambda outcome, number: counter.labels(outcome).inc(number)

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).observe(seconds)

    def limited(self, limit: str) -> None:
        self._limited.labels(limit).inc()

    def answered(self, command: object, answer: Answer, seconds: float) -> None:
        outcome = "repeated" if answer.repeated else "accepted" if isinstance(answer, Accepted) else "refused"
        self._commands.labels(type(command).__name__, outcome).inc()
        self._latency.observe(seconds)
        if isinstance(answer, Accepted) and not answer.repeated:
            for recorded in answer.events:
                self._events.labels(recorded.event.type()).inc()

    def sent(self, topic: str, messages: int, error: str) -> None:
        self._sent.labels("kafka", "send", topic, error).inc(messages)

    def outcome(self, publisher: str, status: str) -> None:
        self._outcomes.labels(publisher, status).inc()

    def expect(self, consumers: Iterable[str]) -> None:
        """Count the time until the first check of these consumers' progress from now on."""
        self._lags.checked |= dict.fromkeys(consumers, time.monotonic())

    def delivered(self, consumer: str, records: Mapping[str, int]) -> None:
        for topic, number in records.items():
            self._delivered.labels("kafka", "poll", topic, consumer).inc(number)

    def processed(self, consumer: str, topics: Collection[str], seconds: float, error: str) -> None:
        topic = next(iter(topics)) if len(topics) == 1 else ""
        self._processed.labels("kafka", "process", topic, consumer, error).observe(seconds)

    def consumed(self, consumer: str, applied: int, repeats: int) -> None:
        self._applied.labels(consumer).inc(applied)
        self._repeats.labels(consumer).inc(repeats)

    def parked(self, consumer: str, reason: str) -> None:
        self._parked.labels(consumer, reason).inc()

    def lagging(self, consumer: str, lags: Mapping[Partition, PartitionLag]) -> None:
        self._lags.lags[consumer] = lags
        self._lags.checked[consumer] = time.monotonic()
