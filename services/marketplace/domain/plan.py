"""A service plan as the publisher offers it: one stream per plan, `plan-<publisher>-<product ID>`.

The publisher's system says what is offered and at what price; here that is only written down. What it said later
counts, whatever arrives later.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, assert_never

from shared.eventlog.decision import Decision, Rejected, Stream
from shared.events import Plan, PlanListed, PlanWithdrawn

Event: TypeAlias = PlanListed | PlanWithdrawn

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


@dataclass(frozen=True, slots=True)
class Withdrawn:
    withdrawal: PlanWithdrawn


State: TypeAlias = Unlisted | Listed | Withdrawn
INITIAL: State = Unlisted()


def evolve(_state: State, event: Event) -> State:
    match event:
        case PlanListed():
            return Listed(event)
        case PlanWithdrawn():
            return Withdrawn(event)
        case unreachable:
            assert_never(unreachable)


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


Command: TypeAlias = ListPlan | WithdrawPlan


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
        case unreachable:
            assert_never(unreachable)


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
        case Listed(listing):
            return listing.said_at is not None and said_at < listing.said_at
        case Withdrawn(withdrawal):
            return withdrawal.said_at is not None and said_at <= withdrawal.said_at
        case unreachable:
            assert_never(unreachable)


def _tenant(event: Event) -> str:
    return event.plan.publisher if isinstance(event, PlanListed) else event.publisher


PLAN = Stream("plan", INITIAL, evolve, decide, tenant=_tenant)
