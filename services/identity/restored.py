"""The repair of identity's private tables after a restore."""

from collections.abc import Sequence
from typing import Final

from services.identity import persons
from services.identity.mail import outbox
from services.identity.notifications import store
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)


async def private(db: Queryable) -> Sequence[str]:
    """Apply the log to the private tables, and return notes on what is missing in them.

    Keys of closed accounts and settled invitations are erased again, because a backup may have brought them back. All
    sessions end, and no waiting mail is sent. Missing keys and passwords can't be derived from the log.
    """
    closed = await db.fetch(SQL["closed"])
    for row in closed:
        await persons.erase(db, row["account_id"])
    settling = ["InvitationAccepted", "InvitationRevoked", "InvitationExpired"]
    for row in await db.fetch(SQL["settled_invitations"], settling):
        await persons.erase_invited(db, row["invitation_id"])
    # Refresh tokens that were used since the backup would be valid again.
    await db.execute(SQL["end_sessions"])
    ((unreadable, unsigned),) = await db.fetch(SQL["missing"])
    await outbox.mute(db)
    await store.mute(db)
    await db.execute(SQL["number_mails_on"])
    notes = []
    if unreadable:
        notes.append(
            f"The keys of {unreadable} people are missing and can't be derived from the log. Their names and addresses "
            "are empty, so they can't sign in. If there is a backup of the table person_keys, load it and restore "
            "again."
        )
    if unsigned:
        notes.append(
            f"{unsigned} people have no password: create a reset for each of them, with which they set a new one "
            "(python -m deploy.invite password <address>)."
        )
    if webhooks := await db.fetchval(SQL["unsigned_webhooks"]):
        notes.append(
            f"{webhooks} webhooks have no secret, and are parked with their next event. Their people make new secrets "
            "on the pages of the webhooks; then replay each from a position (tenure webhook replay), else it sends "
            "everything since it was registered."
        )
    if not await db.fetchval(SQL["signing_keys"]):
        notes.append("There is no signing key: the service creates a new one, and everybody has to sign in again.")
    return notes
