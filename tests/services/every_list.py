"""The lists of the services, as their routers have them."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from fastapi.routing import APIRoute
from pydantic import BaseModel

import services
from shared.runtime import refusals
from shared.runtime.lists import Listing
from tests.services.every_route import EVERYWHERE, app_of, leaves

PAGING = {"sort", "limit", "after", "format"}


def modules(service: str) -> Iterator[ModuleType]:
    package = importlib.import_module(f"{services.__name__}.{service}")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations" not in found.name and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def listings(service: str) -> dict[str, Listing]:
    """The service's lists by the names of their constants."""
    every = [*modules(service), refusals]
    return {name: value for module in every for name, value in vars(module).items() if isinstance(value, Listing)}


def routes(service: str) -> Iterator[APIRoute]:
    """The queries that answer with `items`, read from tables: not those that everybody may ask, of what is fixed."""
    for route in leaves(app_of(service).routes):
        model = getattr(route, "response_model", None)
        listed = isinstance(model, type) and issubclass(model, BaseModel) and "items" in model.model_fields
        if listed and "GET" in route.methods and route.path not in EVERYWHERE:
            yield route
