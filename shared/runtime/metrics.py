"""A process's metrics, and the page that Prometheus reads."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.eventlog.write.log import Accepted, Answer
from shared.runtime.figures import Figures


class _Figures(Collector):
    """Collector of the figures from the database, as of their last refresh."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[GaugeMetricFamily]:
        figures = self._figures
        parked = GaugeMetricFamily("tenure_parked_records", "Records parked now", labels=["consumer", "reason"])
        oldest = GaugeMetricFamily(
            "tenure_parked_oldest_seconds", "Age of the oldest parked record", labels=["consumer", "reason"]
        )
        for each in figures.parked:
            parked.add_metric([each.consumer, each.reason], each.records)
            oldest.add_metric([each.consumer, each.reason], each.oldest_s)
        yield parked
        yield oldest
        yield GaugeMetricFamily(
            "tenure_alarms", "Parked records that are forged or contradict the store", figures.alarms
        )
        yield GaugeMetricFamily("tenure_relay_behind_events", "Events not published yet", figures.relay_events)
        yield GaugeMetricFamily(
            "tenure_relay_behind_seconds", "Age of the oldest event not published yet", figures.relay_s
        )


class Metrics:
    """One process's metrics in a registry of their own; the engine's observer in all its roles."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._requests = Histogram(
            "tenure_http_request_seconds", "HTTP requests", ["method", "route", "status"], registry=registry
        )
        self._commands = Counter("tenure_commands", "Commands by outcome", ["command", "outcome"], registry=registry)
        self._events = Counter("tenure_events_appended", "Events appended", ["type"], registry=registry)
        self._relay_position = Gauge("tenure_relay_position", "The last position published", registry=registry)
        self._relayed = Counter("tenure_relay_events", "Events published", registry=registry)
        self._applied = Counter("tenure_consumer_events", "Events applied", ["consumer"], registry=registry)
        self._repeats = Counter("tenure_consumer_repeats", "Repeats dropped", ["consumer"], registry=registry)
        self._parked = Counter("tenure_consumer_parked", "Events parked", ["consumer", "reason"], registry=registry)
        self._lag = Gauge(
            "tenure_consumer_lag", "Records not processed yet", ["consumer", "topic", "partition"], registry=registry
        )

        self._limited = Counter("tenure_requests_limited", "Requests refused by a limit", ["limit"], registry=registry)

    def show(self, figures: Figures) -> None:
        """Add a service's figures to the page."""
        self.registry.register(_Figures(figures))

    def watch(self, name: str, what: str, count: Callable[[], float]) -> None:
        """Add a gauge to the page that calls `count` for its value."""
        Gauge(name, what, registry=self.registry).set_function(count)

    def count(self, name: str, what: str, labels: Sequence[str]) -> Callable[..., None]:
        """Add a counter of a service's own, and return a function that increments it.

        The function takes a value for each label.
        """
        counter = Counter(name, what, labels, registry=self.registry)
        return lambda *values: counter.labels(*values).inc()

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).observe(seconds)

    def limited(self, limit: str) -> None:
        self._limited.labels(limit).inc()

    def answered(self, command: object, answer: Answer) -> None:
        outcome = "repeated" if answer.repeated else "accepted" if isinstance(answer, Accepted) else "refused"
        self._commands.labels(type(command).__name__, outcome).inc()
        if isinstance(answer, Accepted) and not answer.repeated:
            for recorded in answer.events:
                self._events.labels(recorded.event.type()).inc()

    def relayed(self, position: int, events: int) -> None:
        self._relay_position.set(position)
        self._relayed.inc(events)

    def consumed(self, consumer: str, applied: int, repeats: int) -> None:
        self._applied.labels(consumer).inc(applied)
        self._repeats.labels(consumer).inc(repeats)

    def parked(self, consumer: str, reason: str) -> None:
        self._parked.labels(consumer, reason).inc()

    def lagging(self, consumer: str, topic: str, partition: int, lag: int) -> None:
        self._lag.labels(consumer, topic, str(partition)).set(lag)
