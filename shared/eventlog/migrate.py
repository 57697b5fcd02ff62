"""Migrations of a service's database: the engine's tables and the service's read models.

The migrations are raw SQL, applied by Alembic. Two roles are kept apart: the role `<database>_owner` owns the database,
and `migrate` acts as it; a service's processes log in as the role `<database>`, which can neither create nor alter a
table. They call `require_migrated` before they start.

Alembic is imported only when a migration is to be applied, because its import takes a third of a second.
"""

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
    """The database lacks a migration that this code needs, or can't get it from this code.

    The message names the first such migration and says what to do.
    """


def owner_of(database: str) -> str:
    """Return the name of the role that owns the database and everything in it."""
    return f"{database}_owner"


def operator_of(prefix: str) -> str:
    """Return the name of the role that can act as the owner of each database of this prefix."""
    return f"{prefix}_operator"


async def migrate(dsn: str, read_models: Path) -> None:
    """Create the database if it is missing, migrate it, and grant the service's role its rights.

    A database that has all of this code's migrations and further ones is left as it is: a later version has prepared
    it, and this one was brought back. Processes that do this at the same time wait for each other.

    Args:
        dsn: The database, and a user that is a member of the owner's role.
        read_models: The folder of the service's own migrations.

    Raises:
        NotMigrated: The database has a migration that this code does not know, and lacks one that it has.
        asyncpg.PostgresError: The server refuses, for example because the user lacks a privilege.
        OSError: The server cannot be reached.
    """
    await _create_database(dsn)
    folders = (_ENGINE, read_models)
    files, applied = _digests(folders), await _applied(dsn)
    if unknown := sorted(applied.keys() - files.keys()):
        missing = next((name for name, digest in files.items() if applied.get(name) != digest), None)
        if missing is None:
            return
        raise NotMigrated(
            f"the database {_database(dsn)} has the migration {unknown[0]}, which this version does not know, "
            f"and lacks {missing}: run `python -m deploy.databases` of a version that has both"
        )
    if applied != files:
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
    """Check that the database has every migration that this code needs.

    A database with further migrations passes, so that a process of the former version can start while the next version
    is rolled out.

    Raises:
        NotMigrated: A migration is missing, or was applied with another text.
    """
    applied = await _applied(dsn)
    for name, digest in _digests((_ENGINE, read_models)).items():
        if applied.get(name) != digest:
            raise NotMigrated(
                f"the database {_database(dsn)} "
                + (f"has another version of the migration {name}" if name in applied else f"lacks the migration {name}")
                + ": run `python -m deploy.databases`"
            )


def _digests(folders: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of every migration file in these folders, by file name."""
    files = sorted(file for folder in folders for file in folder.iterdir() if file.suffix in {".py", ".sql"})
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


async def _applied(dsn: str) -> dict[str, str]:
    """Return the digests of the migrations that the database has, by file name.

    A database without a record of its migrations has none.
    """
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        lines: str | None = await connection.fetchval(SQL["applied"])
    except asyncpg.UndefinedTableError:
        return {}
    finally:
        await connection.close()
    pairs = (line.split() for line in (lines or "").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def run_sql(revision_file: str) -> None:
    """Run a revision's .sql file in the migration's transaction.

    Args:
        revision_file: The revision's Python file, beside its .sql file, or the .sql file itself.
    """
    sql = Path(revision_file).with_suffix(".sql").read_text()
    run_statements(sql)


def run_statements(sql: str) -> None:
    """Run several statements as one script.

    Alembic's own `execute` takes one statement at a time under asyncpg.
    """
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
            pass  # Another process created it first.
        finally:
            await admin.close()


def _database(dsn: str) -> str:
    return urlsplit(dsn).path.lstrip("/")


def _without_role(dsn: str, database: str) -> str:
    """Return the DSN of another database of the server, without the `role` parameter."""
    parts = urlsplit(dsn)
    query = [pair for pair in parts.query.split("&") if pair and not pair.startswith("role=")]
    return urlunsplit(parts._replace(path=f"/{database}", query="&".join(query)))
