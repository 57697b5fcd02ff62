"""A product line: a product's updates and the contracts that own it, one stream per product.

One stream puts owners and updates in one order, so that each update is offered to each owner, whichever comes first.
"""

from dataclasses import dataclass, replace
from typing import Final, TypeAlias, assert_never

from shared.eventlog.decision import Decision, Stream
from shared.events import ProductOwned, UpdateListed

Event: TypeAlias = ProductOwned | UpdateListed


@dataclass(frozen=True, slots=True)
class State:
    """The owners and the updates of one product."""

    owners: tuple[ProductOwned, ...] = ()
    updates: tuple[UpdateListed, ...] = ()


INITIAL: Final = State()


def evolve(state: State, event: Event) -> State:
    """Return the state after `event`."""
    match event:
        case ProductOwned():
            return replace(state, owners=(*state.owners, event))
        case UpdateListed():
            return replace(state, updates=(*state.updates, event))
        case unreachable:
            assert_never(unreachable)


@dataclass(frozen=True, slots=True)
class JoinLine:
    """Record that the contract owns the product, bought from this publisher ("" for any)."""

    product: str
    publisher: str
    contract_id: str


@dataclass(frozen=True, slots=True)
class ListUpdate:
    """Record that the publisher offers this update for the product."""

    product: str
    publisher: str
    update_id: str


Command: TypeAlias = JoinLine | ListUpdate


def decide(command: Command, state: State) -> Decision[Event]:
    """Return the events that follow from `command` in `state`: none for a repeat."""
    match command:
        case JoinLine(product, publisher, contract_id):
            owned = ProductOwned(product=product, publisher=publisher, contract_id=contract_id)
            return () if owned in state.owners else (owned,)
        case ListUpdate(product, publisher, update_id):
            listed = UpdateListed(product=product, publisher=publisher, update_id=update_id)
            return () if listed in state.updates else (listed,)
        case unreachable:
            assert_never(unreachable)


def concerns(owner: ProductOwned, update: UpdateListed) -> bool:
    """Return whether the owner bought the product from the update's publisher."""
    return owner.publisher in ("", update.publisher)


def _tenant(event: Event) -> str:
    return event.publisher


LINE: Final = Stream(category="line", initial=INITIAL, evolve=evolve, decide=decide, tenant=_tenant)
