"""identity's lists: an organisation's people, and a person's requests for roles.

Names and addresses are sealed in the tables, as in the log. A search opens those of one organisation and compares them
in memory, because an index over them would be a copy that outlives the person's key.
"""

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from services.identity import persons
from services.identity.domain.account import ACCOUNT, OpenedAccount
from services.identity.domain.account_state import State
from services.identity.domain.people import people_not_shown
from services.identity.views import (
    HeldRole,
    PersonView,
    RequestState,
    RoleRequestView,
)
from shared.eventlog.write.log import Log
from shared.events.fields import Identifier, OptionalIdentifier, OptionalName, readable_address
from shared.events.identity import Role
from shared.runtime.auth import Actor
from shared.runtime.exports import ListRoute
from shared.runtime.http import CurrentActor, CurrentLog, Database
from shared.runtime.lists import By, Listing, ListOf, Page
from shared.runtime.problems import rejected, unknown
from shared.runtime.versions import shown_by_tables
from shared.sql import Queryable, Row, statements

SQL: Final = statements(__file__)

LISTS: Final = APIRouter(route_class=ListRoute)

PEOPLE: Final = Listing(
    key="account_id", sorts={"name": By(str, "by_name"), "joined": By(datetime, "joined_at")}, order="name"
)
OWN_REQUESTS: Final = Listing(
    SQL["role_requests"], key="request_id", sorts={"requested": By(datetime, "requested_at")}, order="-requested"
)


@LISTS.get("/people")
async def list_people(
    actor: CurrentActor,
    db: Database,
    log: CurrentLog,
    page: Annotated[Page, Depends(PEOPLE.page)],
    q: OptionalName = "",
    role: Role | None = None,
    contract_id: OptionalIdentifier = "",
    organisation_id: OptionalIdentifier = "",
) -> ListOf[PersonView]:
    """List the people of the caller's organisation, by any part of their names or addresses.

    Those who manage the organisation's people may list them, and those with a role on one of its contracts. `role` and
    `contract_id` leave those who hold such a role. The operator may name another organisation.
    """
    wanted = organisation_id or actor.organisation_id
    await _require_people(log, db, actor, wanted)
    rows = await db.fetch(SQL["places"], wanted, role, contract_id)
    names = emails = [""] * len(rows)
    if q:
        opened = await _opened(db, rows, "sealed_name", "sealed_email")
        names, emails = opened[0::2], opened[1::2]
    elif page.sort == "name":
        names = await _opened(db, rows, "sealed_name")
    places = [
        _Place.model_construct(account_id=row["account_id"], by_name=name.casefold(), joined_at=row["joined_at"])
        for row, name, email in zip(rows, names, emails, strict=True)
        if not q or _matches(name, email, q)
    ]
    shown = PEOPLE.select(page, places)
    people = {person.account_id: person for person in await _people(db, wanted, [p.account_id for p in shown.items])}
    items = [people[place.account_id] for place in shown.items if place.account_id in people]
    return ListOf(items=items, next=shown.next)


class _Place(BaseModel):
    """A person's place in the list: what it is sorted by, of which most is never shown."""

    account_id: str
    by_name: str
    joined_at: datetime


async def _opened(db: Queryable, rows: Sequence[Row], *columns: str) -> list[str]:
    return await persons.opened(db, [(row["account_id"], row[column]) for row in rows for column in columns])


@LISTS.get("/people/{account_id}", dependencies=[shown_by_tables(ACCOUNT, "{account_id}")])
async def one_person(account_id: Identifier, actor: CurrentActor, db: Database, log: CurrentLog) -> PersonView:
    """Return a person of the caller's organisation with their roles."""
    account = await log.state(ACCOUNT, account_id)
    if not isinstance(account, OpenedAccount) or (
        account.opened.organisation_id != actor.organisation_id and actor.organisation_kind != "operator"
    ):
        raise unknown("account")
    organisation_id = account.opened.organisation_id
    await _require_people(log, db, actor, organisation_id)
    people = await _people(db, organisation_id, [account_id])
    if not people:
        raise unknown("account", "It may have been opened or closed just now: ask again in a moment.")
    return people[0]


async def _require_people(log: Log, db: Queryable, actor: Actor, organisation_id: str) -> None:
    """Raise Problem 403 unless the caller may list the organisation's people."""
    viewer, holds_role = await viewer_of(log, db, actor)
    if (refused := people_not_shown(viewer, organisation_id, holds_role=holds_role)) is not None:
        raise rejected(refused)


async def viewer_of(log: Log, db: Queryable, actor: Actor) -> tuple[State, bool]:
    """Return the caller's account, and whether it holds a role on any contract."""
    holds_role: bool = await db.fetchval(SQL["holds_role"], actor.account_id)
    return await log.state(ACCOUNT, actor.account_id), holds_role


async def _people(db: Queryable, organisation_id: str, account_ids: Sequence[str]) -> list[PersonView]:
    """Return these people of an organisation, with their names and addresses opened."""
    rows = await db.fetch(SQL["people"], organisation_id, account_ids)
    sealed = [(row["account_id"], row[column]) for row in rows for column in ("sealed_name", "sealed_email")]
    opened = await persons.opened(db, sealed)
    roles: dict[str, list[HeldRole]] = {}
    for row in await db.fetch(SQL["roles_of_people"], account_ids):
        held = HeldRole(contract_id=row["contract_id"], role=row["role"], may_assign_seats=row["may_assign_seats"])
        roles.setdefault(row["account_id"], []).append(held)
    return [
        PersonView(
            account_id=row["account_id"],
            name=name,
            email=email or None,
            first_account=row["founder"],
            manages_people=row["founder"] or row["administrator"],
            joined_at=row["joined_at"],
            roles=roles.get(row["account_id"], []),
        )
        for row, name, email in zip(rows, opened[0::2], opened[1::2], strict=True)
    ]


def _matches(name: str, email: str, text: str) -> bool:
    """Return whether the text is a part of the person's name or address, in any case."""
    wanted = unicodedata.normalize("NFKC", text).casefold()
    texts = (name, email, readable_address(email) if email else "")
    return any(wanted in unicodedata.normalize("NFKC", each).casefold() for each in texts)


@LISTS.get("/me/role-requests")
async def my_role_requests(
    actor: CurrentActor,
    db: Database,
    page: Annotated[Page, Depends(OWN_REQUESTS.page)],
    state: RequestState | None = None,
    contract_id: OptionalIdentifier = "",
) -> ListOf[RoleRequestView]:
    """List the caller's requests for roles: what became of each, who answered, why and when."""
    found = await OWN_REQUESTS.fetch(db, page, actor.account_id, state or "", contract_id)
    sealed = [(actor.account_id, row[column]) for row in found.rows for column in ("sealed_message", "sealed_reason")]
    opened = await persons.opened(db, sealed)
    items = [
        RoleRequestView(
            request_id=row["request_id"],
            contract_id=row["contract_id"],
            role=row["role"],
            message=message,
            requested_at=row["requested_at"],
            state=row["state"],
            answered_by=row["answered_by"] or None,
            reason=reason or None,
            answered_at=row["answered_at"],
            answer_id=row["answer_id"] or None,
        )
        for row, message, reason in zip(found.rows, opened[0::2], opened[1::2], strict=True)
    ]
    return ListOf(items=items, next=found.next)
