"""Events that become commands of entitlements' own streams."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, TypeAlias, TypeVar

from services.entitlements.domain.credits import CREDITS, EndCredits, GrantCredits
from services.entitlements.domain.policy import Policy
from services.entitlements.domain.seat_pool import (
    SEAT_POOL,
    AnswerAutoRenewRequest,
    EndTerm,
    NoteCsn,
    OpenPool,
    RenewPool,
    ResizePool,
    UnassignSeat,
)
from services.entitlements.domain.users import Account
from services.entitlements.lookups import Lookups, PostgresLookups, last_steps, policy_for
from services.entitlements.projections import NUMBERS, PEOPLE, POOLS
from shared.eventlog.deliver.projection import Dispatch, Projection, ReactionContext, Reactions
from shared.eventlog.write.store import Unavailable
from shared.events import (
    AccountClosed,
    AccountOpened,
    AutoRenewDisabled,
    AutoRenewDisableRefused,
    AutoRenewDisableRequested,
    ClockMoved,
    ContractOpened,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsPurchased,
    CsnIssued,
    CsnRevoked,
    PoolCsnNoted,
    ProfileUpdated,
    RenewalReminded,
    SeatAssigned,
    SeatDecreaseScheduled,
    SeatPoolEnded,
    SeatPoolExpired,
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
    subjects,
)
from shared.events.envelope import Envelope, publisher_of
from shared.events.registry import ENTITLEMENTS, IDENTITY, INBOUND, MARKETPLACE
from shared.runtime.policies import policy_of

T = TypeVar("T")
Context: TypeAlias = ReactionContext[Lookups]

REACTIONS: Final[Reactions[Lookups]] = Reactions(
    "reactions",
    topics=(MARKETPLACE, INBOUND),
    ignores=(
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
    lookups=PostgresLookups,
)
LOOKS: Final = 20
PAUSE: Final = timedelta(milliseconds=100)
"""The pause between two looks."""
MEETINGS: Final[Reactions[Lookups]] = Reactions(
    "meetings",
    topics=(ENTITLEMENTS, MARKETPLACE, IDENTITY),
    ignores=(
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
    lookups=PostgresLookups,
)
"""Where facts of two streams make a third thing true. Each side waits until its own fact is folded, then looks for the
other: whichever is folded last finds both, in whatever order they came."""

# ── The subscription's course ──────────────────────────────────────────────────────────────────────────


@REACTIONS.on(SubscriptionConfirmed)
async def _confirmed(event: SubscriptionConfirmed, _envelope: Envelope, _reach: Context) -> Sequence[Dispatch]:
    opening = OpenPool(
        subscription_id=event.subscription_id,
        contract_id=event.contract_id,
        customer=event.customer,
        product=event.plan.product,
        product_name=event.plan.product_name,
        seats=event.seats,
        starts=event.starts,
        ends=event.ends,
        partner=event.partner,
        publisher=event.plan.publisher,
        period=event.plan.period,
        time_zone=event.time_zone or "UTC",
    )
    return [Dispatch(SEAT_POOL, event.subscription_id, opening)]


@REACTIONS.on(CreditsPurchased)
async def _purchased(event: CreditsPurchased, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    publisher = publisher_of(envelope.source)
    customer = await _looked_for(partial(reach.lookups.customer, event.contract_id, publisher), reach) or ""
    if not customer and await reach.lookups.has_parked(PEOPLE, f"contract-{event.contract_id}"):
        raise ProjectionBlocked(f"contract-{event.contract_id}", PEOPLE)
    who = event.account_id
    user: Account | None = None
    if customer and who is not None:
        user = await _looked_for(partial(reach.lookups.account, who), reach)
    over = await last_steps(reach.lookups, reach.log, event.contract_id) if customer else ()
    grant = GrantCredits(
        contract_id=event.contract_id,
        grant_id=event.grant_id,
        amount=event.amount,
        customer=customer,
        granted_by=envelope.source,
        now=reach.time_of(customer),
        policy=policy_of(Policy, publisher),
        account_id=who,
        user=user,
        over=over,
    )
    return [Dispatch(CREDITS, event.contract_id, grant)]


async def _looked_for(look: Callable[[], Awaitable[T | None]], reach: Context) -> T | None:
    """Look something up again and again for a short while; None when it is still missing.

    A publisher may know of a contract or an account before this service has folded it. The while begins with the
    record's arrival, so that many records of what does not exist wait together, and not one after the other.
    """
    for _ in range(LOOKS):
        found = await look()
        if found is not None:
            return found
        if reach.arrived is not None and reach.clocks.real() > reach.arrived + LOOKS * PAUSE:
            return None
        await asyncio.sleep(PAUSE.total_seconds())
    return None


@REACTIONS.on(AutoRenewDisableRequested)
async def _asked(event: AutoRenewDisableRequested, envelope: Envelope, _reach: Context) -> Sequence[Dispatch]:
    return [Dispatch(SEAT_POOL, event.subscription_id, AnswerAutoRenewRequest(event.subscription_id, envelope.id))]


@REACTIONS.on(SeatsAdded)
async def _added(event: SeatsAdded, _envelope: Envelope, _reach: Context) -> Sequence[Dispatch]:
    return [Dispatch(SEAT_POOL, event.subscription_id, ResizePool(event.seats))]


@REACTIONS.on(SubscriptionRenewed)
async def _renewed(event: SubscriptionRenewed, _envelope: Envelope, _reach: Context) -> Sequence[Dispatch]:
    return [Dispatch(SEAT_POOL, event.subscription_id, RenewPool(event.seats, event.ends, event.time_zone))]


@REACTIONS.on(SubscriptionEnded)
async def _ended(event: SubscriptionEnded, _envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    policy = await policy_for(reach.log, event.subscription_id)
    return [Dispatch(SEAT_POOL, event.subscription_id, EndTerm(event.ended, reach.time_of(event.customer), policy))]


# ── The right to updates: a pool and a number ──────────────────────────────────────────────────────────


@MEETINGS.on(SeatPoolOpened)
async def _pool_meets_numbers(event: SeatPoolOpened, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await _folded(reach, POOLS, envelope)
    notes = [
        await _note(reach, organisation, event.publisher) for organisation in sorted({event.customer, event.partner})
    ]
    return [Dispatch(SEAT_POOL, event.subscription_id, note) for note in notes if note is not None]


@MEETINGS.on(CsnIssued)
async def _issued(event: CsnIssued, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    return await _number_meets_pools(event, envelope, reach)


@MEETINGS.on(CsnRevoked)
async def _revoked(event: CsnRevoked, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    return await _number_meets_pools(event, envelope, reach)


async def _number_meets_pools(event: CsnIssued | CsnRevoked, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await _folded(reach, NUMBERS, envelope)
    note = await _note(reach, event.organisation_id, event.publisher)
    pools = await reach.lookups.pools_of_organisation(event.organisation_id, event.publisher)
    return [Dispatch(SEAT_POOL, pool, note) for pool in pools if note is not None]


async def _note(reach: Context, organisation_id: str, publisher: str) -> NoteCsn | None:
    """What is known of the organisation's numbers: of several valid ones the newest."""
    latest = await reach.lookups.latest_csn(organisation_id, publisher)
    return None if latest is None else NoteCsn(organisation_id, latest.csn, latest.as_of)


# ── A closed account and its seats ─────────────────────────────────────────────────────────────────────

CLOSED: Final = "account_closed"


@MEETINGS.on(AccountClosed)
async def _closed_meets_seats(event: AccountClosed, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await _folded(reach, PEOPLE, envelope)
    pools = await reach.lookups.seats_of(event.account_id)
    return [Dispatch(SEAT_POOL, pool, UnassignSeat(event.account_id, CLOSED)) for pool in pools]


@MEETINGS.on(SeatAssigned)
async def _seat_meets_closed(event: SeatAssigned, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await _folded(reach, POOLS, envelope)
    if not isinstance(await reach.lookups.account(event.account_id), AccountClosed):
        return []
    return [Dispatch(SEAT_POOL, event.subscription_id, UnassignSeat(event.account_id, CLOSED))]


# ── The contract's end and its credits ─────────────────────────────────────────────────────────────────


@MEETINGS.on(SeatPoolSuspended)
async def _last_pool(event: SeatPoolSuspended, envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    await _folded(reach, POOLS, envelope)
    await _pools_told(reach, event.contract_id)
    left = await reach.lookups.usable(event.contract_id, unknown=False)
    return [] if left else [Dispatch(CREDITS, event.contract_id, EndCredits())]


@MEETINGS.on(CreditsGranted)
async def _too_late(event: CreditsGranted, _envelope: Envelope, reach: Context) -> Sequence[Dispatch]:
    """End credits that were granted at the very end of their contract.

    The pools' last step was folded before the grant, so nothing else ends them.
    """
    await _pools_told(reach, event.contract_id)
    left = await reach.lookups.usable(event.contract_id, unknown=True)
    return [] if left else [Dispatch(CREDITS, event.contract_id, EndCredits())]


async def _pools_told(reach: Context, contract_id: str) -> None:
    """Check that every pool of the contract is in the tables.

    Raises ProjectionBlocked where a pool is parked at its first event, which no table shows.
    """
    if (unseen := await reach.lookups.unseen_pool(contract_id)) is not None:
        raise ProjectionBlocked(unseen, POOLS)


# ── Waiting for one's own fact ─────────────────────────────────────────────────────────────────────────

WAIT_S: Final = 5.0


class ProjectionBlocked(Exception):
    """A projection has parked the stream, so its tables are incomplete: the event is parked."""

    def __init__(self, stream: str, projection: Projection) -> None:
        super().__init__(
            f"{stream} is parked in entitlements.{projection.name}: resume it there first (`tenure parked retry`), "
            "then this"
        )


async def _folded(reach: Context, projection: Projection, envelope: Envelope) -> None:
    """Return once the projection has folded the event.

    Raises:
        ProjectionBlocked: the projection has parked the stream.
        Unavailable: it has not come so far within WAIT_S; the batch comes again.
    """
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not (progress := await reach.lookups.progress(projection, envelope)).folded:
        if progress.parked:
            raise ProjectionBlocked(envelope.stream, projection)
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"{envelope.stream}@{envelope.version} has not reached the projection {projection.name}")
        await asyncio.sleep(0.01)
