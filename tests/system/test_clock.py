"""A sandbox's clock on the running system: answered, it holds in every process of every service."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest

from shared.services import SERVICES, url_variable
from tests.system.parts import stopped
from tests.system.people import Somebody, signed_up
from tests.system.running import System, another_process

pytestmark = pytest.mark.system

TIMES = 6


@pytest.fixture
def somebody(running: System) -> Somebody:
    return signed_up(running, {"organisation": {"name": f"Trials {token_hex(4)}", "kind": "customer", "sandbox": True}})


async def _moves(urls: list[str], token: str) -> list[tuple[str, str, str]]:
    """The times that were asked for, and what some process showed too early, right after each answer."""
    late: list[tuple[str, str, str]] = []
    async with httpx.AsyncClient(timeout=30, trust_env=False, headers={"Authorization": f"Bearer {token}"}) as http:
        for turn in range(1, TIMES + 1):
            to = datetime.now(UTC) + timedelta(days=30 * turn)
            moved = await http.post(f"{urls[0]}/clock", json={"to": to.isoformat()})
            assert (moved.status_code, moved.json()["everywhere"]) == (200, True), moved.text
            shown = await asyncio.gather(*(http.get(f"{url}/clock") for url in urls for _ in range(3)))
            late += [
                (str(answer.url), to.isoformat(), answer.text)
                for answer in shown
                if datetime.fromisoformat(answer.json()["now"]) < to
            ]
    return late


def test_once_a_move_is_answered_every_process_of_every_service_has_the_time(
    running: System, somebody: Somebody, tmp_path: Path
) -> None:
    urls = [running.env[url_variable(name)] for name in SERVICES]
    with (
        another_process(running, "marketplace", tmp_path / "marketplace") as more,
        another_process(running, "identity", tmp_path / "identity") as other,
    ):
        assert asyncio.run(_moves([*urls, more, other], somebody.token)) == []


def test_while_a_service_is_away_the_answer_names_it(running: System, somebody: Somebody) -> None:
    to = {"to": (datetime.now(UTC) + timedelta(days=30)).isoformat()}
    headers = {"Authorization": f"Bearer {somebody.token}", "Idempotency-Key": token_hex(16)}

    def move() -> tuple[int, Any]:
        answer = httpx.post(f"{running.env['TENURE_IDENTITY_URL']}/clock", json=to, headers=headers, timeout=30)
        return answer.status_code, answer.json()["waiting_for"]

    with stopped(running.services["distribution"].pid):
        assert move() == (202, ["distribution"])
    assert move() == (200, []), "sent again, it waits again"
