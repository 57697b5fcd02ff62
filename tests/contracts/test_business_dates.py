"""Every business date names its zone."""

from datetime import date
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from services.distribution import queries as distribution
from services.entitlements import queries as entitlements
from services.identity import queries as identity
from services.marketplace import queries as marketplace
from shared.events import EVENTS, Event

BOUNDS = {"due_from", "due_before", "ends_from", "ends_before", "month"}
"""What a query asked for or groups by: each item's own date, in its own zone, is compared with it."""


def dates_without_a_zone(model: type[BaseModel], where: str = "") -> list[str]:
    """The fields with a date, of the model and its parts, where neither it nor what has it as a part names a zone."""
    if "time_zone" in model.model_fields:
        return []
    found = list[str]()
    for name, field in model.model_fields.items():
        for kind in kinds(field.annotation):
            if kind is date and name not in BOUNDS:
                found.append(f"{where}{name}")
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                found += dates_without_a_zone(kind, f"{where}{name}.")
    return found


def kinds(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple, list, dict):
        return [kind for part in get_args(annotation) for kind in kinds(part)]
    return [annotation]


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_an_event_with_a_business_date_names_its_zone(event: type[Event]) -> None:
    assert not dates_without_a_zone(event)


QUERIES = {
    f"{service}{route.path}": route.response_model
    for service, queries in {
        "distribution": distribution.QUERIES,
        "entitlements": entitlements.QUERIES,
        "identity": identity.QUERIES,
        "marketplace": marketplace.QUERIES,
    }.items()
    for route in queries.routes
    if isinstance(route, APIRoute) and isinstance(route.response_model, type)
}


@pytest.mark.parametrize("answer", QUERIES.values(), ids=QUERIES)
def test_an_answer_with_a_business_date_names_its_zone(answer: type[BaseModel]) -> None:
    assert not dates_without_a_zone(answer)


def test_queries_with_a_date_are_among_them() -> None:
    assert len(QUERIES) > 20
    assert "marketplace/subscriptions" in QUERIES
