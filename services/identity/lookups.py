"""What identity's reactions look up, and what they note for a later one to find.

`Lookups` is what they ask, `PostgresLookups` answers from the tables. The simulation has a twin in memory, and
`tests/services/test_lookups.py` holds the two to the same answers.
"""

from collections.abc import Sequence
from typing import Protocol

from services.identity import persons, projections
from services.identity.mail import outbox
from services.identity.mail.outbox import Kind
from shared.events import InvitationIssued
from shared.events.envelope import Envelope
from shared.sql import Queryable


class Lookups(Protocol):
    """What reactions ask of the tables, and their effects that are no events.

    To repeat an effect changes nothing."""

    async def involve(self, account_id: str, contract_id: str) -> None:
        """Note that the account has, had or is about to have something to do with the contract."""

    async def contracts_of(self, account_id: str) -> Sequence[str]:
        """List the contracts that the account was involved in, by their ids."""

    async def note_invitation(self, event: InvitationIssued) -> None:
        """Note who invited, and where to."""

    async def invitations_by(self, account_id: str) -> Sequence[str]:
        """List the invitations that the account issued, by their ids."""

    async def is_closing(self, account_id: str, envelope: Envelope) -> bool:
        """Return whether the log has this event on the account's stream, as its closing."""

    async def erase(self, account_id: str) -> None:
        """Forget the person: nothing personal of theirs can be read from now on."""

    async def erase_invited(self, invitation_id: str) -> None:
        """Forget the address that a settled invitation was for."""

    async def enqueue(self, kind: Kind, about: str, email: str, envelope: Envelope) -> None:
        """Keep the mail that follows from an event until it is sent."""


class PostgresLookups:
    """Lookups and effects in the tables of the service's database."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def involve(self, account_id: str, contract_id: str) -> None:
        await projections.involve(self._db, account_id, contract_id)

    async def contracts_of(self, account_id: str) -> Sequence[str]:
        return await projections.contracts_of(self._db, account_id)

    async def note_invitation(self, event: InvitationIssued) -> None:
        await projections.note_invitation(self._db, event)

    async def invitations_by(self, account_id: str) -> Sequence[str]:
        return await projections.invitations_by(self._db, account_id)

    async def is_closing(self, account_id: str, envelope: Envelope) -> bool:
        return await persons.is_closing(self._db, account_id, envelope)

    async def erase(self, account_id: str) -> None:
        await persons.erase(self._db, account_id)

    async def erase_invited(self, invitation_id: str) -> None:
        await persons.erase_invited(self._db, invitation_id)

    async def enqueue(self, kind: Kind, about: str, email: str, envelope: Envelope) -> None:
        await outbox.enqueue(self._db, kind, about, email, envelope)
