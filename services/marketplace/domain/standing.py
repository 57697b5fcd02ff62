"""A partner's standing with publishers: the customer-specific numbers (CSN) it holds. Stream `partner-<organisation>`.

Numbers are issued and revoked by the publisher, never here. A number is an opaque string. What the publisher said
later about a number counts, whatever arrives later; at one and the same time a revocation wins.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias, assert_never

from services.marketplace.domain import rules
from services.marketplace.domain.policy import DEFAULT, Policy
from shared.eventlog.decision import Decision, Rejected, Stream
from shared.events import CsnIssued, CsnRevoked, Plan, PlanListed, PlanPriceAnnounced, PlanWithdrawn
from shared.events.marketplace import Category
from shared.rules import FOREIGN_PUBLISHER

Event: TypeAlias = CsnIssued | CsnRevoked

# ── State ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class CsnStanding:
    """The last word about each (publisher, number), in the order in which the words were recorded."""

    words: Mapping[tuple[str, str], Event] = field(default_factory=dict)


State: TypeAlias = CsnStanding
INITIAL: State = CsnStanding()


def evolve(state: State, event: Event) -> State:
    match event:
        case CsnIssued(publisher=publisher, csn=csn) | CsnRevoked(publisher=publisher, csn=csn):
            others = {number: word for number, word in state.words.items() if number != (publisher, csn)}
            return CsnStanding({**others, (publisher, csn): event})
        case unreachable:
            assert_never(unreachable)


def valid_csn(state: State, publisher: str) -> CsnIssued | None:
    """The number that opens this publisher's specialised plans now: of several the one recorded last."""
    issued = [word for word in state.words.values() if isinstance(word, CsnIssued) and word.publisher == publisher]
    return issued[-1] if issued else None


ALWAYS_OPEN: Final[tuple[Category, ...]] = ("open",)
"""The categories that every partner is offered."""


def specialised_open_for(state: State) -> frozenset[str]:
    """Return the publishers whose specialised plans are open to the partner."""
    return frozenset(word.publisher for word in state.words.values() if isinstance(word, CsnIssued))


def opens(state: State, plan: Plan) -> bool:
    """Return whether the catalogue that this standing opens has the plan in it. `catalogue` in queries.sql selects by
    the same two values."""
    return plan.category in ALWAYS_OPEN or plan.publisher in specialised_open_for(state)


def needs_csn(state: State, plan: Plan, listing: PlanListed | None = None) -> Rejected:
    """Refuse a plan that this standing does not open. A revoked number justifies it, and the plan's listing where that
    is known: it says that the plan is specialised."""
    revoked = [
        word for word in state.words.values() if isinstance(word, CsnRevoked) and word.publisher == plan.publisher
    ]
    lost = f" Number {revoked[-1].csn} was revoked." if revoked else ""
    return Rejected(
        rules.SPECIALISED_NEEDS_CSN,
        f"{plan.product_name} is a specialised product: it takes a valid customer-specific number (CSN) "
        f"of {plan.publisher}, and the organisation holds none.{lost}",
        f"Apply to {plan.publisher} for a CSN, or choose from the open catalogue.",
        because=(*((listing,) if listing is not None else ()), *revoked[-1:]),
    )


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordCsn:
    """Record that a publisher issued a number. `said_by` is the publisher whose system says so, `said_at` its time."""

    csn: str
    organisation_id: str
    publisher: str
    said_by: str
    said_at: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class RevokeCsn:
    """Record that a publisher took a number back, also one that is not known here (yet)."""

    csn: str
    organisation_id: str
    publisher: str
    reason: str
    said_by: str
    said_at: datetime


Command: TypeAlias = RecordCsn | RevokeCsn


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    if command.said_by != command.publisher:
        return Rejected(
            FOREIGN_PUBLISHER,
            f"The system of {command.said_by or 'nobody known'} says something about a number of {command.publisher}.",
            "Send it from that publisher's own system, as its source.",
        )
    word = state.words.get((command.publisher, command.csn))
    match command:
        case RecordCsn(
            csn=csn, organisation_id=organisation_id, publisher=publisher, said_by=_, said_at=said_at, policy=policy
        ):
            if not re.fullmatch(policy.csn_pattern, csn):
                return Rejected(
                    rules.MALFORMED_CSN,
                    f"{csn[:40]!r} does not read like a customer-specific number of {publisher}.",
                    "Correct the number, or the publisher's csn_pattern in the policies.",
                )
            if word is not None and _is_late(said_at, word, wins_a_tie=False):
                return _said_already(word, said_at, CsnIssued)
            return (CsnIssued(csn=csn, organisation_id=organisation_id, publisher=publisher, said_at=said_at),)
        case RevokeCsn(
            csn=csn, organisation_id=organisation_id, publisher=publisher, reason=reason, said_by=_, said_at=said_at
        ):
            if word is not None and _is_late(said_at, word, wins_a_tie=isinstance(word, CsnIssued)):
                return _said_already(word, said_at, CsnRevoked)
            revoked = CsnRevoked(
                csn=csn, organisation_id=organisation_id, publisher=publisher, reason=reason, said_at=said_at
            )
            return (revoked,)
        case unreachable:
            assert_never(unreachable)


def said_later(word: Event | PlanListed | PlanWithdrawn | PlanPriceAnnounced, said_at: datetime) -> Rejected:
    """The refusal of what a publisher said before it said something else: kept, so that nothing is dropped silently."""
    said = "" if word.said_at is None else f" at {word.said_at.isoformat()}"
    return Rejected(
        rules.SAID_LATER,
        f"This is of {said_at.isoformat()}, and the publisher said something else{said}: {word.type()}. That counts.",
        "Nothing, if that is so. Otherwise send it again with its present time.",
        because=(word,),
    )


def _said_already(word: Event, said_at: datetime, kind: type[Event]) -> Decision[Event]:
    """Nothing for the same news once more; a refusal for news that something later stands against."""
    return () if isinstance(word, kind) and word.said_at == said_at else said_later(word, said_at)


def _is_late(said_at: datetime, word: Event, *, wins_a_tie: bool) -> bool:
    """Whether the publisher's last word about the number is as new as this one, or newer."""
    if word.said_at is None:
        return False
    return said_at < word.said_at if wins_a_tie else said_at <= word.said_at


STANDING = Stream(
    category="partner", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.organisation_id
)
