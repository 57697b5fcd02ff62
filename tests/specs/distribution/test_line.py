"""Whoever owns a product and whatever is published for it meet, whichever comes first."""

from services.distribution.domain.line import LINE, JoinLine, ListUpdate, concerns
from shared.events import ProductOwned, UpdateListed
from tests.spec import given

OWNED = ProductOwned(product="autocad", publisher="autodesk", contract_id="c")
LISTED = UpdateListed(product="autocad", publisher="autodesk", update_id="u")


def test_a_contract_joins_once_and_an_update_is_listed_once() -> None:
    given(LINE).when(JoinLine("autocad", "autodesk", "c")).then(OWNED)
    given(LINE).when(ListUpdate("autocad", "autodesk", "u")).then(LISTED)
    both = given(LINE, OWNED, LISTED)
    both.when(JoinLine("autocad", "autodesk", "c")).then_nothing()
    both.when(ListUpdate("autocad", "autodesk", "u")).then_nothing()
    both.when(ListUpdate("autocad", "autodesk", "v")).then_accepted()


def test_an_owner_hears_of_the_publisher_that_sold_the_product() -> None:
    assert concerns(OWNED, LISTED)
    assert concerns(OWNED.model_copy(update={"publisher": ""}), LISTED)
    assert not concerns(OWNED, LISTED.model_copy(update={"publisher": "another"}))
