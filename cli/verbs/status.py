"""`tenure status`: the state of services, relays, consumers, parked records and timers."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import asyncpg
import httpx
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from cli import horizon
from cli.app import Result, verb
from cli.context import Context
from cli.output import Output, duration, size
from cli.sentences import Count, say
from shared.eventlog.deliver.received import Partition
from shared.eventlog.write.postgres import TRANSIENT
from shared.services import SERVICES
from shared.sql import statements

SQL: Final = statements(__file__)
_AGES_TIMEOUT_S: Final = 5.0
_QUERY_TIMEOUT_S: Final = 20.0
_KAFKA_TIMEOUT_S: Final = 6.0
"""How long Kafka may take to be connected to; without it, all else is shown."""


@dataclass(kw_only=True, slots=True)
class Lag:
    """How far a consumer is behind: unprocessed records, the age of the oldest, and the trend."""

    consumer: str
    events: int
    parked: int
    next: dict[Partition, int] = field(default_factory=dict)
    """The next offset to process, of each partition in which it is behind."""
    seconds: float | None = None
    per_s: float = 0.0
    """The change of `events` in a second; negative while the consumer catches up."""

    @property
    def trend(self) -> str:
        if abs(self.per_s) < 0.5:
            return "steady" if self.events else ""
        return f"{'growing' if self.per_s > 0 else 'falling'} {abs(self.per_s):,.0f}/s"


def lags(
    rows: Sequence[Mapping[str, Any]], ends: Mapping[Partition, int], begins: Mapping[Partition, int]
) -> list[Lag]:
    """Return each consumer's lag, from its checkpoints and the partitions' offsets."""
    found: dict[str, Lag] = {}
    for row in rows:
        lag = found.setdefault(row["consumer"], Lag(consumer=row["consumer"], events=0, parked=row["parked"]))
        partition = (row["topic"], row["partition"])
        first = max(row["offset"] + 1, begins.get(partition, 0))
        behind = max(0, ends.get(partition, 0) - first)
        if behind:
            lag.events += behind
            lag.next[partition] = first
    return list(found.values())


@dataclass(kw_only=True, slots=True)
class ServiceStatus:
    """The state of a service at one time; `fault` is why its database could not be read."""

    service: str
    waiting: dict[str, str]
    log: Mapping[str, Any] | None = None
    checkpoints: Sequence[Mapping[str, Any]] = ()
    transactions: Sequence[horizon.OpenTransaction] = ()
    fault: str | None = None


async def _ready(context: Context, service: str) -> dict[str, str]:
    try:
        answer = await (await context.http(service)).get("/ready", timeout=3)
        waiting: dict[str, str] = answer.json()["waiting_for"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        where, fault = context.urls[service], type(error).__name__
        return {"service": say("no answer at %(address)s (%(error)s)", address=where, error=fault)}
    return waiting


async def _read_status(context: Context, service: str) -> ServiceStatus:
    status = ServiceStatus(service=service, waiting=await _ready(context, service))
    try:
        db = await context.db(service)
        status.transactions = horizon.read(await db.fetch(SQL["horizon"]))  # first, as it waits for no lock
        status.log = await db.fetchrow(SQL["service"], timeout=_QUERY_TIMEOUT_S)
        status.checkpoints = await db.fetch(SQL["checkpoints"], timeout=_QUERY_TIMEOUT_S)
    except (*TRANSIENT, asyncpg.PostgresError) as error:
        status.fault = f"{type(error).__name__}: {error}"
    return status


async def _reader(context: Context) -> AIOKafkaConsumer | str:
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT_S):
            return await context.kafka()
    except (KafkaError, OSError, TimeoutError) as error:
        return say(
            "Kafka at %(address)s does not answer (%(error)s)",
            address=context.settings.kafka.bootstrap,
            error=type(error).__name__,
        )


async def _edges(
    kafka: AIOKafkaConsumer, existing: set[Partition], services: Sequence[ServiceStatus]
) -> tuple[dict[Partition, int], dict[Partition, int]]:
    """Return the first and the end offsets of the existing partitions that consumers read."""
    wanted = sorted({(row["topic"], row["partition"]) for each in services for row in each.checkpoints})
    asked = [TopicPartition(*p) for p in wanted if p in existing]
    begins, ends = await kafka.beginning_offsets(asked), await kafka.end_offsets(asked)
    return {(p.topic, p.partition): n for p, n in begins.items()}, {(p.topic, p.partition): n for p, n in ends.items()}


async def _ages(kafka: AIOKafkaConsumer, behind: Sequence[Lag]) -> None:
    """Set each lag's `seconds`, the age of the oldest unprocessed record."""
    deadline = time.monotonic() + _AGES_TIMEOUT_S
    for lag in sorted(behind, key=lambda each: -each.events):
        waiting = {TopicPartition(*partition): offset for partition, offset in lag.next.items()}
        kafka.assign(list(waiting))
        for partition, offset in waiting.items():
            kafka.seek(partition, offset)
        while waiting and time.monotonic() < deadline:
            for partition, records in (await kafka.getmany(*waiting, timeout_ms=300)).items():
                if records and waiting.pop(partition, None) is not None:
                    lag.seconds = max(lag.seconds or 0.0, time.time() - records[0].timestamp / 1000)


async def gather(context: Context, over_s: float) -> tuple[list[ServiceStatus], list[Lag], str | None]:
    """Read the state of all services twice, `over_s` apart, to determine the trend.

    Returns:
        The services, the consumers' lags, and why Kafka could not be read, or None.
    """
    kafka = await _reader(context)
    first: dict[str, int] = {}
    started, existing = time.monotonic(), set[Partition]()
    if not isinstance(kafka, str):
        services = await asyncio.gather(*(_read_status(context, service) for service in SERVICES))
        existing = {(topic, n) for topic, numbers in (await context.partitions()).items() for n in numbers}
        begins, ends = await _edges(kafka, existing, services)
        first = {lag.consumer: lag.events for each in services for lag in lags(each.checkpoints, ends, begins)}
        await asyncio.sleep(over_s)
    services = await asyncio.gather(*(_read_status(context, service) for service in SERVICES))
    if isinstance(kafka, str):
        return services, [lag for each in services for lag in lags(each.checkpoints, {}, {})], kafka
    begins, ends = await _edges(kafka, existing, services)
    found = [lag for each in services for lag in lags(each.checkpoints, ends, begins)]
    took = time.monotonic() - started
    for lag in found:
        lag.per_s = (lag.events - first.get(lag.consumer, lag.events)) / took
    await _ages(kafka, [lag for lag in found if lag.events])
    return services, found, None


def faults(services: Sequence[ServiceStatus], kafka: str | None) -> list[str]:
    """Return a line for each problem; none if everything is well."""
    wrong = [kafka] if kafka else []
    for each in services:
        wrong += [
            say("%(service)s: %(part)s: %(why)s", service=each.service, part=part, why=why)
            for part, why in each.waiting.items()
        ]
        wrong += horizon.faults(each.service, each.transactions)
        if each.fault is not None:
            wrong.append(
                say("%(service)s: its database can't be read (%(error)s)", service=each.service, error=each.fault)
            )
            continue
        if each.log is None:
            continue
        if each.log["fenced"]:
            fenced = each.log["fenced"]
            wrong.append(say("%(service)s: its store takes no commands: %(why)s", service=each.service, why=fenced))
        if each.log["parked"]:
            parked = Count(each.log["parked"], "record")
            wrong.append(
                say("%(service)s: %(records)s parked; run `tenure parked group`", service=each.service, records=parked)
            )
        elif each.log["relayed"] is not None and not each.log["led"]:
            wrong.append(say("%(service)s: no running relay publishes its events", service=each.service))
    return wrong


def show(output: Output, services: Sequence[ServiceStatus], found: Sequence[Lag], kafka: str | None) -> None:
    """Print the state for a person."""
    rows = []
    for each in services:
        log, state = each.log, "ready" if not each.waiting else "not ready"
        if log is None:
            rows.append((each.service, state, *[""] * 6))
            continue
        relayed = log["relayed"] or 0
        backlog = log["head"] - relayed
        late = f" ({duration(log['relay_behind_s'])})" if backlog and log["relay_behind_s"] else ""
        due = f"{log['due']:,} of {log['timers']:,}" if log["timers"] else "0"
        rows.append(
            (
                each.service,
                state,
                f"{log['head']:,}",
                horizon.oldest_age(each.transactions),
                f"{backlog:,}{late}",
                f"{log['parked']:,}",
                due,
                size(log["bytes"]),
            )
        )
    output.table(("service", "state", ">horizon", ">held", ">to relay", ">parked", ">timers due", ">disk"), rows)
    output.line()
    unknown = "?" if kafka else None
    output.table(
        ("consumer", ">lag", ">oldest", "trend", ">parked"),
        [
            (
                lag.consumer,
                unknown or f"{lag.events:,}",
                duration(lag.seconds) if lag.seconds is not None else "",
                lag.trend,
                f"{lag.parked:,}",
            )
            for lag in found
        ],
    )
    output.line()


def as_data(services: Sequence[ServiceStatus], found: Sequence[Lag], wrong: Sequence[str]) -> dict[str, Any]:
    """Return the state as data."""
    by_service = {
        each.service: {
            "ready": not each.waiting,
            "waiting_for": each.waiting,
            "fault": each.fault,
            **(
                {}
                if each.log is None
                else {**each.log, "horizon": horizon.as_data(each.log["head"], each.transactions)}
            ),
        }
        for each in services
    }
    consumers = [
        {
            "consumer": lag.consumer,
            "lag": lag.events,
            "lag_s": lag.seconds,
            "per_s": round(lag.per_s, 1),
            "parked": lag.parked,
        }
        for lag in found
    ]
    return {"well": not wrong, "wrong": list(wrong), "services": by_service, "consumers": consumers}


@verb("status", fails_when="there is a problem, such as parked records or a service that is not ready")
async def show_status(
    context: Context,
    output: Output,
    over: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds over which the trend of the lag is measured.")
    ] = 2.0,
) -> Result:
    """Show the state of services, relays, consumers, parked records, timers and disk.

    "horizon" is the position up to which readers may read, as no event can appear below it any more. "held" is the age
    of the oldest open transaction that has written, or that holds or waits for the head's row."""
    output.note(say("Reading %(where)s for %(time)s.", where=context.where, time=duration(over)))
    services, found, kafka = await gather(context, over)
    wrong = faults(services, kafka)
    show(output, services, found, kafka)
    for fault in wrong:
        output.line(fault)
    if not wrong:
        output.line(say("Everything is well."))
    return Result(as_data(services, found, wrong), ok=not wrong)
