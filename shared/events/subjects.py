"""Events grouped by subject, for readers that ignore everything about it.

A topic's union says what is on a topic; these groups are lists of their own. A new event is in none of them until
somebody puts it there, so that every reader of its topic is named first (`shared/eventlog/deliver/readers.py`).
"""

from typing import Final

from shared.events.distribution import (
    ApprovalLapsed,
    GroupCreated,
    GroupPolicySet,
    InstallFailed,
    InstallSucceeded,
    PhasePassed,
    PhaseStarted,
    ProductOwned,
    RolloutCompleted,
    RolloutPaused,
    RolloutResumed,
    RolloutStarted,
    RolloutStopped,
    TargetAdded,
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
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    ProfileUpdated,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
    SessionEnded,
    SessionsEnded,
)
from shared.events.marketplace import (
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CartCheckedOut,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    CsnIssued,
    CsnRevoked,
    PlanListed,
    PlanPriceAnnounced,
    PlanWithdrawn,
    RenewalReminded,
    SeatDecreaseScheduled,
    SeatsAdded,
    SubscriptionConfirmed,
    SubscriptionEnded,
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
"""By what an account's person is known: a verified address, an identity elsewhere."""
ROLE_REQUESTS: Final = (RoleRequested, RoleRequestDeclined)
ROLES: Final = (*ROLE_REQUESTS, RoleAssigned, RoleRevoked)
SESSIONS: Final = (SessionEnded, SessionsEnded)
SIGN_IN: Final = (*ADMINISTRATORS, *INVITATIONS, *MACHINES, *PROOFS, *SESSIONS)
"""Who may sign in, and by what."""

# marketplace
AUTO_RENEW: Final = (AutoRenewDisableRequested, AutoRenewDisabled, AutoRenewDisableRefused)
CARTS: Final = (CartOpened, CartLineAdded, CartLineRemoved, CartCheckedOut)
CSNS: Final = (CsnIssued, CsnRevoked)
ORDERS: Final = (SubscriptionOrdered, SubscriptionConfirmed, SubscriptionOrderFailed)
PLANS: Final = (PlanListed, PlanPriceAnnounced, PlanWithdrawn)
SEAT_NUMBERS: Final = (SeatsAdded, SeatDecreaseScheduled)
TERMS: Final = (RenewalReminded, SubscriptionRenewed, SubscriptionEnded)
SALES: Final = (*CARTS, *ORDERS, *AUTO_RENEW, *SEAT_NUMBERS, *TERMS)
"""What is ordered, and what becomes of it."""

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
"""Whether auto-renew may be disabled."""
SEATS: Final = (SeatAssigned, SeatUnassigned)
UPDATE_RIGHTS: Final = (UpdateRightGranted, UpdateRightLost)

# distribution
DECISIONS: Final = (UpdateApproved, UpdateHeld, UpdateScheduled, ApprovalLapsed)
GROUPS: Final = (GroupCreated, UserPutInGroup, UserRemovedFromGroup, GroupPolicySet)
LINES: Final = (ProductOwned, UpdateListed)
"""Of one product, who owns it and which updates there are."""
OFFERS: Final = (UpdateOffered, UpdateRecalled)
INSTALLS: Final = (InstallSucceeded, InstallFailed)
TARGETS: Final = (TargetAdded, TargetRemoved)
ROLLOUT_COURSE: Final = (RolloutStarted, PhaseStarted, PhasePassed, RolloutPaused, RolloutResumed, RolloutCompleted)
ROLLOUTS: Final = (*ROLLOUT_COURSE, *TARGETS, *INSTALLS, RolloutStopped)
UPDATES: Final = (UpdatePublished, UpdateWithdrawn)

# publishers
ORDER_ANSWERS: Final = (OrderConfirmed, OrderDeclined)
