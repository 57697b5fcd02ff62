"""Waiting for the example data to arrive in marketplace's catalogue."""

import asyncio
from collections.abc import Mapping
from typing import Final

import asyncpg

from deploy import OperatorError
from deploy.data import TOPIC
from services.marketplace.domain.plan import PLAN
from services.marketplace.projections import CATALOGUE
from services.marketplace.reactions import PUBLISHER
from shared.eventlog.write.postgres import TRANSIENT
from shared.sql import statements

SQL: Final = statements(__file__)
PATIENCE_S: Final = 90.0
_ASK_EVERY_S: Final = 0.1


async def until_folded(dsn: str, sent: Mapping[int, int], patience_s: float = PATIENCE_S) -> None:
    """Return once every plan that was sent is in the catalogue.

    Args:
        dsn: marketplace's database, as a user who may read `log` and `engine`.
        sent: The offset of the last record that was sent, by partition of the publisher's topic.
        patience_s: How long to wait; the database is asked once at least.

    Raises:
        OperatorError: It took longer; the message says what is missing.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience_s
    while missing := await _missing_or_unreachable(dsn, sent):
        if clock() > deadline:
            raise OperatorError(
                f"The example data is not in the catalogue after {patience_s:.0f} s: {missing}. Check `tenure status` "
                "and `tenure parked ls`."
            )
        await asyncio.sleep(_ASK_EVERY_S)


async def _missing_or_unreachable(dsn: str, sent: Mapping[int, int]) -> str:
    try:
        return await _missing(dsn, sent)
    except TRANSIENT:
        await asyncio.sleep(1)
        return "marketplace's database can't be reached"


async def _missing(dsn: str, sent: Mapping[int, int]) -> str:
    """Return what is missing, or ""."""
    db = await asyncpg.connect(dsn, timeout=5, command_timeout=5)
    try:
        reader = f"marketplace.{PUBLISHER.name}"
        unread = await db.fetch(SQL["dealt_with"], reader, TOPIC, list(sent), list(sent.values()))
        if unread:
            return f"{reader} has not processed all records of {TOPIC} in partition {unread[0]['partition']}"
        folder = f"marketplace.{CATALOGUE.name}"
        behind = await db.fetch(SQL["behind"], folder, PLAN.id(""))
        return f"{folder} has not folded {len(behind)} plans" if behind else ""
    finally:
        await db.close()
