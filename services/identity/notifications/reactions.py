"""The reactions that store notifications, and the subjects that these name.

No command follows from these reactions. To repeat one changes nothing, because a notification's id is derived from the
event's and the account's.
"""

import uuid
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final, Protocol, TypeAlias

from pydantic import JsonValue

from services.identity.domain import account, contract_state, invitation
from services.identity.domain.account import ACCOUNT
from services.identity.domain.clock import CLOCK, ahead_s
from services.identity.domain.contract import CONTRACT, coordinating
from services.identity.domain.invitation import INVITATION
from services.identity.domain.notification_rows import (
    NOBODY,
    Audience,
    Fact,
    Notification,
    Subject,
    subject_in,
    subject_of,
    text_of,
)
from services.identity.domain.notification_table import rows_of, told_events
from services.identity.domain.notifications import choice_of
from services.identity.domain.webhook import WEBHOOK, Running
from services.identity.notifications import store
from services.identity.notifications.store import SQL, MailState, Told
from services.identity.persons import SEALED
from shared.eventlog.deliver.projection import Connection, Dispatch, Projection, ReactionContext, Reactions
from shared.events import (
    AddressReleased,
    AddressVerified,
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    ClockMoved,
    ContractOpened,
    CreditsConsumed,
    EntitlementNoted,
    FailuresRetried,
    FleetOpened,
    IdentityUnlinked,
    InvitationIssued,
    InvitationRevoked,
    NextDecisionDue,
    PhaseReportsDue,
    PoolCsnNoted,
    RolloutCompleted,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    SeatPoolEnded,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionConfirmed,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    UpdatePublished,
    UpdateRightGranted,
    UpdateWithdrawn,
    subjects,
)
from shared.events.base import Event, Money
from shared.events.envelope import Envelope
from shared.events.registry import DISTRIBUTION, ENTITLEMENTS, IDENTITY, MARKETPLACE
from shared.sql import Queryable

MAILED_WITHIN: Final = timedelta(days=3)
"""The age after which an event is not mailed any more: it is put into the inbox as read."""
TOLD_WITHIN: Final = timedelta(days=90)
"""The age after which an event is not told at all, as when a new reader begins at the start of the topics."""

IDS: Final = ("contract_id", "subscription_id", "rollout_id", "update_id", "publisher")
"""The ids that a notification keeps, for links to what it is about."""


class Lookups(Protocol):
    """What the reactions ask of the tables, and their effects.

    To repeat an effect changes nothing.
    """

    async def note_subject(self, subject: Subject, version: int) -> None:
        """Note what later events are about."""

    async def subject(self, subject_id: str) -> Subject:
        """Return what an event is about, or NOBODY if that is unknown."""

    async def managers_of_people(self, organisation_id: str) -> Sequence[str]:
        """List the accounts that manage an organisation's people."""

    async def tell(self, told: Told) -> None:
        """Put a notification into the inbox, and into the outbox of mails."""

    async def forget_bounce(self, account_id: str) -> None:
        """Forget that a person's address bounced."""


class PostgresLookups:
    """Lookups and effects in the tables of the service's database."""

    def __init__(self, db: Queryable) -> None:
        self._db = db

    async def note_subject(self, subject: Subject, version: int) -> None:
        await store.note_subject(self._db, subject, version)

    async def subject(self, subject_id: str) -> Subject:
        return await store.subject(self._db, subject_id)

    async def managers_of_people(self, organisation_id: str) -> Sequence[str]:
        return await store.managers_of_people(self._db, organisation_id)

    async def tell(self, told: Told) -> None:
        await store.tell(self._db, told)

    async def forget_bounce(self, account_id: str) -> None:
        await self._db.execute(SQL["forget_bounce"], account_id)


Context: TypeAlias = ReactionContext[Lookups]
_Introducing: TypeAlias = SubscriptionOrdered | SubscriptionConfirmed | UpdatePublished | RolloutStarted

_OF_MARKETPLACE: Final = (
    *subjects.CARTS,
    *subjects.PLANS,
    AutoRenewDisableRequested,
    SeatsRequestConfirmed,
)
"""What nobody is notified of: steps on the way to something else, and confirmed seats, which SeatsAdded tells."""
_OF_DISTRIBUTION: Final = (
    *subjects.DECISIONS,
    *subjects.GROUPS,
    *subjects.INSTALLS,
    *subjects.LINES,
    *subjects.PHASES,
    *subjects.TARGETS,
    EntitlementNoted,
    FailuresRetried,
    FleetOpened,
    NextDecisionDue,
    PhaseReportsDue,
    RolloutResumed,
    UpdateWithdrawn,
)

NOTIFICATIONS: Final[Reactions[Lookups]] = Reactions(
    "notifications",
    topics=(IDENTITY, MARKETPLACE, ENTITLEMENTS, DISTRIBUTION),
    ignores=(
        *subjects.OPERATIONS,
        *subjects.ACCOUNTS,
        *subjects.AGREEMENTS,
        *subjects.MACHINES,
        *subjects.WEBHOOK_CHANGES,
        *subjects.PREFERENCES,
        *_OF_MARKETPLACE,
        *subjects.POOL_ANSWERS,
        *_OF_DISTRIBUTION,
        AddressReleased,
        ClockMoved,
        ContractOpened,
        CreditsConsumed,
        IdentityUnlinked,
        InvitationIssued,
        InvitationRevoked,
        PoolCsnNoted,
        SeatPoolEnded,
        SeatPoolOpened,
        SeatPoolRenewed,
        SeatPoolResized,
        UpdateRightGranted,
    ),
    lookups=PostgresLookups,
)

SUBJECTS: Final = Projection(
    "notification_subjects",
    topics=(MARKETPLACE, DISTRIBUTION),
    ignores=(
        *subjects.OPERATIONS,
        *_OF_MARKETPLACE,
        *subjects.CSNS,
        *subjects.ENGAGEMENTS,
        *subjects.SEAT_NUMBERS,
        *subjects.TERMS,
        AutoRenewDisableRefused,
        AutoRenewDisabled,
        SeatsRequestDeclined,
        SeatsRequested,
        SubscriptionOrderAbandoned,
        SubscriptionOrderFailed,
        *_OF_DISTRIBUTION,
        *subjects.OFFERS,
        RolloutCompleted,
        RolloutPaused,
        RolloutStopped,
    ),
    tables=("notification_subjects",),
    # Reactions note a subject before they tell of it; a rebuild must not lose what they have noted.
    carry_over_sql=SQL["carry_over"],
)


@SUBJECTS.on(SubscriptionOrdered)
@SUBJECTS.on(SubscriptionConfirmed)
@SUBJECTS.on(UpdatePublished)
@SUBJECTS.on(RolloutStarted)
async def _introduced(tx: Connection, event: _Introducing, envelope: Envelope) -> None:
    await store.note_subject(tx, subject_in(event), envelope.version or 0)


@NOTIFICATIONS.on(SubscriptionOrdered)
@NOTIFICATIONS.on(UpdatePublished)
async def _noted(event: _Introducing, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await reach.lookups.note_subject(subject_in(event), envelope.version or 0)
    return []


@NOTIFICATIONS.on(SubscriptionConfirmed)
@NOTIFICATIONS.on(RolloutStarted)
async def _noted_and_told(
    event: SubscriptionConfirmed | RolloutStarted, envelope: Envelope, reach: Context
) -> Sequence[Dispatch]:
    await _noted(event, envelope, reach)
    return await _told(event, envelope, reach)


@NOTIFICATIONS.on(AddressVerified)
async def _verified(event: AddressVerified, _envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    """Mail to the address again: a mail to it has arrived."""
    await reach.lookups.forget_bounce(event.account_id)
    return []


async def _told(event: Event, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    """Tell those whom the event's rows name, each once."""
    if reach.now - envelope.time > TOLD_WITHIN:
        return []
    about = await reach.lookups.subject(subject_id) if (subject_id := subject_of(event)) else NOBODY
    done = set[str]()
    for row in rows_of(event):
        for audience in row.to:
            for account_id in await _audience(audience, row, event, about, reach):
                if account_id not in done and (row.own or account_id != envelope.actor):
                    done.add(account_id)
                    await _tell(account_id, row, event, envelope, about, reach)
    return []


for _event in told_events() - {SubscriptionConfirmed, RolloutStarted}:
    NOTIFICATIONS.on(_event)(_told)


async def _tell(
    account_id: str, row: Notification, event: Event, envelope: Envelope, about: Subject, reach: Context
) -> None:
    """Tell one person, in the ways that the person has chosen. A closed account is told nothing."""
    person = await reach.log.state(ACCOUNT, account_id)
    if not isinstance(person, account.OpenedAccount):
        return
    choice = choice_of(row.kind, person.notifications)
    if not (choice.email or choice.inbox):
        return
    late = reach.now - envelope.time > MAILED_WITHIN
    mail, reason = _mail(person, late=late) if choice.email else ("off", "")
    ahead = await _ahead(person, reach)
    told = Told(
        notification_id=notification_id(envelope.id, account_id),
        account_id=account_id,
        event_id=envelope.id,
        template=row.template,
        kind=row.kind,
        facts=facts_of(row, event, about),
        event_time=envelope.time,
        happened_at=envelope.time + ahead,
        in_inbox=choice.inbox,
        read=late,
        mail=mail,
        mail_reason=reason,
    )
    await reach.lookups.tell(told)


async def _ahead(person: account.OpenedAccount, reach: Context) -> timedelta:
    """Return how far the clock of a person's organisation is ahead, as the log has it.

    This process's clocks may be older than those of the service by which the event came about.
    """
    if not person.opened.sandbox:
        return timedelta(0)
    return timedelta(seconds=ahead_s(await reach.log.state(CLOCK, person.opened.organisation_id)))


def _mail(person: account.OpenedAccount, *, late: bool) -> tuple[MailState, str]:
    if late:
        return "suppressed", f"it is of an event of more than {MAILED_WITHIN.days} days ago"
    if not person.verified:
        return "suppressed", "the address is not verified"
    return "waiting", ""


def notification_id(event_id: str, account_id: str) -> str:
    """Return the id of what an event tells a person."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event_id}:{account_id}"))


def facts_of(row: Notification, event: Event, about: Subject) -> dict[str, JsonValue]:
    """Return the facts of a notification's text, as they are stored."""
    named = {"product": about.product, "customer": about.customer, "partner": about.partner}
    named |= {name: text_of(event, name) for name in IDS}
    named["contract_id"] = named["contract_id"] or about.contract_id
    facts: dict[str, Fact] = {name: value for name, value in named.items() if value}
    return {name: _stored(value, event) for name, value in {**facts, **row.facts(event)}.items()}


def _stored(fact: Fact, event: Event) -> JsonValue:
    match fact:
        case Money():
            return {"amount": fact.amount, "currency": fact.currency}
        case date():
            return fact.isoformat()
        case str() if fact.startswith(SEALED):
            return {"sealed": fact, "of": text_of(event, event.PERSONAL_OF)}
        case _:
            return fact


# ── Audiences ──────────────────────────────────────────────────────────────────────────────────────────


async def _audience(
    audience: Audience, row: Notification, event: Event, about: Subject, reach: Context
) -> Sequence[str]:
    """Return the accounts of an audience as it is now."""
    match audience:
        case "administrators" | "manager":
            return await _roles(text_of(event, "contract_id") or about.contract_id, audience, reach)
        case "orderer":
            return await _orderer(about, reach)
        case "purchaser":
            return _known(text_of(event, "purchaser") or about.purchaser)
        case "person":
            return _known(text_of(event, "account_id"))
        case "inviter":
            issued = await reach.log.state(INVITATION, text_of(event, "invitation_id"))
            return () if isinstance(issued, invitation.Unissued) else (issued.issued.issued_by,)
        case "registrant":
            webhook = await reach.log.state(WEBHOOK, text_of(event, "webhook_id"))
            return (webhook.registered.account_id,) if isinstance(webhook, Running) else ()
        case "managers-of-people":
            return await reach.lookups.managers_of_people(row.organisation(event))


def _known(account_id: str) -> Sequence[str]:
    return (account_id,) if account_id else ()


async def _roles(contract_id: str, audience: Audience, reach: Context) -> Sequence[str]:
    """Return a contract's Contract Manager, and for `administrators` its Software Coordinators."""
    if not contract_id:
        return ()
    contract = await reach.log.state(CONTRACT, contract_id)
    if not isinstance(contract, contract_state.OpenedContract):
        return ()
    manager = () if contract.manager is None else (contract.manager.account_id,)
    return manager if audience == "manager" else tuple(dict.fromkeys((*manager, *coordinating(contract))))


async def _orderer(about: Subject, reach: Context) -> Sequence[str]:
    """Return who ordered it, or who manages the partner's people if that account is closed."""
    if about.ordered_by:
        person = await reach.log.state(ACCOUNT, about.ordered_by)
        if isinstance(person, account.OpenedAccount):
            return (about.ordered_by,)
    return await reach.lookups.managers_of_people(about.partner) if about.partner else ()
