"""Whose contracts a caller may see: a customer's people their own, a publisher's that publisher's, the operator all.

What a caller may not see is answered as what does not exist. A partner's people are none of these here.
"""

from typing import Final

from shared.runtime.auth import Actor

SELLERS: Final = ("publisher", "operator")
"""The kinds of organisation whose people have to do with several customers."""


def sees(actor: Actor, *, customer: str, publisher: str) -> bool:
    """Whether the caller may see what belongs to this customer by a contract with this publisher."""
    return actor.organisation_id == customer or sells(actor, publisher)


def sells(actor: Actor, publisher: str) -> bool:
    """Whether the caller acts for this publisher: as one of its people, or as the operator."""
    if actor.organisation_kind == "operator":
        return True
    return actor.organisation_kind == "publisher" and actor.publisher != "" and actor.publisher == publisher


def listed(actor: Actor) -> tuple[str | None, str | None]:
    """The customer and the publisher that a list is confined to: None is any, and no row is of a publisher ""."""
    match actor.organisation_kind:
        case "operator":
            return None, None
        case "publisher":
            return None, actor.publisher
        case _:
            return actor.organisation_id, None
