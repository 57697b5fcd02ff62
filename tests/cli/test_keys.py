"""`tenure keys` over a real database."""

import asyncio
from collections.abc import Mapping

import asyncpg
import pytest

from cli.exit_codes import NOT_FOUND, REFUSED
from services.identity.signin.keys import load
from shared.runtime.settings import Settings
from tests.cli.conftest import Tenure

pytestmark = pytest.mark.system


async def _first(dsn: str) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=1)
    try:
        await load(pool, Settings(), "first")
    finally:
        await pool.close()


@pytest.fixture
def system(tenure: Tenure, stores: Mapping[str, str]) -> Tenure:
    asyncio.run(_first(stores["identity"]))
    return tenure


def states(tenure: Tenure) -> list[str]:
    return [key["state"] for key in tenure("keys", "list", "--json").json["keys"]]


def test_a_rotation_is_considered_first_and_recorded(system: Tenure) -> None:
    considered = system("keys", "rotate")
    assert (considered.code, states(system)) == (0, ["signs"])
    assert "Dry run" in considered.out
    assert system("keys", "rotate", "--yes").code != 0, "it needs a reason"
    done = system("keys", "rotate", "--yes", "--reason", "a year has passed", "--json")
    assert (done.code, states(system)) == (0, ["signs", "published"])
    recorded = system("stream", "show", done.json["operation"], "--json")
    assert "a year has passed" in recorded.out and done.json["kid"] in recorded.out
    assert "PRIVATE KEY" not in recorded.out + done.out


def test_a_key_is_retired_when_it_is_not_needed_or_at_once(system: Tenure) -> None:
    assert system("keys", "retire", "nobodys").code == NOT_FOUND
    refused = system("keys", "retire", "first", "--at-once", "--yes", "--reason", "it leaked")
    assert (refused.code, "rotate first" in refused.err) == (REFUSED, True)
    system("keys", "rotate", "--yes", "--reason", "it leaked")
    done = system("keys", "retire", "first", "--at-once", "--yes", "--reason", "it leaked", "--json")
    assert (done.code, done.json["state"]) == (0, "retired")
    assert states(system) == ["retired", "signs"]
