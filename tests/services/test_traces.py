"""The spans of requests and commands, and what becomes of them where a collector does not answer."""

import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.console.doors import Call, Caller, Doors, Unreachable
from shared.eventlog.deliver.projection import Projection
from shared.eventlog.deliver.received import Received, receive
from shared.eventlog.deliver.traced import BatchSpans, report_sent
from shared.eventlog.write.memory import MemoryStore
from shared.eventlog.write.traced import TracedLog
from shared.events.envelope import StoredEvent, chained
from shared.runtime.clients import service_client
from shared.runtime.database import Pool
from shared.runtime.http import make_app
from shared.runtime.metrics import Metrics
from shared.runtime.middleware import Requests
from shared.runtime.spans import LAST_S, OtelTracer
from shared.runtime.traces import are_recorded, tracer_of
from shared.tracing import ACTIVE, Active
from tests.examples.positions import Store, records
from tests.services.counters import QUERIES, TOKEN, counting, parts

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


class Bench:
    def __init__(self, client: httpx.AsyncClient, tracer: OtelTracer, exporter: InMemorySpanExporter) -> None:
        self.client, self._tracer, self._exporter = client, tracer, exporter
        self.store = MemoryStore()

    def spans(self) -> dict[str, ReadableSpan]:
        """The spans that were recorded, by name; no more are recorded then."""
        self._tracer.close()
        return {span.name: span for span in self._exporter.get_finished_spans()}


@asynccontextmanager
async def traced() -> AsyncIterator[Bench]:
    exporter = InMemorySpanExporter()
    tracer = OtelTracer("counters", lambda _outcome, _number: None, exporter)
    store, made = MemoryStore(), parts()
    made.tracer = tracer
    made.opened_log = TracedLog(store, "entitlements", tracer, observer=made.metrics)
    made.opened_db = cast("Pool", object())
    transport = httpx.ASGITransport(make_app(made, counting(), QUERIES, api=True), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        bench = Bench(client, tracer, exporter)
        bench.store = store
        yield bench


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


async def test_a_command_continues_the_trace_of_its_request() -> None:
    async with traced() as bench:
        headers = {"traceparent": PARENT, "tracestate": STATE}
        assert (await bench.client.post("/counters/one", json={"by": "me"}, headers=headers)).is_success
        (event,) = bench.store.events
        spans = bench.spans()
    request, command = spans["POST /counters/{key}"], spans["execute Count"]
    assert {span.context.trace_id for span in spans.values() if span.context} == {int(TRACE, 16)}
    assert request.parent is not None and request.parent.span_id == int("b7ad6b7169203331", 16)
    assert command.parent is not None and f"{command.parent.span_id:016x}" == id_of(request)
    assert event.envelope.traceparent == f"00-{TRACE}-{id_of(command)}-01 {STATE}"
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/counters/{key}",
        "url.scheme": "http",
    }
    assert dict(command.attributes or {}) == {
        "db.operation.name": "log.append",
        "db.system.name": "postgresql",
        "tenure.command": "Count",
        "tenure.events": event.envelope.type,
        "tenure.first_position": 1,
        "tenure.last_position": 1,
        "tenure.outcome": "accepted",
        "tenure.store": "entitlements",
        "tenure.stream": "counter-one",
        "tenure.version": 1,
    }


async def test_a_trace_that_is_not_sampled_is_passed_on_and_not_recorded() -> None:
    async with traced() as bench:
        headers = {"traceparent": f"{PARENT[:-2]}00", "tracestate": STATE}
        assert (await bench.client.post("/counters/one", json={"by": "me"}, headers=headers)).is_success
        (event,) = bench.store.events
        assert bench.spans() == {}
    assert event.envelope.traceparent.startswith(f"00-{TRACE}-")
    assert event.envelope.traceparent.endswith(f"-00 {STATE}")


async def test_an_invalid_parent_is_replaced_by_a_new_trace() -> None:
    async with traced() as bench:
        headers = {"traceparent": PARENT.replace(TRACE, "0" * 32), "tracestate": STATE}
        assert (await bench.client.post("/counters/one", json={"by": "me"}, headers=headers)).is_success
        request = bench.spans()["POST /counters/{key}"]
    assert request.parent is None
    assert request.context is not None and request.context.trace_id not in (0, int(TRACE, 16))
    assert not request.context.trace_state


async def test_spans_say_nothing_that_a_person_wrote() -> None:
    async with traced() as bench:
        url = "/counters/kim%40example.org?name=Kim+Example"
        await bench.client.post(url, json={"by": "Kim Example"}, headers={"X-Correlation-ID": "kim"})
        await bench.client.post("/counters/one", json={"by": "Kim Example", "kim": "x" * 999})
        await bench.client.request("KIM", "/kim")
        said = repr([(name, span.attributes) for name, span in bench.spans().items()])
    assert "kim" not in said.lower()
    assert "_OTHER" in said


async def test_a_probe_is_no_span() -> None:
    async with traced() as bench:
        for path in ("/health", "/ready", "/metrics"):
            await bench.client.get(path, headers={"traceparent": PARENT})
        assert bench.spans() == {}


async def test_a_failed_request_says_so() -> None:
    async with traced() as bench:
        await bench.client.post("/counters/broken", json={"by": "me"})
        request = bench.spans()["POST /counters/{key}"]
    assert request.attributes is not None and request.attributes["error.type"] == "500"
    assert not request.status.is_ok


async def test_the_consoles_requests_carry_the_trace() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(500)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    doors = Doors({"identity": "http://identity"}, client)
    call = Call(service="identity", method="GET", path="/me")
    with pytest.raises(Unreachable):
        await doors.ask(call, Caller(traceparent=f"{PARENT} {STATE}"), BaseModel)
    await doors.close()
    assert (asked[0].headers["traceparent"], asked[0].headers["tracestate"]) == (PARENT, STATE)


async def test_a_request_to_a_service_is_a_span_whose_context_it_carries() -> None:
    """Also where who asks names another context, as the console does: that of its own request."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.path == "/away":
            raise httpx.ConnectError("nobody listens")
        return httpx.Response(404 if request.url.path == "/unknown" else 200)

    exporter = InMemorySpanExporter()
    tracer = OtelTracer("console", lambda _outcome, _number: None, exporter)
    client = service_client(5, httpx.MockTransport(answer))
    await client.get("http://identity:8101/before")
    before = ACTIVE.set(Active(tracer, f"{PARENT} {STATE}"))
    await client.get("http://identity:8101/people/kim?name=kim", headers={"traceparent": PARENT})
    await client.post("http://identity:8101/unknown")
    with pytest.raises(httpx.ConnectError):
        await client.get("http://identity:8101/away")
    ACTIVE.reset(before)
    tracer.close()
    found, unknown, away = exporter.get_finished_spans()
    assert "traceparent" not in asked[0].headers
    assert (asked[1].headers["traceparent"], asked[1].headers["tracestate"]) == (f"00-{TRACE}-{id_of(found)}-01", STATE)
    assert found.parent is not None and found.parent.span_id == int("b7ad6b7169203331", 16)
    assert (found.name, found.kind) == ("GET", SpanKind.CLIENT)
    assert dict(found.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "identity",
        "server.port": 8101,
        "url.scheme": "http",
    }
    errors = [dict(span.attributes or {}).get("error.type") for span in (found, unknown, away)]
    assert errors == [None, "404", "ConnectError"]


async def test_a_request_is_what_its_task_serves_as_long_as_it_does() -> None:
    seen: list[Active | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(ACTIVE.get())
        await Response()(scope, receive, send)

    made, tracer = parts(), OtelTracer("counters", lambda _outcome, _number: None, InMemorySpanExporter())
    transport = httpx.ASGITransport(Requests(app, made, lambda _: 1_000))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers={"traceparent": PARENT}
    ) as client:
        await client.get("/without")
        made.tracer = tracer
        await client.get("/with")
    tracer.close()
    without, active = seen
    assert without is None and active is not None and active.context.startswith(f"00-{TRACE}-")
    assert ACTIVE.get() is None


async def test_a_consumers_span_follows_the_relays_which_no_header_names() -> None:
    (event,) = Store().grow(1)
    envelope = event.envelope._replace(traceparent=f"{PARENT} {STATE}")
    event = StoredEvent(envelope._replace(hash=chained(envelope, event.data)), event.data)
    (raw,) = records([event])
    exporter = InMemorySpanExporter()
    tracer = OtelTracer("entitlements", lambda _outcome, _number: None, exporter)
    report_sent(tracer, raw.topic, raw.partition, [event], 1, "")
    spans = BatchSpans(tracer, "entitlements.pools", Projection("pools", topics=(raw.topic,), tables=("pools",)))

    async def fold(_: Received) -> None:
        return

    await spans.around(fold)(receive(raw, frozenset({event.envelope.type})))
    spans.end()
    tracer.close()
    sent, folded, processed = exporter.get_finished_spans()
    assert [span.name.partition(" ")[0] for span in (sent, folded, processed)] == ["send", "fold", "process"]
    assert sent.parent is not None and sent.parent.span_id == int("b7ad6b7169203331", 16)
    assert processed.parent is not None and f"{processed.parent.span_id:016x}" == id_of(sent)
    assert folded.parent is not None and f"{folded.parent.span_id:016x}" == id_of(processed)
    assert processed.parent.trace_state.to_header() == STATE


class Stuck(SpanExporter):
    """An exporter whose collector does not answer."""

    def __init__(self) -> None:
        self.answered = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.answered.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


def test_a_collector_that_does_not_answer_costs_no_more_than_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    outcomes: Counter[str] = Counter()
    stuck = Stuck()
    tracer = OtelTracer("counters", lambda outcome, number: outcomes.update({outcome: number}), stuck)
    for _ in range(1_000):
        tracer.start("work", "internal", "", {}).end()
    assert outcomes["queue-full"] >= 800, "at most the queue and one batch are held"
    closing = threading.Thread(target=tracer.close)
    closing.start()
    closing.join(10 * LAST_S)
    assert not closing.is_alive(), "the process ends all the same"
    stuck.answered.set()


def test_a_collector_that_is_away_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    metrics = Metrics("counters")
    tracer = tracer_of("counters", metrics)
    assert tracer is not None
    tracer.start("work", "internal", "", {}).end()
    tracer.close()
    failed = 'tenure_spans_total{outcome="failed",service_name="counters"} 1.0'
    while failed not in metrics.page().decode():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("environment", "recorded"),
    [
        ({}, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_recorded_where_the_standard_variables_say_so(
    environment: dict[str, str], *, recorded: bool
) -> None:
    assert are_recorded(environment) is recorded
