"""Brings a service's database up to date: the engine's tables, then the service's read models. Raw SQL, by alembic."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from alembic import command, op
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import await_only

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parent.parent
_LOCK: Final = 0x7E47  # any number, the same in every process that migrates


async def migrate(dsn: str, service: str) -> None:
    """Creates the database if it is missing and applies what is new. Processes that start together wait for each
    other. Raises the driver's error when the server can't be reached or the user may not create databases."""
    await _create_database(dsn)
    url = urlunsplit(urlsplit(dsn)._replace(scheme="postgresql+asyncpg"))
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"select pg_advisory_lock({_LOCK})"))
            await connection.commit()
            await connection.run_sync(_upgrade, _ROOT / "services" / service / "migrations")
            await connection.commit()
    finally:
        await engine.dispose()


def run_sql(revision_file: str) -> None:
    """Runs the .sql file beside a revision (or the .sql file itself), whole, in the migration's transaction."""
    sql = Path(revision_file).with_suffix(".sql").read_text()
    run_statements(sql)


def run_statements(sql: str) -> None:
    """Runs several statements as one script; alembic's own execute takes one at a time under asyncpg."""
    driver: Any = op.get_bind().connection.driver_connection
    await_only(driver.execute(sql))


def _upgrade(connection: Connection, read_models: Path) -> None:
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
