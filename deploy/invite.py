"""Invites a first person of a publisher's or the operator's organisation, or makes somebody a password reset.

Customers and partners sign up by themselves; these two see across organisations, so whoever runs the system, and can
reach identity's database, lets the first one in. Later ones are invited by an operator's account, too. Nobody else
makes a reset: it is the operator who knows whom it is given to.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uuid_utils

from deploy import OperatorError
from services import migrations_of
from services.identity.domain.invitation import INVITATION, OPERATOR, IssueInvitation
from services.identity.persons import Persons, holder_of
from services.identity.signin import credentials, keys
from services.identity.signin.invitations import operators_choice
from shared.eventlog.migrate import require_migrated
from shared.eventlog.write.log import Log, Meta, Refused, utc_now
from shared.eventlog.write.postgres import PostgresStore, open_pool
from shared.events.identity import OrganisationKind
from shared.runtime.database import Pool
from shared.runtime.settings import settings


@asynccontextmanager
async def _identity() -> AsyncIterator[tuple[Pool, PostgresStore, keys.Keys]]:
    """identity's database, its log's store, and the keys that it signs with."""
    current = settings()
    dsn = current.dsn("identity")
    await require_migrated(dsn, migrations_of("identity"))
    db = await open_pool(dsn, 1, 1)
    store = PostgresStore(dsn, "identity", readers=1)
    try:
        yield db, await store.open(), await keys.load(db, current, str(uuid_utils.uuid7()))
    finally:
        await store.close()
        await db.close()


async def invite(kind: OrganisationKind, name: str, email: str, publisher: str = "") -> str:
    """The token of an invitation for this address, good for seven days and once. Raises the driver's error.

    `publisher` is the publisher's name as its contracts have it; by default the organisation's, in small letters.
    """
    async with _identity() as (db, store, loaded):
        invitation_id, now = str(uuid_utils.uuid7()), utc_now()
        into = operators_choice(kind, name, publisher)
        issue = IssueInvitation(
            invitation_id=invitation_id,
            email=email,
            organisation_id=into.organisation_id,
            organisation_name=into.name,
            organisation_kind=into.kind,
            sandbox=into.sandbox,
            issued_by=OPERATOR,
            now=now,
            refused=None,
            publisher=into.publisher,
        )
        event_log = Log(store, "identity", sealer=Persons(db))
        answer = await event_log.execute(INVITATION, invitation_id, issue, Meta(invitation_id, OPERATOR, now))
        if isinstance(answer, Refused):
            raise OperatorError(f"{answer.reason} {answer.remedy}")
        return loaded.invite(invitation_id, str(uuid_utils.uuid7()))


async def reset(email: str) -> str | None:
    """The reset for whoever has this address, good for a day and once; None where nobody has. Raises the driver's
    error."""
    async with _identity() as (db, store, loaded):
        holder = await holder_of(store, email)
        if holder is None:
            return None
        account_id = holder.removeprefix("account-")
        replaces = credentials.digest(await credentials.verifier_of(db, account_id))
        return loaded.reset(account_id, replaces, str(uuid_utils.uuid7()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.invite", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("publisher", "operator", "password"))
    parser.add_argument("name", help="the organisation's name; with `password` the person's e-mail address")
    parser.add_argument("email", nargs="?", help="the e-mail address of the person who is invited")
    parser.add_argument("--publisher", default="", help="the publisher's name as its contracts have it")
    chosen = parser.parse_args()
    if chosen.kind == "password":
        made = asyncio.run(reset(chosen.name))
        print(made or sys.exit("Nobody has an account with this address."))
        return
    if chosen.email is None:
        parser.error("say which e-mail address is invited")
    try:
        print(asyncio.run(invite(chosen.kind, chosen.name, chosen.email, chosen.publisher)))
    except OperatorError as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    main()
