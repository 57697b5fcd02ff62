"""Brings a service's database up to date: the engine's tables, then the service's read models. Raw SQL, by alembic.

Alembic is loaded when there is something to do: it takes a third of a service's time to start."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    from sqlalchemy import Connection

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parent.parent
_LOCK: Final = 0x7E47  # any number, the same in every process that migrates
_APPLIED: Final = "select obj_description('public.alembic_version'::regclass, 'pg_class')"


async def migrate(dsn: str, service: str) -> None:
    """Creates the database if it is missing and applies what is new. Processes that start together wait for each
    other. Raises the driver's error when the server can't be reached or the user may not create databases."""
    await _create_database(dsn)
    read_models = _ROOT / "services" / service / "migrations"
    wanted = _digest(_HERE / "migrations" / "versions", read_models)
    if await _applied(dsn) == wanted:
        return
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    url = urlunsplit(urlsplit(dsn)._replace(scheme="postgresql+asyncpg"))
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"select pg_advisory_lock({_LOCK})"))
            await connection.commit()
            await connection.run_sync(_upgrade, read_models)
            await connection.execute(text(f"comment on table public.alembic_version is '{wanted}'"))
            await connection.commit()
    finally:
        await engine.dispose()


def _digest(*folders: Path) -> str:
    """Of every file there, by name: another one, or another text, is something to look at."""
    files = sorted(file for folder in folders for file in folder.iterdir() if file.suffix in {".py", ".sql"})
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


async def _applied(dsn: str) -> str | None:
    """The digest of what was applied last, where that is known."""
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        known: str | None = await connection.fetchval(_APPLIED)
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return known


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
    config.set_main_option("version_locations", f"{_HERE / 'migrations' / 'versions'}\n{read_models}")
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


async def _create_database(dsn: str) -> None:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
        await connection.close()
    except asyncpg.InvalidCatalogNameError:
        parts = urlsplit(dsn)
        admin = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")), timeout=5)
        try:
            await admin.execute(f'create database "{parts.path.lstrip("/")}"')
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            pass  # another process was faster
        finally:
            await admin.close()
