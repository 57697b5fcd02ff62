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


def listed(actor: Actor) -> tuple[str, str]:
    """The condition of a list, over its columns `customer` and `publisher`, and the value of its `$1`."""
    match actor.organisation_kind:
        case "operator":
            return "$1::text is not null", ""
        case "publisher":
            return "publisher = $1 and $1 <> ''", actor.publisher
        case _:
            return "customer = $1", actor.organisation_id
