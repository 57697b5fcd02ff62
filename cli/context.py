"""Connections to the system's databases, to Kafka and to the services' HTTP APIs.

DATABASE_URL, KAFKA_BOOTSTRAP and TENURE_<SERVICE>_URL name the system, as for the services. Where one is unset, the
address of the system that runs on this machine is used.
"""

import asyncio
import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from cli.exit_codes import NOT_FOUND, OperatorError
from services import definition_of
from shared.eventlog.decision import Stream
from shared.eventlog.deliver.clocks import Clocks
from shared.eventlog.deliver.connecting import start_reading, stop_reading
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.kafka import VARIABLES as KAFKA_VARIABLES
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.repair.anchors import topic_of_anchors
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.operations import OPERATION
from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import INBOUND, OUTCOMES, is_outcomes, topic_of, topics_read
from shared.runtime.clients import ServiceClient
from shared.runtime.clocks import CLOCKS
from shared.runtime.settings import Settings
from shared.services import SERVICES, local_url, url_variable

EVENT_TOPICS: Final = (*map(topic_of, SERVICES), INBOUND)
ANCHOR_TOPICS: Final = tuple(map(topic_of_anchors, SERVICES))
TOPICS: Final = (*EVENT_TOPICS, OUTCOMES, *ANCHOR_TOPICS)
STATEMENT_S: Final = 120.0
"""How long a statement may take."""
ANSWER_S: Final = 10.0
"""How long a service may take to answer a request, and to be connected to."""
_ANSWER_MS: Final = 10_000
ROOT: Final = Path(__file__).resolve().parent.parent
ADDRESS_VARIABLES: Final = frozenset({"DATABASE_URL", *KAFKA_VARIABLES, "TENURE_ANCHORS", *map(url_variable, SERVICES)})


def topics_of_the_system(existing: Iterable[str]) -> list[str]:
    """Return the topics that the system has to have, and those of publishers that exist."""
    found = list(existing)
    return list(dict.fromkeys([*topics_read(TOPICS, found), *sorted(filter(is_outcomes, found))]))


def addresses(state: Path) -> dict[str, str]:
    """Return the addresses of the system on this machine; empty if none was started."""
    try:
        lines = (state / "run" / "addresses.env").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    found = {name: shlex.split(value.split(":-", 1)[1].removesuffix("}"))[0] for name, value in pairs if ":-" in value}
    return {name: value for name, value in found.items() if name in ADDRESS_VARIABLES}


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the address variables, completed by those of the system on this machine."""
    state = Path(given.get("TENURE_STATE") or ROOT / ".local").resolve()
    named = {name: given[name] for name in ADDRESS_VARIABLES if given.get(name)}
    # A Kafka user and its certificates belong to one cluster: all of these variables come from the same source.
    elsewhere = KAFKA_VARIABLES if "KAFKA_BOOTSTRAP" in named else ()
    return {**{name: value for name, value in addresses(state).items() if name not in elsewhere}, **named}


class Context:
    """Connections that are opened when first needed and closed at the end of the block."""

    def __init__(self, env: Mapping[str, str] | None = None, *, token: str | None = None) -> None:
        """Set the addresses, and the token for requests to services (None: TENURE_TOKEN)."""
        self.token = token
        found = environment() if env is None else dict(env)
        given: dict[str, object] = {"kafka": KafkaAccess.from_environment(found)}
        given |= {"DATABASE_URL": found["DATABASE_URL"]} if "DATABASE_URL" in found else {}
        given |= {"anchors": found["TENURE_ANCHORS"]} if "TENURE_ANCHORS" in found else {}
        self.settings = Settings.model_validate(given)
        self.urls = {name: found.get(url_variable(name), local_url(name)) for name in SERVICES}
        self._stack = AsyncExitStack()
        self._pools: dict[tuple[str, bool], asyncio.Task[Any]] = {}
        self._logs: dict[str, Log] = {}
        self.asked: str | None = None
        """The URL of the database that was asked last."""
        self.asks_kafka = False
        """Whether Kafka was asked, and nothing is done without it since."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def where(self) -> str:
        """The addresses of PostgreSQL and Kafka, without passwords."""
        parts = urlsplit(self.settings.database_url.get_secret_value())
        host = parts.netloc.rpartition("@")[2] or parts.query
        return f"PostgreSQL {host}, Kafka {self.settings.kafka.bootstrap}"

    def dsn(self, service: str) -> str:
        """Return the URL of the service's database, to connect to it."""
        self.asked = self.settings.dsn(service)
        return self.asked

    def abandon(self) -> None:
        """Close the connections of all pools at once, so that nothing waits for an answer."""
        for pool in self._pools.values():
            if pool.done() and not pool.cancelled() and pool.exception() is None:
                pool.result().terminate()

    @property
    def kafka_access(self) -> KafkaAccess:
        """The access to Kafka, to connect to it."""
        self.asks_kafka = True
        return self.settings.kafka

    async def db(self, service: str, *, write: bool = False) -> Any:
        """Return a pool of the service's database; its sessions are read-only unless `write`."""
        key = (service, write)
        if key not in self._pools:
            self._pools[key] = asyncio.ensure_future(self._connect(service, write))
        return await asyncio.shield(self._pools[key])

    async def _connect(self, service: str, write: bool) -> Any:
        pool = await asyncpg.create_pool(
            self.dsn(service),
            min_size=1,
            max_size=4,
            timeout=5,
            command_timeout=STATEMENT_S,
            server_settings={"application_name": "tenure", "default_transaction_read_only": "off" if write else "on"},
        )
        self._stack.callback(pool.terminate)
        return pool

    async def log(self, service: str) -> Log:
        """Return the service's log, to append to as the service itself does."""
        if service not in self._logs:
            declared, pool = definition_of(service), await self.db(service, write=True)
            store = await PostgresStore(self.dsn(service), service).open()
            self._stack.push_async_callback(store.close)
            sealer = None if declared.sealer is None else declared.sealer(pool)
            self._logs[service] = Log(store, service, sealer=sealer)
        return self._logs[service]

    async def consumer(self, name: str) -> Consumer:
        """Return a consumer by its full name, over the service's database and log.

        It is assigned no partitions.

        Raises:
            OperatorError: There is no such consumer.
        """
        service, _, own = name.partition(".")
        what = consumers(service).get(own) if service in SERVICES else None
        if what is None:
            raise OperatorError(f"There is no consumer {name}; `tenure status` lists the consumers.", NOT_FOUND)
        pool, clocks = await self.db(service, write=True), Clocks(utc_now)
        await clocks.refresh(pool)
        return Consumer(service, what, pool, await self.log(service), clocks)

    async def kafka(self) -> AIOKafkaConsumer:
        """Return a started Kafka consumer that belongs to no group and commits no offsets."""
        reader = AIOKafkaConsumer(
            **self.kafka_access.client(),
            enable_auto_commit=False,
            request_timeout_ms=_ANSWER_MS,
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        self._stack.push_async_callback(stop_reading, reader)
        try:
            await start_reading(reader)
        except BaseException:
            self.asks_kafka = False  # the verb ends, or goes on without it
            raise
        return reader

    async def partitions(self) -> dict[str, list[int]]:
        """Return the existing topics with their partitions.

        The request names no topic, so that no broker creates one.
        """
        admin = AIOKafkaAdminClient(**self.kafka_access.client(), request_timeout_ms=_ANSWER_MS)
        try:
            await admin.start()
            found = await admin.describe_topics()
        finally:
            await admin.close()
        return {each["topic"]: sorted(p["partition"] for p in each["partitions"]) for each in found}

    async def producer(self) -> AIOKafkaProducer:
        writer = AIOKafkaProducer(
            **self.kafka_access.client(),
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=_ANSWER_MS,
        )
        self._stack.push_async_callback(_quietly, writer)
        await writer.start()
        return writer

    async def http(self, service: str, token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = ServiceClient(base_url=self.urls[service], timeout=ANSWER_S, headers=headers)
        return await self._stack.enter_async_context(client)


async def _quietly(client: Any) -> None:
    with suppress(Exception):
        async with asyncio.timeout(5):
            await client.stop()


# ── Registries ─────────────────────────────────────────────────────────────────────────────────────────


def service_named(name: str) -> str:
    """Return the name of a service that exists. Raises OperatorError otherwise."""
    if name not in SERVICES:
        raise OperatorError(f"There is no service {name}; the services are {', '.join(SERVICES)}.", NOT_FOUND)
    return name


def services_named(name: str | None) -> tuple[str, ...]:
    """Return the service that an option names, or all services if it is not given."""
    return SERVICES if name is None else (service_named(name),)


def consumers(service: str) -> dict[str, Projection | Reactions[Any]]:
    """Return a service's consumers by their short names, in the order in which it runs them."""
    declared = definition_of(service)
    timers = [] if declared.timers is None else [declared.timers.projection]
    return {what.name: what for what in (CLOCKS, *declared.consumers, *timers)}


def service_of_consumer(name: str) -> str:
    """Return the service of the consumer with this full name.

    Raises:
        OperatorError: There is no such consumer.
    """
    service, _, own = name.partition(".")
    if service not in SERVICES or own not in consumers(service):
        raise OperatorError(f"There is no consumer {name}; `tenure status` lists the consumers.", NOT_FOUND)
    return service


def services_of_consumer(name: str | None) -> tuple[str, ...]:
    """Return the service of an option's consumer, or all services if it is not given."""
    return SERVICES if name is None else (service_of_consumer(name),)


def projection_named(name: str) -> tuple[str, Projection]:
    """Return the service and the projection that a full name such as `entitlements.pools` means."""
    service, _, own = name.partition(".")
    found = consumers(service).get(own) if service in SERVICES else None
    if not isinstance(found, Projection):
        kinds = [f"{s}.{n}" for s in SERVICES for n, what in consumers(s).items() if isinstance(what, Projection)]
        near = [each for each in kinds if each.startswith(f"{service}.")] or kinds
        what = "is not a projection but a reaction" if found is not None else "is not a projection"
        raise OperatorError(f"{name} {what}. Projections: {', '.join(near)}.", NOT_FOUND)
    return service, found


def stream_kinds(stream_id: str) -> list[tuple[str, Stream[Any, Any, Any]]]:
    """Return each service, with its kind of stream, that a stream of this id can belong to."""
    if stream_id.startswith(f"{OPERATION.category}-"):
        return [(service, OPERATION) for service in SERVICES]
    return [
        (service, kind)
        for service in SERVICES
        for kind in definition_of(service).streams
        if stream_id.startswith(f"{kind.category}-")
    ]
