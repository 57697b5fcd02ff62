"""The system that is looked at: its databases, its Kafka, its services' doors and registries.

Found as the services find it: DATABASE_URL, KAFKA_BOOTSTRAP and TENURE_<SERVICE>_URL; what is unset is read from the
addresses of a system that runs on this machine.
"""

import asyncio
import os
import shlex
from collections.abc import Mapping
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
from shared.eventlog.deliver.consumer import Consumer
from shared.eventlog.deliver.kafka import VARIABLES as KAFKA_VARIABLES
from shared.eventlog.deliver.kafka import KafkaAccess
from shared.eventlog.deliver.projection import Projection, Reactions
from shared.eventlog.repair.anchors import topic_of_anchors
from shared.eventlog.write.log import Log, utc_now
from shared.eventlog.write.operations import OPERATION
from shared.eventlog.write.postgres import PostgresStore
from shared.events.registry import INBOUND, topic_of
from shared.runtime.clocks import CLOCKS
from shared.runtime.settings import Settings
from shared.services import SERVICES, local_url, url_variable

EVENT_TOPICS: Final = (*map(topic_of, SERVICES), INBOUND)
ANCHOR_TOPICS: Final = tuple(map(topic_of_anchors, SERVICES))
TOPICS: Final = (*EVENT_TOPICS, *ANCHOR_TOPICS)
ROOT: Final = Path(__file__).resolve().parent.parent
ADDRESS_VARIABLES: Final = frozenset({"DATABASE_URL", *KAFKA_VARIABLES, "TENURE_ANCHORS", *map(url_variable, SERVICES)})


def addresses(state: Path) -> dict[str, str]:
    """Where a system that runs on this machine has its parts; empty when none does."""
    try:
        lines = (state / "run" / "addresses.env").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    found = {name: shlex.split(value.split(":-", 1)[1].removesuffix("}"))[0] for name, value in pairs if ":-" in value}
    return {name: value for name, value in found.items() if name in ADDRESS_VARIABLES}


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the environment says, completed."""
    state = Path(given.get("TENURE_STATE") or ROOT / ".local").resolve()
    named = {name: given[name] for name in ADDRESS_VARIABLES if given.get(name)}
    # Who one is at one Kafka is nobody at another: these variables come from one place, all of them.
    elsewhere = KAFKA_VARIABLES if "KAFKA_BOOTSTRAP" in named else ()
    return {**{name: value for name, value in addresses(state).items() if name not in elsewhere}, **named}


class Context:
    """Opened connections, made when first asked for, closed with the block."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        found = environment() if env is None else dict(env)
        given: dict[str, object] = {"kafka": KafkaAccess.from_environment(found)}
        given |= {"DATABASE_URL": found["DATABASE_URL"]} if "DATABASE_URL" in found else {}
        given |= {"anchors": found["TENURE_ANCHORS"]} if "TENURE_ANCHORS" in found else {}
        self.settings = Settings.model_validate(given)
        self.urls = {name: found.get(url_variable(name), local_url(name)) for name in SERVICES}
        self._stack = AsyncExitStack()
        self._pools: dict[tuple[str, bool], asyncio.Task[Any]] = {}
        self._logs: dict[str, Log] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def where(self) -> str:
        """The stores' addresses, without the password."""
        parts = urlsplit(self.settings.database_url.get_secret_value())
        host = parts.netloc.rpartition("@")[2] or parts.query
        return f"PostgreSQL {host}, Kafka {self.settings.kafka.bootstrap}"

    async def db(self, service: str, *, write: bool = False) -> Any:
        """A pool of the service's database, which refuses to write unless told otherwise."""
        key = (service, write)
        if key not in self._pools:
            self._pools[key] = asyncio.ensure_future(self._connect(service, write))
        return await asyncio.shield(self._pools[key])

    async def _connect(self, service: str, write: bool) -> Any:
        pool = await asyncpg.create_pool(
            self.settings.dsn(service),
            min_size=1,
            max_size=4,
            timeout=5,
            command_timeout=120,
            server_settings={"application_name": "tenure", "default_transaction_read_only": "off" if write else "on"},
        )
        self._stack.callback(pool.terminate)
        return pool

    async def log(self, service: str) -> Log:
        """The service's log, as its own processes have it."""
        if service not in self._logs:
            declared, pool = definition_of(service), await self.db(service, write=True)
            store = await PostgresStore(self.settings.dsn(service), service).open()
            self._stack.push_async_callback(store.close)
            sealer = None if declared.sealer is None else declared.sealer(pool)
            self._logs[service] = Log(store, service, sealer=sealer)
        return self._logs[service]

    async def consumer(self, name: str) -> Consumer:
        """A consumer by its full name, over the service's own database and log. It takes no partitions."""
        service, _, own = name.partition(".")
        what = consumers(service).get(own) if service in SERVICES else None
        if what is None:
            raise OperatorError(f"There is no consumer {name}: `tenure status` lists them.", NOT_FOUND)
        pool, clocks = await self.db(service, write=True), Clocks(utc_now)
        await clocks.refresh(pool)
        return Consumer(service, what, pool, await self.log(service), clocks)

    async def kafka(self) -> AIOKafkaConsumer:
        """A reader that belongs to no group and commits nothing."""
        reader = AIOKafkaConsumer(
            **self.settings.kafka.client(),
            enable_auto_commit=False,
            request_timeout_ms=10_000,
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        self._stack.push_async_callback(_quietly, reader)
        await reader.start()
        return reader

    async def partitions(self) -> dict[str, list[int]]:
        """The topics that there are, with their partitions. Asked for none by name, so that no broker makes one."""
        admin = AIOKafkaAdminClient(**self.settings.kafka.client(), request_timeout_ms=10_000)
        try:
            await admin.start()
            found = await admin.describe_topics()
        finally:
            await admin.close()
        return {each["topic"]: sorted(p["partition"] for p in each["partitions"]) for each in found}

    async def producer(self) -> AIOKafkaProducer:
        writer = AIOKafkaProducer(
            **self.settings.kafka.client(),
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=10_000,
        )
        self._stack.push_async_callback(_quietly, writer)
        await writer.start()
        return writer

    async def http(self, service: str, token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.AsyncClient(base_url=self.urls[service], timeout=10, headers=headers)
        return await self._stack.enter_async_context(client)


async def _quietly(client: Any) -> None:
    with suppress(Exception):
        async with asyncio.timeout(5):
            await client.stop()


# ── Registries ─────────────────────────────────────────────────────────────────────────────────────────


def consumers(service: str) -> dict[str, Projection | Reactions]:
    """A service's consumers by their names within it, in the order in which it runs them."""
    declared = definition_of(service)
    timers = [] if declared.timers is None else [declared.timers.projection]
    return {what.name: what for what in (CLOCKS, *declared.consumers, *timers)}


def projection_named(name: str) -> tuple[str, Projection]:
    """A projection by its full name, and its service's."""
    service, _, own = name.partition(".")
    found = consumers(service).get(own) if service in SERVICES else None
    if not isinstance(found, Projection):
        kinds = [f"{s}.{n}" for s in SERVICES for n, what in consumers(s).items() if isinstance(what, Projection)]
        near = [each for each in kinds if each.startswith(f"{service}.")] or kinds
        what = "is no projection but reacts to events" if found is not None else "is no projection"
        raise OperatorError(f"{name} {what}. There are {', '.join(near)}.", NOT_FOUND)
    return service, found


def stream_kinds(stream_id: str) -> list[tuple[str, Stream[Any, Any, Any]]]:
    """The services, and their kinds of stream, that a stream of this id can belong to."""
    if stream_id.startswith(f"{OPERATION.category}-"):
        return [(service, OPERATION) for service in SERVICES]
    return [
        (service, kind)
        for service in SERVICES
        for kind in definition_of(service).streams
        if stream_id.startswith(f"{kind.category}-")
    ]
