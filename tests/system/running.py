"""A whole system for a test: real PostgreSQL and Kafka, the four services as processes, the story as their client."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from deploy import ROOT, topics
from deploy.cast import PUBLISHER
from deploy.databases import LOGINS, OPERATOR, prepare, service_environment, url_of
from deploy.processes import free_port
from deploy.secrets import replace
from deploy.service import ServicePart
from deploy.year.check import check
from services import definitions
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.repair.parked import list_parked
from shared.eventlog.write.postgres import open_pool
from shared.events.registry import INBOUND, topic_of
from shared.runtime.settings import settings
from shared.services import SERVICES, url_variable
from tests.databases import PASSWORD, as_operator, password
from tests.oracle.effects import effects
from tests.oracle.evidence import PUBLISHERS, Asked, Evidence, Published, gather
from tests.oracle.replay import differences
from tests.oracle.verdict import faults
from tests.system import parts
from tests.system.rest import reactions, readers, rests
from tests.system.telling import heard

PARTS: Final = (*SERVICES, "kafka", "postgres")


@dataclass(slots=True)
class System:
    """What runs, by name, and how its users reach it."""

    postgres: parts.Postgres
    kafka: parts.Kafka
    services: dict[str, ServicePart]
    env: dict[str, str]
    folder: Path
    planted: set[tuple[str, int, int]] = field(default_factory=set)
    """Topic, partition and offset of records that a test put there and no relay did."""
    former: list[Published] = field(default_factory=list)
    """What the publishers' topic held before it was lost."""
    forgetful: set[str] = field(default_factory=set)
    """The services that were restored from their topics, which tell of no refusal."""

    def part(self, name: str) -> parts.Part | ServicePart:
        return {"postgres": self.postgres, "kafka": self.kafka, **self.services}[name]

    def story(self) -> "subprocess.Popen[str]":
        """The story, begun: it ends 0 when every answer was right."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.system.telling", str(self.folder / "heard")],
            cwd=ROOT,
            env={**os.environ, **self.env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def tell(self) -> str:
        """The story, told to its end; AssertionError with what it printed when it broke."""
        return finished(self.story())

    def dsns(self) -> dict[str, str]:
        """Of each service's database, for the operator."""
        return {name: as_operator(f"{self.postgres.url}/tenure_{name}") for name in SERVICES}

    def log_of(self, service: str) -> str:
        return self.services[service].log.read_text(errors="replace")

    def evidence(self) -> dict[str, Evidence]:
        """What the oracle judges, once the system is at rest."""
        return asyncio.run(self._evidence())

    async def _evidence(self) -> dict[str, Evidence]:
        anchored, asked = Path(self.env["TENURE_ANCHORS"]), heard(self.folder / "heard")
        return await evidence_of(self.dsns(), self.kafka.access, anchored, asked, self.planted)

    def assert_sound(self) -> dict[str, Evidence]:
        """By the oracle, a replay of every table, `verify`, the business's own invariants, and what is parked."""
        return asyncio.run(self._sound())

    async def _sound(self) -> dict[str, Evidence]:
        found, dsns = await self._evidence(), self.dsns()
        forgetful = frozenset(self.forgetful)
        wrong = await wrong_in(found, dsns, self.kafka.access, self.planted, self.former, forgetful)
        assert not wrong, "\n".join(wrong)
        return found


async def evidence_of(
    dsns: Mapping[str, str],
    access: KafkaAccess,
    anchored: Path,
    asked: Sequence[Asked],
    planted: Set[tuple[str, int, int]] = frozenset(),
) -> dict[str, Evidence]:
    """What the oracle judges of a system, once it is at rest; `asked` is what its clients were answered."""
    reading = readers(definitions())
    await rests(dsns, access, reading)
    found = await gather(dsns, access, readers=reading, anchored=anchored)
    for each in found.values():
        topic = INBOUND + each.service.removeprefix(PUBLISHERS) if each.foreign else topic_of(each.service)
        each.planted = {(partition, offset) for name, partition, offset in planted if name == topic}
        each.asked = [one for one in asked if one.service == each.service]
    return found


async def wrong_in(
    found: dict[str, Evidence],
    dsns: Mapping[str, str],
    access: KafkaAccess,
    planted: Set[tuple[str, int, int]] = frozenset(),
    former: Sequence[Published] = (),
    forgetful: frozenset[str] = frozenset(),
) -> list[str]:
    """What is wrong: by the oracle, a replay of every table, `verify`, the business, and what is parked."""
    wrong = [fault for evidence in found.values() for fault in faults(evidence)]
    wrong += effects(found, reactions(definitions()), forgetful, list(former))
    for service in definitions():
        wrong += await differences(service.name, service.projections, dsns[service.name], found)
    violations = (await check(dict(dsns), access)).violations
    places = [f"{topic}, partition {partition}, offset {offset}:" for topic, partition, offset in planted]
    wrong += [line for line in violations if not any(place in line for place in places)]
    return wrong + await _parked(dsns, planted)


async def _parked(dsns: Mapping[str, str], planted: Set[tuple[str, int, int]]) -> list[str]:
    """What was parked, except the records that a test put on a topic."""
    found: list[str] = []
    for service, dsn in dsns.items():
        pool = await open_pool(dsn, 1, 1)
        try:
            found += [
                f"{service}: {each.place} is parked ({each.reason}): {each.detail}"
                for each in await list_parked(pool, behind=True)
                if each.place[1:] not in planted
            ]
        finally:
            await pool.close()
    return found


def told_as_far_as(story: "subprocess.Popen[str]", step: int) -> str:
    """What the story said until it began this step."""
    said = ""
    while not said.splitlines()[-1:] or not said.splitlines()[-1].startswith(f"{step}. "):
        assert story.stdout is not None
        line = story.stdout.readline()
        assert line, f"the story ended before step {step}: {said[-3000:]}"
        said += line
    return said


def finished(story: "subprocess.Popen[str]", patience_s: float = 150) -> str:
    said, _ = story.communicate(timeout=patience_s)
    assert story.returncode == 0, said[-3000:]
    return said


def prepare_databases(url: str) -> None:
    """What comes before the services, also after a database was lost; `url` is the superuser's."""
    asyncio.run(prepare(url, password, whole_cluster=True))


def own_credentials(service: str, postgres: parts.Postgres, kafka: parts.Kafka) -> dict[str, str]:
    """What a service's process is told instead of the operator's."""
    own = {"DATABASE_URL": url_of(postgres.url, service, PASSWORD), "KAFKA_PUBLISHER_PASSWORD": ""}
    return {**own, **kafka.access_of(service).environment()}


def credentials_in_files(login: str, postgres: parts.Postgres, kafka: parts.Kafka, secrets: Path) -> dict[str, str]:
    """The same, and the operator's, as containers have them: passwords are in files of the folder of secrets."""
    files = {"KAFKA_PASSWORD": "", "KAFKA_PASSWORD_FILE": str(secrets / f"kafka-{login}")}
    return {
        **service_environment(postgres.url, login, secrets),
        **kafka.access_of(login).environment(),
        **files,
        "KAFKA_PUBLISHER_PASSWORD": "",
    }


@contextmanager
def system(
    folder: Path, variables: Mapping[str, str] = {}, *, forked: bool = False, in_files: bool = False
) -> Iterator[System]:
    """The whole system in a folder, with the example data, until the block ends.

    `variables` are variables of the services besides those that they always have. The services are started as in
    containers, or `forked`, as by `make up`. Passwords are in variables, or `in_files` of the folder `kafka/secrets`.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(parts.postgres(folder / "postgres"))
        stack.callback(parts.discard, postgres)
        kafka = stack.enter_context(parts.kafka(folder / "kafka", protected=True))
        stack.callback(kafka.kill)  # nobody needs its data any more: an orderly end would take seconds
        asyncio.run(topics.bring_about(kafka.access, folder / "kafka" / "secrets"))
        ports = {name: free_port() for name in SERVICES}
        prepare_databases(postgres.url)
        env = {"DATABASE_URL": url_of(postgres.url, OPERATOR, PASSWORD), **kafka.access_of("operator").environment()}
        env |= {"TENURE_LOG": "json", "TENURE_ANCHORS": str(folder / "anchors"), **variables}
        env["KAFKA_PUBLISHER_PASSWORD"] = kafka.access_of(f"publisher-{PUBLISHER}").password or ""
        env |= {url_variable(name): f"http://127.0.0.1:{port}" for name, port in ports.items()}
        own = {name: own_credentials(name, postgres, kafka) for name in SERVICES}
        if in_files:
            secrets = folder / "kafka" / "secrets"
            for login in LOGINS:
                replace(f"postgres-{login}", PASSWORD, secrets)
            own = {name: credentials_in_files(name, postgres, kafka, secrets) for name in SERVICES}
            publisher = {"KAFKA_PUBLISHER_PASSWORD": env["KAFKA_PUBLISHER_PASSWORD"]}
            env |= credentials_in_files(OPERATOR, postgres, kafka, secrets) | publisher
        services = {
            name: ServicePart(name, folder / name, port, env={**env, **own[name]}, forked=forked)
            for name, port in ports.items()
        }
        for service in services.values():
            stack.callback(service.kill)
            service.spawn()
        for service in services.values():
            service.wait_ready()
        subprocess.run([sys.executable, "-m", "deploy.data"], cwd=ROOT, env={**os.environ, **env}, check=True)
        yield System(postgres, kafka, services, env, folder)


@contextmanager
def as_its_operator(system: System) -> Iterator[None]:
    """The environment of the system's operator in this process, where settings of another system may have been read."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in system.env.items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield
    settings.cache_clear()


@contextmanager
def console_of(system: System, folder: Path) -> Iterator[str]:
    """The console beside the system, until the block ends; its address."""
    env = {url_variable(name): system.env[url_variable(name)] for name in SERVICES} | {"TENURE_LOG": "json"}
    env |= {name: value for name, value in system.env.items() if name.startswith("OTEL_")}
    env |= system.kafka.access_of("console").environment()
    with ServicePart("console", folder, env=env) as started:
        yield started.url


@contextmanager
def another_process(system: System, service: str, folder: Path) -> Iterator[str]:
    """One more process of the service, that answers requests only."""
    env = {name: value for name, value in system.env.items() if name != "TENURE_PORT"}
    with ServicePart(service, folder, env=env, arguments=("--only", "api")) as started:
        yield started.url


def tenure(system: System, *arguments: str) -> None:
    """Run the operator's command."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **system.env},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"tenure {' '.join(arguments)}: {done.stdout}{done.stderr}"
