"""What follows from each event of the topics that reactions read, said without asking the product."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.eventlog.deliver.readers import names
from shared.events import (
    AccountClosed,
    AccountOpened,
    ApprovalLapsed,
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    CartCheckedOut,
    CartLineAdded,
    CartLineRemoved,
    CartOpened,
    ClockMoved,
    ContractOpened,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsPurchased,
    EntitlementNoted,
    Event,
    FleetOpened,
    GroupCreated,
    GroupPolicySet,
    InvitationAccepted,
    InvitationExpired,
    InvitationIssued,
    InvitationRevoked,
    NextDecisionDue,
    PeopleAdministratorNamed,
    PeopleAdministratorRemoved,
    PoolCsnNoted,
    ProfileUpdated,
    RenewalReminded,
    RoleAssigned,
    RoleRequestDeclined,
    RoleRequested,
    RoleRevoked,
    RolloutStopped,
    SeatAssigned,
    SeatDecreaseScheduled,
    SeatPoolCleared,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolHeld,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    SeatsAdded,
    SeatUnassigned,
    SubscriptionConfirmed,
    SubscriptionEnded,
    SubscriptionOrderAbandoned,
    SubscriptionOrdered,
    SubscriptionOrderFailed,
    SubscriptionRenewed,
    UpdateApproved,
    UpdateHeld,
    UpdateOffered,
    UpdatePublished,
    UpdateRecalled,
    UpdateScheduled,
    UpdateWithdrawn,
    UserPutInGroup,
    UserRemovedFromGroup,
    subjects,
)
from shared.events.registry import DISTRIBUTION, ENTITLEMENTS, IDENTITY, INBOUND, MARKETPLACE


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one consumer's reactions make of the events of its topics."""

    topics: tuple[str, ...]
    always: tuple[type[Event], ...] = ()
    """It becomes a command whatever else is true: accepted or refused, the store knows it."""
    sometimes: tuple[type[Event], ...] = ()
    """It depends on what else is true whether it becomes commands."""
    never: tuple[type[Event], ...] = ()
    """No command follows from it."""

    @property
    def handlers(self) -> Mapping[str, Callable[..., object]]:
        """What it says of commands, as a reader of the events."""
        return dict.fromkeys(names((*self.always, *self.sometimes)), Expected)

    @property
    def ignored(self) -> frozenset[str]:
        return names(self.never)


EXPECTED: Final[Mapping[str, Expected]] = {
    "identity.reactions": Expected(
        topics=(IDENTITY, MARKETPLACE),
        always=(SubscriptionConfirmed, SubscriptionEnded),
        sometimes=(
            AccountClosed,
            AccountOpened,
            InvitationIssued,
            PeopleAdministratorRemoved,
            RoleAssigned,
            RoleRequested,
        ),
        never=(
            *subjects.OPERATIONS,
            *subjects.AGREEMENTS,
            *subjects.MACHINES,
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
            InvitationAccepted,
            InvitationExpired,
            InvitationRevoked,
            PeopleAdministratorNamed,
            ProfileUpdated,
            RenewalReminded,
            RoleRequestDeclined,
            RoleRevoked,
            SubscriptionOrderAbandoned,
            SubscriptionOrderFailed,
            SubscriptionOrdered,
            SubscriptionRenewed,
        ),
    ),
    "marketplace.publisher": Expected(
        topics=(INBOUND,),
        always=(*subjects.PLANS, *subjects.CSNS, *subjects.ORDER_ANSWERS),
        never=(*subjects.UPDATES, CreditsPurchased),
    ),
    "marketplace.process": Expected(
        topics=(MARKETPLACE, ENTITLEMENTS),
        always=(CartCheckedOut, SeatPoolCleared, SeatPoolHeld),
        never=(
            *subjects.OPERATIONS,
            *subjects.AUTO_RENEW,
            *subjects.CSNS,
            *subjects.ENGAGEMENTS,
            *subjects.ORDERS,
            *subjects.PLANS,
            *subjects.SEAT_NUMBERS,
            *subjects.SEATS_REQUESTS,
            *subjects.TERMS,
            *subjects.CREDITS,
            *subjects.POOLS,
            *subjects.SEATS,
            *subjects.UPDATE_RIGHTS,
            CartLineAdded,
            CartLineRemoved,
            CartOpened,
            PoolCsnNoted,
        ),
    ),
    "entitlements.reactions": Expected(
        topics=(MARKETPLACE, INBOUND),
        always=(
            AutoRenewDisableRequested,
            CreditsPurchased,
            SeatsAdded,
            SubscriptionConfirmed,
            SubscriptionEnded,
            SubscriptionRenewed,
        ),
        never=(
            *subjects.OPERATIONS,
            *subjects.CARTS,
            *subjects.CSNS,
            *subjects.ENGAGEMENTS,
            *subjects.PLANS,
            *subjects.SEATS_REQUESTS,
            *subjects.UPDATES,
            *subjects.ORDER_ANSWERS,
            AutoRenewDisableRefused,
            AutoRenewDisabled,
            RenewalReminded,
            SeatDecreaseScheduled,
            SubscriptionOrderAbandoned,
            SubscriptionOrderFailed,
            SubscriptionOrdered,
        ),
    ),
    "entitlements.meetings": Expected(
        topics=(ENTITLEMENTS, MARKETPLACE, IDENTITY),
        sometimes=(*subjects.CSNS, AccountClosed, CreditsGranted, SeatAssigned, SeatPoolOpened, SeatPoolSuspended),
        never=(
            *subjects.OPERATIONS,
            *subjects.AGREEMENTS,
            *subjects.ROLES,
            *subjects.SIGN_IN,
            *subjects.PLANS,
            *subjects.SALES,
            *subjects.POOL_ANSWERS,
            *subjects.UPDATE_RIGHTS,
            AccountOpened,
            ClockMoved,
            ContractOpened,
            CreditsConsumed,
            CreditsExpired,
            PoolCsnNoted,
            ProfileUpdated,
            SeatPoolEnded,
            SeatPoolExpired,
            SeatPoolRenewed,
            SeatPoolResized,
            SeatUnassigned,
        ),
    ),
    "distribution.reactions": Expected(
        topics=(INBOUND,),
        always=subjects.UPDATES,
        never=(*subjects.CSNS, *subjects.PLANS, *subjects.ORDER_ANSWERS, CreditsPurchased),
    ),
    "distribution.process": Expected(
        topics=(ENTITLEMENTS, DISTRIBUTION),
        always=(
            *subjects.SEATS,
            *subjects.UPDATE_RIGHTS,
            RolloutStopped,
            SeatPoolEnded,
            SeatPoolExpired,
            SeatPoolOpened,
            SeatPoolRenewed,
            SeatPoolSuspended,
            UpdateApproved,
            UpdatePublished,
        ),
        sometimes=(
            *subjects.LINES,
            EntitlementNoted,
            UpdateHeld,
            UpdateOffered,
            UpdateRecalled,
            UpdateScheduled,
            UpdateWithdrawn,
            UserPutInGroup,
            UserRemovedFromGroup,
        ),
        never=(
            *subjects.OPERATIONS,
            *subjects.CREDITS,
            *subjects.POOL_ANSWERS,
            *subjects.INSTALLS,
            *subjects.TARGETS,
            *subjects.ROLLOUT_COURSE,
            ApprovalLapsed,
            FleetOpened,
            GroupCreated,
            GroupPolicySet,
            NextDecisionDue,
            PoolCsnNoted,
            SeatPoolResized,
        ),
    ),
}
"""By consumer that reacts."""
