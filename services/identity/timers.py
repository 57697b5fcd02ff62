"""What identity does when time has come, in the customer's own time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.identity.domain.contract import CONTRACT, StartAgreements
from services.identity.domain.invitation import INVITATION, ExpireInvitation
from shared import days
from shared.eventlog.deliver.projection import ReactionContext
from shared.eventlog.deliver.timers import Cancel, Set, Timers
from shared.events import (
    AgreementEnded,
    AgreementScheduled,
    AgreementStarted,
    ClockMoved,
    ContractOpened,
    InvitationAccepted,
    InvitationExpired,
    InvitationIssued,
    InvitationRevoked,
    subjects,
)
from shared.events.envelope import Envelope
from shared.events.registry import IDENTITY

TIMERS: Final = Timers(
    topics=(IDENTITY,),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.ACCOUNTS,
        *subjects.ADMINISTRATORS,
        *subjects.MACHINES,
        *subjects.WEBHOOKS,
        *subjects.PREFERENCES,
        *subjects.PROOFS,
        *subjects.ROLES,
        *subjects.SESSIONS,
        ClockMoved,
        ContractOpened,
        InvitationExpired,
    ),
)


@TIMERS.on(AgreementScheduled)
def _scheduled(event: AgreementScheduled, _envelope: Envelope) -> Sequence[Set | Cancel]:
    """Set one timer for each subscription, since each has a first day of its own."""
    begins = days.begins(event.starts, event.time_zone)
    return [Set(f"start-agreement:{event.subscription_id}", event.contract_id, begins, event.customer)]


@TIMERS.on(AgreementStarted)
@TIMERS.on(AgreementEnded)
def _no_longer_to_come(event: AgreementStarted | AgreementEnded, _envelope: Envelope) -> Sequence[Set | Cancel]:
    return [Cancel(f"start-agreement:{event.subscription_id}", event.contract_id)]


@TIMERS.on(InvitationIssued)
def _invited(event: InvitationIssued, _envelope: Envelope) -> Sequence[Set | Cancel]:
    return [Set("expire-invitation", event.invitation_id, event.expires_at, event.organisation_id)]


@TIMERS.on(InvitationAccepted)
@TIMERS.on(InvitationRevoked)
def _settled(event: InvitationAccepted | InvitationRevoked, _envelope: Envelope) -> Sequence[Set | Cancel]:
    return [Cancel("expire-invitation", event.invitation_id)]


@TIMERS.fires("expire-invitation", INVITATION)
async def _expire(_key: str, now: datetime, _reach: ReactionContext) -> ExpireInvitation:
    return ExpireInvitation(now)


@TIMERS.fires("start-agreement", CONTRACT)
async def _start(_key: str, now: datetime, _reach: ReactionContext) -> StartAgreements:
    return StartAgreements(now)
