"""The rule of administrative access to a contract.

It is pure. Identity, which owns the facts, and the services that replicate them use the same function. A fact is an
event or its id: identity passes events, the other services pass ids.

Source: administrative features open only while the customer's products on that contract are on an active desktop or
maintenance agreement; the role stays when the agreement lapses, the access does not. What was bought can always be
used: assigning seats and turning auto-renew off need the role, not the agreement (domain rules, identity).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from shared import days
from shared.events.identity import AgreementKind, Role
from shared.rules import AGREEMENT_MISSING, ROLE_MISSING, SEAT_RIGHT_MISSING

F = TypeVar("F")

ADMINISTRATIVE: Final[tuple[AgreementKind, ...]] = ("desktop", "maintenance")
"""The kinds of agreement that give administrative access."""

Purpose: TypeAlias = Literal["features", "seats", "auto-renew"]
"""What access is asked for.

- features: updates, rollouts, policies and credits, which need an agreement
- seats: assigning and un-assigning seats, which needs the right to assign seats and no agreement
- auto-renew: turning auto-renew off, which needs no agreement
"""


@dataclass(frozen=True, slots=True)
class HeldRole(Generic[F]):
    """A role that a person holds on the contract, and the fact that gave it."""

    role: Role
    may_assign_seats: bool
    fact: F


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement(Generic[F]):
    """An agreement of the contract, and the latest fact about it."""

    kind: AgreementKind
    phase: Literal["scheduled", "running", "ended"]
    fact: F
    starts: date | None = None
    """The first day, if the agreement is scheduled."""
    time_zone: str = "UTC"
    """The zone of that day."""


@dataclass(frozen=True, slots=True)
class Granted(Generic[F]):
    """Granted access, and the facts that justify it: the role's and any agreement's."""

    role: Role
    may_assign_seats: bool
    because: tuple[F, ...]


@dataclass(frozen=True, slots=True)
class Denied(Generic[F]):
    """Denied access: the rule that is not met, and the facts that justify the denial."""

    rule: str
    reason: str
    remedy: str
    because: tuple[F, ...]


def administrative_access(
    roles: Sequence[HeldRole[F]],
    taken: Sequence[F],
    agreements: Sequence[Agreement[F]],
    *,
    purpose: Purpose = "features",
) -> Granted[F] | Denied[F]:
    """Return the access that a person has to a contract, or the rule that denies it.

    Args:
        roles: The roles that the person holds now.
        taken: The facts by which the person lost roles that were not given again.
        agreements: All agreements of the contract, in the order of their facts. If several are running, the answer
            names the first.
        purpose: What the person wants to do. A Contract Manager always has the right to assign seats.
    """
    if not roles:
        return Denied(
            ROLE_MISSING,
            "This account holds no administrative role on the contract.",
            "Ask its Contract Manager for the role of Software Coordinator.",
            tuple(taken),
        )
    held = max(roles, key=lambda role: (role.role == "contract_manager", role.may_assign_seats))
    may_assign_seats = held.may_assign_seats or held.role == "contract_manager"
    if purpose == "seats" and not may_assign_seats:
        return Denied(
            SEAT_RIGHT_MISSING,
            "The role that is held on this contract does not include assigning seats.",
            "Ask the Contract Manager for the right to assign seats.",
            (held.fact,),
        )
    if purpose != "features":
        return Granted(held.role, may_assign_seats, (held.fact,))
    relevant = [agreement for agreement in agreements if agreement.kind in ADMINISTRATIVE]
    running = [agreement for agreement in relevant if agreement.phase == "running"]
    if running:
        return Granted(held.role, may_assign_seats, (held.fact, running[0].fact))
    scheduled = [agreement for agreement in relevant if agreement.phase == "scheduled"]
    starts = [(days.begins(each.starts, each.time_zone), each) for each in scheduled if each.starts is not None]
    next_one = min(starts, key=lambda start: start[0])[1] if starts else None
    return Denied(
        AGREEMENT_MISSING,
        "The role is held, but no product of this contract is on an active desktop or maintenance subscription.",
        "Administrative features open again with such a subscription."
        if next_one is None
        else f"Administrative features open on the next one's first day, {next_one.starts} ({next_one.time_zone}).",
        (held.fact, *(agreement.fact for agreement in relevant)),
    )
