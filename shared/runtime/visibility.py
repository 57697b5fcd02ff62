"""Visibility of contracts, by the caller's organisation.

A customer's people see their own contracts, a publisher's people that publisher's, and the operator all. A contract
that the caller may not see is treated as one that does not exist. Partners' people see no contracts, only the pools of
the subscriptions that their organisation ordered.
"""

from typing import Final

from shared import rules
from shared.runtime.auth import Actor
from shared.runtime.problems import Problem

SELLERS: Final = ("publisher", "operator")
"""The kinds of organisation whose people work for several customers."""


def sees(actor: Actor, *, customer: str, publisher: str) -> bool:
    """Return whether the caller may see a contract of this customer with this publisher."""
    return actor.organisation_id == customer or sells(actor, publisher)


def publisher_only(actor: Actor) -> str:
    """Return the publisher whose people the caller is one of.

    Raises:
        Problem: 403 for everybody else.
    """
    if actor.organisation_kind != "publisher" or not actor.publisher:
        raise Problem(
            rule=rules.PUBLISHER_ONLY,
            reason="Only a publisher's people see and change what concerns the publisher.",
            remedy="Sign in with an account of the publisher.",
        )
    return actor.publisher


def supports(actor: Actor, partner: str) -> bool:
    """Return whether the caller is one of this partner's people."""
    return actor.organisation_kind == "partner" and actor.organisation_id == partner


def sells(actor: Actor, publisher: str) -> bool:
    """Return whether the caller is one of this publisher's people or the operator."""
    if actor.organisation_kind == "operator":
        return True
    return actor.organisation_kind == "publisher" and actor.publisher != "" and actor.publisher == publisher


def listed(actor: Actor) -> tuple[str | None, str | None]:
    """Return the customer and the publisher that a list is restricted to; None means any.

    A publisher "" matches no row.
    """
    match actor.organisation_kind:
        case "operator":
            return None, None
        case "publisher":
            return None, actor.publisher
        case _:
            return actor.organisation_id, None
