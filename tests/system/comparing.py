"""What a service's stores hold before and after."""

import asyncpg

NOTED = ("alembic_version", "notifications_muted", "outbox_muted", "sessions")
"""Tables in which a restore notes something itself: what it does not mail or tell, and that sessions have ended."""

ENGINE = {
    "log.events": "select *, data::text as bytes from log.events",
    "log.head": "select position, chain, fenced from log.head",
    "log.claims": "select * from log.claims",
    "log.commands": "select id, stream, first, count from log.commands where count > 0",
    "engine.timers": "select * from engine.timers",
    "engine.clocks": "select organisation_id, ahead_s from engine.clocks",
}

Contents = dict[str, set[str]]


async def contents(dsn: str) -> Contents:
    """Every row of every read model, and of the log's own tables, as text."""
    db = await asyncpg.connect(dsn)
    try:
        tables = await db.fetch("select tablename from pg_tables where schemaname = 'public' order by 1")
        queries = ENGINE | {t[0]: f"select * from public.{t[0]}" for t in tables if t[0] not in NOTED}
        return {
            name: {str(row[0]) for row in await db.fetch(f"select t::text from ({query}) t")}
            for name, query in queries.items()
        }
    finally:
        await db.close()


def differences(before: Contents, after: Contents) -> dict[str, tuple[list[str], list[str]]]:
    """By table, the rows that are gone and those that are new."""
    found = {
        name: (sorted(before[name] - after.get(name, set())), sorted(after.get(name, set()) - before[name]))
        for name in before
    }
    return {name: rows for name, rows in found.items() if any(rows)}
