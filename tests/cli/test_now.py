"""What the system does now, from the services' metrics and tables."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cli.scraped import between, quantile, scraped, since
from shared.eventlog.deliver.lag import PartitionLag
from shared.eventlog.write.log import Accepted, Recorded
from shared.runtime.figures import Figures, Parked
from shared.runtime.metrics import Metrics
from shared.services import SERVICES, url_variable
from tests.cli.conftest import Tenure
from tests.cli.stores import Stores, csn, fetch

INFINITE = float("inf")


@pytest.fixture
def metrics() -> Metrics:
    """The metrics of a process that has records parked and a consumer behind."""
    made = Metrics("marketplace")
    figures = Figures(service="marketplace", topic="marketplace.events.v1", relay_events=4, relay_s=2.5)
    figures.parked = [Parked("marketplace.sales", "unreadable", 3, 9.0), Parked("marketplace.sales", "gap", 1, 9.0)]
    made.show(figures, dict)
    made.lagging("marketplace.sales", {("t", 0): PartitionLag(7, 1.5), ("t", 1): PartitionLag(2, 4.0)})
    return made


def answer(metrics: Metrics, seconds: float, events: int = 1) -> None:
    recorded = tuple(Recorded(f"e-{n}", n, n, csn(n)) for n in range(events))
    metrics.answered(object(), Accepted("partner-1", events, recorded), seconds)


def test_the_figures_of_a_process_are_read_from_its_metrics(metrics: Metrics) -> None:
    answer(metrics, 0.02, events=2)
    found = scraped(metrics.page().decode())
    assert (found.commands, found.events) == ({"accepted": 1}, {"CsnIssued": 2})
    assert (found.latency[0.025], found.latency[INFINITE]) == (1, 1)
    assert (found.parked, found.lag, found.lag_s) == (
        {"marketplace.sales": 4},
        {"marketplace.sales": 9},
        {"marketplace.sales": 4.0},
    )
    assert (found.gauges["tenure_relay_behind_events"], found.gauges["tenure_relay_behind_seconds"]) == (4, 2.5)


def test_what_came_between_two_readings_is_a_rate(metrics: Metrics) -> None:
    answer(metrics, 0.02)
    before = scraped(metrics.page().decode())
    answer(metrics, 0.3, events=6)
    now = scraped(metrics.page().decode())
    assert since(now.events, before.events, 2.0) == {"CsnIssued": 3.0}
    came = between(now.latency, before.latency)
    assert (came[0.25], came[0.5], came[INFINITE]) == (0, 1, 1)
    assert since(before.events, now.events, 1.0) == {"CsnIssued": 1.0}, "a process that began again"
    assert between(before.latency, now.latency) == before.latency


@pytest.mark.parametrize(
    ("histogram", "part", "seconds"),
    [
        ({}, 0.5, None),
        ({0.1: 0, INFINITE: 0}, 0.5, None),
        ({0.1: 10, INFINITE: 10}, 0.5, 0.05),
        ({0.1: 0, 0.2: 100, INFINITE: 100}, 0.99, 0.199),
        ({0.1: 1, 0.2: 2, INFINITE: 100}, 0.99, 0.2),
    ],
)
def test_a_quantile_lies_within_its_bucket(histogram: dict[float, float], part: float, seconds: float | None) -> None:
    found = quantile(histogram, part)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.fixture
def marketplace(metrics: Metrics) -> Iterator[str]:
    """A process whose metrics grow with each look at them; its URL."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(metrics, 0.02, events=5)
            body = metrics.page()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.system
def test_now_shows_rates_lags_terms_and_rollouts(
    tenure: Tenure, stores: Stores, marketplace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(url_variable("marketplace"), marketplace)
    for key, customer, renew, days in (("1", "o", "on", 3), ("2", "o", "off", 40), ("3", SANDBOX, "on", 3)):
        fetch(
            stores["marketplace"],
            "insert into subscriptions (subscription_id, cart_id, contract_id, partner, customer, purchaser, "
            "ordered_by, status, plan, seats, total_amount, currency, starts, order_event, ends, auto_renew) values "
            f"('{key}', '', '', '', '{customer}', '', '', 'confirmed', '{{}}', 1, 1, 'EUR', now(), '', "
            f"(now() at time zone 'UTC')::date + {days}, '{renew}')",
        )
    fetch(
        stores["distribution"],
        "insert into rollouts (rollout_id, contract_id, publisher, update_id, version, groups, phases, status, phase, "
        "started_by, event_id) values ('r-1', 'k', 'p', 'u-1', '1', '{}', '[{}, {}]', 'running', 0, '', 'e-1'), "
        "('r-2', 'k', 'p', 'u-2', '1', '{}', '[{}]', 'paused', 0, '', 'e-0'), "
        "('r-3', 'k', 'p', 'u-3', '1', '{}', '[{}]', 'completed', 0, '', 'e-2')",
    )
    found = tenure("now", "--over", "0.2", "--json")
    assert found.code == 1 and [each.partition(":")[0] for each in found.json["wrong"]] == [
        each for each in SERVICES if each != "marketplace"
    ]
    shown = next(each for each in found.json["services"] if each["service"] == "marketplace")
    assert shown["events_per_s"]["CsnIssued"] > 0 and shown["commands_per_s"] > 0
    assert shown["latency"]["commands"] == 1 and 0.01 < shown["latency"]["p99_s"] <= 0.025
    assert (shown["relay_behind_s"], shown["parked"]) == (2.5, 4)
    assert found.json["consumers"] == [{"consumer": "marketplace.sales", "lag": 9, "lag_s": 4.0, "parked": 4}]
    assert [(each["first_day"], each["renewing"], each["ending"]) for each in found.json["terms"]] == [
        (0, 1, 0),
        (7, 0, 0),
        (30, 0, 1),
        (60, 0, 0),
    ]
    assert [(each["rollout_id"], each["status"], each["phases"]) for each in found.json["rollouts"]] == [
        ("r-2", "paused", 1),
        ("r-1", "running", 2),
    ]
    said = tenure("now", "--over", "0.1").out
    assert "marketplace.sales" in said and "2 rollouts under way." in said and max(map(len, said.splitlines())) <= 80


SANDBOX = "sandbox-6bd0a9d5-9caa-5b94-b6ef-5a8974ec408e"
