"""A webhook, as identity answers."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import Answer
from tests.console.samples import Sample
from tests.console.samples.machines import MACHINE

WEBHOOK: Final[dict[str, Any]] = {
    "webhook_id": "w-1",
    "name": "Dashboard",
    "address": "https://receiver.northhaus.example/tenure",
    "topic": "entitlements.events.v1",
    "types": ["SeatAssigned"],
    "streams": [],
    "organisation_id": "o-1",
    "registered_by": "a-1",
    "client_id": None,
    "registered_at": "2026-11-01T00:00:00Z",
    "state": "running",
    "reason": None,
    "rotations": 0,
    "previous_until": None,
    "position": 4211,
    "waiting": 3,
    "first_waiting": 4207,
    "failing_since": "2026-11-21T12:00:00Z",
    "paused_until": "2100-01-01T00:00:00Z",
    "last_answer": "503",
    "answered_at": "2026-11-21T12:00:00Z",
    "delivered_at": "2026-11-21T11:00:00Z",
}
ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /webhooks": httpx.Response(200, json={"items": [WEBHOOK], "next": None}),
    "GET /webhooks/w-1": httpx.Response(200, json=WEBHOOK),
    "GET /machines": httpx.Response(200, json={"items": [MACHINE], "next": None}),
}
SAMPLES: Final = {
    "/webhooks": Sample("/webhooks", ANSWERS),
    "/webhooks/new": Sample("/webhooks/new", ANSWERS),
    "/webhooks/{webhook_id}": Sample("/webhooks/w-1", ANSWERS),
}
