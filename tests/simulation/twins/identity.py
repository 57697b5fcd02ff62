"""What identity's reactions ask and note, in memory."""

from collections.abc import Sequence
from typing import Any, Final

from services.identity.domain.account import ACCOUNT
from services.identity.mail.outbox import Kind
from shared.eventlog.deliver.projection import Projection
from shared.events import (
    AccountClosed,
    ClockMoved,
    ContractOpened,
    InvitationAccepted,
    InvitationExpired,
    InvitationIssued,
    InvitationRevoked,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY
from tests.simulation.database import Pool, Transaction

DIRECTORY: Final = Projection(
    "directory",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.ACCOUNTS,
        *subjects.ADMINISTRATORS,
        *subjects.AGREEMENTS,
        *subjects.MACHINES,
        *subjects.PROOFS,
        *subjects.SESSIONS,
        ClockMoved,
        ContractOpened,
        InvitationAccepted,
        InvitationExpired,
        InvitationRevoked,
        RoleRequestDeclined,
        RoleRevoked,
    ),
)
"""It names no tables for a replay to compare: reactions note in them, too, what no event says yet."""


@DIRECTORY.on(RoleAssigned)
@DIRECTORY.on(RoleRequested)
async def role(tx: Transaction, event: RoleAssigned | RoleRequested, _envelope: Envelope) -> None:
    _involve(tx, event.account_id, event.contract_id)


@DIRECTORY.on(InvitationIssued)
async def invited(tx: Transaction, event: InvitationIssued, _envelope: Envelope) -> None:
    _note_invitation(tx, event)


def _involve(rows: Transaction, account_id: str, contract_id: str) -> None:
    rows.put(("involved", account_id, contract_id), account_id=account_id, contract_id=contract_id)


def _note_invitation(rows: Transaction, event: InvitationIssued) -> None:
    rows.put(("invitation", event.invitation_id), invitation_id=event.invitation_id, issued_by=event.issued_by)


class MemoryLookups:
    """identity's `Lookups`, in a simulated database."""

    def __init__(self, db: Pool) -> None:
        self._db = db

    async def involve(self, account_id: str, contract_id: str) -> None:
        async with self._db.statement() as rows:
            _involve(rows, account_id, contract_id)

    async def contracts_of(self, account_id: str) -> Sequence[str]:
        return await self._listed("involved", "contract_id", account_id=account_id)

    async def note_invitation(self, event: InvitationIssued) -> None:
        async with self._db.statement() as rows:
            _note_invitation(rows, event)

    async def invitations_by(self, account_id: str) -> Sequence[str]:
        return await self._listed("invitation", "invitation_id", issued_by=account_id)

    async def _listed(self, table: str, column: str, **where: Any) -> Sequence[str]:
        async with self._db.statement() as rows:
            return sorted(row[column] for row in rows.all(table) if where.items() <= row.items())

    async def is_closing(self, account_id: str, envelope: Envelope) -> bool:
        async with self._db.statement() as rows:
            stored = rows.stored(ACCOUNT.id(account_id), envelope.version or 0)
        same = stored is not None and stored.envelope.hash == envelope.hash
        return same and stored is not None and stored.envelope.type == AccountClosed.type()

    async def erase(self, account_id: str) -> None:
        async with self._db.statement() as rows:
            rows.put(("erased", account_id), account_id=account_id)

    async def erase_invited(self, invitation_id: str) -> None:
        await self.erase(invitation_id)

    async def enqueue(self, kind: Kind, about: str, email: str, envelope: Envelope) -> None:
        async with self._db.statement():
            """Nothing here sends mail."""
