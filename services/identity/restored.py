"""After a restore: what the log says about the private tables, and what it can't."""

from collections.abc import Sequence
from typing import Final

from services.identity import persons
from services.identity.mail import outbox
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)


async def private(db: Queryable) -> Sequence[str]:
    """Forgets again whoever closed their account, should their key have come back with a backup. Answers what is
    missing: keys and passwords are no events."""
    closed = await db.fetch(SQL["closed"])
    for row in closed:
        await persons.erase(db, row["account_id"])
    settled = ["InvitationAccepted", "InvitationRevoked", "InvitationExpired"]
    for row in await db.fetch(SQL["settled_invitations"], settled):
        await persons.erase_invited(db, row["invitation_id"])
    # Some of the refresh tokens in a backup were used since, and would be good again.
    await db.execute(SQL["end_sessions"])
    ((unreadable, unsigned),) = await db.fetch(SQL["missing"])
    await outbox.mute(db)
    await db.execute(SQL["number_mails_on"])
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
    if not await db.fetchval(SQL["signing_keys"]):
        notes.append("There is no signing key: a new one is made, and everybody signs in again.")
    return notes
