"""A subscription's seats, their users, term and update right, one stream per subscription.

Dates are days in the pool's zone, which the order fixed.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import reduce
from typing import Final, TypeAlias, assert_never

from services.entitlements.domain import rules
from services.entitlements.domain.policy import DEFAULT, Policy
from services.entitlements.domain.seat_pool_state import (
    INITIAL,
    Event,
    OpenedSeatPool,
    State,
    Step,
    Unopened,
    evolve,
    evolve_opened,
)
from services.entitlements.domain.seats import (
    AssignSeat,
    TransferSeat,
    UnassignSeat,
    assign,
    assigned,
    lowest_free,
    term_ended,
    transfer,
    unassign,
    unassigned,
)
from shared import days
from shared.eventlog.decision import Decision, Rejected, Stream
from shared.events import (
    HeldSeat,
    PoolCsnNoted,
    SeatPoolCleared,
    SeatPoolEnded,
    SeatPoolExpired,
    SeatPoolHeld,
    SeatPoolOpened,
    SeatPoolRenewed,
    SeatPoolResized,
    SeatPoolSuspended,
    UpdateRightGranted,
    UpdateRightLost,
)
from shared.events.marketplace import Period

__all__ = [
    "INITIAL",
    "SEAT_POOL",
    "AdvanceLadder",
    "AnswerAutoRenewRequest",
    "AssignSeat",
    "Command",
    "EndTerm",
    "Event",
    "NoteCsn",
    "OpenPool",
    "OpenedSeatPool",
    "RenewPool",
    "ResizePool",
    "State",
    "Step",
    "TransferSeat",
    "UnassignSeat",
    "Unopened",
    "evolve",
]

# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPool:
    """Open the pool of a confirmed subscription."""

    subscription_id: str
    contract_id: str
    customer: str
    product: str
    product_name: str
    seats: int
    starts: date
    ends: date
    partner: str = ""
    publisher: str = ""
    period: Period = "annual"
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class AnswerAutoRenewRequest:
    """Answer whether auto-renew may be turned off: only with no seat assigned."""

    subscription_id: str
    request: str
    """The id of the AutoRenewDisableRequested event, which is answered once."""


@dataclass(frozen=True, slots=True)
class ResizePool:
    """Raise the number of seats during the running term, to `seats`."""

    seats: int


@dataclass(frozen=True, slots=True)
class RenewPool:
    """Start the next term with `seats` seats. Of more assigned ones, the latest are taken back."""

    seats: int
    ends: date
    time_zone: str | None = None
    """The zone of `ends`; None in a renewal from before it was named: the pool keeps its zone."""


@dataclass(frozen=True, slots=True)
class EndTerm:
    """End the last term, and take every step after it that is due by `now`."""

    ended: date
    now: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class AdvanceLadder:
    """Take every step after the last term's end that is due by `now`."""

    now: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, slots=True)
class NoteCsn:
    """Note the CSN that the organisation holds with the pool's publisher; None for no CSN."""

    organisation_id: str
    csn: str | None
    as_of: int
    """The version of the organisation's standing. Only a higher version than the noted one changes anything."""


Command: TypeAlias = (
    OpenPool
    | AssignSeat
    | UnassignSeat
    | TransferSeat
    | AnswerAutoRenewRequest
    | ResizePool
    | RenewPool
    | EndTerm
    | AdvanceLadder
    | NoteCsn
)

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case OpenPool():
            return _open(command, state)
        case AnswerAutoRenewRequest():
            return _answer(command, state)
        case _ if isinstance(state, Unopened):
            return Rejected(
                rules.POOL_NOT_OPEN,
                "This subscription has no seats yet: the publisher has not confirmed it.",
                "Wait for the confirmation.",
            )
        case AssignSeat():
            return assign(command, state)
        case UnassignSeat():
            return unassign(command, state)
        case TransferSeat():
            return transfer(command, state)
        case ResizePool(seats=seats):
            if seats <= state.seats or state.over is not None:
                return ()
            opened = state.opened
            return (
                SeatPoolResized(subscription_id=opened.subscription_id, contract_id=opened.contract_id, seats=seats),
            )
        case RenewPool():
            return _renew(command, state)
        case EndTerm():
            return _end(command, state)
        case AdvanceLadder():
            return _advance(state, command.now, command.policy)
        case NoteCsn():
            return _note(command, state)
        case unreachable:
            assert_never(unreachable)


def _open(command: OpenPool, state: State) -> Decision[Event]:
    if isinstance(state, OpenedSeatPool):
        return ()
    return (
        SeatPoolOpened(
            subscription_id=command.subscription_id,
            contract_id=command.contract_id,
            customer=command.customer,
            product=command.product,
            product_name=command.product_name,
            seats=command.seats,
            starts=command.starts,
            ends=command.ends,
            partner=command.partner,
            publisher=command.publisher,
            period=command.period,
            time_zone=command.time_zone,
        ),
    )


def _answer(command: AnswerAutoRenewRequest, state: State) -> Decision[Event]:
    if command.request in state.answered:
        return ()
    if isinstance(state, Unopened) or not state.held:  # a pool that was never opened has no seats
        return (SeatPoolCleared(subscription_id=command.subscription_id, request=command.request),)
    held = tuple(
        HeldSeat(seat=seat, account_id=by.account_id, because=by.ref) for seat, by in sorted(state.held.items())
    )
    return (SeatPoolHeld(subscription_id=command.subscription_id, request=command.request, held=held),)


def _renew(command: RenewPool, state: OpenedSeatPool) -> Decision[Event]:
    """Return the events of a renewal.

    The users who have held their seats longest keep one. A seat whose number is above the new number of seats is
    exchanged for the lowest free one.
    """
    if state.over is not None:
        return term_ended(state, state.over)
    if command.ends <= state.ends:
        return ()
    opened, staying = state.opened, list(state.held.values())
    events: list[Event] = [unassigned(last, RENEWAL) for last in reversed(staying[command.seats :])]
    state = replace(reduce(_evolve_all, events, state), seats=command.seats)
    for held in [held for held in state.held.values() if held.seat > command.seats]:
        lower = lowest_free(state)
        assert lower is not None  # noqa: S101  # there are at least as many seats as users
        moved = unassigned(held, RENEWAL), assigned(state, lower, held.account_id, RENEWAL)
        for event in moved:
            state = evolve_opened(state, event)
        events += moved
    renewed = SeatPoolRenewed(
        subscription_id=opened.subscription_id,
        contract_id=opened.contract_id,
        seats=command.seats,
        ends=command.ends,
        time_zone=command.time_zone or state.time_zone,
    )
    return (*events, renewed)


def _end(command: EndTerm, state: OpenedSeatPool) -> Decision[Event]:
    if state.over is not None:
        return ()
    opened = state.opened
    expired = SeatPoolExpired(
        subscription_id=opened.subscription_id,
        contract_id=opened.contract_id,
        customer=opened.customer,
        product=opened.product,
        access_until=command.ended + timedelta(days=command.policy.expired_days),
        time_zone=state.time_zone,
    )
    return (expired, *_advance(replace(state, over=expired), command.now, command.policy))


def _advance(state: OpenedSeatPool, now: datetime, policy: Policy) -> tuple[Event, ...]:
    """Return every step that is due by `now`, in order."""
    events: list[Event] = []
    while step := _due(state, now, policy):
        state = reduce(_evolve_all, step, state)
        events += step
    return tuple(events)


def _due(state: OpenedSeatPool, now: datetime, policy: Policy) -> tuple[Event, ...]:
    opened = state.opened
    match state.over:
        case SeatPoolExpired(access_until=last, time_zone=zone) if now >= days.ends(last, zone):
            suspended = SeatPoolSuspended(
                subscription_id=opened.subscription_id,
                contract_id=opened.contract_id,
                customer=opened.customer,
                product=opened.product,
                kept_until=last + timedelta(days=policy.suspended_for(opened.period)),
                time_zone=zone,
            )
            return (suspended, *_right(replace(state, over=suspended)))
        case SeatPoolSuspended(kept_until=last, time_zone=zone) if now >= days.ends(last, zone):
            ended = SeatPoolEnded(
                subscription_id=opened.subscription_id,
                contract_id=opened.contract_id,
                customer=opened.customer,
                product=opened.product,
            )
            return (*(unassigned(state.held[seat], ENDED) for seat in sorted(state.held)), ended)
        case _:
            return ()


def _note(command: NoteCsn, state: OpenedSeatPool) -> Decision[Event]:
    opened, noted_before = state.opened, state.numbers.get(command.organisation_id)
    if not state.usable or command.organisation_id not in (opened.customer, opened.partner):
        return ()
    if command.as_of <= (noted_before.as_of if noted_before else 0):
        return ()
    noted = PoolCsnNoted(
        subscription_id=opened.subscription_id,
        organisation_id=command.organisation_id,
        csn=command.csn,
        as_of=command.as_of,
    )
    return (noted, *_right(evolve_opened(state, noted)))


def _right(state: OpenedSeatPool) -> tuple[Event, ...]:
    """Return the change of the update right, which needs usable seats and a valid CSN."""
    opened = state.opened
    noted = [state.numbers.get(organisation) for organisation in (opened.customer, opened.partner)]
    valid = [event.csn for event in noted if event is not None and event.csn is not None]
    if state.usable and valid:
        if state.right is not None and state.right.csn in valid:
            return ()
        granted = UpdateRightGranted(
            subscription_id=opened.subscription_id,
            contract_id=opened.contract_id,
            product=opened.product,
            csn=valid[0],
        )
        return (granted,)
    if state.right is None:
        return ()
    reason = f"CSN {state.right.csn} is not valid any more." if state.usable else "The subscription is suspended."
    return (
        UpdateRightLost(
            subscription_id=opened.subscription_id,
            contract_id=opened.contract_id,
            product=opened.product,
            reason=reason,
        ),
    )


# ── Parts ──────────────────────────────────────────────────────────────────────────────────────────────

RENEWAL: Final = "renewal"
ENDED: Final = "ended"
"""The actors of seats that a renewal or the pool's end takes back, where no person does it."""


def _evolve_all(state: OpenedSeatPool, event: Event) -> OpenedSeatPool:
    after = evolve(state, event)
    return after if isinstance(after, OpenedSeatPool) else state


def _tenant(event: Event) -> str:
    return event.customer if isinstance(event, SeatPoolOpened) else ""


SEAT_POOL: Final = Stream(category="pool", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
"""The stream of a subscription's seat pool, `pool-<subscription id>`."""
