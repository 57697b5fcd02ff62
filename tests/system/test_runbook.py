"""Entries of the runbook, followed: the condition, the alert's metric, the verb that the entry names, and what mends.

identity runs as a process, beside a PostgreSQL, a Kafka and a mail server of the tests' own.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from secrets import token_hex
from typing import Final

import asyncpg
import httpx
import pytest
from aiosmtpd.controller import Controller

from deploy import topics
from deploy.databases import OPERATOR, url_of
from deploy.processes import free_port
from deploy.service import ServicePart
from shared.events.registry import topic_of
from shared.services import SERVICES, url_variable
from tests.cli.conftest import Tenure, tenure  # noqa: F401  # the fixture
from tests.cli.stores import YES, database
from tests.conftest import in_a_loop
from tests.databases import PASSWORD
from tests.remade import deleted
from tests.services.mailing import FakeServer
from tests.system import parts
from tests.system.running import prepare_databases

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.long]

PATIENCE_S: Final = 120.0
AWAY_S: Final = 12.0
"""An age that the figures, which are read every few seconds, have only if what they are read from is away."""


@dataclass(frozen=True)
class Installation:
    """identity, and what it needs."""

    postgres: parts.Postgres
    kafka: parts.Kafka
    identity: ServicePart
    mails: "Mails"
    env: dict[str, str]

    @property
    def dsn(self) -> str:
        return f"{self.postgres.url}/tenure_identity"

    def sign_up(self, name: str = "") -> int:
        """Send a command; the status of its answer."""
        email = f"{name or token_hex(6)}@runbook.example"
        form = {"email": email, "password": f"correct horse {token_hex(8)}", "name": "Sam Example", "country": "DE"}
        organisation = {"name": f"Runbook {token_hex(4)}", "kind": "customer"}
        url = f"{self.identity.url}/accounts"
        headers = {"Idempotency-Key": token_hex(16)}
        return httpx.post(url, json={**form, "organisation": organisation}, headers=headers, timeout=30).status_code

    def metrics(self, name: str, **labels: str) -> list[float]:
        """The values of a metric on identity's page."""
        return [
            float(line.rpartition(" ")[2])
            for line in httpx.get(f"{self.identity.url}/metrics", timeout=10).text.splitlines()
            if re.match(rf"{name}[{{ ]", line) and all(f'{key}="{value}"' in line for key, value in labels.items())
        ]

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric of one series; 0 without it."""
        return max(self.metrics(name, **labels), default=0.0)

    def waiting_for(self) -> dict[str, str]:
        """Why identity is not ready, by part."""
        found: dict[str, str] = httpx.get(f"{self.identity.url}/ready", timeout=10).json()["waiting_for"]
        return found

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if holds():
                    return
            except httpx.HTTPError:  # it has just been started
                pass
            assert time.monotonic() < deadline, f"{what}\n{self.identity.log.read_text()[-2000:]}"
            time.sleep(0.3)

    def until_metric(self, name: str, value: float, **labels: str) -> None:
        self.until(lambda: self.metric(name, **labels) == value, f"{name} does not become {value}")

    def until_well(self) -> None:
        """Wait until identity is ready, and has published all: metrics are up to five seconds old."""
        self.until(lambda: self.identity.ready() and in_a_loop(self._behind()) == 0, "it is not ready")

    async def _behind(self) -> int:
        """How many events the relay has not published."""
        db = await asyncpg.connect(self.dsn)
        try:
            return int(
                await db.fetchval(
                    "select h.position - coalesce(l.position, 0) from log.head h "
                    "left join engine.leases l on l.name like 'relay:%'"
                )
            )
        finally:
            await db.close()


class Mails:
    """A mail server that can be told what to answer, and stopped."""

    def __init__(self) -> None:
        self.server, self.port = FakeServer(), free_port()
        self._running: Controller | None = None

    def start(self) -> None:
        self._running = Controller(self.server, hostname="127.0.0.1", port=self.port)
        self._running.start()

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def to(self, name: str) -> list[EmailMessage]:
        return [message for message in self.server.received if name in message["To"]]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder, mails, port = tmp_path_factory.mktemp("runbook"), Mails(), free_port()
    with parts.postgres(folder / "postgres") as postgres, parts.kafka(folder / "kafka") as kafka:
        prepare_databases(postgres.url)
        in_a_loop(topics.ensure(kafka.access))
        env = {url_variable(name): "http://127.0.0.1:1" for name in SERVICES} | kafka.access.environment()
        env |= {"DATABASE_URL": url_of(postgres.url, OPERATOR, PASSWORD), "TENURE_ANCHORS": str(folder / "anchors")}
        mails.start()
        own = {"DATABASE_URL": url_of(postgres.url, "identity", PASSWORD), "TENURE_LOG": "json"}
        own |= {
            "TENURE_SMTP_URL": f"smtp://127.0.0.1:{mails.port}?tls=none",
            "TENURE_MAIL_FROM": "tenure@runbook.example",
        }
        identity = ServicePart("identity", folder / "identity", port, env={**env, **own})
        env[url_variable("identity")] = identity.url
        with identity:
            yield Installation(postgres, kafka, identity, mails, env)
        mails.stop()
        kafka.kill()
        parts.discard(postgres)


@pytest.fixture
def at(installation: Installation, tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> Installation:  # noqa: F811
    """The installation, where the command finds it."""
    for name, value in installation.env.items():
        monkeypatch.setenv(name, value)
    installation.until_well()
    return installation


def test_a_mail_that_the_server_refused_is_sent_after_a_retry(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureMailParked."""
    at.mails.server.refused["refused@runbook.example"] = "550 no such user"
    assert at.sign_up("refused") == 200
    at.until_metric("tenure_mail_parked", 1)
    (parked,) = tenure("mail", "ls", "--state", "parked", "--json").json["mails"]
    assert "550" in parked["reason"], parked
    at.mails.server.refused.clear()
    assert tenure("mail", "retry", "--parked", *YES).code == 0
    at.until_metric("tenure_mail_parked", 0)
    at.until(lambda: len(at.mails.to("refused")) == 1, "it is not sent")
    assert tenure("mail", "ls", "--state", "parked", "--json").json["mails"] == []


def test_mails_wait_for_their_server_and_are_sent_by_themselves(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureMailWaiting, which is due after an hour."""
    at.mails.stop()
    assert at.sign_up("waiting") == 200
    at.until(lambda: at.metric("tenure_mail_oldest_seconds") > 1, "its age does not grow")
    assert len(tenure("mail", "ls", "--state", "waiting", "--json").json["mails"]) == 1
    assert "the mail server is unavailable" in at.identity.log.read_text()
    at.mails.start()
    at.until_metric("tenure_mail_waiting", 0)
    assert len(at.mails.to("waiting")) == 1


def test_a_process_that_ended_is_started_again(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureProcessDown."""
    at.identity.kill()
    said = tenure("status", "--over", "0")
    assert said.code == 1 and f"identity: service: no answer at {at.identity.url}" in said.out
    at.identity.start()
    at.until_well()
    assert f"no answer at {at.identity.url}" not in tenure("status", "--over", "0").out
    assert at.sign_up() == 200


def test_a_database_that_is_away_is_connected_to_again(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureStoreUnreachable, which is due after a minute."""
    at.postgres.kill()
    at.until(lambda: at.metric("tenure_store_unread_seconds") > AWAY_S, "its age does not grow")
    said = tenure("status", "--over", "0")
    assert said.code == 1 and "identity: its database can't be read" in said.out
    assert tenure("parked", "ls").code == 3
    assert at.sign_up() == 503
    at.postgres.start()
    at.until(lambda: at.metric("tenure_store_unread_seconds") < AWAY_S, "it is not read again")
    at.until_well()
    assert at.sign_up() == 200


def test_a_kafka_that_is_away_is_connected_to_again(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureKafkaUnreachable and TenureRelayBehind, which are due after a minute."""

    def unchecked_s() -> float:
        return min(at.metrics("tenure_consumer_unchecked_seconds"))

    at.kafka.kill()
    at.until(lambda: unchecked_s() > AWAY_S, "its age does not grow")
    assert at.sign_up() == 200, "commands are still accepted"
    at.until(lambda: at.metric("tenure_relay_behind_seconds") > 0, "nothing waits")
    assert "Kafka at" in tenure("status", "--over", "0").out
    assert tenure("topics").code == 3
    at.kafka.start()
    at.until(lambda: unchecked_s() < AWAY_S, "it is not reached again")
    at.until_well()
    at.until_metric("tenure_relay_behind_seconds", 0)
    assert tenure("topics").code == 0


def test_a_store_from_a_backup_is_fenced_and_reconciled(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureStoreFenced."""
    assert at.sign_up() == 200  # a store that is empty would be restored
    at.until_well()
    at.identity.stop()
    database(at.dsn, 'create database "{other}" template "{name}"')
    at.identity.start()
    assert at.sign_up() == 200
    at.until_well()
    at.identity.stop()
    database(at.dsn, 'drop database "{name}" with (force)')
    database(at.dsn, 'alter database "{other}" rename to "{name}"')
    at.identity.spawn()
    at.until_metric("tenure_store_fenced", 1)
    said = tenure("status", "--over", "0")
    assert said.code == 1 and "identity: its store takes no commands: " in said.out and "tenure reconcile" in said.out
    assert at.sign_up() == 503
    assert tenure("reconcile", "identity", *YES).code == 0
    at.until_metric("tenure_store_fenced", 0)
    at.until_well()
    assert tenure("verify", "identity").code == 0
    assert at.sign_up() == 200


def test_a_relay_whose_topic_was_lost_goes_on_after_a_restore(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureRelayStopped, while nothing is published; TenurePartNotReady, whose checkpoints are beyond the end."""
    topic = topic_of("identity")
    assert at.sign_up() == 200
    at.until_well()
    in_a_loop(deleted(at.kafka.access, topic))
    at.until_metric("tenure_waiting_for", 1, part="relay")
    said = tenure("status", "--over", "0")
    assert said.code == 1 and f"identity: relay: there is no topic {topic}" in said.out
    assert "tenure restore topic" in at.waiting_for()["relay"]
    in_a_loop(topics.ensure(at.kafka.access))  # `python -m deploy.topics`
    beyond = "its checkpoint is beyond the end"
    at.until(lambda: any(beyond in why for why in at.waiting_for().values()), "no consumer notices")
    (part, *_) = (part for part, why in at.waiting_for().items() if beyond in why)
    assert at.metric("tenure_waiting_for", part=part) == 1
    assert f"identity: {part}: {beyond}" in tenure("status", "--over", "0").out
    verified = tenure("verify", "identity")
    assert verified.code == 1 and topic in verified.out
    at.identity.stop()
    assert tenure("restore", "topic", "identity", *YES).code == 0
    at.identity.start()
    at.until_well()
    assert at.metric("tenure_waiting_for", part="relay") == 0
    assert tenure("verify", "identity").code == 0
    assert at.sign_up() == 200


def test_a_lost_store_is_restored_from_its_topic(at: Installation, tenure: Tenure) -> None:  # noqa: F811
    """TenureStoreUnreachable, where there is no backup."""
    assert at.sign_up() == 200
    at.until_well()
    before = tenure("verify", "identity", "--json").json["services"][0]
    database(at.dsn, 'drop database "{name}" with (force)')
    at.until(lambda: not at.identity.alive, "it does not end")
    at.identity.spawn()  # as whoever supervises it does
    at.until(lambda: at.metric("tenure_store_unread_seconds") > AWAY_S, "its age does not grow")
    said = tenure("status", "--over", "0")
    assert said.code == 1 and "identity: its database can't be read" in said.out
    prepare_databases(at.postgres.url)  # `python -m deploy.databases`
    assert tenure("restore", "store", "identity", *YES).code == 0
    at.until_well()
    verified = tenure("verify", "identity", "--json")
    after = verified.json["services"][0]
    assert verified.code == 0 and after["head"] > before["head"], "what there was, and the record of the restore"
    assert at.sign_up() == 200
