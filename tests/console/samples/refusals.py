"""Refusals, as the services keep them."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import Answer
from tests.console.samples import Sample

REFUSAL: Final[dict[str, Any]] = {
    "command_id": "a-1:k-1",
    "command": "ApproveRoleRequest",
    "account_id": "a-1",
    "stream": "contract-c-1",
    "request": None,
    "status": 403,
    "rule": "role-missing",
    "reason": "Only the contract's Contract Manager may decide this.",
    "remedy": "Ask the Contract Manager.",
    "because": ["e-1", "e-2"],
    "refused_at": "2026-11-29T11:31:52Z",
}
HISTORY: Final = {
    "at": "2026-11-20T11:00:00Z",
    "actor": "a-1",
    "type": "RoleAssigned",
    "data": {},
    "event_id": "e-1",
}


def many(*items: Any) -> httpx.Response:
    return httpx.Response(200, json={"items": [*items], "next": None})


ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /refusals": many(REFUSAL),
    "GET /refusals/a-1:k-1": httpx.Response(200, json=REFUSAL),
    "GET /contracts/c-1/history": many(HISTORY),
}
SAMPLES: Final = {
    "/refusals": Sample("/refusals", ANSWERS),
    "/refusals/{command_id:path}": Sample("/refusals/a-1:k-1", ANSWERS),
}
