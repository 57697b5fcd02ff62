"""The runbook's backup: a base backup, the WAL's archive, identity's private tables, the folder of secrets."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncpg

from deploy.stack import Postgres, postgres_bin
from services import definition_of

PATIENCE_S: Final = 60.0
PRIVATE: Final = "identity"
"""The service that has tables which no event tells."""


@dataclass(frozen=True)
class Backup:
    """Where the parts of a backup are: all of them outside of PostgreSQL's folder."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def password(self) -> Path:
        """The superuser's, which on one machine is beside the data folder."""
        return self.folder / "password"

    @property
    def archive(self) -> Path:
        return self.folder / "wal"

    @property
    def private(self) -> Path:
        return self.folder / "private.sql"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"


def archiving(postgres: Postgres, backup: Backup) -> None:
    """Let the server archive its WAL from now on; it has to be restarted for this."""
    backup.archive.mkdir(parents=True, exist_ok=True)
    asyncio.run(
        _execute(
            postgres,
            "alter system set archive_mode = on",
            f"alter system set archive_command = 'test ! -f {backup.archive}/%f && cp %p {backup.archive}/%f'",
        )
    )
    postgres.stop()
    postgres.start()


def take_base(postgres: Postgres, backup: Backup) -> None:
    """Take a base backup, while the services work."""
    shutil.rmtree(backup.base, ignore_errors=True)
    _run(postgres, "pg_basebackup", "--pgdata", str(backup.base), "--checkpoint=fast", "--wal-method=none")
    shutil.copy2(postgres.folder / "password", backup.password)


def take_private(postgres: Postgres, backup: Backup) -> None:
    """Take a backup of what no event tells: persons' keys, passwords' verifiers, sessions."""
    tables = [f"--table={table}" for table in definition_of(PRIVATE).private_tables]
    _run(postgres, "pg_dump", "--data-only", f"--file={backup.private}", *tables, database=f"tenure_{PRIVATE}")


def restore_private(postgres: Postgres, backup: Backup) -> None:
    """Put that backup in the place of what the tables have, in one transaction."""
    truncate = f"truncate {', '.join(definition_of(PRIVATE).private_tables)}"
    _run(
        postgres,
        "psql",
        "--quiet",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        f"--command={truncate}",
        f"--file={backup.private}",
        database=f"tenure_{PRIVATE}",
    )


def take_secrets(secrets: Path, backup: Backup) -> None:
    """Copy the folder of passwords and certificates, with their modes."""
    shutil.rmtree(backup.secrets, ignore_errors=True)
    shutil.copytree(secrets, backup.secrets)


def restore_secrets(secrets: Path, backup: Backup) -> None:
    """Put that copy in the place of the folder."""
    shutil.copytree(backup.secrets, secrets)


def now(postgres: Postgres) -> str:
    """Return the server's time."""
    return str(asyncio.run(_fetchval(postgres, "select clock_timestamp()::text")))


def archive_all(postgres: Postgres) -> None:
    """Wait until what was written so far is in the archive."""
    switched = str(asyncio.run(_fetchval(postgres, "select pg_walfile_name(pg_switch_wal())")))
    deadline = time.monotonic() + PATIENCE_S
    while (asyncio.run(_fetchval(postgres, "select last_archived_wal from pg_stat_archiver")) or "") < switched:
        assert time.monotonic() < deadline, f"{switched} was not archived"
        time.sleep(0.2)


def restore_to(postgres: Postgres, backup: Backup, moment: str) -> None:
    """Start a server as it was at a moment, from base backup and archive, where nothing is left of it."""
    data = postgres.folder / "data"
    shutil.copytree(backup.base, data)
    data.chmod(0o700)
    shutil.copy2(backup.password, postgres.folder / "password")
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = 'cp {backup.archive}/%f %p'\n")
        file.write(f"recovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n")
    (data / "recovery.signal").touch()
    postgres.start()
    deadline = time.monotonic() + PATIENCE_S
    while asyncio.run(_fetchval(postgres, "select pg_is_in_recovery()")):
        assert time.monotonic() < deadline, "the recovery does not end"
        time.sleep(0.2)
    settings = ("restore_command", "recovery_target_time", "recovery_target_action")
    asyncio.run(_execute(postgres, *(f"alter system reset {name}" for name in settings)))


def _run(postgres: Postgres, program: str, *arguments: str, database: str = "") -> None:
    """Run one of PostgreSQL's programs as its superuser."""
    url = urlsplit(postgres.url)
    env: Mapping[str, str] = {
        **os.environ,
        "PGHOST": url.hostname or "",
        "PGPORT": str(url.port),
        "PGUSER": url.username or "",
        "PGPASSWORD": unquote(url.password or ""),
        **({"PGDATABASE": database} if database else {}),
    }
    done = subprocess.run(
        [str(postgres_bin() / program), *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


async def _execute(postgres: Postgres, *statements: str) -> None:
    db = await asyncpg.connect(f"{postgres.url}/postgres")
    try:
        for statement in statements:
            await db.execute(statement)
    finally:
        await db.close()


async def _fetchval(postgres: Postgres, query: str) -> Any:
    db = await asyncpg.connect(f"{postgres.url}/postgres")
    try:
        return await db.fetchval(query)
    finally:
        await db.close()
