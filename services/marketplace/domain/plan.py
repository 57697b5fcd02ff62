"""A service plan as the publisher offers it: one stream per plan, `plan-<publisher>-<product ID>`.

The publisher's system says what is offered and at what price; here that is only written down. What it said later
counts, whatever arrives later.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TypeAlias, assert_never

from shared.eventlog.decision import Decision, Rejected, Stream
from shared.events import Money, Plan, PlanListed, PlanPriceAnnounced, PlanWithdrawn

Event: TypeAlias = PlanListed | PlanPriceAnnounced | PlanWithdrawn

_PRODUCT_ID = re.compile(r"([0-9A-Z]{5})-?(WW[0-9]{4}|[0-9]{6})-?([A-Z][0-9]{3})", re.ASCII | re.IGNORECASE)


def product_id(text: str) -> str | None:
    """The 15 characters of a product ID, with or without its hyphens, in either case; None where it is none."""
    match = _PRODUCT_ID.fullmatch(text.strip())
    return "".join(match.groups()).upper() if match else None


def hyphenated(stored: str) -> str:
    """A stored product ID the way that people read it, 5-6-4."""
    return f"{stored[:5]}-{stored[5:11]}-{stored[11:]}"


def plan_key(publisher: str, stored: str) -> str:
    return f"{publisher}-{stored}"


# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Unlisted:
    pass


@dataclass(frozen=True, slots=True)
class Listed:
    listing: PlanListed
    announced: tuple[PlanPriceAnnounced, ...] = ()
    """The prices to come, by their first day; of two for one day the last word alone."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    withdrawal: PlanWithdrawn


State: TypeAlias = Unlisted | Listed | Withdrawn
INITIAL: State = Unlisted()


def evolve(state: State, event: Event) -> State:
    match event:
        case PlanListed(valid_from=reached):
            announced = state.announced if isinstance(state, Listed) else ()
            return Listed(event, tuple(a for a in announced if reached is None or a.valid_from > reached))
        case PlanPriceAnnounced(valid_from=day):
            if not isinstance(state, Listed):
                return state
            others = (a for a in state.announced if a.valid_from != day)
            return replace(state, announced=tuple(sorted((*others, event), key=lambda a: a.valid_from)))
        case PlanWithdrawn():
            return Withdrawn(event)
        case unreachable:
            assert_never(unreachable)


def price_on(day: date, state: State) -> Money | None:
    """What a seat costs on a day (in UTC), as far as the publisher has said by now; None where nothing is offered."""
    if not isinstance(state, Listed):
        return None
    reached = [a.price for a in state.announced if a.valid_from <= day]
    return reached[-1] if reached else state.listing.plan.price


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ListPlan:
    """Record what a publisher's system offers. `said_by` is the publisher whose system it is, `said_at` its time."""

    plan: Plan
    said_by: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class WithdrawPlan:
    """Record that the publisher offers the plan no longer."""

    product_id: str
    publisher: str
    said_by: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class AnnouncePrice:
    """Record what the plan costs from a day (in UTC) on."""

    product_id: str
    publisher: str
    price: Money
    valid_from: date
    said_by: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class BringPriceIn:
    """List the plan at the price that was announced for today."""

    now: datetime


Command: TypeAlias = ListPlan | WithdrawPlan | AnnouncePrice | BringPriceIn


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    match command:
        case ListPlan(plan, said_by, said_at):
            return _list(plan, said_by, said_at, state)
        case WithdrawPlan(code, publisher, said_by, said_at):
            stored = _checked(code, publisher, said_by)
            if isinstance(stored, Rejected):
                return stored
            if isinstance(state, Withdrawn) or _is_late(said_at, state):
                return ()
            return (PlanWithdrawn(product_id=stored, publisher=publisher, said_at=said_at),)
        case AnnouncePrice():
            return _announce(command, state)
        case BringPriceIn(now):
            return _bring_in(now, state)
        case unreachable:
            assert_never(unreachable)


def _announce(command: AnnouncePrice, state: State) -> Decision[PlanPriceAnnounced]:
    stored = _checked(command.product_id, command.publisher, command.said_by)
    if isinstance(stored, Rejected):
        return stored
    if not isinstance(state, Listed):
        return Rejected(
            "plan-unknown", "A price is announced for a plan that the catalogue does not have.", "List the plan first.",
            because=(state.withdrawal,) if isinstance(state, Withdrawn) else (),
        )  # fmt: skip
    if command.price.amount < 0 or command.price.currency != state.listing.plan.price.currency:
        return Rejected(
            "plan-without-sense",
            f"{command.price.amount} {command.price.currency} minor units can't follow a price in "
            f"{state.listing.plan.price.currency}.",
            "Correct the price and announce it again.",
            because=(state.listing,),
        )
    same_day = next((a for a in state.announced if a.valid_from == command.valid_from), None)
    late = same_day is not None and same_day.said_at is not None and command.said_at < same_day.said_at
    if late or price_on(command.valid_from, state) == command.price:
        return ()
    announced = PlanPriceAnnounced(
        product_id=stored, publisher=command.publisher, price=command.price, valid_from=command.valid_from,
        said_at=command.said_at,
    )  # fmt: skip
    return (announced,)


def _bring_in(now: datetime, state: State) -> Decision[PlanListed]:
    if not isinstance(state, Listed):
        return ()
    today = now.astimezone(UTC).date()
    reached = [a for a in state.announced if a.valid_from <= today]
    if not reached:
        return ()
    plan = state.listing.plan.model_copy(update={"price": reached[-1].price})
    return (PlanListed(plan=plan, said_at=state.listing.said_at, valid_from=reached[-1].valid_from),)


def _list(plan: Plan, said_by: str, said_at: datetime, state: State) -> Decision[Event]:
    stored = _checked(plan.product_id, plan.publisher, said_by)
    if isinstance(stored, Rejected):
        return stored
    if plan.commitment_months < 1 or plan.price.amount < 0:
        return Rejected(
            "plan-without-sense",
            f"A commitment of {plan.commitment_months} months at {plan.price.amount} {plan.price.currency} minor units "
            "can't be offered.",
            "Correct the catalogue and send the plan again.",
        )
    plan = plan.model_copy(update={"product_id": stored})
    if _is_late(said_at, state) or (isinstance(state, Listed) and state.listing.plan == plan):
        return ()
    return (PlanListed(plan=plan, said_at=said_at),)


def _checked(code: str, publisher: str, said_by: str) -> str | Rejected:
    """The product ID as it is stored, if this publisher's own system says it about a well-formed one."""
    if said_by != publisher:
        return Rejected(
            "foreign-publisher",
            f"The system of {said_by or 'nobody known'} says something about a plan of {publisher}.",
            "Send it from that publisher's own system, as its source.",
        )
    return product_id(code) or Rejected(
        "malformed-product-id",
        f"{code[:40]!r} is not a product ID.",
        "A product ID has 15 characters, read 5-6-4 with or without hyphens, such as C1RK1-WW1762-L158.",
    )


def _is_late(said_at: datetime, state: State) -> bool:
    """Whether the publisher has said something else since. At one and the same time a withdrawal wins."""
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


PLAN = Stream("plan", INITIAL, evolve, decide, tenant=_tenant)
