"""Identity's reactions: commands of contracts and invitations that follow from events."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from services.identity.domain import account, contract_state, invitation
from services.identity.domain.account import ACCOUNT
from services.identity.domain.contract import CONTRACT, RecordAccountClosed, RecordSubscription, RecordSubscriptionEnd
from services.identity.domain.invitation import (
    INVITATION,
    OPERATOR,
    RecordAcceptance,
    RevokeInvitation,
    not_entitled,
)
from services.identity.lookups import Lookups, PostgresLookups
from shared import days
from shared.eventlog.deliver.projection import Dispatch, ReactionContext, Reactions
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
    RenewalReminded,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY, MARKETPLACE

Context: TypeAlias = ReactionContext[Lookups]

REACTIONS: Final[Reactions[Lookups]] = Reactions(
    "reactions",
    topics=(IDENTITY, MARKETPLACE),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.AGREEMENTS,
        *subjects.MACHINES,
        *subjects.WEBHOOKS,
        *subjects.PREFERENCES,
        *subjects.PROOFS,
        *subjects.SESSIONS,
        *subjects.AUTO_RENEW,
        *subjects.CARTS,
        *subjects.CSNS,
        *subjects.ENGAGEMENTS,
        *subjects.PLANS,
        *subjects.SEAT_NUMBERS,
        *subjects.SEATS_REQUESTS,
        ClockMoved,
        ContractOpened,
        PeopleAdministratorNamed,
        RenewalReminded,
        RoleRequestDeclined,
        RoleRevoked,
        SubscriptionOrderAbandoned,
        SubscriptionOrderFailed,
        SubscriptionOrdered,
        SubscriptionRenewed,
    ),
    lookups=PostgresLookups,
)


@REACTIONS.on(SubscriptionConfirmed)
async def _confirmed(event: SubscriptionConfirmed, _envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await reach.lookups.involve(event.purchaser, event.contract_id)
    zone = event.time_zone or "UTC"
    to_come = days.begins(event.starts, zone) > reach.time_of(event.customer)
    record = RecordSubscription(
        contract_id=event.contract_id,
        customer=event.customer,
        publisher=event.plan.publisher,
        programme=event.plan.programme,
        subscription_id=event.subscription_id,
        purchaser=event.purchaser,
        agreement=event.plan.agreement,
        product=event.plan.product,
        starts=event.starts if to_come else None,
        time_zone=zone,
    )
    return [Dispatch(CONTRACT, event.contract_id, record)]


@REACTIONS.on(SubscriptionEnded)
async def _ended(event: SubscriptionEnded, _envelope: Envelope, _reach: Context) -> Sequence[Dispatch]:
    return [Dispatch(CONTRACT, event.contract_id, RecordSubscriptionEnd(event.subscription_id))]


@REACTIONS.on(AccountClosed)
async def _closed(event: AccountClosed, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    """Forget the person, and take their roles.

    After a crash in between it is done again, which changes nothing.
    """
    await _forget(event, envelope, reach)
    contracts = await reach.lookups.contracts_of(event.account_id)
    left = [await _left(event, contract_id, reach) for contract_id in contracts]
    return [*left, *await _withdrawn(event.account_id, event.closed_by, reach)]


class NotInTheLog(Exception):
    """An event is not in this service's own log, so nothing irreversible follows from it."""


async def _forget(event: AccountClosed, envelope: Envelope, reach: Context) -> None:
    """Forget whose account is closed, if that is what the log has. Raises NotInTheLog.

    An erased key never comes back, so the topic's word is not enough, nor a check that others make on the way.
    """
    if not await reach.lookups.is_closing(event.account_id, envelope):
        raise NotInTheLog(
            f"{envelope.stream} version {envelope.version} is not in the log: {event.account_id} keeps their key"
        )
    await reach.lookups.erase(event.account_id)


@REACTIONS.on(PeopleAdministratorRemoved)
async def _removed(event: PeopleAdministratorRemoved, _envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    return await _withdrawn(event.account_id, event.removed_by, reach)


async def _withdrawn(inviter: str, by: str, reach: Context) -> Sequence[Dispatch]:
    """Revoke the open invitations of an account that lost the right to invite.

    Invitations that were accepted, revoked or have expired stay as they are.
    """
    return [
        Dispatch(INVITATION, invitation_id, RevokeInvitation(by))
        for invitation_id in await reach.lookups.invitations_by(inviter)
    ]


@REACTIONS.on(InvitationIssued)
async def _invited(event: InvitationIssued, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    """Mail it. One that was issued while its inviter's right ended is revoked like the others."""
    await reach.lookups.note_invitation(event)
    state = await reach.log.state(INVITATION, event.invitation_id)
    if isinstance(state, invitation.Pending):
        await reach.lookups.enqueue("invitation", event.invitation_id, state.issued.email, envelope)
    if event.issued_by == OPERATOR:
        return []
    inviter = await reach.log.state(ACCOUNT, event.issued_by)
    if not_entitled(inviter, event.organisation_id, event.organisation_kind) is None:
        return []
    return [Dispatch(INVITATION, event.invitation_id, RevokeInvitation(event.issued_by))]


@REACTIONS.on(AccountOpened)
async def _joined(event: AccountOpened, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await _mail_link(event.account_id, envelope, reach)
    if not event.invitation_id:
        return []
    return [Dispatch(INVITATION, event.invitation_id, RecordAcceptance(event.account_id))]


@REACTIONS.on(ProfileUpdated)
async def _changed(event: ProfileUpdated, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await _mail_link(event.account_id, envelope, reach)
    return []


async def _mail_link(account_id: str, envelope: Envelope, reach: Context) -> None:
    """A link to the account's address as it is now, if nobody has shown yet that it is theirs."""
    state = await reach.log.state(ACCOUNT, account_id)
    if isinstance(state, account.OpenedAccount) and state.profile.email and not state.verified:
        await reach.lookups.enqueue("verify-address", account_id, state.profile.email, envelope)


@REACTIONS.on(InvitationAccepted)
@REACTIONS.on(InvitationRevoked)
@REACTIONS.on(InvitationExpired)
async def _settled(
    event: InvitationAccepted | InvitationRevoked | InvitationExpired, _envelope: Envelope, reach: Context
) -> Sequence[Dispatch]:
    """Nobody needs the invited address any more."""
    await reach.lookups.erase_invited(event.invitation_id)
    return []


@REACTIONS.on(RoleAssigned)
async def _assigned(event: RoleAssigned, _envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    return await _too_late(event, reach)


@REACTIONS.on(RoleRequested)
async def _requested(event: RoleRequested, _envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    return await _too_late(event, reach)


async def _too_late(event: RoleAssigned | RoleRequested, reach: Context) -> Sequence[Dispatch]:
    """A role that was given or asked for while its account was closing ends like the others."""
    state = await reach.log.state(ACCOUNT, event.account_id)
    return [await _left(state.closed, event.contract_id, reach)] if isinstance(state, account.Closed) else []


async def _left(closed: AccountClosed, contract_id: str, reach: Context) -> Dispatch:
    state = await reach.log.state(CONTRACT, contract_id)
    successor = await _successor(state, reach) if isinstance(state, contract_state.OpenedContract) else ""
    return Dispatch(CONTRACT, contract_id, RecordAccountClosed(closed.account_id, closed.closed_by, successor))


async def _successor(state: contract_state.OpenedContract, reach: Context) -> str:
    """Return who manages the contract after its manager has left.

    The one who handed it over to the manager, or else a Software Coordinator; "" where there is neither.
    """
    handed_over_by = state.manager.assigned_by if state.manager is not None else ""
    for account_id in (handed_over_by, *state.coordinators):
        found = await reach.log.state(ACCOUNT, account_id)
        if isinstance(found, account.OpenedAccount) and found.opened.organisation_id == state.opened.customer:
            return account_id
    return ""
