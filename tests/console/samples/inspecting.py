"""The operator's look at the running system: the answers of the operations server's verbs."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import ACCOUNT, Answer
from tests.console.samples import Sample

AT: Final = "2026-11-29T11:00:05.250000Z"
SUBSCRIPTION: Final = "subscription-0190f3a0-0000-7000-8000-000000000001"
POOL: Final = "pool-0190f3a0-0000-7000-8000-000000000001"
ORDERED: Final = "0190f3a0-0000-7000-8000-00000000000a"
CONFIRMED: Final = "0190f3a0-0000-7000-8000-00000000000b"
OPENED: Final = "0190f3a0-0000-7000-8000-00000000000c"
PUBLISHERS: Final = "urn:publisher:autodesk#x-1"


def verb(**result: Any) -> httpx.Response:
    """The operations server's answer to a verb that looks."""
    return httpx.Response(
        200, json={"verb": "v", "ok": True, "dry_run": None, "plan": None, "lines": [], "result": result}
    )


def latency(commands: int, seconds: float | None) -> dict[str, Any]:
    return {"commands": commands, "p50_s": seconds, "p95_s": seconds, "p99_s": seconds}


def service(name: str, **more: Any) -> dict[str, Any]:
    return {
        "service": name,
        "fault": None,
        "events_per_s": {},
        "commands_per_s": 1.5,
        "refused_per_s": 0.0,
        "latency": latency(0, None),
        "latency_since_start": latency(37, 0.0125),
        "relay_behind_events": 0,
        "relay_behind_s": 0.0,
        "parked": 0,
        "timers_due": 0,
        "timers_late_s": 0.0,
        **more,
    }


NOW: Final[dict[str, Any]] = {
    "at": AT,
    "over_s": 2.0,
    "wrong": ["distribution: no metrics at http://distribution.example (ConnectError)"],
    "services": [
        service("identity"),
        service("marketplace", latency=latency(12, 0.25), relay_behind_events=3, relay_behind_s=4.2, parked=2),
        service("entitlements", timers_due=3, timers_late_s=90.0),
        service("distribution", fault="no metrics", parked=None, relay_behind_s=None, timers_due=None),
    ],
    "consumers": [
        {"consumer": "identity.people", "lag": 0, "lag_s": 0.0, "parked": 0},
        {"consumer": "marketplace.sales", "lag": 1240, "lag_s": 12.5, "parked": 2},
        {"consumer": "marketplace.process", "lag": None, "lag_s": None, "parked": 0},
    ],
    "terms": [
        {"first_day": 0, "last_day": 6, "renewing": 3, "asked": 1, "ending": 1},
        {"first_day": 7, "last_day": 29, "renewing": 0, "asked": 0, "ending": 0},
    ],
    "rollouts": [
        {
            "rollout_id": "r-1",
            "contract_id": "c-1",
            "publisher": "autodesk",
            "update_id": "u-1",
            "version": "2027.1",
            "title": "AutoCAD 2027.1",
            "status": "paused",
            "reason": "failures",
            "phase": 1,
            "phases": 3,
            "targets": 8,
            "succeeded": 2,
            "failed": 1,
        }
    ],
    "more_rollouts": 0,
}


def interval(at: str, **services: float) -> dict[str, Any]:
    found = {name: {"commands": 3, "p50_s": p99 / 2, "p99_s": p99} for name, p99 in services.items()}
    return {"at": at, "services": found}


LATENCY: Final[dict[str, Any]] = {
    "at": AT,
    "every_s": 15.0,
    "kept": 120,
    "intervals": [
        interval("2026-11-29T10:45:05.250000Z", identity=0.01),
        interval("2026-11-29T10:45:20.250000Z", identity=0.02, marketplace=0.25),
        interval("2026-11-29T10:45:35.250000Z"),
        interval("2026-11-29T11:00:05.250000Z", identity=0.015),
    ],
}
FOUND_STREAM: Final[dict[str, Any]] = {
    "service": "marketplace",
    "stream": SUBSCRIPTION,
    "versions": 2,
    "began": AT,
    "last": {"id": CONFIRMED, "type": "SubscriptionConfirmed", "time": AT},
    "tenant": "sandbox-1",
    "sandbox": True,
}
FOUND: Final[dict[str, Any]] = {
    "text": "northhaus",
    "organisations": [{"organisation_id": "o-2", "name": "Northhaus", "kind": "customer"}],
    "account": None,
    "event": None,
    "streams": [FOUND_STREAM],
    "more": 0,
}


def changed(field: str, before: Any = None, after: Any = None, **more: bool) -> dict[str, Any]:
    return {"field": field, "before": before, "after": after, "added": False, "removed": False, **more}


def stored(version: int, id_: str, type_: str, *changes: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id_,
        "type": type_,
        "version": version,
        "position": 58 + version,
        "time": AT,
        "actor": "urn:publisher:autodesk",
        "tenant": "o-2",
        "sandbox": False,
        "correlation": "c",
        "causation": "x-1",
        "hash": "00",
        "data": {"subscription_id": "s-1", "seats": 3, "starts": "2026-12-01"},
        "changed": [*changes],
    }


SHOWN: Final[dict[str, Any]] = {
    "service": "marketplace",
    "stream": SUBSCRIPTION,
    "at": None,
    "looked_at": 9,
    "before": 7,
    "chain": "whole",
    "events": [
        stored(8, ORDERED, "SubscriptionOrdered", changed("seats", 0, 3)),
        {
            **stored(
                9,
                CONFIRMED,
                "SubscriptionConfirmed",
                changed("is", "Ordered", "Running"),
                changed("term.ends", after="2027-11-30", added=True),
                changed("waits", before=True, removed=True),
            ),
            "state": {"is": "Running", "term": {"ends": "2027-11-30", "at": AT}, "seats": [1, 2]},
        },
    ],
}


def related(key: str, type_: str, service: str | None, stream: str, cause: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": key.rpartition("#")[2],
        "type": type_,
        "service": service,
        "source": "urn:publisher:autodesk" if service is None else f"urn:tenure:{service}",
        "stream": stream,
        "version": None if service is None else 1,
        "time": AT,
        "actor": "",
        "sandbox": False,
        "causation": cause.rpartition("#")[2],
        "correlation": "c",
        "key": key,
        "cause": cause,
        "where": "publisher.inbound.v1.autodesk/0/19" if service is None else None,
        **more,
    }


WHY: Final[dict[str, Any]] = {
    "asked": CONFIRMED,
    "asked_keys": [CONFIRMED],
    "looked_at": 60,
    "inbound": {"looked_at": 55, "records": 55, "found": 1, "problem": None},
    "cut_off": [],
    "not_followed": {"correlations": 0, "publishers_events": 0},
    "events": [
        related(PUBLISHERS, "OrderConfirmed", None, ""),
        related(CONFIRMED, "SubscriptionConfirmed", "marketplace", SUBSCRIPTION, PUBLISHERS),
        related(OPENED, "SeatPoolOpened", "entitlements", POOL, CONFIRMED),
        related("e-4", "ProductOwned", "distribution", "line-autocad", OPENED),
        related("e-5", "ContractOpened", "identity", "contract-c-1", CONFIRMED),
    ],
}
ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /me": httpx.Response(200, json={**ACCOUNT, "organisation_kind": "operator"}),
    "GET /latency": httpx.Response(200, json=LATENCY),
    "POST /verbs/now": verb(**NOW),
    "POST /verbs/stream-find": verb(**FOUND),
    "POST /verbs/stream-show": verb(**SHOWN),
    "POST /verbs/why": verb(**WHY),
}
SAMPLES: Final = {
    "/operator/now": Sample("/operator/now", ANSWERS),
    "/operator/streams": Sample("/operator/streams?q=northhaus", ANSWERS),
    "/operator/streams/{stream:path}": Sample(f"/operator/streams/{SUBSCRIPTION}", ANSWERS),
    "/operator/events/{event_id:path}": Sample(f"/operator/events/{CONFIRMED}", ANSWERS),
}
