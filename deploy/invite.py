"""Invites a first person of a publisher's or the operator's organisation: `python -m deploy.invite --help`.

Customers and partners sign up by themselves; these two see across organisations, so whoever runs the system, and can
reach identity's database, lets them in.
"""

import argparse
import asyncio
import uuid

import uuid_utils

from services.identity import keys
from shared.eventlog.migrate import migrate
from shared.eventlog.postgres import connected
from shared.runtime.settings import settings

_ORGANISATIONS = uuid.UUID("3f6d2f0e-95a7-5f3b-8d9e-0c7f7a5f2c11")
"""The namespace of these organisations' ids: the same kind and name are the same organisation."""


async def invite(kind: str, name: str) -> str:
    """The invitation, good for seven days; whoever holds it may sign up with it. Raises the driver's error."""
    current = settings()
    dsn = current.dsn("identity")
    await migrate(dsn, "identity")
    db = await connected(dsn, 1, 1)
    try:
        loaded = await keys.load(db, current, str(uuid_utils.uuid7()))
    finally:
        await db.close()
    organisation = {
        "organisation_id": str(uuid.uuid5(_ORGANISATIONS, f"{kind}:{name}")), "organisation_name": name,
        "organisation_kind": kind, "sandbox": False,
    }  # fmt: skip
    return loaded.invite(organisation, "operator", str(uuid_utils.uuid7()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.invite", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("publisher", "operator"))
    parser.add_argument("name", help="the organisation's name")
    chosen = parser.parse_args()
    print(asyncio.run(invite(chosen.kind, chosen.name)))


if __name__ == "__main__":
    main()
