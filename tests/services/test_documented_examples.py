"""The examples of the OpenAPI documents, sent as they stand: a newcomer pastes them first."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.services.every_route import app_of
from tests.services.identity_bench import Bench
from tests.services.market import Market, a_market

pytestmark = pytest.mark.system


def example(service: str, method: str, path: str) -> Any:
    """The example of the body of a request."""
    return app_of(service).openapi()["paths"][path][method.lower()]["requestBody"]["content"]["application/json"][
        "example"
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/machines"),
        ("POST", "/webhooks"),
        ("POST", "/invitations"),
        ("POST", "/addresses/proof"),
        ("POST", "/accounts/names"),
        ("POST", "/me/notifications/read"),
        ("PUT", "/me/notification-preferences"),
        ("PUT", "/me/profile"),
        ("POST", "/clock"),
    ],
)
async def test_an_example_of_identity_is_accepted(bench: Bench, method: str, path: str) -> None:
    _, token = await bench.join("oskar", organisation={"name": "Northhaus", "kind": "customer", "sandbox": True})
    answer = await bench.when(token, method, path, example("identity", method, path))
    assert answer.is_success, answer.text


async def test_who_signs_up_by_the_example_signs_in_by_the_example(bench: Bench) -> None:
    for path in ("/accounts", "/sessions"):
        answer = await bench.when("", "POST", path, example("identity", "POST", path))
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def market(databases: Callable[[str], str]) -> AsyncIterator[Market]:
    async with a_market(databases("marketplace")) as made:
        yield made


async def test_the_plan_of_an_example_gets_the_price_of_another(market: Market) -> None:
    plan = example("marketplace", "POST", "/publisher/plans")
    await market.when("publisher", "POST", "/publisher/plans", plan).then_ok()
    price = example("marketplace", "POST", "/publisher/plans/{product_id}/prices")
    await market.when("publisher", "POST", f"/publisher/plans/{plan['product_id']}/prices", price).then_ok()
