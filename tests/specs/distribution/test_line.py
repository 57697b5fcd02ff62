"""Whoever owns a product and whatever is published for it meet, whichever comes first."""

from services.distribution.domain.line import INITIAL, LINE, JoinLine, ListUpdate, concerns
from shared.events import ProductOwned, UpdateListed

OWNED = ProductOwned(product="autocad", publisher="autodesk", contract_id="c")
LISTED = UpdateListed(product="autocad", publisher="autodesk", update_id="u")


def test_a_contract_joins_once_and_an_update_is_listed_once() -> None:
    assert LINE.decide(JoinLine("autocad", "autodesk", "c"), INITIAL) == (OWNED,)
    assert LINE.decide(ListUpdate("autocad", "autodesk", "u"), INITIAL) == (LISTED,)
    both = LINE.evolve(LINE.evolve(INITIAL, OWNED), LISTED)
    assert LINE.decide(JoinLine("autocad", "autodesk", "c"), both) == ()
    assert LINE.decide(ListUpdate("autocad", "autodesk", "u"), both) == ()
    assert LINE.decide(ListUpdate("autocad", "autodesk", "v"), both) != ()


def test_an_owner_hears_of_the_publisher_that_sold_the_product() -> None:
    assert concerns(OWNED, LISTED)
    assert concerns(OWNED.model_copy(update={"publisher": ""}), LISTED)
    assert not concerns(OWNED, LISTED.model_copy(update={"publisher": "another"}))
