"""A durable command over HTTP on one core: `python -m tests.benchmarks.web VARIANT SECONDS`.

The server's process runs on one core, and this one, which sends the requests, on another. `bare` is an empty
application (`bare.py`). `command` is marketplace's `POST /carts`, whole: token, limits, form, decider, event, commit,
answer. Both get the same request over 64 connections. `single` and `bulk` are entitlements' grants of credits, which
look up the contract: one caller sends them one by one, and 1,000 in a request.

Services run with `--only api`. DATABASE_URL is the server, KAFKA_BOOTSTRAP the broker; PostgreSQL and Kafka run on
whatever core is free. Prints the result as JSON.
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from deploy import ROOT
from deploy.processes import free_port
from deploy.service import ServicePart
from shared.events.identity import OrganisationKind
from shared.runtime.auth import Actor, TokenSigner
from tests.benchmarks import bare
from tests.benchmarks.load import Load, closed_loop, pin, post, same, two_cores
from tests.benchmarks.measure import Result, as_service, fresh, say
from tests.console.edges import KEY, identity
from tests.databases import execute_as_operator

CONNECTIONS: Final = 64
IN_BULK: Final = 1_000
CONTRACTS: Final = 200
PUBLISHER: Final = "bench"
_LIFETIME_S: Final = 3_600


def token(issuer: str, kind: OrganisationKind, publisher: str = "") -> str:
    """Return an access token of a person."""
    actor = Actor(
        account_id="a-1", organisation_id="org-1", organisation_kind=kind, publisher=publisher, session_id="s-1"
    )
    return TokenSigner(KEY, time.time, issuer).sign(actor, "t-1", _LIFETIME_S)


@contextlib.contextmanager
def service(name: str, *statements: str) -> Iterator[tuple[ServicePart, str]]:
    """Start the service's routes over a new database; yield the process and the issuer of its callers' tokens.

    Args:
        statements: They fill the service's tables.
    """
    with services(name, 1, *statements) as ((part,), issuer):
        yield part, issuer


@contextlib.contextmanager
def services(name: str, number: int, *statements: str) -> Iterator[tuple[Sequence[ServicePart], str]]:
    """Start so many processes of the service's routes over one new database."""
    dsn = asyncio.run(_prepared(name, f"bench_{name}", statements))
    env = {"DATABASE_URL": dsn.removesuffix(f"_{name}"), "TENURE_LOG": "json", "TENURE_LOG_LEVEL": "warning"}
    with contextlib.ExitStack() as stack:
        folder, issuer = Path(stack.enter_context(tempfile.TemporaryDirectory())), stack.enter_context(identity())
        env |= {"TENURE_IDENTITY_URL": issuer, "TENURE_ISSUER": issuer}
        parts = [
            ServicePart(name, folder / str(place), env=env, arguments=("--only", "api")) for place in range(number)
        ]
        for part in parts:
            stack.callback(part.stop)
            part.spawn()
        for part in parts:
            part.wait_ready()
        yield parts, issuer


async def _prepared(name: str, database: str, statements: tuple[str, ...]) -> str:
    dsn = await as_service(await fresh(os.environ["DATABASE_URL"], database), name)
    await execute_as_operator(dsn, *statements)
    return dsn


@contextlib.contextmanager
def empty() -> Iterator[tuple[int, int]]:
    """Start the empty application; yield its process's id and its port."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", bare.__name__, str(port)], cwd=ROOT) as process:
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield process.pid, port
        finally:
            process.kill()


def measured(pid: int, load: Callable[[], Load]) -> tuple[Load, float]:
    """Send the load with the server on one core and this process on another.

    Returns:
        What was answered, and the server's processor time for each response in microseconds.
    """
    if (cores := two_cores()) is not None:
        pin(pid, cores[0])
        pin(os.getpid(), cores[1])
    server = psutil.Process(pid)
    before = sum(server.cpu_times()[:2])
    answered = load()
    used = sum(server.cpu_times()[:2]) - before
    return answered, round(used / answered.answered * 1e6, 1)


def measure_bare(seconds: float) -> Result:
    with empty() as (pid, port):
        request = post(bare.PATH, b"{}", token("http://127.0.0.1", "partner"))
        load, cpu = measured(pid, partial(closed_loop, [port], same(request), CONNECTIONS, seconds))
    return {**load.result, "cpu_us": cpu}


def measure_command(seconds: float) -> Result:
    with service("marketplace") as (part, issuer):
        assert part.pid is not None
        request = post("/carts", b"{}", token(issuer, "partner"))
        load, cpu = measured(part.pid, partial(closed_loop, [part.port], same(request), CONNECTIONS, seconds))
    return {**load.result, "cpu_us": cpu}


def grants(access: str, path: str, body: Callable[[int], object], a_contract: int) -> Iterator[bytes]:
    """Yield requests that grant credits, so many a contract."""
    for number in itertools.count():
        contract = f"/contracts/c-{number // a_contract % CONTRACTS}/credits/grants"
        yield post(contract + path, json.dumps(body(number)).encode(), access)


def _grant(number: int) -> dict[str, object]:
    return {"grant_id": f"g-{number}", "amount": 1}


def _bulk(number: int) -> dict[str, object]:
    return {"items": [_grant(number * IN_BULK + item) for item in range(IN_BULK)]}


_FILLED: Final = f"""
    insert into contracts (contract_id, customer, publisher, event_id)
    select 'c-' || number, 'customer', '{PUBLISHER}', 'e-' || number from generate_series(0, {CONTRACTS - 1}) as number
"""


def _granted(seconds: float, path: str, body: Callable[[int], object], in_request: int) -> Result:
    with service("entitlements", _FILLED) as (part, issuer):
        assert part.pid is not None
        access = token(issuer, "publisher", PUBLISHER)
        load, cpu = measured(
            part.pid,
            lambda: closed_loop([part.port], lambda _: grants(access, path, body, IN_BULK // in_request), 1, seconds),
        )
    return {"commands_s": round(load.answered * in_request / load.took_s), "cpu_us": round(cpu / in_request, 1)}


def measure_single(seconds: float) -> Result:
    return _granted(seconds, "", _grant, 1)


def measure_bulk(seconds: float) -> Result:
    return _granted(seconds, "/bulk", _bulk, IN_BULK)


if __name__ == "__main__":
    measure = {"bare": measure_bare, "command": measure_command, "single": measure_single, "bulk": measure_bulk}
    say(measure[sys.argv[1]](float(sys.argv[2])))
