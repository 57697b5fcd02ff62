"""Distribution's reactions: records of updates, and changes of fleets and rollouts.

What publishers' systems send becomes this service's own record; entitlements' events and its own change fleets and
rollouts.

Every change of a rollout's targets follows from an event of its contract's fleet, whose stream gives such changes one
order: a rollout is told where the fleet stands when it is told, never less than it was told before.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from services.distribution.domain.decisions import LapseApproval, OfferUpdate, RecallUpdate
from services.distribution.domain.entitlements import Fact, NoteEntitlement
from services.distribution.domain.fleet import FLEET, Fleet, standing
from services.distribution.domain.line import LINE, JoinLine, ListUpdate, concerns
from services.distribution.domain.policy import Policy
from services.distribution.domain.rollout import ROLLOUT, FollowFleet, StartRollout
from services.distribution.domain.update import UPDATE, Available, RecordUpdate, Withdrawn, WithdrawUpdate, key
from shared.eventlog.deliver.projection import Dispatch, ReactionContext, Reactions
from shared.events import (
    ApprovalLapsed,
    CreditsPurchased,
    EntitlementNoted,
    FleetOpened,
    GroupCreated,
    GroupPolicySet,
    NextDecisionDue,
    PoolCsnNoted,
    ProductOwned,
    RolloutStopped,
    SeatAssigned,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    SeatUnassigned,
    UpdateApproved,
    UpdateHeld,
    UpdateListed,
    UpdateOffered,
    UpdatePublished,
    UpdateRecalled,
    UpdateRightGranted,
    UpdateRightLost,
    UpdateScheduled,
    UpdateWithdrawn,
    UserPutInGroup,
    UserRemovedFromGroup,
    subjects,
)
from shared.events.envelope import Envelope, publisher_of
from shared.events.registry import DISTRIBUTION, ENTITLEMENTS, INBOUND
from shared.runtime.policies import policy_of

REACTIONS: Final = Reactions(
    "reactions",
    topics=(INBOUND,),
    ignores=(*subjects.CSNS, *subjects.PLANS, *subjects.ORDER_ANSWERS, CreditsPurchased),
    answers_unreadable=True,
)
PROCESS: Final = Reactions(
    "process",
    topics=(ENTITLEMENTS, DISTRIBUTION),
    ignores=(
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
)


@REACTIONS.on(UpdatePublished)
async def _said_published(event: UpdatePublished, envelope: Envelope, _reach: ReactionContext) -> Sequence[Dispatch]:
    return [Dispatch(UPDATE, key(event.publisher, event.update_id), RecordUpdate(event, publisher_of(envelope.source)))]


@REACTIONS.on(UpdateWithdrawn)
async def _said_withdrawn(event: UpdateWithdrawn, envelope: Envelope, _reach: ReactionContext) -> Sequence[Dispatch]:
    return [
        Dispatch(UPDATE, key(event.publisher, event.update_id), WithdrawUpdate(event, publisher_of(envelope.source)))
    ]


# ── Who hears of which update ──────────────────────────────────────────────────────────────────────────


@PROCESS.on(UpdatePublished)
async def _published(event: UpdatePublished, _envelope: Envelope, _reach: ReactionContext) -> Sequence[Dispatch]:
    return [Dispatch(LINE, event.product, ListUpdate(event.product, event.publisher, event.update_id))]


@PROCESS.on(UpdateWithdrawn)
async def _withdrawn(event: UpdateWithdrawn, _envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    """Recall the update in every contract of its line.

    Contracts that join the line later find the update withdrawn.
    """
    state = await reach.log.state(UPDATE, key(event.publisher, event.update_id))
    if not isinstance(state, Withdrawn) or state.published is None:
        return []
    line = await reach.log.state(LINE, state.published.product)
    owners = (owner for owner in line.owners if owner.publisher in ("", event.publisher))
    contracts = dict.fromkeys(owner.contract_id for owner in owners)
    fleets = {contract: await reach.log.state(FLEET, contract) for contract in contracts}
    return [_recall(contract, fleet, event, reach) for contract, fleet in fleets.items()]


def _recall(contract_id: str, fleet: Fleet, withdrawn: UpdateWithdrawn, reach: ReactionContext) -> Dispatch:
    recall = RecallUpdate(
        contract_id=contract_id,
        publisher=withdrawn.publisher,
        update_id=withdrawn.update_id,
        reason=withdrawn.reason,
        now=reach.time_of(fleet.customer),
    )
    return Dispatch(FLEET, contract_id, recall)


@PROCESS.on(UpdateListed)
async def _listed(event: UpdateListed, _envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    line = await reach.log.state(LINE, event.product)
    return [do for owner in line.owners if concerns(owner, event) for do in await _offer(owner, event, reach)]


@PROCESS.on(ProductOwned)
async def _owned(event: ProductOwned, _envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    line = await reach.log.state(LINE, event.product)
    return [do for update in line.updates if concerns(event, update) for do in await _offer(event, update, reach)]


async def _offer(owner: ProductOwned, listed: UpdateListed, reach: ReactionContext) -> Sequence[Dispatch]:
    """Offer the update to the owner's fleet, or recall it where it is withdrawn by now.

    What follows from an event, and in which order, must not change.
    """
    state = await reach.log.state(UPDATE, key(listed.publisher, listed.update_id))
    fleet = await reach.log.state(FLEET, owner.contract_id)
    if isinstance(state, Withdrawn):
        return [_recall(owner.contract_id, fleet, state.withdrawn, reach)]
    if not isinstance(state, Available):
        return []
    now, earlier = reach.time_of(fleet.customer), await _without_platform(fleet, state.published, reach)
    return [Dispatch(FLEET, owner.contract_id, OfferUpdate(owner.contract_id, state.published, now, earlier))]


async def _without_platform(
    fleet: Fleet, update: UpdatePublished, reach: ReactionContext
) -> tuple[UpdatePublished, ...]:
    """Return the product's updates whose offers are from before an offer named its platform."""
    offers = fleet.decisions.offered.values()
    unnamed = [
        offered
        for offered in offers
        if not offered.platform and (offered.publisher, offered.product) == (update.publisher, update.product)
    ]
    states = [await reach.log.state(UPDATE, key(offered.publisher, offered.update_id)) for offered in unnamed]
    return tuple(state.published for state in states if isinstance(state, Available))


# ── What a contract's users are entitled to ────────────────────────────────────────────────────────────


@PROCESS.on(SeatPoolOpened)
async def _opened(event: SeatPoolOpened, envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    note = NoteEntitlement(
        contract_id=event.contract_id,
        subscription_id=event.subscription_id,
        fact="pool_opened",
        because=envelope.id,
        now=reach.time_of(event.customer),
        customer=event.customer,
        product=event.product,
        publisher=event.publisher,
        starts=event.starts,
        time_zone=event.time_zone,
    )
    join = JoinLine(event.product, event.publisher, event.contract_id)
    return [Dispatch(FLEET, event.contract_id, note), Dispatch(LINE, event.product, join)]


_Pools: TypeAlias = SeatPoolRenewed | SeatPoolExpired | SeatPoolSuspended | SeatPoolEnded
_Rights: TypeAlias = UpdateRightGranted | UpdateRightLost
_Seats: TypeAlias = SeatAssigned | SeatUnassigned
_FACTS: Final[dict[type[_Pools | _Rights | _Seats], Fact]] = {
    SeatPoolRenewed: "term_renewed",
    SeatPoolExpired: "term_over",
    SeatPoolSuspended: "term_over",
    SeatPoolEnded: "pool_ended",
    SeatAssigned: "seat_assigned",
    SeatUnassigned: "seat_unassigned",
    UpdateRightGranted: "right_granted",
    UpdateRightLost: "right_lost",
}


@PROCESS.on(SeatPoolRenewed)
@PROCESS.on(SeatPoolExpired)
@PROCESS.on(SeatPoolSuspended)
@PROCESS.on(SeatPoolEnded)
@PROCESS.on(UpdateRightGranted)
@PROCESS.on(UpdateRightLost)
async def _entitled(event: _Pools | _Rights, envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    return _noted(event, envelope, reach)


@PROCESS.on(SeatAssigned)
@PROCESS.on(SeatUnassigned)
async def _seated(event: _Seats, envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    return _noted(event, envelope, reach, event.account_id)


def _noted(
    event: _Pools | _Rights | _Seats, envelope: Envelope, reach: ReactionContext, account_id: str = ""
) -> Sequence[Dispatch]:
    note = NoteEntitlement(
        contract_id=event.contract_id,
        subscription_id=event.subscription_id,
        fact=_FACTS[type(event)],
        because=envelope.id,
        now=reach.now,
        account_id=account_id,
    )
    return [Dispatch(FLEET, event.contract_id, note)]


# ── What becomes of a rollout ──────────────────────────────────────────────────────────────────────────


@PROCESS.on(UpdateApproved)
async def _approved(event: UpdateApproved, _envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    fleet = await reach.log.state(FLEET, event.contract_id)
    offered = fleet.decisions.offered[event.publisher, event.update_id]
    start = StartRollout(
        rollout_id=event.rollout_id,
        contract_id=event.contract_id,
        customer=fleet.customer,
        publisher=event.publisher,
        update_id=event.update_id,
        version=offered.version,
        groups=event.groups,
        phases=event.phases,
        targets=standing(fleet, event.number).targets,
        by=event.approved_by,
        silent_days=policy_of(Policy, event.publisher).silent_days,
        now=reach.time_of(fleet.customer),
    )
    return [Dispatch(ROLLOUT, event.rollout_id, start)]


_Moving: TypeAlias = (
    EntitlementNoted
    | UserPutInGroup
    | UserRemovedFromGroup
    | UpdateOffered
    | UpdateHeld
    | UpdateScheduled
    | UpdateRecalled
)


@PROCESS.on(EntitlementNoted)
@PROCESS.on(UserPutInGroup)
@PROCESS.on(UserRemovedFromGroup)
@PROCESS.on(UpdateOffered)
@PROCESS.on(UpdateHeld)
@PROCESS.on(UpdateScheduled)
@PROCESS.on(UpdateRecalled)
async def _moved(event: _Moving, _envelope: Envelope, reach: ReactionContext) -> Sequence[Dispatch]:
    if not event.rollouts:
        return []
    fleet = await reach.log.state(FLEET, event.contract_id)
    now = reach.time_of(fleet.customer)
    found = [(f"{event.contract_id}-{number}", standing(fleet, number)) for number in event.rollouts]
    return [
        Dispatch(
            ROLLOUT,
            rollout_id,
            FollowFleet(targets=at.targets, reasons=at.reasons, now=now, over=at.over, over_by=at.over_by),
        )
        for rollout_id, at in found
    ]


@PROCESS.on(RolloutStopped)
async def _stopped(event: RolloutStopped, _envelope: Envelope, _reach: ReactionContext) -> Sequence[Dispatch]:
    return [Dispatch(FLEET, event.contract_id, LapseApproval(event.contract_id, event.rollout_id, event.reason))]
