"""The second shapes of an OpenAPI document, for forms."""

from typing import Any

import pytest

from shared.runtime.openapi_forms import close_forms

MONEY = {"type": "object", "properties": {"amount": {"type": "integer"}}}


def document(**shapes: dict[str, Any]) -> dict[str, Any]:
    """A document with an operation that has money in its body and in its answer."""
    money = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Money"}}}}
    operation = {"requestBody": money, "responses": {"200": money}}
    return {"paths": {"/prices": {"post": operation}}, "components": {"schemas": {"Money": MONEY, **shapes}}}


def test_what_is_given_and_answered_has_a_closed_shape_beside_the_open_one() -> None:
    closed = document()
    close_forms(closed)
    shapes = closed["components"]["schemas"]
    assert shapes["GivenMoney"]["additionalProperties"] is False and shapes["Money"] == MONEY
    body = closed["paths"]["/prices"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/GivenMoney"}


def test_a_second_shape_does_not_replace_another_of_its_name() -> None:
    with pytest.raises(ValueError, match="GivenMoney"):
        close_forms(document(GivenMoney={"type": "string"}))
