"""identity's read models, and the lookups of routes and reactions in them.

The state of a single stream is read from the stream itself.
"""

from collections.abc import Sequence
from typing import Final

from services.identity.domain.account_state import founded
from services.identity.domain.contract_state import answered_by
from shared.eventlog.deliver.projection import Connection, Projection
from shared.events import (
    AccountClosed,
    AccountOpened,
    AddressReleased,
    AddressVerified,
    ClockMoved,
    ContractOpened,
    IdentityLinked,
    IdentityUnlinked,
    InvitationAccepted,
    InvitationExpired,
    InvitationIssued,
    InvitationRevoked,
    MachineRegistered,
    MachineRevoked,
    MachineSecretRotated,
    PartnerEngaged,
    PartnerReleased,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
    SubscriptionConfirmed,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    WebhookEnded,
    WebhookParked,
    WebhookPaused,
    WebhookRegistered,
    WebhookReplayed,
    WebhookResumed,
    WebhookSecretRotated,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.identity import Role
from shared.events.registry import IDENTITY, MARKETPLACE
from shared.sql import Queryable, statements

SQL: Final = statements(__file__)

DIRECTORY: Final = Projection(
    "directory",
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.ACCOUNTS,
        *subjects.ADMINISTRATORS,
        *subjects.AGREEMENTS,
        *subjects.PREFERENCES,
        *subjects.PROOFS,
        *subjects.SESSIONS,
        ClockMoved,
        MachineRevoked,
        MachineSecretRotated,
        RoleRequestDeclined,
        RoleRevoked,
        WebhookParked,
        WebhookPaused,
        WebhookReplayed,
        WebhookResumed,
        WebhookSecretRotated,
    ),
    tables=("contracts", "account_contracts", "invitations", "machines", "webhooks"),
    # Routes add rows before the event of a role or an invitation is appended; a rebuild must not lose them.
    carry_over_sql=SQL["carry_over"],
)


@DIRECTORY.on(ContractOpened)
async def _opened(tx: Connection, event: ContractOpened, _envelope: Envelope) -> None:
    await tx.execute(SQL["add_contract"], event.contract_id, event.customer, event.publisher, event.programme)


@DIRECTORY.on(RoleAssigned)
async def _assigned(tx: Connection, event: RoleAssigned, _envelope: Envelope) -> None:
    await involve(tx, event.account_id, event.contract_id)
    if event.role == "contract_manager":
        await tx.execute(SQL["set_manager"], event.contract_id, event.account_id)


@DIRECTORY.on(RoleRequested)
async def _requested(tx: Connection, event: RoleRequested, _envelope: Envelope) -> None:
    await involve(tx, event.account_id, event.contract_id)


async def involve(db: Queryable, account_id: str, contract_id: str) -> None:
    """Record that the account has, had or may get a role on the contract.

    It is recorded before a role is given, so that closing the account later finds the contract.
    """
    await db.execute(SQL["involve"], account_id, contract_id)


@DIRECTORY.on(MachineRegistered)
async def _machine(tx: Connection, event: MachineRegistered, _envelope: Envelope) -> None:
    await tx.execute(SQL["add_machine"], event.client_id, event.organisation_id, event.registered_by, event.acts_for)


@DIRECTORY.on(WebhookRegistered)
async def _webhook(tx: Connection, event: WebhookRegistered, _envelope: Envelope) -> None:
    await tx.execute(SQL["add_webhook"], event.webhook_id, event.organisation_id, event.account_id)


@DIRECTORY.on(WebhookEnded)
async def _webhook_ended(tx: Connection, event: WebhookEnded, _envelope: Envelope) -> None:
    await tx.execute(SQL["end_webhook"], event.webhook_id)


# ── People and their requests ──────────────────────────────────────────────────────────────────────────

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
        *subjects.SESSIONS,
        AddressVerified,
        ClockMoved,
        ContractOpened,
        IdentityLinked,
        IdentityUnlinked,
    ),
    tables=("people", "held_roles", "role_requests"),
)


@PEOPLE.on(AccountOpened)
async def _person(tx: Connection, event: AccountOpened, _envelope: Envelope) -> None:
    await tx.execute(
        SQL["add_person"],
        event.account_id,
        event.organisation_id,
        event.name,
        event.email,
        founded(event),
        event.opened_at,
    )


@PEOPLE.on(ProfileUpdated)
async def _profile(tx: Connection, event: ProfileUpdated, _envelope: Envelope) -> None:
    await tx.execute(SQL["update_person"], event.account_id, event.name, event.email)


@PEOPLE.on(AddressReleased)
async def _released(tx: Connection, event: AddressReleased, _envelope: Envelope) -> None:
    await tx.execute(SQL["release_address"], event.account_id)


@PEOPLE.on(PeopleAdministratorNamed)
@PEOPLE.on(PeopleAdministratorRemoved)
async def _administrator(
    tx: Connection, event: PeopleAdministratorNamed | PeopleAdministratorRemoved, _envelope: Envelope
) -> None:
    await tx.execute(SQL["set_administrator"], event.account_id, isinstance(event, PeopleAdministratorNamed))


@PEOPLE.on(AccountClosed)
async def _left(tx: Connection, event: AccountClosed, _envelope: Envelope) -> None:
    await tx.execute(SQL["remove_person"], event.account_id)


@PEOPLE.on(RoleRequested)
async def _role_requested(tx: Connection, event: RoleRequested, envelope: Envelope) -> None:
    await tx.execute(
        SQL["add_request"],
        envelope.id,
        event.contract_id,
        event.account_id,
        event.role,
        event.message,
        envelope.time,
    )


@PEOPLE.on(RoleAssigned)
async def _role_assigned(tx: Connection, event: RoleAssigned, envelope: Envelope) -> None:
    await tx.execute(SQL["give_role"], event.contract_id, event.account_id, event.role, event.may_assign_seats)
    await _answered(tx, event, envelope, answered_by(event.role), "approved", event.assigned_by, "")


@PEOPLE.on(RoleRequestDeclined)
async def _role_declined(tx: Connection, event: RoleRequestDeclined, envelope: Envelope) -> None:
    await _answered(tx, event, envelope, (event.role,), "declined", event.declined_by, event.reason)


async def _answered(
    tx: Connection,
    event: RoleAssigned | RoleRequestDeclined,
    envelope: Envelope,
    roles: Sequence[Role],
    state: str,
    by: str,
    sealed_reason: str,
) -> None:
    """Note the answer to the account's waiting requests for these roles."""
    await tx.execute(
        SQL["answer_requests"],
        event.contract_id,
        event.account_id,
        list(roles),
        state,
        by,
        sealed_reason,
        envelope.time,
        envelope.id,
    )


@PEOPLE.on(RoleRevoked)
async def _role_revoked(tx: Connection, event: RoleRevoked, _envelope: Envelope) -> None:
    await tx.execute(SQL["take_role"], event.contract_id, event.account_id, event.role)


# ── Machines and invitations ───────────────────────────────────────────────────────────────────────────


async def machines_of(db: Queryable, organisation_id: str, account_id: str) -> list[str]:
    """Return the client ids of the organisation's machine accounts.

    With an account id, return only those that the account registered or that act for it.
    """
    rows = await db.fetch(SQL["machines"], organisation_id, account_id)
    return [row["client_id"] for row in rows]


@DIRECTORY.on(InvitationIssued)
async def _invited(tx: Connection, event: InvitationIssued, _envelope: Envelope) -> None:
    await note_invitation(tx, event)


async def note_invitation(db: Queryable, event: InvitationIssued) -> None:
    """Record an invitation's organisation and issuer.

    The reactions do so, too, before they check that the issuer still may invite, so that a later loss of that right
    finds the invitation.
    """
    await db.execute(
        SQL["add_invitation"],
        event.invitation_id,
        event.organisation_id,
        event.organisation_kind,
        event.issued_by,
        event.expires_at,
    )


@DIRECTORY.on(InvitationAccepted)
async def _invitation_accepted(tx: Connection, event: InvitationAccepted, _envelope: Envelope) -> None:
    await tx.execute(SQL["settle_invitation"], event.invitation_id, "accepted")


@DIRECTORY.on(InvitationRevoked)
async def _invitation_revoked(tx: Connection, event: InvitationRevoked, _envelope: Envelope) -> None:
    await tx.execute(SQL["settle_invitation"], event.invitation_id, "revoked")


@DIRECTORY.on(InvitationExpired)
async def _invitation_expired(tx: Connection, event: InvitationExpired, _envelope: Envelope) -> None:
    await tx.execute(SQL["settle_invitation"], event.invitation_id, "expired")


async def invitations_by(db: Queryable, account_id: str) -> list[str]:
    """Return the ids of all invitations that the account issued, whatever their state."""
    rows = await db.fetch(SQL["invitations_by"], account_id)
    return [row["invitation_id"] for row in rows]


async def contracts_of(db: Queryable, account_id: str) -> list[str]:
    """Return the ids of all contracts on which the account may hold a role.

    Whether it holds one is in the contract's state.
    """
    rows = await db.fetch(SQL["contracts_of"], account_id)
    return [row["contract_id"] for row in rows]


# ── Partners and their customers ───────────────────────────────────────────────────────────────────────

PARTNERS: Final = Projection(
    "partners",
    topics=(MARKETPLACE,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AUTO_RENEW,
        *subjects.CARTS,
        *subjects.CSNS,
        *subjects.PLANS,
        *subjects.SEAT_NUMBERS,
        *subjects.SEATS_REQUESTS,
        *subjects.TERMS,
        SubscriptionConfirmed,
        SubscriptionOrderAbandoned,
        SubscriptionOrderFailed,
    ),
    tables=("supporting_partners",),
)


@PARTNERS.on(PartnerEngaged)
@PARTNERS.on(PartnerReleased)
async def _engaged(tx: Connection, event: PartnerEngaged | PartnerReleased, _envelope: Envelope) -> None:
    await tx.execute(SQL["set_partner"], event.customer, event.partner, isinstance(event, PartnerEngaged))


@PARTNERS.on(SubscriptionOrdered)
async def _ordered(tx: Connection, event: SubscriptionOrdered, _envelope: Envelope) -> None:
    """Take an order from before engagements existed for one, as marketplace does."""
    await tx.execute(SQL["add_partner"], event.customer, event.partner)


async def webhooks_of(db: Queryable, organisation_id: str = "", account_id: str = "") -> list[str]:
    """Return an organisation's webhooks, or an account's."""
    return [row["webhook_id"] for row in await db.fetch(SQL["webhooks"], organisation_id, account_id)]


async def running_webhooks(db: Queryable) -> list[str]:
    """Return the webhooks of all organisations that have not ended."""
    return [row["webhook_id"] for row in await db.fetch(SQL["running_webhooks"])]


async def supports(db: Queryable, partner: str, customer: str) -> bool | None:
    """Return whether the customer has engaged the partner, or None if it never has.

    It is False once the customer has released the partner.
    """
    engaged: bool | None = await db.fetchval(SQL["engaged"], customer, partner)
    return engaged
