"""Requests of browsers from other origins: none by default, and those of the origins that the settings name."""

from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from shared.runtime.http import make_app
from shared.runtime.parts import Parts
from shared.runtime.routes import CommandRoutes
from shared.runtime.settings import Settings
from tests.services.counters import parts

THEIRS = "https://app.example.org"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, if-match"}


def client(**settings: Any) -> httpx.AsyncClient:
    made: Parts = parts()
    made.settings = Settings(**settings)
    app = make_app(made, CommandRoutes(), None, api=True)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_by_default_no_page_of_another_origin_may_read_anything() -> None:
    async with client() as asking:
        preflight = await asking.options("/nowhere", headers={"Origin": THEIRS, **PREFLIGHT})
        answer = await asking.get("/health", headers={"Origin": THEIRS})
    assert preflight.status_code == 404
    assert not [name for each in (preflight, answer) for name in each.headers if name.startswith("access-control")]


async def test_a_named_origin_asks_and_reads_also_refusals() -> None:
    async with client(cors_origins=f"https://other.example.org, {THEIRS}") as asking:
        preflight = await asking.options("/pools", headers={"Origin": THEIRS, **PREFLIGHT})
        refused = await asking.get("/clock", headers={"Origin": THEIRS})
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, THEIRS)
    assert "If-Match" in preflight.headers["Access-Control-Allow-Headers"]
    assert refused.status_code == 401 and refused.headers["Access-Control-Allow-Origin"] == THEIRS
    assert {"ETag", "Tenure-Version", "Retry-After"} <= {*refused.headers["Access-Control-Expose-Headers"].split(", ")}
    for answer in (preflight, refused):
        assert "Access-Control-Allow-Credentials" not in answer.headers and "Origin" in answer.headers["Vary"]


async def test_another_origin_gets_no_permission() -> None:
    async with client(cors_origins=THEIRS) as asking:
        preflight = await asking.options("/pools", headers={"Origin": "https://evil.example", **PREFLIGHT})
        answer = await asking.get("/health", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 400
    assert not {"access-control-allow-origin"} & {*preflight.headers, *answer.headers}


async def test_credentials_are_for_named_origins_by_a_setting_of_their_own() -> None:
    async with client(cors_origins=THEIRS, cors_credentials=True) as asking:
        answer = await asking.get("/health", headers={"Origin": THEIRS})
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    with pytest.raises(ValidationError, match="TENURE_CORS_ORIGINS that are named"):
        Settings(cors_origins="*", cors_credentials=True)


@pytest.mark.parametrize("origins", ["app.example.org", "https://app.example.org/", "https://App.example.org", "null"])
def test_what_is_no_origin_prevents_the_start(origins: str) -> None:
    with pytest.raises(ValidationError, match="is not an origin"):
        Settings(cors_origins=origins)
