"""Answers for the page of linked identities."""

from typing import Final

import httpx

from tests.console.samples import Sample

LINKED: Final = {"issuer": "https://login.northhaus.example", "subject": "248289761001"}
SAMPLES: Final = {
    "/profile/identities": Sample(
        "/profile/identities", {"GET /me/oidc": httpx.Response(200, json={"items": [LINKED], "next": None})}
    ),
}
