"""The traces of a running system, as a collector on loopback receives them."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import asyncpg
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from deploy.cast import PUBLISHER
from tests.system.people import Someone
from tests.system.publishing import machine_of
from tests.system.running import System, console_of, system
from tests.system.scene import Scene, play

pytestmark = [pytest.mark.system, pytest.mark.slow]

PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Hop:
    """A span as it was received."""

    service: str
    name: str
    id: str
    parent: str
    state: str
    attributes: dict[str, str] = field(default_factory=dict)


class Collector:
    """The spans that were received, by trace."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.traces: dict[str, list[Hop]] = defaultdict(list)

    def take(self, body: bytes) -> None:
        for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {each.key: each.value.string_value for each in of_process.resource.attributes}
            for span in (span for scope in of_process.scope_spans for span in scope.spans):
                said = {a.key: a.value.string_value or str(a.value.int_value) for a in span.attributes}
                hop = Hop(
                    resource["service.name"],
                    span.name,
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.trace_state,
                    said,
                )
                self.traces[span.trace_id.hex()].append(hop)

    def until(self, found: Callable[[], Any]) -> Any:
        """Return what is found, once it is."""
        until = time.monotonic() + PATIENCE_S
        while not (it := found()):
            assert time.monotonic() < until, {trace: [hop.name for hop in hops] for trace, hops in self.traces.items()}
            time.sleep(0.1)
        return it


@contextmanager
def collector() -> Iterator[Collector]:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Collector]]:
    with collector() as found:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with system(tmp_path_factory.mktemp("traced"), settings) as whole:
            yield whole, found


def chain(hops: list[Hop], last: Hop) -> list[str]:
    """Return the hops from the trace's first to this one."""
    by_id = {hop.id: hop for hop in hops}
    way = [last]
    while (parent := by_id.get(way[-1].parent)) is not None:
        way.append(parent)
    return [f"{hop.service}: {hop.name}" for hop in reversed(way)]


def assert_traced(found: Collector, begins: str, *ways: list[str]) -> list[Hop]:
    """Wait for a trace with all of these ways from its first hop, and return its hops."""

    def whole_trace() -> list[Hop] | None:
        for hops in list(found.traces.values()):
            seen = [chain(hops, hop) for hop in hops]
            if all([begins, *way] in seen for way in ways):
                return hops
        return None

    hops: list[Hop] = found.until(whole_trace)
    return hops


@pytest.fixture(scope="module")
def scene(traced: tuple[System, Collector]) -> Scene:
    return play(traced[0])


def test_one_trace_has_every_hop_from_a_request_to_a_row_of_another_service(
    traced: tuple[System, Collector], scene: Scene
) -> None:
    _, found = traced
    clerk, subscription = scene.people["clerk"], scene.ids["subscription_id"]
    marketplace, given = clerk.http["marketplace"], {"Authorization": f"Bearer {clerk.fresh()}"}
    shown = marketplace.get(f"/subscriptions/{subscription}", headers=given).json()
    seats = {"seats": shown["seats"] + 1}
    answer = marketplace.put(f"/subscriptions/{subscription}/seats", json=seats, headers=given)
    assert answer.is_success, answer.text
    added = ["marketplace: execute ChangeSeats"]
    added += ["marketplace: send marketplace.events.v1"]
    resized = [*added, "entitlements: process marketplace.events.v1", "entitlements: execute ResizePool"]
    resized += ["entitlements: send entitlements.events.v1"]
    hops = assert_traced(
        found,
        "marketplace: PUT /subscriptions/{subscription_id}/seats",
        [*added, "marketplace: process marketplace.events.v1", "marketplace: fold marketplace.sales"],
        [*resized, "entitlements: process entitlements.events.v1", "entitlements: fold entitlements.pools"],
    )
    (fold,) = [hop for hop in hops if hop.name == "fold entitlements.pools"]
    assert fold.attributes["tenure.tables"] == "pools,seats"
    said = repr([hop.attributes for trace in found.traces.values() for hop in trace])
    assert [word for word in ("@", "Northhaus", "Mina", "Example") if word in said] == [], "spans name nobody"


def test_a_question_to_another_service_and_its_answer_are_in_the_trace(
    traced: tuple[System, Collector], scene: Scene
) -> None:
    """Auto-renew is turned off: marketplace asks entitlements by an event, and is answered by one."""
    _, found = traced
    clerk, subscription = scene.people["clerk"], scene.ids["subscription_id"]
    given = {"Authorization": f"Bearer {clerk.fresh()}"}
    answer = clerk.http["marketplace"].post(f"/subscriptions/{subscription}/disable-auto-renew", json={}, headers=given)
    assert answer.is_success, answer.text
    said = {name: f"{name}: send {name}.events.v1" for name in ("marketplace", "entitlements")}
    asked = ["marketplace: execute DisableAutoRenew", said["marketplace"]]
    asked += ["entitlements: process marketplace.events.v1", "entitlements: execute AnswerAutoRenewRequest"]
    answered = [*asked, said["entitlements"], "marketplace: process entitlements.events.v1"]
    decided = [*answered, "marketplace: execute RecordPoolCleared", said["marketplace"]]
    decided += ["marketplace: process marketplace.events.v1"]
    assert_traced(
        found,
        "marketplace: POST /subscriptions/{subscription_id}/disable-auto-renew",
        [*decided, "marketplace: fold marketplace.sales"],
    )


def put_profile(somebody: Someone, name: str, **headers: str) -> str:
    """Change the profile of a person, and return the id of the event."""
    profile = {"name": name, "country": "DE", "time_zone": "Europe/Berlin", "locale": "en-GB"}
    given = {"Authorization": f"Bearer {somebody.fresh()}", **headers}
    answer = somebody.http["identity"].put("/me/profile", json=profile, headers=given)
    assert answer.is_success, answer.text
    event: str = answer.json()["events"][0]["id"]
    return event


async def context_in(dsn: str, event: str) -> str:
    db = await asyncpg.connect(dsn)
    try:
        context: str = await db.fetchval("select traceparent from log.events where id = $1::uuid", event)
        return context
    finally:
        await db.close()


def test_a_callers_trace_goes_on_with_its_state(traced: tuple[System, Collector]) -> None:
    whole, found = traced
    somebody, trace, state = Someone(whole), token_hex(16), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    event = put_profile(somebody, "Kim 1", traceparent=f"00-{trace}-b7ad6b7169203331-01", tracestate=state)
    context = asyncio.run(context_in(whole.dsns()["identity"], event))
    assert context.startswith(f"00-{trace}-") and context.endswith(f"-01 {state}")
    updated = ["identity: execute UpdateProfile", "identity: send identity.events.v1"]
    updated += ["marketplace: process identity.events.v1"]
    hops = assert_traced(found, "identity: PUT /me/profile", [*updated, "marketplace: fold marketplace.people"])
    assert hops is found.traces[trace]
    assert {hop.state for hop in hops} == {state}
    (fold,) = [hop for hop in hops if hop.name == "fold marketplace.people"]
    (process,) = [hop for hop in hops if hop.id == fold.parent]
    assert process.attributes["messaging.consumer.group.name"] == "marketplace.people"
    assert process.attributes["messaging.message.id"] == event


def test_a_trace_that_is_not_sampled_is_recorded_nowhere(traced: tuple[System, Collector]) -> None:
    whole, found = traced
    somebody, unsampled, later = Someone(whole), token_hex(16), token_hex(16)
    event = put_profile(somebody, "Kim 1", traceparent=f"00-{unsampled}-b7ad6b7169203331-00")
    context = asyncio.run(context_in(whole.dsns()["identity"], event))
    assert context.startswith(f"00-{unsampled}-") and context.endswith("-00")
    put_profile(somebody, "Kim 2", traceparent=f"00-{later}-b7ad6b7169203331-01")
    found.until(lambda: [hop for hop in found.traces[later] if hop.name == "fold marketplace.people"])
    assert unsampled not in found.traces


def test_an_invalid_parent_begins_a_trace_of_its_own(traced: tuple[System, Collector]) -> None:
    whole, found = traced
    event = put_profile(Someone(whole), "Kim 1", traceparent=f"00-{'0' * 32}-b7ad6b7169203331-01", tracestate="a=1")
    context = asyncio.run(context_in(whole.dsns()["identity"], event))
    trace = context[3:35]
    assert trace != "0" * 32 and "a=1" not in context
    first = found.until(lambda: [hop for hop in found.traces[trace] if hop.name == "PUT /me/profile"])[0]
    assert first.parent == ""


def test_a_request_of_the_console_to_a_service_is_seen_from_both_sides(
    traced: tuple[System, Collector], tmp_path: Path
) -> None:
    whole, found = traced
    with console_of(whole, tmp_path) as console:
        answer = httpx.get(f"{console}/events/urn:publisher:{PUBLISHER}/unknown", headers=_of_a_machine(whole))
        assert answer.status_code == 404
        assert_traced(
            found,
            "console: GET /events/{source}/{event_id:path}",
            ["console: GET", "marketplace: GET /events/{source}/{event_id:path}"],
            ["console: GET", "entitlements: GET /events/{source}/{event_id:path}"],
        )


def _of_a_machine(whole: System) -> dict[str, str]:
    client_id, secret = machine_of(whole)
    asked = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    answer = httpx.post(f"{whole.env['TENURE_IDENTITY_URL']}/oauth/token", data=asked)
    return {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
