"""What all measurements share: the event that they write, the command that makes it, quantiles."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import uuid_utils
from aiokafka.conn import AIOKafkaConnection

from shared.eventlog.decision import Stream
from shared.eventlog.write.log import Meta
from shared.events import SeatAssigned
from tests.databases import made

STREAMS: Final = 1_000
SERVICE: Final = "entitlements"
"""Whose log is written: the one that publishes SeatAssigned."""

_UUID: Final = "0f8fad5b-d9cb-469f-a165-70867728950e"
_ASSIGNED_BY: Final = _UUID + "x" * 60
"""Makes the event's data as long as the peers', about 300 bytes."""

_FINGERPRINT: Final = bytes(range(32))

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assign:
    """`number` is any number from 0 to 10^36; the pipeline puts there when the command was meant to be sent."""

    number: int


def decided(command: Assign, _state: int) -> tuple[SeatAssigned, ...]:
    return (
        SeatAssigned(
            subscription_id=_UUID,
            contract_id=f"{command.number:036d}",
            seat=1,
            account_id=_UUID,
            assigned_by=_ASSIGNED_BY,
        ),
    )


def number_of(event: SeatAssigned) -> int:
    """The number of the command that made this event."""
    return int(event.contract_id)


def _counted(state: int, _event: SeatAssigned) -> int:
    return state + 1


SEATS: Final = Stream(category="bench", initial=0, evolve=_counted, decide=decided, tenant=lambda _event: _UUID)


def meta() -> Meta:
    """What a door would add to a command."""
    command_id = str(uuid_utils.uuid7())
    return Meta(command_id, _UUID, datetime.now(UTC), command_id, command_id, "", fingerprint=_FINGERPRINT)


def quantiles(latencies_ns: Sequence[int], prefix: str = "") -> Result:
    """p50 and p99 in milliseconds."""
    ordered = sorted(latencies_ns)
    ranks = {percent: ordered[len(ordered) * percent // 100] for percent in (50, 99)}
    return {f"{prefix}p{percent}_ms": round(ns / 1e6, 2) for percent, ns in ranks.items()}


def cpu_meter() -> Callable[[int], float]:
    """Tells the processor time that this process took since now, in microseconds for each of so many events."""
    begin = time.process_time()
    return lambda events: round((time.process_time() - begin) / events * 1e6, 1)


@contextmanager
def kafka_requests() -> Iterator[Counter[str]]:
    """Count the requests that this process sends to Kafka, by the name of their class."""
    counted, send = Counter[str](), AIOKafkaConnection.send

    def counting(connection: AIOKafkaConnection, request: object, *arguments: object, **named: object) -> object:
        counted[type(request).__name__] += 1
        return send(connection, request, *arguments, **named)

    AIOKafkaConnection.send = counting
    try:
        yield counted
    finally:
        AIOKafkaConnection.send = send


def say(result: Result) -> None:
    """Hands a result to the process that asked for it: a line on standard output."""
    print(json.dumps(result), flush=True)


def asked(command: Sequence[str], env: Mapping[str, str], folder: Path, timeout_s: float = 120) -> Result:
    """The last line that a Python process says, JSON, once it has ended well."""
    return last_line([sys.executable, *command], {**os.environ, **env}, folder, timeout_s)


def last_line(command: Sequence[str], env: Mapping[str, str], folder: Path, timeout_s: float = 120) -> Result:
    """Return the last line that a process prints, which is JSON, once it has ended well."""
    done = subprocess.run(command, env=dict(env), cwd=folder, capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: Result = json.loads(done.stdout.strip().splitlines()[-1])
    return result


async def fresh(url: str, database: str) -> str:
    """The address of a database that is made anew. A checkpoint comes first, so that none falls into the run."""
    admin = await asyncpg.connect(f"{url}/postgres")
    try:
        await admin.execute(f"drop database if exists {database} with (force)")
        await admin.execute(f"create database {database}")
        await admin.execute("checkpoint")
    finally:
        await admin.close()
    return f"{url}/{database}"


async def as_service(dsn: str, service: str) -> str:
    """The database with the service's tables, for a role that has what the service's own has."""
    server, _, database = dsn.rpartition("/")
    return await made(server, database, service)


async def wal_bytes(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """How much write-ahead log the server has written since it was made."""
    return int(await connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'"))
