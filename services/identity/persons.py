"""The persons' keys, under which the personal fields of events are sealed.

Personal fields are readable while the person's key exists, and in no copy of the log once it is erased.

A value is stored as `enc:1:<base64 of nonce, ciphertext and tag>`: AES-256-GCM, with the account's id as associated
data, so that a value moved to another account does not open.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.identity.domain.account import ACCOUNT, OpenedAccount, claims_of, former_claim_of, normalised
from services.identity.domain.invitation import INVITATION
from services.identity.mail import outbox
from services.identity.notifications import store
from shared.eventlog.write.log import Log
from shared.eventlog.write.store import Store
from shared.events.base import Event
from shared.events.envelope import Envelope
from shared.runtime.database import Pool
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

SEALED: Final = "enc:1:"
FORGOTTEN: Final = ""
"""The value of a personal field whose key was erased."""
_NONCE: Final = 12
_KEY_BITS: Final = 256


class Persons:
    """The sealer of identity's log, with the keys in the table `person_keys`.

    A person's key is created with their first event. The row of an erased key stays, so that no other key is created.
    Keys are not cached, because another process may erase one.
    """

    def __init__(self, db: Pool) -> None:
        self._db = db

    async def seal(self, events: Sequence[Event]) -> list[Event]:
        """Seal personal fields, see `Sealer`. A key is committed before anything is stored under it."""
        people = _people(events)
        keys = await self._keys(people)
        if missing := [account_id for account_id in people if account_id not in keys]:
            fresh = [AESGCM.generate_key(_KEY_BITS) for _ in missing]
            await self._db.execute(SQL["add_keys"], missing, fresh)
            keys = await self._keys(people)
        return [_changed(event, keys, _sealed) for event in events]

    async def open(self, events: Sequence[Event]) -> list[Event]:
        """Open sealed fields, see `Sealer`."""
        keys = await self._keys(_people(events))
        return [_changed(event, keys, _opened) for event in events]

    async def _keys(self, people: Sequence[str]) -> dict[str, bytes | None]:
        rows = await self._db.fetch(SQL["keys"], people)
        return {row["account_id"]: row["key"] for row in rows}


async def opened(db: Queryable, values: Sequence[tuple[str, str]]) -> list[str]:
    """Open sealed values, each with the id of its owner.

    A forgotten person's value is empty.
    """
    rows = await db.fetch(SQL["keys"], sorted({owner for owner, _ in values}))
    keys = {row["account_id"]: row["key"] for row in rows}
    return [_opened(value, keys.get(owner), owner) if value else FORGOTTEN for owner, value in values]


async def sealed(db: Queryable, value: str, owner: str) -> str:
    """Seal a value under its owner's key; FORGOTTEN without a key."""
    rows = await db.fetch(SQL["keys"], [owner])
    return _sealed(value, rows[0]["key"] if rows else None, owner)


async def erase_invited(db: Queryable, invitation_id: str) -> None:
    """Erase the address of a settled invitation, its mails and its fingerprint. Idempotent."""
    await db.execute(SQL["erase_key"], invitation_id)
    await outbox.forget(db, invitation_id)
    await db.execute(SQL["erase_invitation_fingerprint"], INVITATION.id(invitation_id))


async def is_closing(db: Queryable, account_id: str, envelope: Envelope) -> bool:
    """Return whether the log has exactly this event, and the event closed the account."""
    found = await db.fetchval(SQL["is_closing"], ACCOUNT.id(account_id), envelope.version, envelope.hash)
    return found is not None


async def holder_of(store: Store, email: str) -> str | None:
    """Return the stream of the account that holds this address, by any of the address's claims."""
    for name in dict.fromkeys((*claims_of(email), former_claim_of(email))):
        if (holder := await store.holder(name)) is not None:
            return holder
    return None


async def colleague_at(log: Log, email: str, organisation_id: str) -> OpenedAccount | None:
    """Return the organisation's open account that is known by this address, or None.

    It is known by the address that it has proven or was opened with. One that it has changed to and not proven may be
    somebody else's.

    Args:
        organisation_id: "" for an account of any organisation.
    """
    holder = await holder_of(log.store, email)
    if holder is None:
        return None
    account = await log.state(ACCOUNT, holder.removeprefix(ACCOUNT.id("")))
    if not isinstance(account, OpenedAccount) or organisation_id not in ("", account.opened.organisation_id):
        return None
    known = account.verified or normalised(account.opened.email) == normalised(account.profile.email)
    return account if known else None


async def erase(db: Queryable, account_id: str) -> None:
    """Erase the person's key.

    Their personal fields can't be read any more, in any copy of the log. Their mails, notifications, password verifier,
    sessions and requests' fingerprints are deleted, too. Idempotent.
    """
    await db.execute(SQL["erase_key"], account_id)
    await outbox.forget(db, account_id)
    await store.forget(db, account_id)
    await db.execute(SQL["forget_verifier"], account_id)
    await db.execute(SQL["forget_sessions"], account_id)
    await db.execute(SQL["erase_fingerprints"], account_id, ACCOUNT.id(account_id))


def _people(events: Sequence[Event]) -> list[str]:
    return sorted({_owner_of(event) for event in events if event.PERSONAL_FIELDS})


def _owner_of(event: Event) -> str:
    """Return the id of the account or invitation to which the event's personal fields belong.

    Every event class with personal fields is checked to have the field that PERSONAL_OF names.
    """
    owner: str = getattr(event, event.PERSONAL_OF)
    return owner


def _changed(event: Event, keys: Mapping[str, bytes | None], change: Callable[[str, bytes | None, str], str]) -> Event:
    if not event.PERSONAL_FIELDS:
        return event
    account_id = _owner_of(event)
    key = keys.get(account_id)
    update = {name: change(value, key, account_id) for name in event.PERSONAL_FIELDS if (value := getattr(event, name))}
    return event.model_copy(update=update)


def _sealed(value: str, key: bytes | None, account_id: str) -> str:
    if key is None:
        return FORGOTTEN
    nonce = os.urandom(_NONCE)
    return SEALED + base64.b64encode(nonce + AESGCM(key).encrypt(nonce, value.encode(), account_id.encode())).decode()


def _opened(value: str, key: bytes | None, account_id: str) -> str:
    """Return the plain value, or FORGOTTEN if the key was erased or does not open it."""
    if key is None:
        return FORGOTTEN
    try:
        sealed = base64.b64decode(value.removeprefix(SEALED), validate=True)
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], account_id.encode()).decode()
    except (InvalidTag, binascii.Error, ValueError):
        return FORGOTTEN
