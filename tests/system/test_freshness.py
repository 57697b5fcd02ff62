"""A read with Tenure-At-Least on the running system, in the process that folds and in one that only answers."""

import time
from pathlib import Path

import httpx
import pytest

from shared.runtime.freshness import WAIT_S
from tests.system.people import signed_up
from tests.system.running import System, another_process

pytestmark = pytest.mark.system

TIMES = 6


def quickest_read(system: System, url: str) -> float:
    """The shortest of several times, in seconds, from a command's answer to a read that has it."""
    somebody = signed_up(system, {"organisation": {"name": "Readers", "kind": "customer"}})
    took = []
    with httpx.Client(timeout=30, trust_env=False, headers={"Authorization": f"Bearer {somebody.token}"}) as http:
        for number in range(TIMES):
            profile = {"name": f"Kim {number}", "country": "DE", "time_zone": "Europe/Berlin", "locale": "en-GB"}
            written = http.put(f"{system.env['TENURE_IDENTITY_URL']}/me/profile", json=profile)
            began = time.monotonic()
            assert written.is_success, written.text
            read = http.get(f"{url}/contracts", headers={"Tenure-At-Least": written.headers["Tenure-Version"]})
            took.append(time.monotonic() - began)
            assert read.is_success, read.text
    return min(took)


def test_a_read_of_the_process_that_folds_comes_before_its_deadline(running: System) -> None:
    assert quickest_read(running, running.env["TENURE_IDENTITY_URL"]) < WAIT_S / 2


def test_a_read_of_a_process_that_folds_nothing_comes_before_its_deadline(running: System, tmp_path: Path) -> None:
    with another_process(running, "identity", tmp_path) as url:
        assert quickest_read(running, url) < WAIT_S / 2
