"""After a restore: what the log says about the private tables, and what it can't."""

from collections.abc import Sequence
from typing import Any

from services.identity import outbox, persons


async def private(db: Any) -> Sequence[str]:
    """Forgets again whoever closed their account, should their key have come back with a backup. Answers what is
    missing: keys and passwords are no events."""
    closed = await db.fetch(
        "select distinct data ->> 'account_id' as account_id from log.events where type = 'AccountClosed'"
    )
    for row in closed:
        await persons.erase(db, row["account_id"])
    settled = "select distinct data ->> 'invitation_id' as invitation_id from log.events where type = any($1::text[])"
    for row in await db.fetch(settled, ["InvitationAccepted", "InvitationRevoked", "InvitationExpired"]):
        await persons.erase_invited(db, row["invitation_id"])
    # Some of the refresh tokens in a backup were used since, and would be good again.
    await db.execute("delete from sessions")
    opened = "select distinct data ->> 'account_id' as account_id from log.events where type = 'AccountOpened'"
    unreadable, unsigned = await db.fetchrow(
        f"select count(*) filter (where k.account_id is null), count(*) filter (where c.account_id is null and "  # noqa: S608
        f"k.key is not null) from ({opened}) a left join person_keys k using (account_id) "
        "left join credentials c using (account_id)"
    )
    await outbox.mute(db)
    notes = []
    if unreadable:
        notes.append(
            f"{unreadable} people's keys are not there, and keys are no events: their names and addresses read empty, "
            "so that they can't sign in. Load the table person_keys from its own backup and restore again, if there is "
            "one."
        )
    if unsigned:
        notes.append(
            f"{unsigned} people have no password here: python -m deploy.invite password <address> makes each the reset "
            "that sets a new one."
        )
    if not await db.fetchval("select count(*) from signing_keys"):
        notes.append("There is no signing key: a new one is made, and everybody signs in again.")
    return notes
