"""A service's definition, and its process: how it starts and stops its parts in order."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import structlog
import uuid_utils
import uvloop
from aiokafka.errors import KafkaError
from fastapi import APIRouter

from shared.eventlog.decision import Stream
from shared.eventlog.deliver import readers
from shared.eventlog.deliver.answering import OutcomeRelay
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.host import ConsumerHost
from shared.eventlog.deliver.kafka import InvalidKafkaSettings
from shared.eventlog.deliver.notices import Pause
from shared.eventlog.deliver.offsets import group_of
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.deliver.readers import Reader
from shared.eventlog.deliver.relay import Relay
from shared.eventlog.deliver.timers import Timers, TimerService
from shared.eventlog.migrate import NotMigrated, require_migrated
from shared.eventlog.repair.anchors import Anchors
from shared.eventlog.repair.guard import Guard
from shared.eventlog.repair.restore import ServiceDefinition
from shared.eventlog.write.log import Log
from shared.eventlog.write.operations import OPERATION
from shared.eventlog.write.postgres import TRANSIENT, PostgresStore, open_pool
from shared.eventlog.write.sealing import Sealer
from shared.eventlog.write.store import Unavailable
from shared.eventlog.write.traced import TracedLog
from shared.events import upcasts
from shared.events.registry import ANSWERING, topic_of
from shared.runtime import refusals
from shared.runtime.auth import TokenVerifier, fetcher
from shared.runtime.clocks import CLOCKS
from shared.runtime.database import Pool
from shared.runtime.endings import ENDINGS, FollowedEndings
from shared.runtime.figures import Figures
from shared.runtime.http import make_app
from shared.runtime.logging import configure
from shared.runtime.metrics import Metrics
from shared.runtime.parts import Parts
from shared.runtime.policies import policy_of
from shared.runtime.routes import CommandRoutes
from shared.runtime.server import Server
from shared.runtime.settings import Settings, settings
from shared.runtime.traces import tracer_of

logger = structlog.get_logger("service")

T = TypeVar("T")
PARTS: Final = ("api", "relay", "consumers")
_NOT_YET: Final = (
    asyncpg.CannotConnectNowError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
)
"""Errors of a server whose role or database for the service does not exist yet, or whose password was changed."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """The definition of a service."""

    name: str
    migrations: Path
    """The folder with the migrations of its read models."""
    streams: Sequence[Stream[Any, Any, Any]]
    commands: CommandRoutes
    queries: APIRouter | None
    consumers: Sequence[Projection | Reactions[Any]]
    timers: Timers | None = None
    on_start: Callable[["ServiceProcess"], Awaitable[None]] | None = None
    """Runs once the database is open, before the first request is served."""
    background: Sequence[Callable[["ServiceProcess"], Coroutine[Any, Any, None]]] = ()
    """Tasks that run beside the consumers until the process ends."""
    sealer: Callable[[Pool], Sealer] | None = None
    """Makes the sealer that encrypts personal fields, if the service's events have any."""
    private: Callable[[Any], Awaitable[Sequence[str]]] | None = None
    """Restores what the log knows of the service's private tables; returns notes on what the log does not know."""
    private_tables: Sequence[str] = ()
    """The tables that can't be rebuilt from events."""
    policy: type | None = None
    """The dataclass of what each publisher may set. An invalid policy file prevents the service's start."""
    in_each_process: Sequence[Callable[["ServiceProcess"], Coroutine[Any, Any, None]]] = ()
    """Tasks that run in every process of the service, whatever its parts, until cancelled."""

    @property
    def projections(self) -> list[Projection]:
        """All projections that can be rebuilt, including the engine's own."""
        own = [c for c in self.consumers if isinstance(c, Projection)]
        return [CLOCKS, *own, *([self.timers.projection] if self.timers else [])]

    @property
    def all_consumers(self) -> list[Projection | Reactions[Any]]:
        """All consumers of topics, including the engine's own."""
        return [CLOCKS, *self.consumers, *([self.timers.projection] if self.timers else [])]

    @property
    def readers(self) -> dict[str, Reader]:
        """All readers of topics, by name."""
        consumers: dict[str, Reader] = {f"{self.name}.{consumer.name}": consumer for consumer in self.all_consumers}
        return {**consumers, f"{self.name}.endings": ENDINGS}

    def whole(self) -> ServiceDefinition:
        """Return the parts of the service that a restore needs."""
        reactions = [c for c in self.consumers if isinstance(c, Reactions)]
        return ServiceDefinition(
            service=self.name,
            migrations=self.migrations,
            streams=(*self.streams, OPERATION),
            projections=self.projections,
            reactions=reactions,
            sealer=self.sealer,
            private=self.private,
        )

    @property
    def own_projections(self) -> list[str]:
        """The projections of the service's own topic, for which `Tenure-At-Least` waits."""
        own = topic_of(self.name)
        return [f"{self.name}.{c.name}" for c in self.consumers if isinstance(c, Projection) and own in c.topics]


@dataclass(kw_only=True)
class ServiceProcess:
    """One process of a service, with all or some of its parts."""

    service: Service
    settings: Settings
    only: frozenset[str] = frozenset(PARTS)
    port: int = 0
    relay: Relay | None = None
    host: ConsumerHost | None = None
    waiting: dict[str, str] = field(default_factory=lambda: {"database": "not tried yet"})
    failed: BaseException | None = None

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.service.name)
        self.tracer = tracer_of(self.service.name, self.metrics)
        self.figures = Figures(service=self.service.name, topic=topic_of(self.service.name))
        self.metrics.show(self.figures, self.waiting_for)
        url = self.settings.url_of("identity")
        self.endings = FollowedEndings(self.settings.kafka, url)
        verifier = TokenVerifier(fetcher(url), self.endings, issuer=self.settings.token_issuer)
        self.parts = Parts(
            service=self.service.name,
            settings=self.settings,
            metrics=self.metrics,
            verifier=verifier,
            new_id=lambda: str(uuid_utils.uuid7()),
            own_projections=self.service.own_projections,
            own_categories=[stream.category for stream in self.service.streams],
            sources=(self.service.migrations.parent,),
            waiting_for=self.waiting_for,
            figures=self.figures,
            tracer=self.tracer,
        )
        self.app = make_app(self.parts, self.service.commands, self.service.queries, api="api" in self.only)

    def waiting_for(self) -> dict[str, str]:
        """Return why this process is not ready, by part; empty if it is."""
        waiting = dict(self.waiting)
        if self.relay is not None and self.relay.alarm:
            waiting["relay"] = self.relay.alarm
        if self.host is not None:
            for feed in self.host.feeds:
                if not feed.ready:
                    waiting[feed.consumer.name] = feed.fault or "joining its group"
            if not self.host.feeds:
                waiting["consumers"] = "connecting to Kafka"
        return waiting

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until a part fails permanently.

        Then stop in order: HTTP, consumers, relay, log.
        """
        server = Server(self.app, self.settings, self.settings.port_of(self.service.name), self.metrics.limited)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.drain)
        serving = asyncio.create_task(server.serve(), name="http")
        working = asyncio.create_task(self._work(), name="work")
        await asyncio.wait((serving, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done() and not working.cancelled() and working.exception() is not None:
            self.failed = working.exception()
            logger.critical("the process ends because a part has failed", fault=repr(self.failed), exc_info=self.failed)
        server.stop()
        await asyncio.gather(serving, return_exceptions=True)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        logger.info("stopped")

    async def _work(self) -> None:
        """Run all parts except HTTP: database, log, relay, consumers."""
        dsn = self.settings.dsn(self.service.name)
        await self._retry("database", lambda: require_migrated(dsn, self.service.migrations))
        store = PostgresStore(dsn, self.service.name)
        await self._retry("database", store.open)
        pool = await self._retry("database", lambda: open_pool(dsn, 2, 12))
        event_log = self._log(store, None if self.service.sealer is None else self.service.sealer(pool))
        tasks: list[asyncio.Task[None]] = []
        clocks = self.parts.clocks
        try:
            topic = topic_of(self.service.name)
            guard = Guard(store, self.service.name, topic, self.settings.kafka)
            await store.watch(guard.when_back)
            await self._compare_with_topic(guard, store)
            await clocks.refresh(pool)
            self.parts.opened_log, self.parts.opened_db = event_log, pool
            tasks.append(asyncio.create_task(clocks.follow(pool, Pause(self.parts.notices)), name="clocks"))
            tasks.append(asyncio.create_task(self.figures.follow(pool), name="figures"))
            notices = self.parts.notices
            tasks.append(asyncio.create_task(notices.run(dsn), name="notices"))
            if self.service.on_start is not None:
                await self.service.on_start(self)
            tasks += [asyncio.create_task(work(self), name="background") for work in self.service.in_each_process]
            if "api" in self.only and self.parts.verifier.endings is self.endings:
                tasks.append(asyncio.create_task(self.endings.run(), name="endings"))
            self.waiting.clear()
            if "relay" in self.only:
                anchors = Anchors(self.service.name, store.chain_at, self.settings.anchors)
                self.relay = Relay(
                    store,
                    topic,
                    self.settings.kafka,
                    observer=self.metrics,
                    guard=guard,
                    anchors=anchors,
                    tracer=self.tracer,
                )
                tasks.append(asyncio.create_task(self.relay.run(), name="relay"))
                if self.service.name in ANSWERING:
                    answers = OutcomeRelay(
                        self.service.name,
                        store,
                        pool,
                        self.settings.kafka,
                        observer=self.metrics,
                        pause=Pause(notices),
                    )
                    tasks.append(asyncio.create_task(answers.run(), name="outcomes"))
            if "consumers" in self.only:
                timers = self.service.timers
                consumers = [self._consumer(declared, pool, event_log) for declared in self.service.all_consumers]
                if timers:
                    timer_service = TimerService(self.service.name, timers, pool, event_log, clocks, Pause(notices))
                    tasks.append(asyncio.create_task(timer_service.run(), name="timers"))
                tasks.append(asyncio.create_task(refusals.keep_pruned(pool), name="refusals"))
                tasks += [asyncio.create_task(work(self), name="background") for work in self.service.background]
                self.metrics.expect(consumer.name for consumer in consumers)
                group = group_of(self.service.name)
                self.host = ConsumerHost(group, consumers, self.settings.kafka, self.metrics)
                tasks.append(asyncio.create_task(self.host.run(), name="consumers"))
            logger.info("working", parts=sorted(self.only))
            await asyncio.gather(*tasks)
        finally:
            for task in reversed(tasks):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await store.close()
            pool.terminate()

    def _log(self, store: PostgresStore, sealer: Sealer | None) -> Log:
        if self.tracer is None:
            return Log(store, self.service.name, observer=self.metrics, sealer=sealer)
        return TracedLog(store, self.service.name, self.tracer, observer=self.metrics, sealer=sealer)

    def _consumer(self, declared: Projection | Reactions[Any], pool: Pool, event_log: Log) -> Consumer:
        return Consumer(
            self.service.name,
            declared,
            pool,
            event_log,
            self.parts.clocks,
            self.metrics,
            moved=self.parts.notices.moved,
            tracer=self.tracer,
        )

    async def _compare_with_topic(self, guard: Guard, store: PostgresStore) -> None:
        """Compare the store with its topic before anything is decided.

        The guard fences a store that lacks what its topic has, so that a service whose database was lost does not start
        with an empty log. An empty store waits for Kafka; any other continues without it.
        """
        while True:
            try:
                async with asyncio.timeout(10):
                    why = await guard()
                if why:
                    logger.critical("the store and its topic differ: no commands are taken", reason=why)
                return
            except (KafkaError, OSError, TimeoutError, Unavailable) as fault:
                if await store.position():
                    logger.warning("could not compare the store with its topic", fault=repr(fault))
                    return
                self.waiting["topic"] = f"an empty store waits for Kafka, {type(fault).__name__}: {fault}"[:200]
                logger.warning("waiting", part="topic", fault=repr(fault))
            await asyncio.sleep(1)

    async def _retry(self, part: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the database is available, instead of failing; /ready shows the reason."""
        pause = 0.1
        while True:
            try:
                return await call()
            except NotMigrated as lacking:
                self.waiting[part] = str(lacking)
                logger.warning("waiting", part=part, fault=str(lacking), pause_s=pause)
            except (*TRANSIENT, Unavailable, *_NOT_YET) as fault:
                self.waiting[part] = f"{type(fault).__name__}: {fault}"[:200]
                logger.warning("waiting", part=part, fault=repr(fault), pause_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)


def run(service: Service) -> None:
    """Run a service's process: `python -m services.<name> [--only api,relay,consumers]`."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{service.name}")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PART",
        help="run only these parts (api, relay, consumers; repeat it or separate them with commas)",
    )
    chosen = [part for given in parser.parse_args().only for part in given.split(",") if part]
    for part in chosen:
        if part not in PARTS:
            parser.error(f"there is no part {part}: choose from {', '.join(PARTS)}")
    try:
        current = settings()
    except InvalidKafkaSettings as why:
        sys.exit(str(why))
    configure(service.name, current.log_as, current.log_level)
    upcasts.check()
    readers.check(service.name, service.readers, (*service.streams, OPERATION))
    if service.policy is not None:
        policy_of(service.policy, None)
    process = ServiceProcess(service=service, settings=current, only=frozenset(chosen or PARTS))
    uvloop.run(process.run())
    if process.tracer is not None:
        process.tracer.close()
    sys.exit(1 if process.failed is not None else 0)
