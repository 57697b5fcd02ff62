"""A contract's cloud credits: grants, consumptions and expiries, one stream per contract.

Each grant is a lot of its own, for one user or for the contract's pool. The events are a ledger that explains every
balance.
"""

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from itertools import zip_longest
from typing import Annotated, Final, Literal, TypeAlias, TypeVar, assert_never

from services.entitlements.domain import rules
from services.entitlements.domain.policy import DEFAULT, Policy
from services.entitlements.domain.seat_pool import OpenedSeatPool, Step
from services.entitlements.domain.users import Account, not_a_user
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import CreditDraw, CreditsConsumed, CreditsExpired, CreditsGranted, SeatAssigned
from shared.events.entitlements import DRAWS
from shared.events.fields import CreditAmount, ForeignIdentifier, Identifier, OptionalIdentifier, OptionalName
from shared.persistent_map import PersistentMap
from shared.rules import CONTRACT_UNKNOWN

Event: TypeAlias = CreditsGranted | CreditsConsumed | CreditsExpired
OneOf = TypeVar("OneOf", CreditsGranted, CreditsConsumed, CreditsExpired)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Lot:
    """A grant and its remaining amount."""

    grant: CreditsGranted
    remaining: int


@dataclass(frozen=True, slots=True)
class Credits:
    """The grants and consumptions of a contract."""

    lots: PersistentMap[str, Lot] = field(default_factory=PersistentMap)
    """By grant id, in the order of granting."""
    consumed: PersistentMap[str, CreditsConsumed] = field(default_factory=PersistentMap)
    """By consumption id."""


State: TypeAlias = Credits
INITIAL: Final[State] = Credits()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case CreditsGranted(grant_id=grant_id, amount=amount):
            return replace(state, lots=state.lots.extended({grant_id: Lot(event, amount)}))
        case CreditsConsumed(consumption_id=consumption_id, drawn=drawn):
            spent = {draw.grant_id: _less(state.lots[draw.grant_id], draw.amount) for draw in drawn}
            return Credits(state.lots.extended(spent), state.consumed.extended({consumption_id: event}))
        case CreditsExpired(grant_id=grant_id, amount=amount):
            return replace(state, lots=state.lots.extended({grant_id: _less(state.lots[grant_id], amount)}))
        case unreachable:
            assert_never(unreachable)


def spendable(state: State, account_id: str, today: date) -> tuple[Lot, ...]:
    """Return the lots that the user may spend, in the order of spending.

    The user's own lots come first, then those of the contract's pool, each by earliest expiry.
    """
    available = [
        lot
        for lot in state.lots.values()
        if lot.remaining and lot.grant.expires_on >= today and lot.grant.account_id in (account_id, None)
    ]
    return tuple(sorted(available, key=lambda lot: (lot.grant.account_id is None, lot.grant.expires_on)))


def balance(lots: Iterable[Lot]) -> int:
    """Return the credits that remain in these lots."""
    return sum(lot.remaining for lot in lots)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class GrantCredits:
    """Grant credits to the user `account_id`, or without one to the contract's pool.

    A repeated grant changes nothing.
    """

    contract_id: Identifier
    grant_id: ForeignIdentifier
    amount: CreditAmount
    customer: Annotated[str, SUPPLIED]
    granted_by: Annotated[str, SUPPLIED]
    now: Annotated[datetime, SUPPLIED]
    policy: Annotated[Policy, SUPPLIED] = DEFAULT
    account_id: Identifier | None = None
    user: Annotated[Account | None, SUPPLIED] = None
    """The latest event about the account, where one is named."""
    over: Annotated[tuple[Step, ...], SUPPLIED] = ()
    """The latest steps of the contract's pools, where none of them can be used any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumeCredits:
    """Consume credits for a user, all of them or none.

    The user's own credits are spent first, then those of the contract's pool. A repeated consumption changes nothing.
    Users who call for themselves leave `account_id` out.
    """

    contract_id: Identifier
    consumption_id: ForeignIdentifier
    amount: CreditAmount
    now: Annotated[datetime, SUPPLIED]
    account_id: OptionalIdentifier = ""
    purpose: OptionalName = ""
    pools: Annotated[tuple[OpenedSeatPool, ...], SUPPLIED] = ()
    """The contract's pools, up to the first in which the user holds a usable seat."""


@dataclass(frozen=True, slots=True)
class ExpireCredits:
    """Write off the credits that have expired by `now`."""

    now: datetime


@dataclass(frozen=True, slots=True)
class EndCredits:
    """Write off all credits, because no subscription of the contract can be used any more."""


Command: TypeAlias = GrantCredits | ConsumeCredits | ExpireCredits | EndCredits

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case GrantCredits():
            return _grant(command, state)
        case ConsumeCredits():
            return _consume(command, state)
        case ExpireCredits(now=now):
            return _expired(state, "time", utc_day(now))
        case EndCredits():
            return _expired(state, "contract", date.max)
        case unreachable:
            assert_never(unreachable)


def _grant(command: GrantCredits, state: State) -> Decision[Event]:
    if former := state.lots.get(command.grant_id):
        if (former.grant.amount, former.grant.account_id) == (command.amount, command.account_id):
            return ()
        return Rejected(
            rules.GRANT_ID_REUSED,
            f"Grant {command.grant_id} exists already, of {former.grant.amount} credits to "
            f"{former.grant.account_id or 'the pool'}.",
            "Use a new id for a new grant.",
            (former.grant,),
        )
    if not command.customer:
        return Rejected(
            CONTRACT_UNKNOWN,
            f"There is no contract {command.contract_id[:60]} with this publisher.",
            "Check the contract's id. A contract that was opened a moment ago is known in a few seconds: send the "
            "grant again then.",
        )
    if refused := _not_grantable(command):
        return refused
    granted = CreditsGranted(
        contract_id=command.contract_id,
        customer=command.customer,
        grant_id=command.grant_id,
        account_id=command.account_id,
        amount=command.amount,
        granted_by=command.granted_by,
        next_expiry=None,
        expires_on=months_after(utc_day(command.now), command.policy.credit_months) - timedelta(days=1),
    )
    return (_with_next(granted, state),)


def _not_grantable(command: GrantCredits) -> Rejected | None:
    """Return why the contract or the user can't be granted credits; None when they can."""
    if command.over:
        return Rejected(
            rules.CONTRACT_ENDED,
            "None of the contract's subscriptions can be used any more, and its credits ended with them.",
            "Grant credits once a new subscription of this contract is confirmed.",
            command.over,
        )
    return None if command.account_id is None else not_a_user(command.user, command.account_id, command.customer)


def _consume(command: ConsumeCredits, state: State) -> Decision[Event]:
    if former := state.consumed.get(command.consumption_id):
        if (former.amount, former.account_id) == (command.amount, command.account_id):
            return ()
        return Rejected(
            rules.CONSUMPTION_ID_REUSED,
            f"Consumption {command.consumption_id} exists already, of {former.amount} credits by {former.account_id}.",
            "Use a new id for a new consumption.",
            (former,),
        )
    today = utc_day(command.now)
    if refused := _no_usable_seat(command):
        return refused
    lots = spendable(state, command.account_id, today)
    if balance(lots) < command.amount:
        own = balance(lot for lot in lots if lot.grant.account_id is not None)
        return Rejected(
            rules.CREDITS_EXHAUSTED,
            f"{command.amount} credits were requested. The user has {own}, and the contract's pool has "
            f"{balance(lots) - own}.",
            "Ask the publisher for more credits.",
            tuple(lot.grant for lot in lots),
        )
    drawn, missing = [], command.amount
    for lot in lots:
        taken = min(lot.remaining, missing)
        missing -= taken
        if taken:
            drawn.append(CreditDraw(grant_id=lot.grant.grant_id, amount=taken))
    if len(drawn) > DRAWS:
        return Rejected(
            rules.CREDITS_TOO_SCATTERED,
            f"{command.amount} credits would come from {len(drawn)} grants. One consumption draws on at most {DRAWS}.",
            f"Consume at most {sum(draw.amount for draw in drawn[:DRAWS])} credits at a time.",
        )
    written_off = _expired(state, "time", today)
    state = reduce(evolve, written_off, state)
    consumed = CreditsConsumed(
        contract_id=command.contract_id,
        customer=lots[0].grant.customer,
        consumption_id=command.consumption_id,
        account_id=command.account_id,
        amount=command.amount,
        purpose=command.purpose,
        drawn=tuple(drawn),
        next_expiry=None,
    )
    return (*written_off, _with_next(consumed, state))


def usable_seat(pool: OpenedSeatPool, account_id: str, now: datetime) -> SeatAssigned | None:
    """Return the user's seat in the pool if it can be used now."""
    return pool.seat_of(account_id) if pool.usable and pool.begins <= now else None


def _no_usable_seat(command: ConsumeCredits) -> Rejected | None:
    """Return why the user has no usable seat of the contract; None when the user has one.

    The refusal names the events that make the user's seats unusable, or, if the user has none, the contract's pools.
    """
    if any(usable_seat(pool, command.account_id, command.now) for pool in command.pools):
        return None
    held = [pool for pool in command.pools if pool.seat_of(command.account_id) is not None]
    if not held:
        return Rejected(
            rules.SEAT_NEEDED,
            "The user holds no seat of this contract.",
            "Ask an administrator of the contract for a seat. Then send a new request.",
            tuple(pool.opened for pool in command.pools),
        )
    ahead = min((pool for pool in held if pool.usable), key=lambda pool: pool.begins, default=None)
    when = (
        f"before its subscription's first day, {ahead.opened.starts} ({ahead.opened.time_zone})"
        if ahead
        else "now that its subscription is over"
    )
    return Rejected(
        rules.SEAT_NEEDED,
        f"The user's seat of this contract can't be used {when}.",
        "Wait for that day." if ahead else "Ask an administrator of the contract for a seat of another subscription.",
        tuple(pool.over or pool.opened for pool in held),
    )


def _expired(state: State, reason: Literal["time", "contract"], before: date) -> tuple[CreditsExpired, ...]:
    """Return the events that write off what remains of grants whose last day is before `before`.

    They are in the order of the grants' last days, so that the next credits to expire after each are those of the next.
    """
    kept = sorted((lot for lot in state.lots.values() if lot.remaining), key=lambda lot: lot.grant.expires_on)
    return tuple(
        CreditsExpired(
            contract_id=lot.grant.contract_id,
            customer=lot.grant.customer,
            grant_id=lot.grant.grant_id,
            account_id=lot.grant.account_id,
            amount=lot.remaining,
            reason=reason,
            next_expiry=following.grant.expires_on if following else None,
        )
        for lot, following in zip_longest(kept, kept[1:])
        if lot.grant.expires_on < before
    )


def _with_next(event: OneOf, state: State) -> OneOf:
    """Return the event with the day on which the next credits expire after it."""
    ahead = [lot.grant.expires_on for lot in evolve(state, event).lots.values() if lot.remaining]
    return event.model_copy(update={"next_expiry": min(ahead, default=None)})


# ── Parts ──────────────────────────────────────────────────────────────────────────────────────────────


def _less(lot: Lot, amount: int) -> Lot:
    return replace(lot, remaining=lot.remaining - amount)


def utc_day(now: datetime) -> date:
    """Return the instant's date in UTC."""
    return now.astimezone(UTC).date()


def months_after(day: date, months: int) -> date:
    """Return the same day `months` later, or the last day of that month if it is shorter."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


CREDITS: Final = Stream(
    category="credits", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.customer
)
"""The stream of a contract's cloud credits, `credits-<contract id>`."""
