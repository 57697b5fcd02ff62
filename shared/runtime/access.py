"""Administrative access to contracts: a projection of identity's facts and a check.

The rule is in `shared/administrative_access.py`. Its facts reach the other services as events, so a moment later.
"""

from pathlib import Path
from typing import Any, Final

from shared.administrative_access import Agreement, Denied, Granted, HeldRole, Purpose, administrative_access
from shared.eventlog.deliver.projection import Connection, Projection
from shared.events import (
    AgreementEnded,
    AgreementScheduled,
    AgreementStarted,
    ClockMoved,
    ContractOpened,
    RoleAssigned,
    RoleRevoked,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem
from shared.sql import statements

SQL: Final = statements(__file__)

ACCESS_TABLES: Final = Path(__file__).with_name("access_tables.sql").read_text()
"""The SQL that creates the two tables, for the first migration of a service with this projection."""

_IGNORED: Final = (
    *subjects.OPERATIONS,
    *subjects.ACCOUNTS,
    *subjects.ROLE_REQUESTS,
    *subjects.SIGN_IN,
    ClockMoved,
    ContractOpened,
)


def access_projection() -> Projection:
    """Return the projection `access` of identity's events."""
    access = Projection("access", topics=(IDENTITY,), tables=("access_roles", "access_agreements"), ignores=_IGNORED)

    @access.on(RoleAssigned)
    async def role_assigned(tx: Connection, event: RoleAssigned, envelope: Envelope) -> None:
        await tx.execute(
            SQL["assign_role"], event.contract_id, event.account_id, event.role, event.may_assign_seats, envelope.id
        )

    @access.on(RoleRevoked)
    async def role_revoked(tx: Connection, event: RoleRevoked, envelope: Envelope) -> None:
        await tx.execute(SQL["revoke_role"], event.contract_id, event.account_id, event.role, envelope.id)

    @access.on(AgreementScheduled)
    async def agreement_scheduled(tx: Connection, event: AgreementScheduled, envelope: Envelope) -> None:
        await tx.execute(
            SQL["schedule_agreement"],
            event.contract_id,
            event.subscription_id,
            event.kind,
            event.starts,
            envelope.id,
            event.time_zone,
        )

    @access.on(AgreementStarted)
    async def agreement_started(tx: Connection, event: AgreementStarted, envelope: Envelope) -> None:
        await tx.execute(SQL["start_agreement"], event.contract_id, event.subscription_id, event.kind, envelope.id)

    @access.on(AgreementEnded)
    async def agreement_ended(tx: Connection, event: AgreementEnded, envelope: Envelope) -> None:
        await tx.execute(SQL["end_agreement"], event.contract_id, event.subscription_id, envelope.id)

    return access


async def require_access(db: Any, actor: Actor, contract_id: str, *, purpose: Purpose = "features") -> Granted[str]:
    """Return the caller's administrative access to the contract.

    Args:
        purpose: what the caller wants to do; seats and auto-renew need no agreement.

    Raises:
        Problem: 403 `role-missing`, `seat-right-missing` or `agreement-missing`.
    """
    roles = await db.fetch(SQL["roles"], contract_id, actor.account_id)
    agreements = await db.fetch(SQL["agreements"], contract_id)
    access = administrative_access(
        [HeldRole(row["role"], row["may_assign_seats"], row["event_id"]) for row in roles if not row["revoked"]],
        [row["revoked"] for row in roles if row["revoked"]],
        [
            Agreement(
                kind=row["kind"],
                phase=row["phase"],
                fact=row["event_id"],
                starts=row["starts"],
                time_zone=row["time_zone"],
            )
            for row in agreements
        ],
        purpose=purpose,
    )
    if isinstance(access, Denied):
        raise Problem(rule=access.rule, reason=access.reason, remedy=access.remedy, because=access.because)
    return access
