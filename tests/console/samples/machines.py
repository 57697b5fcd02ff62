"""A machine's account, as identity answers."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.console.fakes import Answer
from tests.console.samples import Sample

MACHINE: Final[dict[str, Any]] = {
    "client_id": "m-1",
    "name": "Render node",
    "organisation_id": "o-1",
    "scopes": ["read"],
    "acts_for": None,
    "registered_by": "a-1",
    "expires_at": "2100-01-01T00:00:00Z",
    "rotations": 0,
    "previous_until": None,
    "revoked_by": None,
}
ANSWERS: Final[Mapping[str, Answer]] = {
    "GET /machines": httpx.Response(200, json={"items": [MACHINE], "next": None}),
    "GET /machines/m-1": httpx.Response(200, json=MACHINE),
}
SAMPLES: Final = {
    "/machines": Sample("/machines", ANSWERS),
    "/machines/new": Sample("/machines/new", ANSWERS),
    "/machines/{client_id}": Sample("/machines/m-1", ANSWERS),
}
