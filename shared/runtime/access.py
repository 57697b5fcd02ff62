"""Administrative access, as every service that administers something knows it: replicated from identity's events.

The rule is identity's (role within the contract, and the contract on an active desktop or maintenance agreement);
its facts reach the other services as events, a moment later. A refusal says which of the two is missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared import rules
from shared.eventlog.projection import Connection, Projection
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
from shared.events.identity import Role
from shared.events.registry import IDENTITY
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem
from shared.sql import statements

SQL: Final = statements(__file__)

ACCESS_TABLES: Final = Path(__file__).with_name("access_tables.sql").read_text()
"""The two tables, for the first migration of a service that has this projection."""

_IGNORED: Final = (
    *subjects.OPERATIONS,
    *subjects.ACCOUNTS,
    *subjects.ROLE_REQUESTS,
    *subjects.SIGN_IN,
    ClockMoved,
    ContractOpened,
)

ADMINISTRATIVE: Final = ("desktop", "maintenance")


@dataclass(frozen=True, slots=True)
class Grant:
    """Why somebody may administer a contract: the role, and the ids of the events that gave access."""

    role: Role
    may_assign_seats: bool
    because: tuple[str, ...]


def access_projection() -> Projection:
    """The projection `access` over identity's events."""
    access = Projection("access", topics=(IDENTITY,), tables=("access_roles", "access_agreements"), ignores=_IGNORED)

    @access.on(RoleAssigned)
    async def _(tx: Connection, event: RoleAssigned, of: Envelope) -> None:
        await tx.execute(
            SQL["assign_role"], event.contract_id, event.account_id, event.role, event.may_assign_seats, of.id
        )

    @access.on(RoleRevoked)
    async def _(tx: Connection, event: RoleRevoked, of: Envelope) -> None:
        await tx.execute(SQL["revoke_role"], event.contract_id, event.account_id, event.role, of.id)

    @access.on(AgreementScheduled)
    async def _(tx: Connection, event: AgreementScheduled, of: Envelope) -> None:
        await tx.execute(
            SQL["schedule_agreement"], event.contract_id, event.subscription_id, event.kind, event.starts, of.id
        )

    @access.on(AgreementStarted)
    async def _(tx: Connection, event: AgreementStarted, of: Envelope) -> None:
        await tx.execute(SQL["start_agreement"], event.contract_id, event.subscription_id, event.kind, of.id)

    @access.on(AgreementEnded)
    async def _(tx: Connection, event: AgreementEnded, of: Envelope) -> None:
        await tx.execute(SQL["end_agreement"], event.contract_id, event.subscription_id, of.id)

    return access


async def require_access(db: Any, actor: Actor, contract_id: str, *, assign_seats: bool = False) -> Grant:
    """The caller's administrative access to the contract. Raises Problem 403: `role-missing`, `seat-right-missing`
    or `agreement-missing`. With `assign_seats` a Software Coordinator needs the right to do that, and it is open before
    the term's first day, too: seats are set up for it."""
    known = await db.fetch(SQL["roles"], contract_id, actor.account_id)
    role = next((each for each in known if each["revoked"] is None), None)
    if role is None:
        raise Problem(
            403,
            rule=rules.ROLE_MISSING,
            reason="You hold no administrative role on this contract.",
            remedy="Ask its Contract Manager for the role of Software Coordinator.",
            because=sorted(each["revoked"] for each in known),
        )
    if assign_seats and role["role"] != "contract_manager" and not role["may_assign_seats"]:
        raise Problem(
            403,
            rule=rules.SEAT_RIGHT_MISSING,
            reason="Your role on this contract does not include assigning seats.",
            remedy="Ask the Contract Manager for the right to assign seats.",
            because=[role["event_id"]],
        )
    agreements = await db.fetch(SQL["agreements"], contract_id, list(ADMINISTRATIVE))
    opening = ("running", "scheduled") if assign_seats else ("running",)
    open_by = next((each["event_id"] for phase in opening for each in agreements if each["phase"] == phase), None)
    if open_by is None:
        coming = min((each["starts"] for each in agreements if each["phase"] == "scheduled"), default=None)
        raise Problem(
            403,
            rule=rules.AGREEMENT_MISSING,
            reason="You hold the role, but no product of this contract is on an active "
            "desktop or maintenance subscription.",
            remedy="Administrative features open again with such a subscription."
            if coming is None
            else f"Administrative features open on {coming}, the first day of the next one.",
            because=[role["event_id"], *(each["event_id"] for each in agreements)],
        )
    may_assign_seats = role["role"] == "contract_manager" or role["may_assign_seats"]
    return Grant(role["role"], may_assign_seats, (role["event_id"], open_by))
