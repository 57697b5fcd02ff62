"""A partner's standing with publishers: its customer-specific numbers (CSN).

There is one stream per organisation, `partner-<organisation>`. Publishers issue and revoke numbers; this module records
that. A number is an opaque string. What the publisher stated later about a number counts, in whichever order its events
arrive; of statements with the same time a revocation counts.
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
    """The latest event about each CSN, by publisher and number, in the order of recording."""

    latest: Mapping[tuple[str, str], Event] = field(default_factory=dict)


State: TypeAlias = CsnStanding
INITIAL: State = CsnStanding()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case CsnIssued(publisher=publisher, csn=csn) | CsnRevoked(publisher=publisher, csn=csn):
            others = {number: latest for number, latest in state.latest.items() if number != (publisher, csn)}
            return CsnStanding({**others, (publisher, csn): event})
        case unreachable:
            assert_never(unreachable)


def valid_csn(state: State, publisher: str) -> CsnIssued | None:
    """Return the partner's valid CSN of the publisher, the latest recorded of several, or None."""
    issued = [event for event in state.latest.values() if isinstance(event, CsnIssued) and event.publisher == publisher]
    return issued[-1] if issued else None


ALWAYS_OPEN: Final[tuple[Category, ...]] = ("open",)
"""The categories that every partner is offered."""


def specialised_open_for(state: State) -> frozenset[str]:
    """Return the publishers whose specialised plans are open to the partner."""
    return frozenset(event.publisher for event in state.latest.values() if isinstance(event, CsnIssued))


def opens(state: State, plan: Plan) -> bool:
    """Return whether the plan is open to a partner with this standing.

    The statement `catalogue` in queries.sql selects by the same two values.
    """
    return plan.category in ALWAYS_OPEN or plan.publisher in specialised_open_for(state)


def needs_csn(state: State, plan: Plan, listing: PlanListed | None = None) -> Rejected:
    """Return the refusal of a plan that needs a CSN which the partner does not hold.

    It names the revocation of the partner's latest CSN, if there is one, and the plan's listing, if it is given.
    """
    revoked = [
        event for event in state.latest.values() if isinstance(event, CsnRevoked) and event.publisher == plan.publisher
    ]
    lost = f" CSN {revoked[-1].csn} was revoked." if revoked else ""
    return Rejected(
        rules.SPECIALISED_NEEDS_CSN,
        f"{plan.product_name} is a specialised product. It needs a valid customer-specific number (CSN) of "
        f"{plan.publisher}, and the organisation holds none.{lost}",
        f"Apply to {plan.publisher} for a CSN, or choose from the open catalogue.",
        because=(*((listing,) if listing is not None else ()), *revoked[-1:]),
    )


# ── Commands ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordCsn:
    """Record a CSN that a publisher issued.

    Args:
        reported_by: the publisher whose system sent it.
        said_at: the time at which that system stated it.
    """

    csn: str
    organisation_id: str
    publisher: str
    reported_by: str
    said_at: datetime
    policy: Policy = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class RevokeCsn:
    """Record that a publisher revoked a CSN, whether or not its issue was recorded."""

    csn: str
    organisation_id: str
    publisher: str
    reason: str
    reported_by: str
    said_at: datetime


Command: TypeAlias = RecordCsn | RevokeCsn


# ── Decisions ──────────────────────────────────────────────────────────────────────────────────────────


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`, or the refusal."""
    if command.reported_by != command.publisher:
        return Rejected(
            FOREIGN_PUBLISHER,
            f"The system of {command.reported_by or 'an unknown publisher'} sent an event about a CSN of "
            f"{command.publisher}.",
            "Send events about a publisher's CSNs from that publisher's own system.",
        )
    latest = state.latest.get((command.publisher, command.csn))
    match command:
        case RecordCsn(
            csn=csn, organisation_id=organisation_id, publisher=publisher, reported_by=_, said_at=said_at, policy=policy
        ):
            if not re.fullmatch(policy.csn_pattern, csn):
                return Rejected(
                    rules.MALFORMED_CSN,
                    f"{csn[:40]!r} does not have the form of a customer-specific number (CSN) of {publisher}.",
                    "Correct the CSN, or the publisher's csn_pattern in the policies.",
                )
            if latest is not None and _is_late(said_at, latest, wins_a_tie=False):
                return _repeated_or_late(latest, said_at, CsnIssued)
            return (CsnIssued(csn=csn, organisation_id=organisation_id, publisher=publisher, said_at=said_at),)
        case RevokeCsn(
            csn=csn, organisation_id=organisation_id, publisher=publisher, reason=reason, reported_by=_, said_at=said_at
        ):
            if latest is not None and _is_late(said_at, latest, wins_a_tie=isinstance(latest, CsnIssued)):
                return _repeated_or_late(latest, said_at, CsnRevoked)
            revoked = CsnRevoked(
                csn=csn, organisation_id=organisation_id, publisher=publisher, reason=reason, said_at=said_at
            )
            return (revoked,)
        case unreachable:
            assert_never(unreachable)


def said_later(later: Event | PlanListed | PlanWithdrawn | PlanPriceAnnounced, said_at: datetime) -> Rejected:
    """Return the refusal of a publisher's statement that a later one supersedes.

    It is recorded as a refusal, so that nothing is dropped silently.
    """
    when = "" if later.said_at is None else f" of {later.said_at.isoformat()}"
    return Rejected(
        rules.SAID_LATER,
        f"This event is of {said_at.isoformat()}. The publisher's {later.type()}{when} counts instead.",
        "If that one is right, do nothing. Otherwise send this one again with the present time.",
        because=(later,),
    )


def _repeated_or_late(latest: Event, said_at: datetime, kind: type[Event]) -> Decision[Event]:
    """Return no event for a repeat of the latest statement, and a refusal for another late one."""
    return () if isinstance(latest, kind) and latest.said_at == said_at else said_later(latest, said_at)


def _is_late(said_at: datetime, latest: Event, *, wins_a_tie: bool) -> bool:
    """Return whether the latest event about the number supersedes a statement of `said_at`.

    Args:
        wins_a_tie: whether the statement counts if both have the same time.
    """
    if latest.said_at is None:
        return False
    return said_at < latest.said_at if wins_a_tie else said_at <= latest.said_at


STANDING = Stream(
    category="partner", initial=INITIAL, evolve=evolve, decide=decide, tenant=lambda event: event.organisation_id
)
