"""The yardsticks: the measured peers' own scripts, run as they are, where they lie beside the checkout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg

from deploy import ROOT, jars
from deploy.stack import Postgres, postgres_bin
from tests.benchmarks.measure import Result, asked, wal_bytes

HERE: Final = ROOT.parent / "shared" / "peers"
_NAME: Final = "perf"  # of the role and the database that the scripts expect
_TABLES: Final = {"naive": "ev_naive", "group_lock": "ev_group"}


async def environment(postgres: Postgres, folder: Path) -> Mapping[str, str]:
    """Makes what the scripts expect: a role, a database, Kafka's jars side by side. Says where they find it."""
    admin = await asyncpg.connect(f"{postgres.url}/postgres")
    try:
        await admin.execute(f"create role {_NAME} superuser login password '{_NAME}'")
        await admin.execute(f"create database {_NAME} owner {_NAME}")
    finally:
        await admin.close()
    flat = folder / "jars"
    flat.mkdir()
    for jar in jars.jars():
        (flat / jar.path.name).symlink_to(jar.path)
    return {
        "PGPORT": str(postgres.port),
        "PGPASSWORD": _NAME,
        "PGBIN": str(postgres_bin()),
        "KAFKA_JARS": str(flat),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


async def append(variant: str, clients: int, seconds: float, env: Mapping[str, str]) -> Result:
    """One run of w_asyncpg.py. Its WAL is counted from outside, over all its rows, those of its warm-up too."""
    db = await asyncpg.connect(f"postgresql://{_NAME}:{_NAME}@127.0.0.1:{env['PGPORT']}/{_NAME}")
    try:
        before = await wal_bytes(db)
        said = asked(["w_asyncpg.py", "--variant", variant, "--conc", str(clients), "--secs", str(seconds)], env, HERE)
        rows = int(await db.fetchval(f"select count(*) from {_TABLES[variant]}"))
        wal = await wal_bytes(db) - before
    finally:
        await db.close()
    return {
        **{key: said[key] for key in ("events_s", "p50_ms", "p99_ms")},
        "cpu_us": said["client_cpu_us"],
        "events_a_round_trip": said["batch_mean"] or 1.0,
        "wal_bytes": round(wal / rows),
    }


def pipeline(rate: int, seconds: int, env: Mapping[str, str]) -> Result:
    """One run of e2e.py, with a Kafka of its own."""
    said = asked(["e2e.py", str(rate), str(seconds)], env, HERE)
    stages = {"in_table": said["total_p50_p99"], "answered": said["append_ack"]}
    return {f"{stage}_{p}_ms": ms for stage, both in stages.items() for p, ms in zip(("p50", "p99"), both, strict=True)}
