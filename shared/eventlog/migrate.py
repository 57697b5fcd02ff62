"""Brings a service's database up to date: the engine's tables, then the service's read models. Raw SQL, by alembic.

Who migrates is not who serves: a database belongs to the role `<database>_owner`, as which `migrate` acts; a service's
processes log in as the role `<database>`, which may neither make nor change a table. They ask by `require_migrated`.

Alembic is loaded when there is something to do: it takes a third of a second to start."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from shared.sql import statements, with_names

if TYPE_CHECKING:
    from sqlalchemy import Connection

_HERE: Final = Path(__file__).parent
_ENGINE: Final = _HERE / "migrations" / "versions"
SQL: Final = statements(__file__)
_PRIVILEGES: Final = _HERE / "migrations" / "privileges.sql"


class NotMigrated(Exception):
    """The database lacks migrations that this code needs. The message names the first and says what to do."""


def owner_of(database: str) -> str:
    """The role that owns the database and all that is in it."""
    return f"{database}_owner"


def operator_of(prefix: str) -> str:
    """The role that may act as each owner of a database of this prefix."""
    return f"{prefix}_operator"


async def migrate(dsn: str, read_models: Path) -> None:
    """Create the database if it is missing, apply what is new, and say anew what the service's role may do.

    Processes that start together wait for each other. The user of `dsn` is a member of the owner's role. `read_models`
    is the folder of the service's own migrations.

    Raises:
        asyncpg.PostgresError, OSError: the server can't be reached, or the user may not do that.
    """
    await _create_database(dsn)
    folders = (_ENGINE, read_models)
    files = _digests(folders)
    if await _applied(dsn) != files:
        await _upgrade_all(dsn, folders)
    owner = await _as_owner(dsn)
    try:
        async with owner.transaction():
            await owner.execute(SQL["lock"])
            await owner.execute(_PRIVILEGES.read_text())
            lines = "\n".join(f"{name} {digest}" for name, digest in files.items())
            await owner.execute(await owner.fetchval(SQL["note_applied"], lines))
    finally:
        await owner.close()


async def require_migrated(dsn: str, read_models: Path) -> None:
    """Return when all that this code needs was applied. A database that is newer than the code has more, and will do:
    so a process of the former version can start while the next one is rolled out.

    Raises:
        NotMigrated: something is missing, or was applied with another text.
    """
    applied = await _applied(dsn)
    for name, digest in _digests((_ENGINE, read_models)).items():
        if applied.get(name) != digest:
            raise NotMigrated(
                f"{_database(dsn)} lacks the migration {name}"
                + (" as it is here" if name in applied else "")
                + ": `python -m deploy.databases` applies it"
            )


def _digests(folders: Sequence[Path]) -> dict[str, str]:
    """Of every file there, by name: another one, or another text, is something to look at."""
    files = sorted(file for folder in folders for file in folder.iterdir() if file.suffix in {".py", ".sql"})
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


async def _applied(dsn: str) -> dict[str, str]:
    """The digests of the files that were applied, where that is known."""
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        known: str | None = await connection.fetchval(SQL["applied"])
    except asyncpg.UndefinedTableError:
        return {}
    finally:
        await connection.close()
    pairs = (line.split() for line in (known or "").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def run_sql(revision_file: str) -> None:
    """Runs the .sql file beside a revision (or the .sql file itself), whole, in the migration's transaction."""
    sql = Path(revision_file).with_suffix(".sql").read_text()
    run_statements(sql)


def run_statements(sql: str) -> None:
    """Runs several statements as one script; alembic's own execute takes one at a time under asyncpg."""
    from alembic import op
    from sqlalchemy.util import await_only

    driver: Any = op.get_bind().connection.driver_connection
    await_only(driver.execute(sql))


def _upgrade(connection: "Connection", read_models: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE / "migrations"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{_ENGINE}\n{read_models}")
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


async def _upgrade_all(dsn: str, folders: tuple[Path, Path]) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: _as_owner(dsn), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(SQL["lock_session"]))
            await connection.commit()
            await connection.run_sync(_upgrade, folders[1])
            await connection.commit()
    finally:
        await engine.dispose()


async def _as_owner(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(dsn, timeout=5, server_settings={"role": owner_of(_database(dsn))})


async def _create_database(dsn: str) -> None:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
        await connection.close()
    except asyncpg.InvalidCatalogNameError:
        database = _database(dsn)
        admin = await asyncpg.connect(_without_role(dsn, "postgres"), timeout=5)
        try:
            await admin.execute(with_names(SQL["create"], database=database, owner=owner_of(database)))
            await admin.execute(with_names(SQL["close"], database=database))
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            pass  # another process was faster
        finally:
            await admin.close()


def _database(dsn: str) -> str:
    return urlsplit(dsn).path.lstrip("/")


def _without_role(dsn: str, database: str) -> str:
    """Another database of the server, where the user acts as itself."""
    parts = urlsplit(dsn)
    query = [pair for pair in parts.query.split("&") if pair and not pair.startswith("role=")]
    return urlunsplit(parts._replace(path=f"/{database}", query="&".join(query)))
