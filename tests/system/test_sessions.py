"""A session that has ended opens nothing anywhere within a second, also while Kafka or identity does not answer."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest

from deploy.stack import Part
from shared.services import SERVICES
from tests.system import parts
from tests.system.people import PASSWORD, Someone
from tests.system.running import System

SOON_S = 3.0
"""What is promised is one second; the machine of the tests may be busy. Beside it the test's own requests take time."""


def shut_everywhere(someone: Someone, token: str) -> float:
    """After how many seconds no service opens to the token any more."""
    began = time.monotonic()
    waiting = set(SERVICES)
    while waiting:
        waiting = {service for service in waiting if someone.status(service, token) != 401}
        assert time.monotonic() - began < SOON_S + 10, f"still open at {waiting}"
        time.sleep(0.01)
    return time.monotonic() - began


def signs_out(_: System, who: Someone) -> None:
    who.ask("DELETE", "/sessions/current")


def signs_out_everywhere(_: System, who: Someone) -> None:
    who.ask("DELETE", "/sessions", token=who.sign_in()["access_token"])


def changes_the_password(_: System, who: Someone) -> None:
    who.ask("PUT", "/me/password", {"current": PASSWORD, "new": f"{PASSWORD} {token_hex(4)}"})


def closes_the_account(_: System, who: Someone) -> None:
    who.ask("DELETE", "/me")


def has_the_refresh_token_stolen(_: System, who: Someone) -> None:
    used = {"refresh_token": who.session["refresh_token"]}
    following = who.ask("POST", "/sessions/refresh", used, token="")
    who.ask("POST", "/sessions/refresh", {"refresh_token": following["refresh_token"]}, token="")
    assert who.http["identity"].post("/sessions/refresh", json=used).status_code == 401


@pytest.mark.parametrize(
    "ends",
    [signs_out, signs_out_everywhere, changes_the_password, closes_the_account, has_the_refresh_token_stolen],
    ids=lambda ends: ends.__name__,
)
def test_whoever(running: System, ends: Callable[[System, Someone], None]) -> None:
    who = Someone(running)
    assert [who.status(service) for service in SERVICES] == [200] * len(SERVICES)
    token = who.token
    ends(running, who)
    assert shut_everywhere(who, token) < SOON_S


def test_whoever_loses_a_role_signs_in_again(running: System) -> None:
    founder = Someone(running)
    colleague = founder.colleague(running)
    account_id = colleague.session["account_id"]
    founder.ask("PUT", f"/organisation/administrators/{account_id}")
    assert [colleague.status(service) for service in SERVICES] == [200] * len(SERVICES)
    founder.ask("DELETE", f"/organisation/administrators/{account_id}")
    assert shut_everywhere(colleague, colleague.token) < SOON_S
    again = colleague.sign_in()["access_token"]
    assert [colleague.status(service, again) for service in SERVICES] == [200] * len(SERVICES)


def test_a_machine_that_is_revoked_opens_nothing(running: System) -> None:
    founder = Someone(running)
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = founder.ask("POST", "/machines", {"name": "Dashboard", "scopes": ["read"], "expires_at": until})
    form = {"grant_type": "client_credentials", "client_id": made["client_id"], "client_secret": made["client_secret"]}
    token = founder.http["identity"].post("/oauth/token", data=form).json()["access_token"]
    assert [founder.status(service, token) for service in SERVICES] == [200] * len(SERVICES)
    founder.ask("DELETE", f"/machines/{made['client_id']}")
    assert shut_everywhere(founder, token) < SOON_S


@contextmanager
def silent(part: Part | parts.Part) -> Iterator[None]:
    """It answers nobody, and loses nothing; a container is stopped in order."""
    pid = part.pid if isinstance(part, Part) else None
    if pid is None:
        part.stop()
    else:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if pid is None:
            part.start()
        else:
            os.kill(pid, signal.SIGCONT)


OTHERS = [service for service in SERVICES if service != "identity"]


def test_while_kafka_is_silent_identity_is_asked_and_while_both_are_nobody_is_let_in(running: System) -> None:
    stays, leaves = Someone(running), Someone(running)
    assert {who.status(service) for who in (stays, leaves) for service in OTHERS} == {200}
    with silent(running.kafka):
        time.sleep(1.5)
        assert {stays.status(service) for service in OTHERS} == {200}
        leaves.ask("DELETE", "/sessions/current")
        assert shut_everywhere(leaves, leaves.token) < SOON_S
        with silent(running.services["identity"]):
            time.sleep(1.5)
            assert {stays.status(service) for service in OTHERS} == {503}
            assert {leaves.status(service) for service in OTHERS} <= {401, 503}
        assert {stays.status(service) for service in OTHERS} == {200}
    assert shut_everywhere(leaves, leaves.token) < SOON_S
    with silent(running.services["identity"]):
        time.sleep(1.5)
        assert {stays.status(service) for service in OTHERS} == {200}, "Kafka alone is enough"
