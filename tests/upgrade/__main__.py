"""`python -m tests.upgrade`: every service is upgraded and taken back, process by process, under a load of commands.

Two processes of each service run the former version behind a load balancer, on one PostgreSQL and one Kafka. While
commands come, the databases are migrated, the processes are replaced one after another by those of this tree, then by
those of the former version on the migrated databases, then by this tree's again. Afterwards the oracle looks.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy import ROOT, secrets
from deploy.cast import PUBLISHER
from deploy.databases import LOGINS, OPERATOR, url_of
from deploy.processes import ChildProcess, free_port
from deploy.service import LOOPBACK_LIMITS, ServicePart
from deploy.stack import HOST
from services import definitions
from shared.services import SERVICES, url_variable
from tests.databases import PASSWORD
from tests.system import parts
from tests.system.rest import readers
from tests.system.running import System, own_credentials
from tests.upgrade.balancer import Balancer
from tests.upgrade.lag import Lag
from tests.upgrade.load import Load, amiss, lanes
from tests.upgrade.trees import NoTree, Tree, former

EACH: Final = 2
"""Processes of a service."""
DRAIN_S: Final = 2
"""Longer than the load balancer's interval between two looks at `/ready`."""
AGAIN: Final = 40
"""So many answered commands are sent again after each phase."""
SHOWN: Final = 20
"""So many of the faults are printed."""


class Member(ServicePart):
    """A process of a service, of either tree."""

    ready_within_s = 180.0

    def of(self, tree: Tree) -> "Member":
        """The same place for a process of this tree."""
        self.tree = tree
        return self

    def _process(self) -> ChildProcess:
        env = {"TENURE_LIMITS": LOOPBACK_LIMITS, **os.environ, **self._env, "PYTHONUNBUFFERED": "1"}
        env |= {"TENURE_HOST": HOST, "TENURE_PORT": str(self.port)}
        command = [str(self.tree.python), "-m", f"services.{self.name}"]
        return ChildProcess(self.name, command, log=self.log, pid_file=self.pid_file, env=env, cwd=self.tree.root)


@dataclass(kw_only=True)
class Fleet:
    """What runs: servers, the processes of each service, the balancer before each."""

    system: System
    members: dict[str, list[Member]]
    balancers: dict[str, Balancer]
    preparing: dict[str, str]
    """The environment of who prepares databases and topics."""
    wrong: list[str] = field(default_factory=list)

    def prepare(self, tree: Tree) -> None:
        """Topics, roles and migrations of a version. Raises SystemExit where they fail."""
        for module in ("deploy.topics", "deploy.databases"):
            done = tree.run(module, self.preparing)
            if done.returncode:
                raise SystemExit(f"{module} of {tree.name} failed:\n{done.stdout[-3000:]}")

    async def replace(self, tree: Tree) -> None:
        """Put a process of this tree in the place of each, one after another."""
        for name, members in self.members.items():
            for member in members:
                if not await asyncio.to_thread(member.stop):
                    self.wrong.append(f"{name} did not stop within {member.stop_within_s:.0f} s, and was killed")
                await asyncio.to_thread(member.of(tree).start)
                await self.balancers[name].sees(member.port)

    @property
    def rejected(self) -> int:
        return sum(balancer.rejected for balancer in self.balancers.values())


@contextmanager
def fleet(folder: Path, old: Tree) -> Iterator[Fleet]:
    """The servers, prepared by the former version; its processes are not started yet."""
    with ExitStack() as stack:
        postgres = stack.enter_context(parts.postgres(folder / "postgres"))
        stack.callback(parts.discard, postgres)
        kafka = stack.enter_context(parts.kafka(folder / "kafka", protected=True))
        stack.callback(kafka.kill)
        ports = {name: free_port() for name in SERVICES}
        env = {"DATABASE_URL": url_of(postgres.url, OPERATOR, PASSWORD), **kafka.access_of("operator").environment()}
        env |= {"TENURE_LOG": "json", "TENURE_ANCHORS": str(folder / "anchors"), "TENURE_DRAIN_S": str(DRAIN_S)}
        env["KAFKA_PUBLISHER_PASSWORD"] = kafka.access_of(f"publisher-{PUBLISHER}").password or ""
        env |= {url_variable(name): f"http://{HOST}:{port}" for name, port in ports.items()}
        for login in LOGINS:
            secrets.replace(f"postgres-{login}", PASSWORD, folder / "state" / "secrets")
        preparing = {"TENURE_STATE": str(folder / "state"), "TENURE_SECRETS": str(folder / "kafka" / "secrets")}
        preparing |= {"DATABASE_URL": postgres.url, **kafka.access.environment()}
        members: dict[str, list[Member]] = {}
        for name in SERVICES:
            own = {**env, **own_credentials(name, postgres, kafka)}
            members[name] = [Member(name, folder / f"{name}-{n}", env=own).of(old) for n in range(1, EACH + 1)]
            for member in members[name]:
                stack.callback(member.kill)
        balancers = {name: Balancer(ports[name], [each.port for each in members[name]]) for name in SERVICES}
        system = System(postgres, kafka, {}, env, folder)
        yield Fleet(system=system, members=members, balancers=balancers, preparing=preparing)


class Run:
    """One run: its phases, and what was measured in each."""

    def __init__(self, running: Fleet, old: Tree, new: Tree, rate: float, calm_s: float) -> None:
        self.fleet, self.old, self.new, self.rate, self.calm_s = running, old, new, rate, calm_s
        system = running.system
        self.lag = Lag(system.dsns(), system.kafka.access, readers(definitions()))
        self.lines: list[str] = []

    async def whole(self) -> list[str]:
        """Upgrade, go back, and upgrade again; what is wrong afterwards."""
        balancing = [asyncio.create_task(each.run()) for each in self.fleet.balancers.values()]
        addresses = {name: self.fleet.system.env[url_variable(name)] for name in SERVICES}
        try:
            await self._begun()
            async with Load(addresses, self.fleet.system.folder / "heard") as load:
                await self._under(load)
        finally:
            for task in balancing:
                task.cancel()
            await asyncio.gather(*balancing, return_exceptions=True)
        return self.fleet.wrong

    async def _begun(self) -> None:
        """The former version, with the example's people."""
        await asyncio.to_thread(self.fleet.prepare, self.old)
        members = [(name, member) for name, each in self.fleet.members.items() for member in each]
        await asyncio.gather(*(asyncio.to_thread(member.start) for _, member in members))
        for name, member in members:
            await self.fleet.balancers[name].sees(member.port)
        for module in ("deploy.data", "deploy.example"):
            done = await asyncio.to_thread(self.old.run, module, self.fleet.system.env)
            if done.returncode:
                raise SystemExit(f"{module} of {self.old.name} failed:\n{done.stdout[-3000:]}")

    async def _under(self, load: Load) -> None:
        chosen, until = await lanes(load), asyncio.Event()
        each = Counter(service for service, _, _ in chosen)
        every_s = {service: count * len(each) / self.rate for service, count in each.items()}
        working = [
            asyncio.create_task(load.lane(service, who, steps, every_s[service], until))
            for service, who, steps in chosen
        ]
        measuring = asyncio.create_task(self.lag.run())
        try:
            for name, work in (
                ("before", self._calm()),
                ("migration", asyncio.to_thread(self.fleet.prepare, self.new)),
                ("upgrade", self.fleet.replace(self.new)),
                ("rollback", self._back()),
                ("upgrade again", self.fleet.replace(self.new)),
                ("after", self._calm()),
            ):
                await self._phase(name, work, load, [*working, measuring])
        finally:
            until.set()
            done = await asyncio.gather(*working, return_exceptions=True)
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)
        self.fleet.wrong += [f"a lane of commands ended: {error!r}" for error in done if error is not None]
        self.fleet.wrong += amiss(load.sent, load.unknown.values())

    async def _calm(self) -> None:
        await asyncio.sleep(self.calm_s)

    async def _back(self) -> None:
        """The former version's preparation, which tools run on the way back, too, and its processes."""
        done = await asyncio.to_thread(self.old.run, "deploy.databases", self.fleet.preparing)
        said = (done.stdout.splitlines() or [""])[-1]
        self._say(f"  deploy.databases of {self.old.name} on the way back: exit {done.returncode}, {said[:300]}")
        await self.fleet.replace(self.old)

    async def _phase(
        self, name: str, work: Coroutine[Any, Any, None], load: Load, running: "list[asyncio.Task[None]]"
    ) -> None:
        """Do the work, unless what runs beside it ends first; then say what was measured."""
        self.lag.phase, first, rejected, began = name, len(load.sent), self.fleet.rejected, time.monotonic()
        task = asyncio.create_task(work)
        await asyncio.wait([task, *running], return_when=asyncio.FIRST_COMPLETED)
        for other in running:
            if other.done():
                task.cancel()
                other.result()
        await task
        took, sent = time.monotonic() - began, load.sent[first:]
        waits = [each.waited_s for each in sent] + [time.monotonic() - each.began for each in load.unknown.values()]
        repeated = sum(each.attempts > 1 for each in sent)
        slowest = sorted(self.lag.longest[name].items(), key=lambda pair: -pair[1])[:2]
        lags = ", ".join(f"{who} {lag:.1f} s" for who, lag in slowest)
        self._say(
            f"{name}: {took:.0f} s, {len(sent) / took:.1f} commands/s, longest wait {max(waits, default=0):.2f} s, "
            f"{repeated} sent again, {self.fleet.rejected - rejected} connections that no process took; lag: {lags}"
        )
        for service, balancer in self.fleet.balancers.items():
            for outage in balancer.outages:
                self._say(f"  {service}: {outage}")
            balancer.outages.clear()
        for repeat in sent[:: max(1, len(sent) // AGAIN)]:
            answer = await load.again(repeat)
            if answer.outcome != repeat.outcome:
                self.fleet.wrong.append(f"{repeat.request} was answered {repeat.outcome}, then {answer.outcome}")

    def _say(self, line: str) -> None:
        print(line, flush=True)


def upgraded(old: Tree, new: Tree, folder: Path, rate: float, calm_s: float) -> list[str]:
    """What is wrong after an upgrade under load from one tree to another and back and forth."""
    with fleet(folder, old) as running:
        wrong = asyncio.run(Run(running, old, new, rate, calm_s).whole())
        try:
            found = running.system.assert_sound()
        except AssertionError as error:
            return [*wrong, str(error)]
        events = sum(evidence.position for evidence in found.values())
        print(f"the oracle found {events} events of {len(SERVICES)} services sound", flush=True)
        return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="revision", default="", help="the former version (a revision of this clone)")
    parser.add_argument("--rate", type=float, default=40, help="commands a second (%(default)s)")
    parser.add_argument("--calm", type=float, default=10, help="seconds before and after (%(default)s)")
    chosen = parser.parse_args()
    try:
        old = former(chosen.revision)
    except NoTree as why:
        print(f"skipped: {why}" if not chosen.revision else f"no upgrade: {why}", flush=True)
        return 1 if chosen.revision else 0
    new = Tree("this tree", ROOT)
    print(f"from {old.name} to this tree and back, {chosen.rate:.0f} commands/s", flush=True)
    with tempfile.TemporaryDirectory(prefix="upgrade-", ignore_cleanup_errors=True) as made:
        wrong = upgraded(old, new, Path(made), chosen.rate, chosen.calm)
    print("\n".join(line[:1000] for line in wrong[:SHOWN]) or "nothing is amiss", flush=True)
    if wrong[SHOWN:]:
        print(f"and {len(wrong) - SHOWN} more", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
