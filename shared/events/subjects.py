"""Events grouped by subject, for consumers that ignore all events of a subject.

The groups are written out, not derived from the topics' unions. A new event is in no group at first, so the check of
every topic's readers (`shared/eventlog/deliver/readers.py`) fails until each handles or ignores it.
"""

from typing import Final

from shared.events.distribution import (
    ApprovalLapsed,
    FailuresRetried,
    GroupCreated,
    GroupPolicySet,
    InstallFailed,
    InstallSucceeded,
    PhasePassed,
    PhaseReportsDue,
    PhaseStarted,
    ProductOwned,
    RolloutCompleted,
    RolloutMovedOn,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
    TargetExcluded,
    TargetRemoved,
    UpdateApproved,
    UpdateHeld,
    UpdateListed,
    UpdateOffered,
    UpdatePublished,
    UpdateRecalled,
    UpdateScheduled,
    UpdateWithdrawn,
    UserPutInGroup,
    UserRemovedFromGroup,
)
from shared.events.entitlements import (
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    SeatAssigned,
    SeatPoolCleared,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolHeld,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    SeatUnassigned,
    UpdateRightGranted,
    UpdateRightLost,
)
from shared.events.identity import (
    AccountClosed,
    AccountOpened,
    AddressReleased,
    AddressVerified,
    AgreementEnded,
    AgreementScheduled,
    AgreementStarted,
    IdentityLinked,
    IdentityUnlinked,
    InvitationAccepted,
    InvitationExpired,
    InvitationIssued,
    InvitationRevoked,
    MachineRegistered,
    MachineRevoked,
    MachineSecretRotated,
    NotificationPreferencesSet,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
    SessionEnded,
    SessionsEnded,
    WebhookEnded,
    WebhookParked,
    WebhookPaused,
    WebhookRegistered,
    WebhookReplayed,
    WebhookResumed,
    WebhookSecretRotated,
)
from shared.events.marketplace import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CartCheckedOut,
    CartDiscarded,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    CsnIssued,
    CsnRevoked,
    PartnerEngaged,
    PartnerReleased,
    PlanListed,
    PlanPriceAnnounced,
    PlanWithdrawn,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatsAdded,
    SeatsRequestConfirmed,
    SeatsRequestDeclined,
    SeatsRequested,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
)
from shared.events.operations import OperationPerformed
from shared.events.publisher import OrderConfirmed, OrderDeclined

OPERATIONS: Final = (OperationPerformed,)

# identity
ACCOUNTS: Final = (AccountOpened, ProfileUpdated, AccountClosed)
ADMINISTRATORS: Final = (PeopleAdministratorNamed, PeopleAdministratorRemoved)
AGREEMENTS: Final = (AgreementScheduled, AgreementStarted, AgreementEnded)
INVITATIONS: Final = (InvitationIssued, InvitationAccepted, InvitationRevoked, InvitationExpired)
MACHINES: Final = (MachineRegistered, MachineSecretRotated, MachineRevoked)
PROOFS: Final = (AddressVerified, AddressReleased, IdentityLinked, IdentityUnlinked)
"""How an account's person is recognised: by a verified address, or an identity of another issuer."""
PREFERENCES: Final = (NotificationPreferencesSet,)
"""How a person is notified."""
ROLE_REQUESTS: Final = (RoleRequested, RoleRequestDeclined)
ROLES: Final = (*ROLE_REQUESTS, RoleAssigned, RoleRevoked)
SESSIONS: Final = (SessionEnded, SessionsEnded)
WEBHOOK_CHANGES: Final = (
    WebhookRegistered,
    WebhookSecretRotated,
    WebhookPaused,
    WebhookResumed,
    WebhookReplayed,
    WebhookEnded,
)
WEBHOOKS: Final = (*WEBHOOK_CHANGES, WebhookParked)
SIGN_IN: Final = (*ADMINISTRATORS, *INVITATIONS, *MACHINES, *PREFERENCES, *PROOFS, *SESSIONS, *WEBHOOKS)
"""Who may sign in and how, and what only identity acts on besides."""

# marketplace
AUTO_RENEW: Final = (AutoRenewDisableRequested, AutoRenewDisabled, AutoRenewDisableRefused)
CARTS: Final = (CartOpened, CartLineAdded, CartLineRemoved, CartCheckedOut, CartDiscarded)
CSNS: Final = (CsnIssued, CsnRevoked)
ENGAGEMENTS: Final = (PartnerEngaged, PartnerReleased)
"""Which customers have accepted which partners."""
ORDERS: Final = (SubscriptionOrdered, SubscriptionConfirmed, SubscriptionOrderFailed, SubscriptionOrderAbandoned)
PLANS: Final = (PlanListed, PlanPriceAnnounced, PlanWithdrawn)
SEAT_NUMBERS: Final = (SeatsAdded, SeatDecreaseScheduled)
TERMS: Final = (RenewalReminded, SubscriptionRenewed, SubscriptionEnded)
SEATS_REQUESTS: Final = (SeatsRequested, SeatsRequestConfirmed, SeatsRequestDeclined)
SALES: Final = (*ENGAGEMENTS, *CARTS, *ORDERS, *AUTO_RENEW, *SEAT_NUMBERS, *SEATS_REQUESTS, *TERMS)
"""Who orders for whom, the orders, and the subscriptions that follow from them."""

# entitlements
CREDITS: Final = (CreditsGranted, CreditsConsumed, CreditsExpired)
POOLS: Final = (
    SeatPoolOpened,
    SeatPoolResized,
    SeatPoolRenewed,
    SeatPoolExpired,
    SeatPoolSuspended,
    SeatPoolEnded,
)
POOL_ANSWERS: Final = (SeatPoolCleared, SeatPoolHeld)
"""The seat pool's answers whether auto-renew may be turned off."""
SEATS: Final = (SeatAssigned, SeatUnassigned)
UPDATE_RIGHTS: Final = (UpdateRightGranted, UpdateRightLost)

# distribution
DECISIONS: Final = (UpdateApproved, UpdateHeld, UpdateScheduled, ApprovalLapsed)
GROUPS: Final = (GroupCreated, UserPutInGroup, UserRemovedFromGroup, GroupPolicySet)
LINES: Final = (ProductOwned, UpdateListed)
"""The owners and the updates of a product."""
OFFERS: Final = (UpdateOffered, UpdateRecalled)
INSTALLS: Final = (InstallSucceeded, InstallFailed)
TARGETS: Final = (TargetAdded, TargetRemoved, TargetExcluded)
PHASES: Final = (PhaseStarted, PhasePassed, RolloutMovedOn)
PAUSES: Final = (RolloutPaused, RolloutResumed, FailuresRetried)
ROLLOUT_COURSE: Final = (*PHASES, *PAUSES, RolloutStarted, PhaseReportsDue, RolloutCompleted)
ROLLOUTS: Final = (*ROLLOUT_COURSE, *TARGETS, *INSTALLS, RolloutStopped)
UPDATES: Final = (UpdatePublished, UpdateWithdrawn)

# publishers
ORDER_ANSWERS: Final = (OrderConfirmed, OrderDeclined)
