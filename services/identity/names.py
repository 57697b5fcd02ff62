"""The names of accounts, for those who have to do with these people.

Lists, histories and refusals of all services have account ids only. Who shows them to people asks here for the names,
for any ids at once. An id that the caller may not know by name is left out, as one that nobody has.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from services.identity import persons
from services.identity.domain.account import ACCOUNT, OpenedAccount
from services.identity.domain.people import people_not_shown
from services.identity.lists import viewer_of
from shared.eventlog.write.log import Log
from shared.events.fields import Identifier
from shared.runtime.auth import Actor
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.scopes import machines
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

ROUTES: Final = APIRouter(route_class=ListRoute)

AT_ONCE: Final = 200
"""The greatest number of accounts that are named in one request."""


class NamesAsked(BaseModel):
    """Accounts whose names are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    account_ids: Annotated[list[Identifier], Field(min_length=1, max_length=AT_ONCE)]
    organisations: bool = False
    """Whether their organisations are named, too."""


class NamedAccount(BaseModel):
    account_id: str
    name: str
    email: str | None
    """The address, for those who may list the person's organisation's people."""
    organisation_name: str | None = None
    """The name of the person's organisation, where it was asked for."""


class NamedAccounts(BaseModel):
    items: list[NamedAccount]
    """Those of the accounts that the caller may know by name, in the order of their ids."""


@ROUTES.post("/accounts/names", openapi_extra=machines("read"))
async def names_of_accounts(form: NamesAsked, actor: CurrentActor, db: Database, log: CurrentLog) -> NamedAccounts:
    """Return the names of those of these accounts that the caller may know.

    Those are colleagues, and people with whom the caller's organisation has to do. For a partner the latter are the
    people of the customers that it supports, for a customer those of the partners that support it, and for a publisher
    those with a role on one of its contracts. The operator knows everybody.
    """
    rows = await known_by_name(db, actor, form.account_ids)
    viewer, holds_role = await viewer_of(log, db, actor)
    organisations = {row["organisation_id"] for row in rows}
    shown = {each for each in organisations if people_not_shown(viewer, each, holds_role=holds_role) is None}
    sealed = [(row["account_id"], row["sealed_name"]) for row in rows]
    sealed += [(row["account_id"], row["sealed_email"]) for row in rows]
    opened = await persons.opened(db, sealed)
    called = await _names_of(log, rows) if form.organisations else {}
    items = [
        NamedAccount(
            account_id=row["account_id"],
            name=name,
            email=(email or None) if row["organisation_id"] in shown else None,
            organisation_name=called.get(row["organisation_id"]),
        )
        for row, name, email in zip(rows, opened[: len(rows)], opened[len(rows) :], strict=True)
        if name
    ]
    return NamedAccounts(items=items)


async def _names_of(log: Log, rows: Sequence[Row]) -> Mapping[str, str]:
    """Return the names of these people's organisations, which every account of one has."""
    members = {row["organisation_id"]: row["account_id"] for row in rows}
    accounts = [await log.state(ACCOUNT, account_id) for account_id in members.values()]
    opened = [account.opened for account in accounts if isinstance(account, OpenedAccount)]
    return {each.organisation_id: each.organisation_name for each in opened}


async def known_by_name(db: Queryable, actor: Actor, account_ids: list[str]) -> list[Row]:
    """Return the rows of those of these people that the caller may know by name."""
    who = (actor.organisation_id, actor.organisation_kind, actor.publisher)
    return await db.fetch(SQL["named"], *who, account_ids)
