"""What identity's reactions ask and note, in memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from services.identity.domain.account import ACCOUNT, founded
from services.identity.domain.notification_rows import NOBODY, Subject
from services.identity.mail.outbox import Kind
from services.identity.notifications.store import Told
from shared.eventlog.deliver.projection import Projection
from shared.events import (
    AccountClosed,
    AccountOpened,
    ClockMoved,
    ContractOpened,
    InvitationAccepted,
    InvitationExpired,
    InvitationIssued,
    InvitationRevoked,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
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
        *subjects.WEBHOOKS,
        *subjects.PREFERENCES,
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


PEOPLE: Final = Projection(
    "people",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AGREEMENTS,
        *subjects.INVITATIONS,
        *subjects.MACHINES,
        *subjects.WEBHOOKS,
        *subjects.PREFERENCES,
        *subjects.PROOFS,
        *subjects.ROLES,
        *subjects.SESSIONS,
        ClockMoved,
        ContractOpened,
        ProfileUpdated,
    ),
    tables=("people",),
)
"""Who manages an organisation's people."""


@PEOPLE.on(AccountOpened)
async def joined(tx: Transaction, event: AccountOpened, _envelope: Envelope) -> None:
    tx.put(
        ("people", event.account_id),
        account_id=event.account_id,
        organisation_id=event.organisation_id,
        manages=founded(event),
        founder=founded(event),
    )


@PEOPLE.on(PeopleAdministratorNamed)
@PEOPLE.on(PeopleAdministratorRemoved)
async def administrator(
    tx: Transaction, event: PeopleAdministratorNamed | PeopleAdministratorRemoved, _envelope: Envelope
) -> None:
    (row,) = (row for row in tx.all("people") if row["account_id"] == event.account_id)
    manages = row["founder"] or isinstance(event, PeopleAdministratorNamed)
    tx.put(("people", event.account_id), **{**row, "manages": manages})


@PEOPLE.on(AccountClosed)
async def left(tx: Transaction, event: AccountClosed, _envelope: Envelope) -> None:
    tx.delete("people", event.account_id)


class MemoryLookups:
    """identity's `Lookups` of its reactions and of its notifications, in a simulated database."""

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

    async def note_subject(self, subject: Subject, version: int) -> None:
        async with self._db.statement() as rows:
            before = rows.get("subject", subject.subject_id)
            if before is None or before["version"] <= version:
                known = subject.ordered_by or (before["subject"].ordered_by if before else "")
                rows.put(("subject", subject.subject_id), version=version, subject=replace(subject, ordered_by=known))

    async def subject(self, subject_id: str) -> Subject:
        async with self._db.statement() as rows:
            found, update = rows.get("subject", subject_id), None
            if found is not None and found["subject"].update:
                update = rows.get("subject", found["subject"].update)
        if found is None:
            return NOBODY
        subject: Subject = found["subject"]
        return subject if update is None else replace(subject, product=update["subject"].product)

    async def managers_of_people(self, organisation_id: str) -> Sequence[str]:
        return await self._listed("people", "account_id", organisation_id=organisation_id, manages=True)

    async def tell(self, told: Told) -> None:
        async with self._db.statement() as rows:
            rows.put(("notification", told.notification_id), notification_id=told.notification_id)

    async def forget_bounce(self, _account_id: str) -> None:
        async with self._db.statement():
            """Nothing here sends mail."""
