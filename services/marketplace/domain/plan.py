"""A service plan that a publisher offers, one stream per plan.

The stream is `plan-<publisher>-<product ID>`. The publisher's system decides what is offered and at what price; this
module records it. What the publisher stated later counts, in whichever order its events arrive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TypeAlias, assert_never

from services.marketplace.domain import rules
from services.marketplace.domain.policy import Policy
from services.marketplace.domain.standing import said_later
from shared.eventlog.decision import Decision, Rejected, Stream
from shared.events import Money, Plan, PlanListed, PlanPriceAnnounced, PlanWithdrawn
from shared.events.fields import product_id
from shared.money import written
from shared.rules import FOREIGN_PUBLISHER

Event: TypeAlias = PlanListed | PlanPriceAnnounced | PlanWithdrawn


def hyphenated(stored: str) -> str:
    """Return a stored product ID in the form that people read, 5-6-4."""
    return f"{stored[:5]}-{stored[5:11]}-{stored[11:]}"


def read_product_id(written: str) -> str | Rejected:
    """Return the 15 characters of a product ID with or without hyphens, or the refusal."""
    stored = product_id(written)
    if stored is not None:
        return stored
    return Rejected(
        rules.MALFORMED_PRODUCT_ID,
        f"{written[:40]!r} is not a product ID.",
        "A product ID has 15 characters and reads 5-6-4, with or without hyphens, such as C1RK1-WW1762-L158. "
        "Without a product ID, choose by product, period and support.",
    )


def plan_key(publisher: str, stored: str) -> str:
    """Return the stream's business key."""
    return f"{publisher}-{stored}"


# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A plan without any event."""


@dataclass(frozen=True, slots=True)
class Priced:
    """The price of a seat from a day (in UTC) on, and the event that says so."""

    first: date
    price: Money
    said: PlanListed | PlanPriceAnnounced


@dataclass(frozen=True, slots=True)
class Listed:
    """A plan that the publisher offers."""

    listing: PlanListed
    prices: tuple[Priced, ...]
    """All prices, including past ones, by their first day: one for each day, the latest stated.

    The first one's day is `date.min`.
    """


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A plan that the publisher has withdrawn."""

    withdrawal: PlanWithdrawn


State: TypeAlias = Unlisted | Listed | Withdrawn
INITIAL: State = Unlisted()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case PlanListed():
            return _listed(state, event)
        case PlanPriceAnnounced():
            return _announced(state, event) if isinstance(state, Listed) else state
        case PlanWithdrawn():
            return Withdrawn(event)
        case unreachable:
            assert_never(unreachable)


def _listed(state: State, event: PlanListed) -> Listed:
    if not isinstance(state, Listed):
        return Listed(event, (Priced(date.min, event.plan.price, event),))
    if event.valid_from is not None:  # an announced price came into force, and `prices` has it already
        return replace(state, listing=event)
    return Listed(event, _with(state.prices, Priced(_first_day(event), event.plan.price, event)))


def _announced(state: Listed, event: PlanPriceAnnounced) -> Listed:
    """Return the state with the announced price.

    From its day on it replaces the prices of listings that were stated before it. Other announcements stay.
    """
    remaining = tuple(p for p in state.prices if p.first <= event.valid_from or not _listed_before(p, event))
    return replace(state, prices=_with(remaining, Priced(event.valid_from, event.price, event)))


def _listed_before(priced: Priced, event: PlanPriceAnnounced) -> bool:
    listing = priced.said
    if not isinstance(listing, PlanListed) or event.said_at is None:
        return False
    return listing.said_at is None or listing.said_at <= event.said_at


def _with(prices: tuple[Priced, ...], priced: Priced) -> tuple[Priced, ...]:
    others = (p for p in prices if p.first != priced.first)
    return tuple(sorted((*others, priced), key=lambda p: p.first))


def _first_day(listing: PlanListed) -> date:
    """Return the day (in UTC) from which the listing is valid."""
    if listing.valid_from is not None:
        return listing.valid_from
    return listing.said_at.astimezone(UTC).date() if listing.said_at is not None else date.min


def _priced(day: date, state: Listed) -> Priced:
    return next(p for p in reversed(state.prices) if p.first <= day)


def price_on(day: date, state: State) -> Money | None:
    """Return the price of a seat on a day (in UTC); None where the plan is not offered."""
    return _priced(day, state).price if isinstance(state, Listed) else None


def prices_from(day: date, state: State) -> Sequence[Priced]:
    """Return the price of a day (in UTC) and those that follow, by their first days.

    There is none if the plan is not offered.
    """
    if not isinstance(state, Listed):
        return ()
    current = _priced(day, state)
    return [each for each in state.prices if each.first >= current.first]


def listing_on(day: date, state: Listed) -> PlanListed:
    """Return the plan's listing on a day (in UTC).

    If the day's price differs from the latest listing's, the result has the id of the event that states the price, so
    that refusals name that event.
    """
    priced = _priced(day, state)
    if priced.price == state.listing.plan.price:
        return state.listing
    plan, since = state.listing.plan.model_copy(update={"price": priced.price}), priced.first
    valid_from = None if since == date.min else since
    return PlanListed(plan=plan, said_at=state.listing.said_at, valid_from=valid_from).recorded(priced.said.ref)


# ── The offer ──────────────────────────────────────────────────────────────────────────────────────────


def publisher_of(event: PlanListed | PlanWithdrawn) -> str:
    """Return the publisher whose plan was listed or withdrawn."""
    return event.plan.publisher if isinstance(event, PlanListed) else event.publisher


def product_id_of(event: PlanListed | PlanWithdrawn) -> str:
    """Return the product ID, without hyphens, of the plan that was listed or withdrawn."""
    return event.plan.product_id if isinstance(event, PlanListed) else event.product_id


def plan_unknown(stored: str, publisher: str = "", offering: Sequence[str] = ()) -> Rejected:
    """Return the refusal of a product ID that the catalogue does not have.

    Args:
        stored: the product ID, without hyphens.
        publisher: the publisher whose plan was asked for; "" for any.
        offering: other publishers that offer a plan with this product ID.
    """
    by = f" of {publisher}" if publisher else ""
    others = f" Publishers with a plan of that product ID: {', '.join(offering)}." if offering else ""
    return Rejected(
        rules.PLAN_UNKNOWN,
        f"The catalogue has no plan {hyphenated(stored)}{by}.{others}",
        f"Check the {'publisher' if offering else 'product ID'}, or choose by product, period and support.",
    )


def plan_withdrawn(stored: str, withdrawal: PlanWithdrawn | None) -> Rejected:
    """Return the refusal of a plan that the publisher has withdrawn."""
    return Rejected(
        rules.PLAN_WITHDRAWN,
        f"The publisher no longer offers {hyphenated(stored)}.",
        "Choose another plan of the catalogue.",
        because=(withdrawal,) if withdrawal is not None else (),
    )


def is_orderable(plan: Plan, policy: Policy) -> bool:
    """Return whether the plan has the commitment that the policy requires of every subscription."""
    return plan.commitment_months == policy.commitment_months


def not_orderable(plan: Plan, offer: PlanListed, policy: Policy) -> Rejected | None:
    """Return why the plan can't be ordered under the policy; None when it can."""
    if is_orderable(plan, policy):
        return None
    return Rejected(
        rules.TWELVE_MONTH_COMMITMENT,
        f"Every subscription commits for {policy.commitment_months} months. {hyphenated(plan.product_id)} commits for "
        f"{plan.commitment_months}.",
        "Choose the annual plan, or the monthly pre-paid one, which is the same commitment in instalments.",
        because=(offer,),
    )


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ListPlan:
    """Record a plan that the publisher offers.

    Args:
        reported_by: the publisher whose system sent it.
        said_at: the time at which that system stated it.
    """

    plan: Plan
    reported_by: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class WithdrawPlan:
    """Record that the publisher withdrew the plan."""

    product_id: str
    publisher: str
    reported_by: str
    said_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnouncePrice:
    """Record the plan's price from a day (in UTC) on."""

    product_id: str
    publisher: str
    price: Money
    valid_from: date
    reported_by: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class BringPriceIn:
    """List the plan at the price that was announced for today."""

    now: datetime


Command: TypeAlias = ListPlan | WithdrawPlan | AnnouncePrice | BringPriceIn


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    match command:
        case ListPlan(plan, reported_by, said_at):
            return _list(plan, reported_by, said_at, state)
        case WithdrawPlan(code, publisher, reported_by, said_at):
            if (refused := _foreign(publisher, reported_by)) is not None:
                return refused
            if isinstance(state, Listed) and _is_late(said_at, state):
                return said_later(state.listing, said_at)
            if isinstance(state, Withdrawn):
                return ()
            return (PlanWithdrawn(product_id=code, publisher=publisher, said_at=said_at),)
        case AnnouncePrice():
            return _announce(command, state)
        case BringPriceIn(now):
            return _bring_in(now, state)
        case unreachable:
            assert_never(unreachable)


def _announce(command: AnnouncePrice, state: State) -> Decision[PlanPriceAnnounced]:
    if (refused := _foreign(command.publisher, command.reported_by)) is not None:
        return refused
    if not isinstance(state, Listed):
        return Rejected(
            rules.PLAN_UNKNOWN,
            "A price was announced for a plan that the catalogue does not have.",
            "List the plan first.",
            because=(state.withdrawal,) if isinstance(state, Withdrawn) else (),
        )
    if command.price.currency != state.listing.plan.price.currency:
        return Rejected(
            rules.INVALID_PLAN,
            f"The announced price of {written(command.price.amount, command.price.currency)} is not in "
            f"{state.listing.plan.price.currency}, the currency in which the plan is sold.",
            "Correct the price, and announce it again.",
            because=(state.listing,),
        )
    same_day = next((p.said for p in state.prices if p.first == command.valid_from), None)
    if same_day is not None and same_day.said_at is not None and command.said_at < same_day.said_at:
        return said_later(same_day, command.said_at)
    announced = PlanPriceAnnounced(
        product_id=command.product_id,
        publisher=command.publisher,
        price=command.price,
        valid_from=command.valid_from,
        said_at=command.said_at,
    )
    return (announced,) if _steps(_announced(state, announced)) != _steps(state) else ()


def _steps(state: Listed) -> list[tuple[date, Money]]:
    return [(p.first, p.price) for p in state.prices]


def _bring_in(now: datetime, state: State) -> Decision[PlanListed]:
    if not isinstance(state, Listed):
        return ()
    today = now.astimezone(UTC).date()
    priced = _priced(today, state)
    if today < _first_day(state.listing) or priced.price == state.listing.plan.price:
        return ()
    plan = state.listing.plan.model_copy(update={"price": priced.price})
    return (PlanListed(plan=plan, said_at=state.listing.said_at, valid_from=priced.first),)


def _list(plan: Plan, reported_by: str, said_at: datetime, state: State) -> Decision[Event]:
    if (refused := _foreign(plan.publisher, reported_by)) is not None:
        return refused
    listed = PlanListed(plan=plan, said_at=said_at)
    if isinstance(state, Listed) and _is_late(said_at, state):
        return said_later(state.listing, said_at)
    if isinstance(state, Withdrawn) and _is_late(said_at, state):
        return said_later(state.withdrawal, said_at)
    if isinstance(state, Listed) and state.listing.plan == plan == listing_on(_first_day(listed), state).plan:
        return ()
    return (listed,)


def _foreign(publisher: str, reported_by: str) -> Rejected | None:
    """Return the refusal of an event about another publisher's plan; None for the own plan."""
    if reported_by == publisher:
        return None
    return Rejected(
        FOREIGN_PUBLISHER,
        f"The system of {reported_by or 'an unknown publisher'} sent an event about a plan of {publisher}.",
        "Send events about a publisher's plans from that publisher's own system.",
    )


def _is_late(said_at: datetime, state: State) -> bool:
    """Return whether the publisher has stated something else since `said_at`.

    Of statements with the same time a withdrawal counts.
    """
    match state:
        case Unlisted():
            return False
        case Listed(listing=listing):
            return listing.said_at is not None and said_at < listing.said_at
        case Withdrawn(withdrawal):
            return withdrawal.said_at is not None and said_at <= withdrawal.said_at
        case unreachable:
            assert_never(unreachable)


def _tenant(event: Event) -> str:
    return event.plan.publisher if isinstance(event, PlanListed) else event.publisher


PLAN = Stream(category="plan", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
