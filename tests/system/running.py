"""A whole system for a test: real PostgreSQL and Kafka, the four services as processes, the story as their client."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from deploy import ROOT, topics
from deploy.processes import free_port
from deploy.stack import Service
from shared.events.registry import topic_of
from tests.oracle.evidence import Evidence, gather
from tests.oracle.verdict import faults
from tests.system import parts

SERVICES: Final = ("identity", "marketplace", "entitlements", "distribution")
PARTS: Final = (*SERVICES, "kafka", "postgres")


@dataclass(slots=True)
class System:
    """What runs, by name, and how its users reach it."""

    postgres: parts.Postgres
    kafka: parts.Kafka
    services: dict[str, Service]
    env: dict[str, str]
    planted: set[tuple[str, int, int]] = field(default_factory=set)
    """Topic, partition and offset of records that a test put there and no relay did."""

    def part(self, name: str) -> parts.Part | Service:
        return {"postgres": self.postgres, "kafka": self.kafka, **self.services}[name]

    def story(self) -> "subprocess.Popen[str]":
        """The story, begun: it ends 0 when every answer was right."""
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.story"], cwd=ROOT, env={**os.environ, **self.env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def tell(self) -> str:
        """The story, told to its end; AssertionError with what it printed when it broke."""
        return finished(self.story())

    def dsns(self) -> dict[str, str]:
        return {name: f"{self.postgres.url}/tenure_{name}" for name in SERVICES}

    def log_of(self, service: str) -> str:
        return self.services[service].log.read_text(errors="replace")

    def evidence(self) -> dict[str, Evidence]:
        """What the oracle judges, once the system is at rest."""
        deadline = time.monotonic() + 60
        while not asyncio.run(self._at_rest()):
            assert time.monotonic() < deadline, "the system does not come to rest"
            time.sleep(0.2)
        found = asyncio.run(gather(self.dsns(), self.kafka.bootstrap))
        for each in found.values():
            topic = topic_of(each.service)
            each.topic = [r for r in each.topic if (topic, r.partition, r.offset) not in self.planted]
        return found

    def assert_sound(self) -> dict[str, Evidence]:
        found = self.evidence()
        wrong = [fault for evidence in found.values() for fault in faults(evidence)]
        assert not wrong, "\n".join(wrong)
        return found

    async def _at_rest(self) -> bool:
        """Whether everything stored is relayed, and each consumer has dealt with every stream that it reads."""
        stored: dict[str, dict[str, int]] = {}
        for name, dsn in self.dsns().items():
            db = await asyncpg.connect(dsn)
            try:
                behind = await db.fetchval(
                    "select (select position from log.head) - coalesce(max(position), 0) from log.leases "
                    "where name like 'relay:%'"
                )
                due = await db.fetchval(
                    "select count(*) from log.timers t left join log.clocks c on c.organisation_id = t.customer "
                    "where t.due <= now() + coalesce(c.ahead_s, 0) * interval '1 s'"
                )
                rows = await db.fetch("select stream, max(version) as version from log.events group by stream")
            finally:
                await db.close()
            if behind or due:
                return False
            stored[name] = {row["stream"]: row["version"] for row in rows}
        return all([await self._caught_up(dsn, stored) for dsn in self.dsns().values()])

    async def _caught_up(self, dsn: str, stored: dict[str, dict[str, int]]) -> bool:
        db = await asyncpg.connect(dsn)
        try:
            read = await db.fetch("select distinct consumer, topic from log.checkpoints where topic like '%.events.v1'")
            seen = {
                (row["consumer"], row["stream"]): row["version"]
                for row in await db.fetch("select consumer, stream, version from log.seen")
            }
        finally:
            await db.close()
        return all(
            seen.get((row["consumer"], stream), 0) == version
            for row in read
            for stream, version in stored[row["topic"].split(".")[0]].items()
        )


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


@contextmanager
def system(folder: Path) -> Iterator[System]:
    """The whole system in a folder, with the example data, until the block ends."""
    with ExitStack() as stack:
        postgres = stack.enter_context(parts.postgres(folder / "postgres"))
        kafka = stack.enter_context(parts.kafka(folder / "kafka"))
        asyncio.run(topics.ensure(kafka.bootstrap))
        ports = {name: free_port() for name in SERVICES}
        env = {"DATABASE_URL": postgres.url, "KAFKA_BOOTSTRAP": kafka.bootstrap, "TENURE_LOG": "json"}
        env |= {f"TENURE_{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in ports.items()}
        services = {name: Service(name, folder / name, port, env=env) for name, port in ports.items()}
        for service in services.values():
            stack.callback(service.stop)
            service.spawn()
        for service in services.values():
            service.wait_ready()
        subprocess.run([sys.executable, "-m", "deploy.data"], cwd=ROOT, env={**os.environ, **env}, check=True)
        yield System(postgres, kafka, services, env)
