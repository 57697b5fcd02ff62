"""Invitations for a publisher's or the operator's people, and password resets.

Customers and partners sign up by themselves. Users of a publisher or of the operator can see several organisations'
data, so they are invited by somebody with access to identity's database; an operator's account can invite others, too.
Only the operator issues password resets, and is responsible for giving them to the right person.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uuid_utils

from deploy import OperatorError
from deploy.reaching import asking_database
from services import migrations_of
from services.identity.domain.account import address_digest, normalised
from services.identity.domain.invitation import INVITATION, OPERATOR, IssueInvitation, already_member
from services.identity.persons import Persons, colleague_at, holder_of
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
    """Open identity's database, the store of its log, and its signing keys.

    Raises:
        OperatorError: The database can't be asked.
    """
    with asking_database("identity"):
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
    """Return the token of a new invitation for this address.

    It is valid for seven days and can be used once.

    Args:
        publisher: The publisher's name in contracts; by default the organisation's name in lower case.

    Raises:
        OperatorError: The invitation was refused, or the database can't be asked.
    """
    async with _identity() as (db, store, loaded):
        invitation_id, now = str(uuid_utils.uuid7()), utc_now()
        into = operators_choice(kind, name, publisher)
        event_log = Log(store, "identity", sealer=Persons(db))
        issue = IssueInvitation(
            invitation_id=invitation_id,
            email=email,
            organisation_id=into.organisation_id,
            organisation_name=into.name,
            organisation_kind=into.kind,
            sandbox=into.sandbox,
            issued_by=OPERATOR,
            now=now,
            refused=already_member(await colleague_at(event_log, email, into.organisation_id)),
            publisher=into.publisher,
        )
        answer = await event_log.execute(INVITATION, invitation_id, issue, Meta(invitation_id, OPERATOR, now))
        if isinstance(answer, Refused):
            raise OperatorError(f"{answer.reason} {answer.remedy}")
        return loaded.invite(invitation_id, str(uuid_utils.uuid7()))


async def reset(email: str) -> str | None:
    """Return a password reset for the account with this address, or None if there is none.

    It is valid for a day and can be used once.

    Raises:
        OperatorError: The database can't be asked.
    """
    async with _identity() as (db, store, loaded):
        holder = await holder_of(store, email)
        if holder is None:
            return None
        account_id = holder.removeprefix("account-")
        replaces = credentials.digest(await credentials.verifier_of(db, account_id))
        return loaded.reset(account_id, replaces, str(uuid_utils.uuid7()))


async def verification(email: str) -> str:
    """Return the code that confirms an account's address, as the mail to it has it.

    It is for example people, whose mails nobody reads.

    Raises:
        OperatorError: No account has this address, or the database can't be asked.
    """
    async with _identity() as (_, store, loaded):
        holder = await holder_of(store, email)
        if holder is None:
            raise OperatorError(f"No account has the address {email}.")
        return loaded.verification(
            holder.removeprefix("account-"), address_digest(normalised(email)), str(uuid_utils.uuid7())
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.invite", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("publisher", "operator", "password"))
    parser.add_argument("name", help="the organisation's name, or with `password` the account's e-mail address")
    parser.add_argument("email", nargs="?", help="the e-mail address to invite")
    parser.add_argument(
        "--publisher",
        default="",
        help="the publisher's name in contracts; default: the organisation's name in lower case",
    )
    chosen = parser.parse_args()
    if chosen.kind != "password" and chosen.email is None:
        parser.error("the e-mail address to invite is missing")
    try:
        if chosen.kind == "password":
            print(asyncio.run(reset(chosen.name)) or sys.exit("No account has this address."))
        else:
            print(asyncio.run(invite(chosen.kind, chosen.name, chosen.email, chosen.publisher)))
    except OperatorError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
