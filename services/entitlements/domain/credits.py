"""A contract's cloud credits: what was granted, spent, and what expired. One stream per contract.

Each grant is a lot of its own, a user's or the contract's pool's. What came and went explains every balance.
"""

from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, Literal, TypeAlias, TypeVar, assert_never

from services.entitlements.domain import rules
from services.entitlements.domain.policy import DEFAULT, Policy
from services.entitlements.domain.seat_pool import OpenedSeatPool, Step
from services.entitlements.domain.users import Account, not_a_user
from shared.eventlog.decision import SUPPLIED, Decision, Rejected, Stream
from shared.events import CreditDraw, CreditsConsumed, CreditsExpired, CreditsGranted, SeatAssigned
from shared.events.entitlements import DRAWS
from shared.events.fields import CreditAmount, ForeignIdentifier, Identifier, OptionalIdentifier, OptionalName
from shared.rules import CONTRACT_UNKNOWN

Event: TypeAlias = CreditsGranted | CreditsConsumed | CreditsExpired
OneOf = TypeVar("OneOf", CreditsGranted, CreditsConsumed, CreditsExpired)

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Lot:
    """A grant, and how much is left of it."""

    grant: CreditsGranted
    left: int


@dataclass(frozen=True, slots=True)
class Credits:
    lots: Mapping[str, Lot] = field(default_factory=dict)
    """By grant id, in the order of granting."""
    consumed: Mapping[str, CreditsConsumed] = field(default_factory=dict)
    """By consumption id."""


State: TypeAlias = Credits
INITIAL: Final[State] = Credits()


def evolve(state: State, event: Event) -> State:
    """The state after `event`."""
    match event:
        case CreditsGranted(grant_id=grant_id, amount=amount):
            return replace(state, lots={**state.lots, grant_id: Lot(event, amount)})
        case CreditsConsumed(consumption_id=consumption_id, drawn=drawn):
            spent = {draw.grant_id: _less(state.lots[draw.grant_id], draw.amount) for draw in drawn}
            return Credits({**state.lots, **spent}, {**state.consumed, consumption_id: event})
        case CreditsExpired(grant_id=grant_id, amount=amount):
            return replace(state, lots={**state.lots, grant_id: _less(state.lots[grant_id], amount)})
        case unreachable:
            assert_never(unreachable)


def spendable(state: State, account_id: str, today: date) -> tuple[Lot, ...]:
    """What the user may spend, in the order in which it is spent: their own first, then the contract's pool, each by
    earliest expiry."""
    found = [
        lot
        for lot in state.lots.values()
        if lot.left and lot.grant.expires_on >= today and lot.grant.account_id in (account_id, None)
    ]
    return tuple(sorted(found, key=lambda lot: (lot.grant.account_id is None, lot.grant.expires_on)))


def balance(lots: Iterable[Lot]) -> int:
    """How much is left in these lots."""
    return sum(lot.left for lot in lots)


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class GrantCredits:
    """Give a user (`account_id`), or with none the contract's pool, so many credits.

    The same grant sent again changes nothing.
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
    """What is known of the account, where one is named."""
    over: Annotated[tuple[Step, ...], SUPPLIED] = ()
    """What the contract's pools have come to, where none of them can be used any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsumeCredits:
    """Spend so many credits for a user: their own first, then the contract's pool. All of them or none.

    The same consumption sent again changes nothing. A user's own call leaves `account_id` out.
    """

    contract_id: Identifier
    consumption_id: ForeignIdentifier
    amount: CreditAmount
    now: Annotated[datetime, SUPPLIED]
    account_id: OptionalIdentifier = ""
    purpose: OptionalName = ""
    pools: Annotated[tuple[OpenedSeatPool, ...], SUPPLIED] = ()
    """The contract's, up to the first in which the user has a seat that can be used."""


@dataclass(frozen=True, slots=True)
class ExpireCredits:
    """Write off what can't be spent any more."""

    now: datetime


@dataclass(frozen=True, slots=True)
class EndCredits:
    """The contract has nothing left that can be used: its credits end with it."""


Command: TypeAlias = GrantCredits | ConsumeCredits | ExpireCredits | EndCredits

# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """What follows from `command` in `state`."""
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
    if known := state.lots.get(command.grant_id):
        if (known.grant.amount, known.grant.account_id) == (command.amount, command.account_id):
            return ()
        return Rejected(
            rules.GRANT_ID_REUSED,
            f"Grant {command.grant_id} was made before, of {known.grant.amount} credits to "
            f"{known.grant.account_id or 'the pool'}.",
            "Use a new id for a new grant.",
            (known.grant,),
        )
    if not command.customer:
        return Rejected(
            CONTRACT_UNKNOWN,
            f"There is no contract {command.contract_id[:60]} with this publisher.",
            "Check its id. One that was opened a moment ago is known in a few seconds: send it again then.",
        )
    if refused := _not_for(command):
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


def _not_for(command: GrantCredits) -> Rejected | None:
    """Why these can't be the contract's or the user's."""
    if command.over:
        return Rejected(
            rules.CONTRACT_ENDED,
            "None of the contract's subscriptions can be used any more, and its credits ended with them.",
            "Grant credits once a new subscription of this contract is confirmed.",
            command.over,
        )
    return None if command.account_id is None else not_a_user(command.user, command.account_id, command.customer)


def _consume(command: ConsumeCredits, state: State) -> Decision[Event]:
    if known := state.consumed.get(command.consumption_id):
        if (known.amount, known.account_id) == (command.amount, command.account_id):
            return ()
        return Rejected(
            rules.CONSUMPTION_ID_REUSED,
            f"Consumption {command.consumption_id} was recorded before, of {known.amount} "
            f"credits by {known.account_id}.",
            "Use a new id for a new consumption.",
            (known,),
        )
    today = utc_day(command.now)
    if refused := _seatless(command, today):
        return refused
    lots = spendable(state, command.account_id, today)
    if balance(lots) < command.amount:
        own = balance(lot for lot in lots if lot.grant.account_id is not None)
        return Rejected(
            rules.CREDITS_EXHAUSTED,
            f"{command.amount} credits are asked for; the user has {own} and the contract's "
            f"pool {balance(lots) - own}.",
            "Have credits granted.",
            tuple(lot.grant for lot in lots),
        )
    drawn, missing = [], command.amount
    for lot in lots:
        taken = min(lot.left, missing)
        missing -= taken
        if taken:
            drawn.append(CreditDraw(grant_id=lot.grant.grant_id, amount=taken))
    if len(drawn) > DRAWS:
        return Rejected(
            rules.CREDITS_TOO_SCATTERED,
            f"{command.amount} credits would come from {len(drawn)} grants; one consumption draws on {DRAWS} at most.",
            f"Consume at most {sum(draw.amount for draw in drawn[:DRAWS])} credits at a time.",
        )
    written_off = _expired(state, "time", today)
    for expired in written_off:
        state = evolve(state, expired)
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


def seat_on(pool: OpenedSeatPool, account_id: str, today: date) -> SeatAssigned | None:
    """The user's seat in the pool, if it can be used on that day."""
    return pool.seat_of(account_id) if pool.usable and pool.opened.starts <= today else None


def _seatless(command: ConsumeCredits, today: date) -> Rejected | None:
    """Names why each seat of the user can't be used; where there is none, the pools that they have none of."""
    if any(seat_on(pool, command.account_id, today) for pool in command.pools):
        return None
    held = [pool for pool in command.pools if pool.seat_of(command.account_id) is not None]
    if not held:
        return Rejected(
            rules.SEAT_NEEDED,
            "The user holds no seat of this contract.",
            "Ask an administrator of the contract for a seat; then send a new request.",
            tuple(pool.opened for pool in command.pools),
        )
    ahead = [pool.opened.starts for pool in held if pool.usable]
    when = f"before its subscription's first day, {min(ahead)}" if ahead else "now that its subscription is over"
    return Rejected(
        rules.SEAT_NEEDED,
        f"The user's seat of this contract can't be used {when}.",
        "Wait for that day." if ahead else "Ask an administrator of the contract for a seat of another subscription.",
        tuple(pool.over or pool.opened for pool in held),
    )


def _expired(state: State, reason: Literal["time", "contract"], before: date) -> tuple[CreditsExpired, ...]:
    """What is left of the grants that could be spent until before this day, written off, the earliest first."""
    events: list[CreditsExpired] = []
    for lot in sorted(state.lots.values(), key=lambda lot: lot.grant.expires_on):
        if not lot.left or lot.grant.expires_on >= before:
            continue
        envelope = lot.grant
        expired = CreditsExpired(
            contract_id=envelope.contract_id,
            customer=envelope.customer,
            grant_id=envelope.grant_id,
            account_id=envelope.account_id,
            amount=lot.left,
            reason=reason,
            next_expiry=None,
        )
        events.append(_with_next(expired, state))
        state = evolve(state, expired)
    return tuple(events)


def _with_next(event: OneOf, state: State) -> OneOf:
    """The event, saying when the next credits expire after it."""
    ahead = [lot.grant.expires_on for lot in evolve(state, event).lots.values() if lot.left]
    return event.model_copy(update={"next_expiry": min(ahead, default=None)})


# ── Parts ──────────────────────────────────────────────────────────────────────────────────────────────


def _less(lot: Lot, amount: int) -> Lot:
    return replace(lot, left=lot.left - amount)


def utc_day(now: datetime) -> date:
    """The business date of this instant."""
    return now.astimezone(UTC).date()


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or that month's last day where it is shorter."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


CREDITS: Final = Stream(
    category="credits", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.customer
)
"""entitlements: the contract's cloud credits."""
