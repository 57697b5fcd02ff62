"""Administrative access to a contract: one rule, for identity, which owns the facts, and for who replicates them.

Pure. A fact is whatever the caller knows an event by: identity the event itself, other services its id.

Source: administrative features open only while the customer's products on that contract are on an active desktop or
maintenance agreement; the role stays when the agreement lapses, the access does not (domain rules, identity).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Generic, Literal, TypeVar

from shared.events.identity import AgreementKind, Role
from shared.rules import AGREEMENT_MISSING, ROLE_MISSING, SEAT_RIGHT_MISSING

F = TypeVar("F")

ADMINISTRATIVE: Final[tuple[AgreementKind, ...]] = ("desktop", "maintenance")
"""The agreements that open administrative access."""


@dataclass(frozen=True, slots=True)
class HeldRole(Generic[F]):
    """A role that somebody holds within the contract, and the fact that gave it."""

    role: Role
    may_assign_seats: bool
    fact: F


@dataclass(frozen=True, slots=True)
class Agreement(Generic[F]):
    """An agreement of the contract, and the last fact about it."""

    kind: AgreementKind
    phase: Literal["scheduled", "running", "ended"]
    fact: F
    starts: date | None = None
    """The first day of one that is scheduled."""


@dataclass(frozen=True, slots=True)
class Granted(Generic[F]):
    """The access, and the facts that give it: the role's and the agreement's."""

    role: Role
    may_assign_seats: bool
    because: tuple[F, ...]


@dataclass(frozen=True, slots=True)
class Denied(Generic[F]):
    """Which of role, right and agreement is missing, and the facts that justify that."""

    rule: str
    reason: str
    remedy: str
    because: tuple[F, ...]


def administrative_access(
    roles: Sequence[HeldRole[F]],
    taken: Sequence[F],
    agreements: Sequence[Agreement[F]],
    *,
    assign_seats: bool = False,
) -> Granted[F] | Denied[F]:
    """Return the access that somebody has to a contract, or what is missing.

    Args:
        roles: The roles that the person holds now.
        taken: The facts that took roles from the person which nothing has given back.
        agreements: All of the contract's, in the order of their facts; of several running ones the first is named.
        assign_seats: Ask for the right to assign seats, which a Contract Manager always has. It opens before the term's
            first day, too: seats are set up for it.
    """
    if not roles:
        return Denied(
            ROLE_MISSING,
            "This account holds no administrative role on the contract.",
            "Ask its Contract Manager for the role of Software Coordinator.",
            tuple(taken),
        )
    held = max(roles, key=lambda each: (each.role == "contract_manager", each.may_assign_seats))
    may_assign_seats = held.may_assign_seats or held.role == "contract_manager"
    if assign_seats and not may_assign_seats:
        return Denied(
            SEAT_RIGHT_MISSING,
            "The role that is held on this contract does not include assigning seats.",
            "Ask the Contract Manager for the right to assign seats.",
            (held.fact,),
        )
    relevant = [each for each in agreements if each.kind in ADMINISTRATIVE]
    opening = [each for each in relevant if each.phase == "running"]
    if assign_seats:
        opening += [each for each in relevant if each.phase == "scheduled"]
    if opening:
        return Granted(held.role, may_assign_seats, (held.fact, opening[0].fact))
    coming = min((each.starts for each in relevant if each.phase == "scheduled" and each.starts), default=None)
    return Denied(
        AGREEMENT_MISSING,
        "The role is held, but no product of this contract is on an active desktop or maintenance subscription.",
        "Administrative features open again with such a subscription."
        if coming is None
        else f"Administrative features open on {coming}, the first day of the next one.",
        (held.fact, *(each.fact for each in relevant)),
    )
