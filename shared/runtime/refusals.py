"""Refusals of commands, looked up afterwards by who was refused and by the operator.

A decider's refusal is stored by the log with the command's id. What a route refuses before a decider is asked, such as
for want of a role, is kept beside it and leaves the command's id free. A command's id begins with the account that sent
it; the commands of reactions and timers belong to no account, so only the operator sees their refusals.
"""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Annotated, Final, TypeAlias

import asyncpg
import structlog
from fastapi import Path
from pydantic import BaseModel

from shared.eventlog.write.log import utc_now
from shared.eventlog.write.postgres import TRANSIENT
from shared.rule_status import status_of
from shared.runtime.auth import Actor
from shared.runtime.lists import By, Listing, searched
from shared.runtime.problems import Problem
from shared.sql import Queryable, Row, statements

logger = structlog.get_logger(__name__)

SQL: Final = statements(__file__)

ANYBODY: Final = "anybody"
"""What the command ids of callers without an account begin with."""
KEPT: Final = (403, 409)
"""The statuses of a route's refusals that are kept: who may, and what the state forbids.

The others say that the request is wrong, that the caller is unknown or that something is missing, for which they name
no events."""
KEPT_FOR: Final = timedelta(days=400)
"""For how long a route's refusal is kept: anybody may be refused without end, and no event comes of it."""
PRUNE_EVERY_S: Final = 3600.0
PRUNED_AT_ONCE: Final = 1_000
CommandId: TypeAlias = Annotated[str, Path(max_length=500, pattern=r"^[!-~][ -~]*$")]
"""The id of a command, as its refusal has it in `command_id`."""


class RefusalView(BaseModel):
    """A stored refusal, in the words of the response that it was."""

    command_id: str
    command: str | None
    """The name of the refused command; null for a refusal from before it was stored."""
    account_id: str | None
    """Who was refused; null for somebody without an account, a reaction or a timer."""
    stream: str | None
    """The stream that decided; null if the route refused the command before."""
    request: str | None
    """The method and path of the refused request, if the route refused it."""
    status: int
    rule: str
    reason: str
    remedy: str
    because: list[str]
    """The ids of the events that justify the refusal."""
    refused_at: datetime


REFUSALS: Final = Listing(SQL["refusals"], key="id", sorts={"refused_at": By(datetime, "time")}, order="-refused_at")


async def keep(db: Queryable, problem: Problem, *, command_id: str, command: str, request: str, time: datetime) -> None:
    """Keep a route's refusal of a command, if it is one of those that are kept."""
    if problem.status in KEPT:
        refusal = {
            "command": command,
            "rule": problem.rule,
            "reason": problem.reason,
            "remedy": problem.remedy,
            "because": problem.because,
        }
        await db.execute(SQL["keep"], command_id, request, json.dumps(refusal), time)
        problem.command_id = command_id


async def prune(db: Queryable, now: datetime, at_once: int = PRUNED_AT_ONCE) -> int:
    """Delete the routes' refusals that have been kept long enough, and return how many."""
    total = 0
    while deleted := int(await db.fetchval(SQL["prune"], now - KEPT_FOR, at_once)):
        total += deleted
    return total


async def keep_pruned(db: Queryable) -> None:
    """Prune every hour, until cancelled."""
    while True:
        try:
            await prune(db, utc_now())
        except (*TRANSIENT, asyncpg.PostgresError) as fault:
            logger.warning("could not prune the refusals", fault=repr(fault))
        await asyncio.sleep(PRUNE_EVERY_S)


async def refusal_of(db: Queryable, command_id: str, account_id: str | None) -> RefusalView | None:
    """Return the refusal of a command, or None if there is none.

    Args:
        account_id: whose command it has to be; None for anybody's.
    """
    row = await db.fetchrow(SQL["one"], command_id, account_id)
    return None if row is None else refusal_view(row)


async def latest(db: Queryable, account_id: str | None, limit: int) -> list[RefusalView]:
    """Return the latest refusals of an account's commands, or of all (None), the newest first."""
    statement = REFUSALS.statements["refused_at"]
    rows = await db.fetch(statement, True, True, None, None, limit, account_id, None, searched(""))
    return [refusal_view(row) for row in rows]


def sees_all(actor: Actor) -> bool:
    """Return whether the caller sees everybody's refusals, which only the operator's people do."""
    return actor.organisation_kind == "operator"


def refusal_view(row: Row) -> RefusalView:
    """Return the view of a row of `refusals`."""
    refusal = json.loads(row["refusal"])
    who, _, _ = row["id"].partition(":")
    return RefusalView(
        command_id=row["id"],
        command=refusal.get("command"),
        account_id=who if _is_account(who) else None,
        stream=row["stream"] or None,
        request=row["request"] or None,
        status=status_of(refusal["rule"]),
        rule=refusal["rule"],
        reason=refusal["reason"],
        remedy=refusal["remedy"],
        because=[event for event in refusal["because"] if event],
        refused_at=row["time"],
    )


def _is_account(who: str) -> bool:
    """Return whether a command id begins with an account.

    The ids of reactions begin with a consumer's name, which has a dot, and those of timers with `timer`.
    """
    return "." not in who and who not in (ANYBODY, "timer")
