"""Invites a first person of a publisher's or the operator's organisation, or makes somebody a password reset.

Customers and partners sign up by themselves; these two see across organisations, so whoever runs the system, and can
reach identity's database, lets them in. Nobody else makes a reset: no mail is sent from here, so it is the operator who
knows whom it is given to.
"""

import argparse
import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uuid_utils

from services.identity import credentials, keys
from services.identity.domain.account import claim_of, normalised
from shared.eventlog.migrate import migrate
from shared.eventlog.postgres import PostgresStore, connected
from shared.runtime.doors import Pool
from shared.runtime.settings import settings

_ORGANISATIONS = uuid.UUID("3f6d2f0e-95a7-5f3b-8d9e-0c7f7a5f2c11")
"""The namespace of these organisations' ids: the same kind and name are the same organisation."""


@asynccontextmanager
async def _identity() -> AsyncIterator[tuple[Pool, keys.Keys]]:
    """identity's database and the keys that it signs with."""
    current = settings()
    dsn = current.dsn("identity")
    await migrate(dsn, "identity")
    db = await connected(dsn, 1, 1)
    try:
        yield db, await keys.load(db, current, str(uuid_utils.uuid7()))
    finally:
        await db.close()


async def invite(kind: str, name: str, publisher: str = "") -> str:
    """The invitation, good for seven days; whoever holds it may sign up with it. Raises the driver's error.

    `publisher` is the publisher's name as its contracts have it; by default the organisation's, in small letters.
    """
    organisation = {
        "organisation_id": str(uuid.uuid5(_ORGANISATIONS, f"{kind}:{name}")), "organisation_name": name,
        "organisation_kind": kind, "sandbox": False,
        "publisher": (publisher or name.strip().casefold()) if kind == "publisher" else "",
    }  # fmt: skip
    async with _identity() as (_, loaded):
        return loaded.invite(organisation, "operator", str(uuid_utils.uuid7()))


async def reset(email: str) -> str | None:
    """The reset for whoever has this address, good for a day and once; None where nobody has. Raises the driver's
    error."""
    async with _identity() as (db, loaded):
        store = await PostgresStore(settings().dsn("identity"), "identity", readers=1).open()
        try:
            holder = await store.holder(claim_of(normalised(email)))
        finally:
            await store.close()
        if holder is None:
            return None
        account_id = holder.removeprefix("account-")
        replaces = credentials.digest(await credentials.verifier_of(db, account_id))
        return loaded.reset(account_id, replaces, str(uuid_utils.uuid7()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.invite", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("publisher", "operator", "password"))
    parser.add_argument("name", help="the organisation's name; with `password` the person's e-mail address")
    parser.add_argument("--publisher", default="", help="the publisher's name as its contracts have it")
    chosen = parser.parse_args()
    if chosen.kind != "password":
        print(asyncio.run(invite(chosen.kind, chosen.name, chosen.publisher)))
    elif (made := asyncio.run(reset(chosen.name))) is not None:
        print(made)
    else:
        sys.exit("Nobody has an account with this address.")


if __name__ == "__main__":
    main()
