"""The services. None imports another; they share only the events' models in `shared.events`."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from shared.services import SERVICES

if TYPE_CHECKING:  # importing it loads the whole runtime; `definition_of` does so when it is needed
    from shared.runtime.service import Service


def migrations_of(service: str) -> Path:
    """Return the folder of the migrations of a service's read models."""
    return Path(__file__).parent / service / "migrations"


def definition_of(service: str) -> "Service":
    """Return the definition of a service, from its `__main__.py`."""
    definition: Service = import_module(f"services.{service}.__main__").SERVICE
    return definition


def definitions() -> "tuple[Service, ...]":
    """Return the definitions of all services, in the order of their declarations."""
    return tuple(map(definition_of, SERVICES))
