"""PostgreSQL exchanged for an older one beneath the running services: every store is fenced, says how far it is behind,
and is brought up to its topic by command, while the services run."""

import asyncio
import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import stack
from deploy.service import ServicePart
from services import definition_of
from shared.eventlog.repair.guard import FENCE
from shared.eventlog.repair.verify import verify
from shared.services import SERVICES
from tests.system.comparing import contents, differences
from tests.system.running import System, tenure

pytestmark = [pytest.mark.system, pytest.mark.long]

NOTICED_S = 30.0
"""With a machine that does other things, too; most of it is the services' finding the server again."""


def data(postgres: Any) -> Path:
    """Where the server has its data; a test in containers has no such place."""
    if not isinstance(postgres, stack.Postgres):
        pytest.skip("PostgreSQL runs in a container: its data can't be exchanged from here")
    return postgres.folder / "data"


async def fetch(dsn: str, sql: str) -> list[Any]:
    db = await asyncpg.connect(dsn)
    try:
        return await db.fetch(sql)
    finally:
        await db.close()


async def kept_apart(dsn: str) -> dict[str, list[Any]]:
    """What identity has a backup of its own for."""
    return {table: await fetch(dsn, f"select * from {table}") for table in definition_of("identity").private_tables}


async def loaded(dsn: str, saved: dict[str, list[Any]]) -> None:
    db = await asyncpg.connect(dsn)
    async with db.transaction():
        for table, rows in saved.items():
            await db.execute(f"lock table {table} in share row exclusive mode")  # the service may write to it now
            await db.execute(f"delete from {table}")
            if rows:
                await db.copy_records_to_table(table, columns=list(rows[0].keys()), records=[tuple(r) for r in rows])
    await db.close()


def heads(system: System) -> dict[str, tuple[int, str | None]]:
    """Each store's position, and its fence."""

    async def look() -> dict[str, tuple[int, str | None]]:
        sql = "select position, fenced from log.head"
        return {name: tuple((await fetch(dsn, sql))[0]) for name, dsn in system.dsns().items()}

    return asyncio.run(look())


def refused_so_far(system: System) -> int:
    """What a command is answered."""
    body = {
        "email": "late@example.com",
        "password": "a long enough one 1",
        "name": "Late",
        "country": "DE",
        "time_zone": "Europe/Berlin",
        "locale": "en-GB",
        "organisation": {"name": "Late", "kind": "partner"},
    }
    request = urllib.request.Request(
        f"{system.services['identity'].url}/accounts",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": "late"},
    )
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(request, timeout=20)
    with answer.value as error:
        return error.code


def unready(service: ServicePart) -> str:
    """Why the service is not ready, once it says so."""
    deadline = time.monotonic() + NOTICED_S
    while time.monotonic() < deadline:
        try:
            service.probe()
        except stack.NotReady as why:
            if "ahead of the store" in str(why):
                return str(why)
        time.sleep(0.1)
    raise AssertionError(f"{service.name} is ready")


def test_an_older_postgresql_beneath_running_services(expendable: System, tmp_path: Path) -> None:
    old = {name: evidence.position for name, evidence in expendable.assert_sound().items()}
    folder, backup = data(expendable.postgres), tmp_path / "backup"
    expendable.postgres.stop()
    shutil.copytree(folder, backup)
    expendable.postgres.start()
    expendable.tell()
    new = {name: evidence.position for name, evidence in expendable.assert_sound().items()}
    assert all(new[name] > old[name] for name in SERVICES)
    before = {name: asyncio.run(contents(dsn)) for name, dsn in expendable.dsns().items()}
    private = asyncio.run(kept_apart(expendable.dsns()["identity"]))
    processes = {name: service.pid for name, service in expendable.services.items()}

    expendable.postgres.kill()
    shutil.rmtree(folder)
    backup.rename(folder)
    expendable.postgres.start()
    assert refused_so_far(expendable) == 503, "by the guard before a relay, or by the fence"
    deadline = time.monotonic() + NOTICED_S
    while any(fence is None for _, fence in heads(expendable).values()):
        assert time.monotonic() < deadline, heads(expendable)
        time.sleep(0.1)
    for name, (position, fence) in heads(expendable).items():
        assert position == old[name], "nothing was written meanwhile"
        assert f"is ahead of the store by {new[name] - old[name]} events" in (fence or "").removeprefix(FENCE)
    assert refused_so_far(expendable) == 503
    for service in expendable.services.values():
        assert "`tenure reconcile` imports them" in unready(service)

    asyncio.run(loaded(expendable.dsns()["identity"], private))
    for name in SERVICES:
        tenure(expendable, "reconcile", name, "--yes", "--reason", "PostgreSQL came back from a backup")
    sound = expendable.assert_sound()
    for name in SERVICES:
        own = [e.envelope.stream for e in sound[name].events[new[name] :]]
        assert own, "the record of what was done"
        assert all(stream.startswith("operation-") for stream in own), f"no effect was repeated: {own}"
    for name, dsn in expendable.dsns().items():
        wrong = differences(before[name], asyncio.run(contents(dsn)))
        assert {table: rows for table, (rows, _) in wrong.items() if rows and table != "log.head"} == {}
        assert asyncio.run(verify(name, dsn, expendable.kafka.access)).findings.first == []
    assert {name: service.pid for name, service in expendable.services.items()} == processes, "nobody was started anew"
    assert "The story holds" in expendable.tell()
    expendable.assert_sound()
