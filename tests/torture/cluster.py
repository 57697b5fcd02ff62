"""Three brokers under load, restarted and killed: `python -m tests.torture.cluster`.

Starts the compose file with deploy/cluster.env, as a project with a name, a network and ports of its own; it needs a
Docker engine on this machine. People change their names at a constant rate, whatever the system answers. Meanwhile the
brokers are restarted one after the other, and one is killed for a minute. No command may take longer than ten seconds
or be refused; then the consumers catch up, and the oracle judges stores, topics, tables and the answers to clients.
"""

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import httpx

from deploy import ROOT
from deploy.databases import OPERATOR, url_of
from deploy.processes import free_port
from deploy.secrets import COMPOSE_FOLDERS, COMPOSE_NAMES
from deploy.topics import connected
from services import definitions
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.services import EDGES, SERVICES
from tests.benchmarks.measure import quantiles
from tests.oracle.evidence import Asked
from tests.system.rest import readers, rests
from tests.system.running import evidence_of, wrong_in

BROKERS: Final = {"kafka": "KAFKA_PORT", "kafka-2": "KAFKA_2_PORT", "kafka-3": "KAFKA_3_PORT"}
SETTINGS: Final = ROOT / "deploy" / "cluster.env"
PEOPLE: Final = 64
LONGEST_S: Final = 10.0
"""No command may take longer, from the moment at which it is meant to be sent."""
RENEW_AFTER_S: Final = 120.0
"""An access token is valid for 300 s."""
IN_SYNC_WITHIN_S: Final = 180.0
CATCH_UP_WITHIN_S: Final = 900.0


class Cluster:
    """The compose file with three brokers, as a project of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.secrets = folder, folder / "secrets"
        published = [*BROKERS.values(), "MAIL_PORT", *(f"{name.upper()}_PORT" for name in (*SERVICES, *EDGES))]
        self.ports = {name: free_port() for name in published}
        number = os.getpid()
        self.env = {
            "COMPOSE_PROJECT_NAME": f"tenure-cluster-{number}",
            "TENURE_NETWORK": f"10.{128 + number % 96}.{number // 96 % 256}",
            "TENURE_SECRETS": str(self.secrets),
            "TENURE_LIMITS": "sign-up=off, command=off",
            "TENURE_ISSUER": self.url("identity"),
            "TENURE_PUBLIC_URL": self.url("console"),
            **{name: str(port) for name, port in self.ports.items()},
        }

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[f'{name.upper()}_PORT']}"

    def compose(self, *arguments: str) -> str:
        command = ["docker", "compose", "--env-file", str(SETTINGS), "--progress", "quiet", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **self.env}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"docker compose {arguments[0]}: {done.stderr[-2000:]}"
        return done.stdout

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()

    @property
    def access(self) -> KafkaAccess:
        """How the operator reaches the brokers."""
        return KafkaAccess(
            bootstrap=",".join(f"127.0.0.1:{self.ports[port]}" for port in BROKERS.values()),
            security="sasl_tls",
            username=OPERATOR,
            password=self.secret(f"kafka-{OPERATOR}"),
            ca_file=self.secrets / "kafka-ca" / "ca.pem",
        )

    def dsns(self) -> dict[str, str]:
        """Return each database's address for the operator, in the containers' network."""
        container = self.compose("ps", "--quiet", "postgres").strip()
        asked = ["docker", "inspect", container, "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"]
        address = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        url = url_of(f"postgresql://{address}:5432", OPERATOR, self.secret(f"postgres-{OPERATOR}"))
        return {name: f"{url.rstrip('/')}/tenure_{name}" for name in SERVICES}

    def anchors(self) -> Path:
        """Return a copy of the folder with the anchors' files, which all services share."""
        folder = self.folder / "anchors"
        self.compose("cp", f"{SERVICES[0]}:/var/lib/tenure/anchors", str(folder))
        return folder

    def wait_in_sync(self) -> float:
        """Wait until every partition has three replicas in sync; return how long that took.

        Raises:
            AssertionError: They are not within IN_SYNC_WITHIN_S.
        """
        began, behind = time.monotonic(), ["no broker answered"]
        while time.monotonic() < began + IN_SYNC_WITHIN_S:
            topics = connected(self.access, IN_SYNC_WITHIN_S).list_topics(timeout=10).topics
            behind = [
                f"{name}/{number}"
                for name, topic in topics.items()
                for number, partition in topic.partitions.items()
                if len(partition.isrs) < len(BROKERS)
            ]
            if topics and not behind:
                return time.monotonic() - began
            time.sleep(0.5)
        raise AssertionError(f"after {IN_SYNC_WITHIN_S:.0f} s not in sync: {', '.join(behind[:5])}")


@contextmanager
def running() -> Iterator[Cluster]:
    """A new system on three brokers, with the example data, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as place:
        cluster = Cluster(Path(place))
        made = {**os.environ, "TENURE_SECRETS": str(cluster.secrets)}
        subprocess.run([sys.executable, "-m", "deploy.secrets"], cwd=ROOT, env=made, check=True)
        assert all((cluster.secrets / name).exists() for name in (*COMPOSE_NAMES, *COMPOSE_FOLDERS))
        try:
            cluster.compose("up", "--build", "--wait", "--wait-timeout", "400")
            yield cluster
        except BaseException:
            with suppress(AssertionError):
                print(cluster.compose("logs", "--no-color", "--tail", "30")[-20_000:], file=sys.stderr)
            raise
        finally:
            cluster.compose("down", "--volumes", "--remove-orphans")


@dataclass(slots=True)
class Load:
    """Commands at a constant rate, and what became of them."""

    rate: float
    asked: list[Asked] = field(default_factory=list)
    took: list[tuple[int, int]] = field(default_factory=list)
    """Of each command when it was meant to be sent, and how long it took from then on, in nanoseconds."""
    failed: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, url: str) -> None:
        """Send commands until `ended` is set, and wait for all answers."""
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            people = [await _person(client, number) for number in range(PEOPLE)]
            renewing = asyncio.create_task(_renew(client, people))
            begin = time.monotonic_ns()
            self.begun.set()
            async with asyncio.TaskGroup() as sending:
                for number in itertools.count():
                    if self.ended.is_set():
                        break
                    meant = begin + int(number * 1e9 / self.rate)
                    await asyncio.sleep(max(0, meant - time.monotonic_ns()) / 1e9)
                    sending.create_task(self._change(client, people[number % PEOPLE], number, meant))
            renewing.cancel()

    async def _change(self, client: httpx.AsyncClient, person: dict[str, Any], number: int, meant: int) -> None:
        key = token_hex(16)
        headers = {"Authorization": f"Bearer {person['token']}", "Idempotency-Key": key}
        asked = Asked(f"{person['account']}:{key}", "identity", "")
        try:
            answer = await client.put("/me/profile", json=person["profile"] | {"name": f"N {number}"}, headers=headers)
        except httpx.HTTPError as error:
            self.failed.append(f"{number}: {error!r}")
        else:
            if answer.status_code == 200:
                told = answer.json()
                asked.outcome, asked.stream = "ok", told["stream"]
                asked.events = tuple(event["id"] for event in told["events"])
                self.asked.append(asked)
            else:
                self.failed.append(f"{number}: {answer.status_code} {answer.text[:200]}")
        self.took.append((meant, time.monotonic_ns() - meant))

    def between(self, begin: int, end: int) -> dict[str, Any]:
        """Return how many commands were meant to be sent in this time and answered, and their quantiles."""
        took = [took for meant, took in self.took if begin <= meant < end]
        return {"commands": len(took), **(quantiles(took) if took else {})}


async def _person(client: httpx.AsyncClient, number: int) -> dict[str, Any]:
    profile = {
        "email": f"person-{number}@cluster.example",
        "name": f"Person {number}",
        "country": "DE",
        "time_zone": "Europe/Berlin",
        "locale": "en-GB",
    }
    joining = {"password": "correct horse battery staple", "organisation": {"name": f"O {number}", "kind": "customer"}}
    answer = await client.post("/accounts", json=profile | joining)
    assert answer.status_code < 300, answer.text
    session = answer.json()["session"]
    tokens = {"token": session["access_token"], "refresh_token": session["refresh_token"]}
    return {"profile": profile, "account": session["account_id"], **tokens}


async def _renew(client: httpx.AsyncClient, people: list[dict[str, Any]]) -> None:
    """Renew the access tokens before they expire, until this is cancelled."""
    while True:
        await asyncio.sleep(RENEW_AFTER_S)
        for person in people:
            answer = await client.post("/sessions/refresh", json={"refresh_token": person["refresh_token"]})
            assert answer.status_code == 200, answer.text
            session = answer.json()
            person.update(token=session["access_token"], refresh_token=session["refresh_token"])


async def _disturbed(cluster: Cluster, load: Load, steady_s: float, killed_s: float) -> None:
    """Leave the system alone, restart each broker, kill one; print how long commands took in each phase."""

    async def phase(name: str, *steps: Any) -> None:
        began = time.monotonic_ns()
        for step in steps:
            await asyncio.to_thread(step)
        now = time.monotonic_ns()
        print(f"{name}: {(now - began) / 1e9:.0f} s, {json.dumps(load.between(began, now))}", flush=True)

    await load.begun.wait()
    await phase("steady", lambda: time.sleep(steady_s))
    for broker in BROKERS:
        await phase(
            f"{broker} restarted", lambda broker=broker: cluster.compose("restart", broker), cluster.wait_in_sync
        )
    victim = list(BROKERS)[1]
    await phase(f"{victim} killed", lambda: cluster.compose("kill", victim), lambda: time.sleep(killed_s))
    assert victim not in cluster.compose("ps", "--status", "running", "--services").split()
    await phase(f"{victim} back", lambda: cluster.compose("start", victim), cluster.wait_in_sync)


async def _caught_up(cluster: Cluster, dsns: dict[str, str]) -> float:
    began = time.monotonic()
    while True:
        try:
            await rests(dsns, cluster.access, readers(definitions()))
        except AssertionError as error:
            if time.monotonic() > began + CATCH_UP_WITHIN_S:
                raise
            print(f"  {error}", flush=True)
        else:
            return time.monotonic() - began


async def survived(cluster: Cluster, rate: float, steady_s: float, killed_s: float) -> list[str]:
    """Disturb the brokers under load; return what is wrong afterwards."""
    load = Load(rate)
    await asyncio.to_thread(cluster.wait_in_sync)
    sending = asyncio.create_task(load.run(cluster.url("identity")))
    disturbing = asyncio.create_task(_disturbed(cluster, load, steady_s, killed_s))
    await asyncio.wait([sending, disturbing], return_when=asyncio.FIRST_COMPLETED)
    load.ended.set()
    await asyncio.gather(sending, disturbing)
    dsns = await asyncio.to_thread(cluster.dsns)
    behind_s = await _caught_up(cluster, dsns)
    longest_s = max(took for _, took in load.took) / 1e9
    print(f"{len(load.took)} commands, {len(load.asked)} acknowledged, the longest {longest_s:.2f} s")
    print(f"consumers were at the end {behind_s:.0f} s later", flush=True)
    wrong = [f"not accepted: {line}" for line in load.failed]
    if longest_s > LONGEST_S:
        wrong.append(f"a command took {longest_s:.1f} s, longer than {LONGEST_S:g}")
    found = await evidence_of(dsns, cluster.access, await asyncio.to_thread(cluster.anchors), load.asked)
    return wrong + await wrong_in(found, dsns, cluster.access)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture.cluster", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rate", type=float, default=200.0, help="commands a second (200)")
    parser.add_argument("--steady", type=float, default=15.0, help="seconds before the first broker is restarted (15)")
    parser.add_argument("--killed", type=float, default=60.0, help="seconds for which a broker is gone (60)")
    chosen = parser.parse_args()
    with running() as cluster:
        wrong = asyncio.run(survived(cluster, chosen.rate, chosen.steady, chosen.killed))
    if wrong:
        sys.exit("\n".join([*wrong[:40], f"{len(wrong)} faults"]))
    print("the oracle found nothing wrong")


if __name__ == "__main__":
    main()
